/**
 * Averages of each database over the last whole stats_period, as SHOW STATS has them. It keeps the totals of the last two
 * ends of a period, and knows nothing of when somebody asks.
 */
import type { DatabaseSnapshot } from '../pool/snapshot.ts';
import { TrafficCounters } from '../server/traffic-counters.ts';

export type Traffic = DatabaseSnapshot['traffic'];

/** Counts and bytes per second; times of transactions and queries per one of them, waiting time per second, all in µs. */
export interface TrafficAverage {
  readonly assignments: number;
  readonly transactions: number;
  readonly queries: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly transactionUs: number;
  readonly queryUs: number;
  readonly waitUs: number;
  readonly clientParses: number;
  readonly serverParses: number;
  readonly binds: number;
  readonly logins: number;
}

const NOTHING: Traffic = new TrafficCounters();

export class TrafficAverages {
  #atMs: number;
  #last: ReadonlyMap<string, Traffic> = new Map();
  #averages: ReadonlyMap<string, TrafficAverage> = new Map();

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** Called now and then; takes `databases()` when a period has ended. */
  check(nowMs: number, periodMs: number, databases: () => readonly DatabaseSnapshot[]): void {
    const seconds = (nowMs - this.#atMs) / 1000;
    if (nowMs - this.#atMs < periodMs) return;
    const now = new Map(databases().map(({ name, traffic }) => [name, traffic]));
    this.#averages = new Map(
      [...now].map(([name, traffic]) => [name, average(this.#last.get(name) ?? NOTHING, traffic, seconds)]),
    );
    this.#last = now;
    this.#atMs = nowMs;
  }

  /** All zero before the first period has ended. */
  of(database: string): TrafficAverage {
    return this.#averages.get(database) ?? average(NOTHING, NOTHING, 1);
  }
}

/** `seconds` lie between the two. A database that was forgotten and came back has begun anew. */
function average(before: Traffic, after: Traffic, seconds: number): TrafficAverage {
  const since = (counter: keyof Traffic): number => Math.max(0, after[counter] - before[counter]);
  const perSecond = (counter: keyof Traffic): number => since(counter) / seconds;
  const each = (ms: keyof Traffic, counter: keyof Traffic): number =>
    since(counter) === 0 ? 0 : (since(ms) * 1000) / since(counter);
  return {
    assignments: perSecond('assignments'),
    transactions: perSecond('transactions'),
    queries: perSecond('queries'),
    receivedBytes: perSecond('receivedBytes'),
    sentBytes: perSecond('sentBytes'),
    transactionUs: each('transactionMs', 'transactions'),
    queryUs: each('queryMs', 'queries'),
    waitUs: perSecond('waitMs') * 1000,
    clientParses: perSecond('clientParses'),
    serverParses: perSecond('serverParses'),
    binds: perSecond('binds'),
    logins: perSecond('logins'),
  };
}
