/**
 * What ends all servers of a pool, now or as they come back: PAUSE, RECONNECT, other settings, other addresses. Why it has
 * to be, and who waits meanwhile, is not its business.
 */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { Connector } from './connector.ts';
import type { DedicatedServers } from './dedicated-servers.ts';
import type { LearnedParameters } from './learned-parameters.ts';
import type { LoginGate } from './login-gate.ts';
import type { ServerLists } from './server-lists.ts';

/** The pool. */
export interface TurnoverSource {
  readonly servers: ServerLists;
  readonly connector: Connector<ServerConnection>;
  readonly dedicated: DedicatedServers;
  readonly learned: LearnedParameters;
  /** Opens what is missing. */
  grow(): void;
}

/** Reasons for which the pool itself ends a login to PostgreSQL that was going well. */
const OUR_DOING: ReadonlySet<ServerCloseReason> = new Set(['paused', 'config_changed', 'database_removed']);

export class ServerTurnover {
  readonly #pool: TurnoverSource;
  #isPaused = false;

  constructor(pool: TurnoverSource) {
    this.#pool = pool;
  }

  /** Nobody gets a server, and those that come back are closed; who asks waits. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Hands out no server until `resume`: idle ones are closed now, the others as they come back. */
  pause(): void {
    if (this.#isPaused) return;
    const { servers, connector, dedicated } = this.#pool;
    this.#isPaused = true;
    this.interrupt('paused');
    for (const server of servers.idle) server.close('paused');
    connector.shrink();
    dedicated.shrink();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#pool.grow();
  }

  /** Servers of which a pause waits to be rid. */
  get pausing(): number {
    const { servers } = this.#pool;
    return servers.total - servers.count('closing');
  }

  /** Servers that are to be closed and are still there. */
  get outdated(): number {
    let count = 0;
    for (const { closeWhenFree } of this.#pool.servers) if (closeWhenFree !== null) count++;
    return count;
  }

  /** Every server is replaced: idle ones and those on their way now, the others as they come back. `grow` opens others, at `gate`. */
  replace(gate: LoginGate): void {
    const { servers, connector, dedicated, learned } = this.#pool;
    // They may be others at the new ones, and belong to a client for its whole life.
    learned.forget();
    // One that goes may bring about that another one does.
    const all = [...servers];
    for (const server of all) outdate(server, 'config_changed');
    for (const server of connector.restart(gate)) server.close('config_changed');
    dedicated.restart(gate);
  }

  /** `host` has these addresses from now on. */
  moved(host: string, addresses: readonly string[]): void {
    for (const server of this.#pool.servers) {
      if (server.hostName === host && !addresses.includes(server.address.host)) outdate(server, 'address_changed');
    }
  }

  /** Connections that are on their way to PostgreSQL are given up. Whoever still waits starts others by `grow`. */
  interrupt(reason: ServerCloseReason): void {
    const { servers, connector, dedicated } = this.#pool;
    for (const server of servers.in('connecting')) {
      if (dedicated.owns(server)) dedicated.abandon(server);
      else connector.abandon(server);
      server.close(reason);
    }
  }
}

/** Whether the pool has ended a login of `server` that was going well. */
export function isOurDoing({ closeReason }: ServerConnection): boolean {
  return closeReason !== null && OUR_DOING.has(closeReason);
}

/** `server` goes as soon as nobody needs it. */
function outdate(server: ServerConnection, reason: ServerCloseReason): void {
  if (server.state === 'idle') {
    server.close(reason);
    return;
  }
  server.closeWhenFree ??= reason;
  server.holder?.onServerOutdated();
}
