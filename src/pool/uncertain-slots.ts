/**
 * Server connections whose socket is gone, but perhaps not their backend: PostgreSQL has not closed its side. The slot of
 * each counts until a cancel for it has ended, and a while longer. It knows nothing else of them.
 */
import type { Environment } from '../base/environment.ts';
import type { ServerConnection } from '../server/server-connection.ts';

/** After an unconfirmed close the backend is given this long to go before its slot counts as free. */
const UNCONFIRMED_CLOSE_MS = 1000;

export class UncertainSlots {
  readonly #servers = new Set<ServerConnection>();
  readonly #environment: Environment;
  readonly #onFreed: () => void;

  /** `onFreed`: a slot counts no more, and its lease has been released. */
  constructor(environment: Environment, onFreed: () => void) {
    this.#environment = environment;
    this.#onFreed = onFreed;
  }

  get size(): number {
    return this.#servers.size;
  }

  /** `server` has closed. */
  keep(server: ServerConnection): void {
    this.#servers.add(server);
    if (server.cancelsInFlight === 0) this.#freeSoon(server);
  }

  /** The last cancel for `server`, which has closed, is over. */
  cancelsEnded(server: ServerConnection): void {
    if (this.#servers.has(server)) this.#freeSoon(server);
  }

  #freeSoon(server: ServerConnection): void {
    this.#environment.startTimer(UNCONFIRMED_CLOSE_MS, () => {
      this.#servers.delete(server);
      server.lease.release();
      this.#onFreed();
    });
  }
}
