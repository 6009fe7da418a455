/**
 * The place of a login among those who wait for a server (session_attach): it is let in with the one that it gets. It
 * knows neither the client's bytes nor what it is told.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import type { Pool } from '../pool/pool.ts';
import type { Waiter } from '../pool/waiter.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { StartupSet } from '../server/startup-set.ts';

/** What a client is told when it is in, of what its server reports. */
export type Greeting = (reported: ReadonlyMap<string, string>) => Buffer;

export interface AttachmentListener {
  /** A server for it alone, idle: it is linked or prepared at once, or stays the pool's. */
  onAttached(server: ServerConnection): void;
  /** It gets none. */
  onNoServer(report: ErrorReport, reason: ClientCloseReason): void;
}

export class LoginAttachment implements Waiter {
  list: LinkedList<Waiter> | null = null;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  waitingSinceMs = 0;
  waitNotified = false;

  readonly startup: StartupSet;
  readonly #pool: Pool;
  readonly #listener: AttachmentListener;

  constructor(pool: Pool, startup: StartupSet, listener: AttachmentListener) {
    this.#pool = pool;
    this.startup = startup;
    this.#listener = listener;
  }

  /** The listener hears the end, perhaps before this returns. Until `end` the login counts as a client of the pool. */
  start(): void {
    this.#pool.clients++;
    const server = this.#pool.acquire(this);
    if (server !== null) this.#listener.onAttached(server);
  }

  /** Once only. */
  end(): void {
    this.#pool.leave(this);
    this.#pool.clients--;
  }

  onServer(server: ServerConnection): void {
    this.#listener.onAttached(server);
  }

  /** Nobody expects a notice in a login. */
  onLongWait(): void {}

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.#listener.onNoServer(report, reason);
  }
}
