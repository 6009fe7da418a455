/** Makes the server connections of one pool: what each is told at its login, and what all of them share. */
import type { SocketAddress } from '../base/environment.ts';
import type { Lease } from '../server/lease.ts';
import type { ParameterTable } from '../server/parameter-table.ts';
import { ServerConnection } from '../server/server-connection.ts';
import type { ServerOwner } from '../server/server-holder.ts';
import type { StartupSet } from '../server/startup-set.ts';
import type { PoolOptions } from './pool-options.ts';

/** Where to, and by what right. */
export interface ServerPlace {
  readonly address: SocketAddress;
  readonly hostName: string;
  readonly lease: Lease;
  /** The version of protocol 3 to ask for. */
  readonly protocolMinor: number;
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

  /** `startup`, and what else is `given` for its startup packet, go over the parameters of the database entry. */
  open(place: ServerPlace, startup: StartupSet, given: Iterable<readonly [string, string]> = []): ServerConnection {
    const { environment, keys, credentials, settings, unguessable, statements } = this.#options;
    const known = credentials();
    return new ServerConnection({
      ...place,
      environment,
      // Of two values the later one counts.
      credentials: { ...known, parameters: [...known.parameters, ...startup.parameters, ...given] },
      startup,
      keys,
      owner: this.#owner,
      parameterTable: this.#parameterTable,
      maxMessageBytes: settings.maxPacketSizeBytes,
      unguessable,
      statements,
    });
  }
}
