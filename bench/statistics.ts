/** Medians, quantiles, intervals and seeded order: arithmetic on numbers whose meaning it does not know. */

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** The probability that the interval covers the true median, whatever the distribution is. */
  readonly coverage: number;
  readonly count: number;
}

const WANTED_COVERAGE = 0.95;

/**
 * The median and the shortest pair of order statistics that covers the true one with 95 %. With fewer than six values
 * there is none; then it is the whole range, and `coverage` says how little that is worth. Null for no values.
 */
export function medianInterval(values: readonly number[]): Interval | null {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  if (count === 0) return null;
  // P(fewer than `rank` of `count` fair coins show heads): the true median lies below the rank-th smallest value.
  let tail = 0.5 ** count;
  let term = tail;
  let rank = 1;
  for (let next = 1; next < count / 2; next++) {
    term *= (count - next + 1) / next;
    if (1 - 2 * (tail + term) < WANTED_COVERAGE) break;
    tail += term;
    rank = next + 1;
  }
  return {
    median: middleOf(sorted),
    low: sorted[rank - 1]!,
    high: sorted[count - rank]!,
    coverage: Math.max(0, 1 - 2 * tail),
    count,
  };
}

export function median(values: readonly number[]): number | null {
  return values.length === 0 ? null : middleOf([...values].sort((a, b) => a - b));
}

function middleOf(sorted: readonly number[]): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Nearest rank; NaN for no values. `sorted` ascends. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = Math.max(1, Math.ceil(fraction * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** Mulberry32: numbers in [0, 1), the same ones for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Fisher and Yates; a new array. */
export function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}
