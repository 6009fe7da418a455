/**
 * Sums of what pools have done. The router keeps one for the pools that it has dropped, so that no total goes backwards
 * when one of them goes. It knows no pool afterwards.
 */
import type { ServerCloseReason } from '../base/close-reason.ts';
import { TrafficCounters } from '../server/traffic-counters.ts';
import type { Pool } from './pool.ts';

export class PoolTotals {
  /** By the name of the database that clients use. */
  readonly traffic = new Map<string, TrafficCounters>();
  readonly closedServers = new Map<ServerCloseReason, number>();
  closedUnconfirmed = 0;
  connects = 0;

  add({ databaseName, traffic, closedServers, closedUnconfirmed, connects }: Pool): void {
    this.#addTraffic(databaseName, traffic);
    for (const [reason, count] of closedServers) {
      this.closedServers.set(reason, (this.closedServers.get(reason) ?? 0) + count);
    }
    this.closedUnconfirmed += closedUnconfirmed;
    this.connects += connects;
  }

  copy(): PoolTotals {
    const copy = new PoolTotals();
    for (const [databaseName, traffic] of this.traffic) copy.#addTraffic(databaseName, traffic);
    for (const [reason, count] of this.closedServers) copy.closedServers.set(reason, count);
    copy.closedUnconfirmed = this.closedUnconfirmed;
    copy.connects = this.connects;
    return copy;
  }

  /**
   * Forgets the traffic of databases of which `isKept` says no: with a fallback entry clients can invent names without
   * end. A series that ends and later begins at zero is no step backwards to Prometheus; a sum that loses one of its
   * parts would be, so a database is kept as long as it has a pool.
   */
  forgetTrafficUnless(isKept: (databaseName: string) => boolean): void {
    for (const name of this.traffic.keys()) if (!isKept(name)) this.traffic.delete(name);
  }

  #addTraffic(databaseName: string, traffic: TrafficCounters): void {
    const sum = this.traffic.get(databaseName) ?? new TrafficCounters();
    this.traffic.set(databaseName, sum);
    sum.add(traffic);
  }
}
