/**
 * SUSPEND: nobody is read from, and what was sent before leaves. It holds new connections, clients and servers alike, and
 * lets all of them go on where they were. It knows no command.
 */
import type { Environment } from '../base/environment.ts';
import { errors } from '../base/errors.ts';
import type { Wire } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { Client } from './client.ts';

export interface SuspensionOptions {
  readonly environment: Pick<Environment, 'now'>;
  readonly clients: Iterable<Client>;
  readonly pools: () => Iterable<Pool>;
  /** 0 is no limit. */
  readonly timeoutMs: () => number;
}

export class Suspension {
  readonly #options: SuspensionOptions;
  #sinceMs: number | null = null;
  readonly #wires = new Set<Wire>();
  /** Connections that were accepted meanwhile. */
  #newcomers: (() => void)[] = [];

  constructor(options: SuspensionOptions) {
    this.#options = options;
  }

  get isActive(): boolean {
    return this.#sinceMs !== null;
  }

  begin(): void {
    this.#sinceMs = this.#options.environment.now();
    for (const { options } of this.#options.clients) this.#suspend(options.wire);
    for (const server of this.#servers()) this.#suspend(server.wire);
  }

  /** Whether all that was sent has left. Who takes nothing for suspend_timeout is disconnected. */
  isFlushed(): boolean {
    const { environment, clients, timeoutMs } = this.#options;
    const limitMs = timeoutMs();
    if (this.#sinceMs === null) return true;
    if (limitMs > 0 && environment.now() - this.#sinceMs >= limitMs) {
      for (const client of clients) {
        if (client.options.wire.unsentBytes > 0) client.close('suspend_timeout', errors.suspendTimeout());
      }
      for (const server of this.#servers()) if (server.wire.unsentBytes > 0) server.close('suspend_timeout');
      return true;
    }
    for (const wire of this.#wires) if (!wire.closed && wire.unsentBytes > 0) return false;
    return true;
  }

  /** Everybody goes on, and who has come meanwhile comes in. */
  end(): void {
    if (this.#sinceMs === null) return;
    this.#sinceMs = null;
    const newcomers = this.#newcomers;
    this.#newcomers = [];
    for (const wire of this.#wires) wire.endSuspension();
    this.#wires.clear();
    for (const receive of newcomers) receive();
  }

  /** `receive` takes in a new connection: now, or when the suspension ends. */
  admit(receive: () => void): void {
    if (this.isActive) this.#newcomers.push(receive);
    else receive();
  }

  #suspend(wire: Wire): void {
    this.#wires.add(wire);
    wire.suspend();
  }

  /** Those that log in have nothing of anybody's, and those that leave must see the end. */
  #servers(): ServerConnection[] {
    return [...this.#options.pools()].flatMap(({ servers }) =>
      [...servers].filter(({ state }) => state !== 'connecting' && state !== 'closing'),
    );
  }
}
