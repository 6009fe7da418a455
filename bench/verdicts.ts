/** The bars, and which of them a result meets. It measures nothing, and prints nothing. */
import type { BenchResult, ContenderName, Metric, ScenarioResult } from './bench-result.ts';
import { intervalOf, ratioTo } from './ratios.ts';
import type { Interval } from './statistics.ts';

interface Bar {
  readonly what: string;
  readonly scenarios: readonly string[];
  readonly metric: Metric;
  /** What tsbouncer's value is divided by; null: the value itself is held against the limit. */
  readonly base: 'relay' | 'pgbouncer' | null;
  readonly unit: '×' | ' KB';
  readonly limit: number;
  readonly better: 'lower' | 'higher';
  /** Something to strive for: missing it is not counted. */
  readonly isGoal?: boolean;
  /** Older ones are only shown. */
  readonly oldestPgBouncer?: readonly [major: number, minor: number];
}

export interface Verdict {
  readonly what: string;
  readonly scenario: string;
  /** As in `≤ 1.15×`. */
  readonly bar: string;
  readonly unit: string;
  readonly measured: Interval | null;
  readonly outcome: 'met' | 'MISSED' | 'goal met' | 'goal missed' | 'not judged' | 'not measured';
  /** Whether the interval holds the limit, so that another run may decide otherwise. */
  readonly isClose: boolean;
}

const SELECTS_16 = ['select-1-simple-16', 'select-1-extended-16', 'pgbench-S-simple-16', 'pgbench-S-extended-16'];
const SELECTS = [
  ...SELECTS_16,
  'select-1-simple-1',
  'select-1-extended-1',
  'select-1-simple-128',
  'select-1-extended-128',
];
const PREPARED_16 = ['select-1-prepared-16', 'pgbench-S-prepared-16'];
/** The first PgBouncer with prepared statements in transaction mode. */
export const FIRST_JUDGED = [1, 21] as const;

const bars: readonly Bar[] = [
  {
    what: 'CPU per transaction, to the relay (must)',
    scenarios: SELECTS_16,
    metric: 'cpuUs',
    base: 'relay',
    unit: '×',
    limit: 1.15,
    better: 'lower',
  },
  ...[1.4, 1.25].map(
    (limit): Bar => ({
      what: `CPU per transaction, to PgBouncer${limit === 1.25 ? ' (goal)' : ''}`,
      scenarios: SELECTS_16,
      metric: 'cpuUs',
      base: 'pgbouncer',
      unit: '×',
      limit,
      better: 'lower',
      isGoal: limit === 1.25,
      oldestPgBouncer: FIRST_JUDGED,
    }),
  ),
  {
    what: 'CPU per transaction of prepared statements, to PgBouncer',
    scenarios: PREPARED_16,
    metric: 'cpuUs',
    base: 'pgbouncer',
    unit: '×',
    limit: 1,
    better: 'lower',
    oldestPgBouncer: FIRST_JUDGED,
  },
  {
    what: 'throughput, to PgBouncer',
    scenarios: SELECTS,
    metric: 'perSecond',
    base: 'pgbouncer',
    unit: '×',
    limit: 0.9,
    better: 'higher',
  },
  {
    what: 'CPU of a 5 MB result, to PgBouncer',
    scenarios: ['result-5mb-rows', 'result-5mb-values'],
    metric: 'cpuUs',
    base: 'pgbouncer',
    unit: '×',
    limit: 0.5,
    better: 'lower',
  },
  {
    what: 'memory of an idle client',
    scenarios: ['idle-clients'],
    metric: 'kbPerClient',
    base: null,
    unit: ' KB',
    limit: 6,
    better: 'lower',
  },
  {
    what: 'time of 8,000 logins, to PgBouncer',
    scenarios: ['logins', 'logins-at-once'],
    metric: 'seconds',
    base: 'pgbouncer',
    unit: '×',
    limit: 1,
    better: 'lower',
  },
];

/** One for each bar and each of its scenarios that the run was to measure. */
export function verdictsOn({ scenarios, environment }: BenchResult): Verdict[] {
  return bars.flatMap((bar) => {
    const chosen = bar.scenarios.flatMap((name) => scenarios.filter((scenario) => scenario.name === name));
    return chosen.map((scenario) => judge(bar, scenario, environment.pgbouncer));
  });
}

/** Those that `--strict` is about. */
export function missedBars(verdicts: readonly Verdict[]): Verdict[] {
  return verdicts.filter(({ outcome }) => outcome === 'MISSED');
}

function judge(bar: Bar, scenario: ScenarioResult, pgbouncer: string | null): Verdict {
  const { metric, base, better, limit } = bar;
  const measured = base === null ? intervalOf(scenario, 'tsbouncer', metric) : ratioTo(scenario, base, metric);
  return {
    what: bar.what,
    scenario: scenario.name,
    bar: `${better === 'lower' ? '≤' : '≥'} ${limit.toFixed(2)}${bar.unit}`,
    unit: bar.unit,
    measured,
    outcome: outcomeOf(bar, measured, pgbouncer),
    isClose: measured !== null && measured.low < limit && limit < measured.high,
  };
}

function outcomeOf(bar: Bar, measured: Interval | null, pgbouncer: string | null): Verdict['outcome'] {
  if (measured === null) return 'not measured';
  if (bar.oldestPgBouncer !== undefined && isOlder(pgbouncer ?? '0', bar.oldestPgBouncer)) return 'not judged';
  const isMet = bar.better === 'lower' ? measured.median <= bar.limit : measured.median >= bar.limit;
  if (bar.isGoal === true) return isMet ? 'goal met' : 'goal missed';
  return isMet ? 'met' : 'MISSED';
}

export function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [itsMajor = 0, itsMinor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return itsMajor < major || (itsMajor === major && itsMinor < minor);
}

/** How a contender is called in a table. */
export function labelOf(name: ContenderName, pgbouncer: string | null): string {
  return name === 'pgbouncer' ? `PgBouncer ${pgbouncer ?? ''}`.trim() : name;
}
