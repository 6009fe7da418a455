/** What tsbouncer's samples are in comparison with another's: a ratio for each pair, then their median. */
import type { ContenderName, Metric, ScenarioResult } from './bench-result.ts';
import { type Interval, median, medianInterval } from './statistics.ts';

export function medianOf(result: ScenarioResult, contender: ContenderName, metric: Metric): number | null {
  return median(valuesOf(result, contender, metric));
}

export function intervalOf(result: ScenarioResult, contender: ContenderName, metric: Metric): Interval | null {
  return medianInterval(valuesOf(result, contender, metric));
}

/** tsbouncer's value over that of `base`, pair by pair. Null where one of them was not measured. */
export function ratioTo(result: ScenarioResult, base: ContenderName, metric: Metric): Interval | null {
  const mine = result.samples.tsbouncer ?? [];
  const ratios = mine.flatMap((sample, round) => {
    const ratio = (sample[metric] ?? Number.NaN) / (result.samples[base]?.[round]?.[metric] ?? Number.NaN);
    return Number.isFinite(ratio) ? [ratio] : [];
  });
  return medianInterval(ratios);
}

/** The times of /proc have steps, and pgbench may have logged no latency: such values are left out. */
function valuesOf(result: ScenarioResult, contender: ContenderName, metric: Metric): number[] {
  const samples = result.samples[contender] ?? [];
  return samples.map((sample) => sample[metric] ?? Number.NaN).filter((value) => Number.isFinite(value));
}
