/** connect_query: what a server runs between its login and its first client. What it does to the pool is not its business. */
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerLog } from './server-log.ts';

export interface IntroductionListener {
  /** `server` has run it, and is free. */
  onIntroduced(server: ServerConnection): void;
  /** `server` cannot be used after it, and is closed. */
  onUnusable(reason: string): void;
}

export class ServerIntroduction {
  readonly #servers = new Set<ServerConnection>();
  readonly #log: ServerLog;
  readonly #listener: IntroductionListener;

  constructor(log: ServerLog, listener: IntroductionListener) {
    this.#log = log;
    this.#listener = listener;
  }

  /** Those that run it: on their way still, though they have logged in. */
  get servers(): ReadonlySet<ServerConnection> {
    return this.#servers;
  }

  /** `server` is about to close. Whether it was on its way. */
  lost(server: ServerConnection): boolean {
    return this.#servers.delete(server);
  }

  start(server: ServerConnection, connectQuery: string): void {
    this.#servers.add(server);
    server.run('preparing', connectQuery, (error) => {
      this.#servers.delete(server);
      // As in PgBouncer: said, and otherwise ignored.
      if (error !== null) this.#log.warn(server, `connect_query failed: ${error.message}`);
      if (server.status === STATUS_IDLE) {
        this.#listener.onIntroduced(server);
        return;
      }
      server.close('transaction_left_open');
      this.#listener.onUnusable('connect_query leaves a transaction open');
    });
  }
}
