/**
 * Who gets which idle server of a pool: those who have waited longest first, but nobody one that was opened with other
 * startup parameters than its own. Whether more servers can be had is the demand's to say; this opens none.
 */
import type { LinkedList } from '../base/linked-list.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { TrafficCounters } from '../server/traffic-counters.ts';
import type { Connector } from './connector.ts';
import type { IdlePicker } from './idle-picker.ts';
import type { PoolDemand } from './pool-demand.ts';
import type { ServerLists } from './server-lists.ts';
import type { Waiter } from './waiter.ts';

/** The pool. */
export interface LineSource {
  readonly servers: ServerLists;
  readonly waiting: LinkedList<Waiter>;
  readonly traffic: TrafficCounters;
  readonly demand: PoolDemand;
  readonly connector: Connector<ServerConnection>;
  readonly isPaused: boolean;
}

export class WaitingLine {
  readonly #pool: LineSource;
  readonly #idle: IdlePicker;
  readonly #now: () => number;

  constructor(pool: LineSource, idle: IdlePicker, now: () => number) {
    this.#pool = pool;
    this.#idle = idle;
    this.#now = now;
  }

  /** An idle server for `waiter` now, or null: then it stands in line. */
  acquire(waiter: Waiter): ServerConnection | null {
    const { waiting, servers, demand, traffic, connector } = this.#pool;
    // Idle servers that were passed over are due for a check, one for each who waits; and who waits longer comes first.
    if (waiting.size > 0 && servers.idle.size > 0 && this.#idle.promptChecks <= waiting.size) this.serve();
    // A paused pool has no idle one.
    const server = demand.isAwaited(waiter.startup) ? null : this.#idle.next(waiter.startup.key);
    if (server !== null) {
      traffic.assignments++;
      return server;
    }
    waiter.waitingSinceMs = this.#now();
    waiter.waitNotified = false;
    waiting.push(waiter);
    connector.grow();
    demand.replaceable(waiter, waiting.size)?.close('replaced');
    return null;
  }

  /** Gives idle servers to those who have waited longest; who came later gets what is of no use to those before. */
  serve(): void {
    const { waiting, servers, traffic, demand, connector, isPaused } = this.#pool;
    if (isPaused) return;
    const nowMs = this.#now();
    let passed = 0;
    for (let waiter = waiting.first; waiter !== null && servers.idle.size > 0; ) {
      const { key } = waiter.startup;
      const server = this.#idle.next(key);
      if (server !== null) {
        waiting.remove(waiter);
        traffic.waitMs += nowMs - waiter.waitingSinceMs;
        traffic.assignments++;
        waiter.onServer(server);
        waiter = waiting.first;
        passed = 0;
        continue;
      }
      if (passed === 0) connector.grow();
      for (; waiter !== null && waiter.startup.key === key; waiter = waiter.next) {
        demand.replaceable(waiter, ++passed)?.close('replaced');
      }
    }
    connector.shrink();
  }

  /** `waiter` gives up. */
  leave(waiter: Waiter): void {
    const { waiting, connector } = this.#pool;
    if (waiter.list !== waiting) return;
    waiting.remove(waiter);
    connector.shrink();
  }
}
