/**
 * How late timers are: what a busy or blocked event loop adds to everybody's latency. Counts into buckets that are read
 * when somebody asks; knows no names of metrics.
 */
import type { Environment, Timer } from '../base/environment.ts';
import type { HistogramSnapshot } from '../pool/snapshot.ts';

/** Often enough to see what lasts, too seldom to be seen in the processor time. */
const PERIOD_MS = 100;

/** Node's timers are late by up to a millisecond without any fault. */
const BOUNDS_MS: readonly number[] = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

export class EventLoopLag {
  readonly #environment: Environment;
  readonly #counts: number[] = [...BOUNDS_MS, 0].fill(0);
  #sumMs = 0;
  #timer: Timer | null = null;
  #lastMs = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  start(): void {
    this.#lastMs = this.#environment.now();
    this.#timer = this.#environment.startTimer(PERIOD_MS, () => this.#observe(), 'repeat');
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  snapshot(): HistogramSnapshot {
    return { boundsMs: BOUNDS_MS, counts: [...this.#counts], sumMs: this.#sumMs };
  }

  #observe(): void {
    const nowMs = this.#environment.now();
    const lagMs = Math.max(0, nowMs - this.#lastMs - PERIOD_MS);
    this.#lastMs = nowMs;
    const bucket = BOUNDS_MS.findIndex((boundMs) => lagMs <= boundMs);
    const index = bucket < 0 ? BOUNDS_MS.length : bucket;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#sumMs += lagMs;
  }
}
