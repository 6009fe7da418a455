/** Log lines about the server connections of one pool: which one each is about, and no secret. */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { LogFields, Logger } from '../base/logger.ts';
import type { ServerConnection } from '../server/server-connection.ts';

/** The pool; its user may change. */
export interface NamedPool {
  readonly databaseName: string;
  readonly userName: string;
}

export class ServerLog {
  readonly #log: Logger;
  readonly #pool: NamedPool;

  constructor(log: Logger, pool: NamedPool) {
    this.#log = log;
    this.#pool = pool;
  }

  connected(server: ServerConnection): void {
    const { localAddress, localPort } = server.wire;
    this.#log.info(this.#about(server), `new connection to server (from ${localAddress}:${localPort})`);
  }

  closing(server: ServerConnection, reason: ServerCloseReason): void {
    const ageMs = Math.round(server.times.ageMs);
    this.#log.info({ ...this.#about(server), ageMs }, `closing server: ${reason}`);
  }

  warn(server: ServerConnection, message: string): void {
    this.#log.warn(this.#about(server), message);
  }

  #about({ address: { host, port }, backendPid }: ServerConnection): LogFields {
    const { databaseName: database, userName: user } = this.#pool;
    return { database, user, server: `${host}:${port}`, pid: backendPid };
  }
}
