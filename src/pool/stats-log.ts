/** The line that says every stats_period what the pooler has done since the last one, as PgBouncer's does. */
import type { Logger } from '../base/logger.ts';
import { type TrafficCounter, TrafficCounters } from '../server/traffic-counters.ts';
import type { Router } from './router.ts';

export class StatsLog {
  readonly #router: Router;
  readonly #log: Logger;
  #periodMs: number;
  #lastMs: number;
  #last = new TrafficCounters();

  constructor(router: Router, log: Logger, periodMs: number, nowMs: number) {
    this.#router = router;
    this.#log = log;
    this.#periodMs = periodMs;
    this.#lastMs = nowMs;
  }

  configure(periodMs: number): void {
    this.#periodMs = periodMs;
  }

  /** Called now and then; writes the line when it is due. */
  check(nowMs: number): void {
    const seconds = (nowMs - this.#lastMs) / 1000;
    if (nowMs - this.#lastMs < this.#periodMs) return;
    const now = this.#totals();
    const perSecond = (field: TrafficCounter): number => Math.round((now[field] - this.#last[field]) / seconds);
    /** Average in whole microseconds, over what happened in the period. */
    const average = (ms: TrafficCounter, count: TrafficCounter): number => {
      const times = now[count] - this.#last[count];
      return times === 0 ? 0 : Math.round(((now[ms] - this.#last[ms]) * 1000) / times);
    };
    const fields = {
      transactionsPerSecond: perSecond('transactions'),
      queriesPerSecond: perSecond('queries'),
      receivedBytesPerSecond: perSecond('receivedBytes'),
      sentBytesPerSecond: perSecond('sentBytes'),
      transactionUs: average('transactionMs', 'transactions'),
      queryUs: average('queryMs', 'queries'),
      waitUs: average('waitMs', 'assignments'),
    };
    this.#lastMs = nowMs;
    this.#last = now;
    this.#log.info(
      fields,
      `stats: ${fields.transactionsPerSecond} xacts/s, ${fields.queriesPerSecond} queries/s, ` +
        `in ${fields.receivedBytesPerSecond} B/s, out ${fields.sentBytesPerSecond} B/s, ` +
        `xact ${fields.transactionUs} us, query ${fields.queryUs} us, wait ${fields.waitUs} us`,
    );
  }

  #totals(): TrafficCounters {
    const sum = new TrafficCounters();
    for (const { traffic } of this.#router.pools) sum.add(traffic);
    for (const traffic of this.#router.dropped.traffic.values()) sum.add(traffic);
    return sum;
  }
}
