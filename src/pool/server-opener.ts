/** Makes the server connections of one pool: what each is told at its login, and what all of them share. */
import type { SocketAddress } from '../base/environment.ts';
import type { TlsPlan } from '../net/server-security.ts';
import type { Lease } from '../server/lease.ts';
import type { ParameterTable } from '../server/parameter-table.ts';
import { ServerConnection } from '../server/server-connection.ts';
import type { ServerOwner } from '../server/server-holder.ts';
import type { StartupSet } from '../server/startup-set.ts';
import type { PoolConfig } from './pool-config.ts';
import type { PoolOptions } from './pool-options.ts';

/** Where to, by what right, and how. */
export interface ServerPlace {
  readonly address: SocketAddress;
  /** The host, as configured, that the address belongs to. */
  readonly hostName: string;
  readonly lease: Lease;
  /** The version of protocol 3 to ask for. */
  readonly protocolMinor: number;
  /** Null: it is not to be secured. */
  readonly tls: TlsPlan | null;
}

export class ServerOpener {
  readonly #options: PoolOptions;
  readonly #owner: ServerOwner;
  readonly #parameterTable: ParameterTable;

  constructor(options: PoolOptions, owner: ServerOwner, parameterTable: ParameterTable) {
    this.#options = options;
    this.#owner = owner;
    this.#parameterTable = parameterTable;
  }

  /**
   * `config` is the pool's of now. `startup`, and what else is `given` for its startup packet, go over the parameters of
   * the database entry.
   */
  open(
    place: ServerPlace,
    config: PoolConfig,
    startup: StartupSet,
    given: Iterable<readonly [string, string]> = [],
  ): ServerConnection {
    const { environment, keys, credentials, unguessable, statements } = this.#options;
    const known = credentials(config);
    return new ServerConnection({
      ...place,
      environment,
      // Of two values the later one counts.
      credentials: { ...known, parameters: [...known.parameters, ...startup.parameters, ...given] },
      startup,
      keys,
      owner: this.#owner,
      parameterTable: this.#parameterTable,
      maxMessageBytes: config.settings.maxPacketSizeBytes,
      unguessable,
      statements,
    });
  }
}
