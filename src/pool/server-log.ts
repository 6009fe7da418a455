/** Log lines about the server connections of one pool: which one each is about, and no secret. */
import type { LogFields, Logger } from '../base/logger.ts';
import type { ServerConnection } from '../server/server-connection.ts';

export class ServerLog {
  readonly #log: Logger;
  readonly #pool: { readonly database: string; readonly user: string };

  constructor(log: Logger, databaseName: string, userName: string) {
    this.#log = log;
    this.#pool = { database: databaseName, user: userName };
  }

  info(server: ServerConnection, message: string): void {
    this.#log.info(this.#about(server), message);
  }

  warn(server: ServerConnection, message: string): void {
    this.#log.warn(this.#about(server), message);
  }

  #about({ address: { host, port }, backendPid }: ServerConnection): LogFields {
    return { ...this.#pool, server: `${host}:${port}`, pid: backendPid };
  }
}
