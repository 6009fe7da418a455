/** Log lines about the server connections of one pool: which one each is about, and no secret. */
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

  info(server: ServerConnection, message: string): void {
    this.#log.info(this.#about(server), message);
  }

  warn(server: ServerConnection, message: string): void {
    this.#log.warn(this.#about(server), message);
  }

  #about({ address: { host, port }, backendPid }: ServerConnection): LogFields {
    const { databaseName: database, userName: user } = this.#pool;
    return { database, user, server: `${host}:${port}`, pid: backendPid };
  }
}
