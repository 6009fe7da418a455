/** Says in tables what a run has found out. It computes nothing but what `ratios.ts` and `verdicts.ts` do. */
import { type BenchResult, CONTENDERS, type Metric, type ScenarioResult } from './bench-result.ts';
import { medianOf, ratioTo } from './ratios.ts';
import type { Interval } from './statistics.ts';
import { type TableStyle, textTable } from './text-table.ts';
import { labelOf, type Verdict, verdictsOn } from './verdicts.ts';

type Column = readonly [title: string, metric: Metric];

const RATE_COLUMNS: readonly Column[] = [
  ['per s', 'perSecond'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['CPU µs', 'cpuUs'],
  ['user', 'userUs'],
  ['system', 'systemUs'],
  ['RSS MB', 'rssMb'],
  ['peak', 'peakRssMb'],
];
const IDLE_COLUMNS: readonly Column[] = [
  ['KB per client', 'kbPerClient'],
  ['RSS MB', 'rssMb'],
  ['peak', 'peakRssMb'],
];
const RATIO_COLUMNS: readonly Column[] = [
  ['throughput', 'perSecond'],
  ['p50', 'p50Ms'],
  ['p99', 'p99Ms'],
  ['CPU', 'cpuUs'],
  ['RSS', 'rssMb'],
  ['per client', 'kbPerClient'],
];
const NOTHING = '–';

export function report(result: BenchResult, style: TableStyle): string {
  const parts = [heading(result, style)];
  const measured = result.scenarios.filter(({ samples }) => Object.keys(samples).length > 0);
  const rates = measured.filter((scenario) => !isIdle(scenario));
  const idle = measured.filter(isIdle);
  if (rates.length > 0) {
    parts.push('Medians of all rounds; CPU of the pooler alone, per transaction or login:');
    parts.push(medians(result, rates, RATE_COLUMNS, style));
  }
  if (idle.length > 0) parts.push('Memory at rest:', medians(result, idle, IDLE_COLUMNS, style));
  const ratios = ratioRows(result, measured);
  if (ratios.length > 0) {
    parts.push(`tsbouncer in comparison, pair by pair: ${ofIntervals(result)}`);
    const titles = ['scenario', 'to ', ...RATIO_COLUMNS.map(([title]) => title)];
    parts.push(textTable(titles, ratios, style));
  }
  const problems = result.scenarios.filter(({ problem }) => problem !== undefined);
  if (problems.length > 0) parts.push(problems.map(({ name, problem }) => `${name}: ${problem}`).join('\n'));
  const verdicts = verdictsOn(result);
  if (verdicts.length > 0) parts.push('The bars:', verdictTable(verdicts, style));
  return `${parts.join('\n\n')}\n`;
}

function heading({ date, environment, options }: BenchResult, style: TableStyle): string {
  const { node, kernel, cpu, cores, loadAverage, postgres, pgbouncer, tsbouncer } = environment;
  const lines = [
    `${date}: tsbouncer ${tsbouncer} on Node ${node}; PostgreSQL ${postgres}; PgBouncer ${pgbouncer ?? 'none'}`,
    `${kernel}, ${cores} × ${cpu}, load average at the start ${loadAverage.toFixed(2)}`,
    `${options.pairs} rounds of ${options.seconds} s after ${options.warmupSeconds} s to warm up, ` +
      `${options.restSeconds} s of rest, seed ${options.seed}${options.isPinned ? ', the pooler on a CPU of its own' : ''}`,
  ];
  return style === 'plain' ? lines.join('\n') : lines.map((line) => `- ${line}`).join('\n');
}

function isIdle({ samples }: ScenarioResult): boolean {
  return samples.tsbouncer?.some(({ kbPerClient }) => kbPerClient !== undefined) ?? false;
}

function medians(
  { environment }: BenchResult,
  scenarios: readonly ScenarioResult[],
  columns: readonly Column[],
  style: TableStyle,
): string {
  const rows = scenarios.flatMap((scenario) =>
    CONTENDERS.filter((name) => scenario.samples[name] !== undefined).map((name, index) => [
      index === 0 || style === 'markdown' ? scenario.name : '',
      labelOf(name, environment.pgbouncer),
      ...columns.map(([, metric]) => formatNumber(medianOf(scenario, name, metric))),
    ]),
  );
  return textTable(['scenario', 'by ', ...columns.map(([title]) => title)], rows, style);
}

function ratioRows({ environment }: BenchResult, scenarios: readonly ScenarioResult[]): string[][] {
  return scenarios.flatMap((scenario) =>
    (['relay', 'pgbouncer'] as const)
      .map((base) => ({ base, ratios: RATIO_COLUMNS.map(([, metric]) => ratioTo(scenario, base, metric)) }))
      .filter(({ ratios }) => ratios.some((ratio) => ratio !== null))
      .map(({ base, ratios }) => [
        scenario.name,
        labelOf(base, environment.pgbouncer),
        ...ratios.map((ratio) => formatInterval(ratio, '')),
      ]),
  );
}

function verdictTable(verdicts: readonly Verdict[], style: TableStyle): string {
  const rows = verdicts.map(({ what, scenario, bar, unit, measured, outcome, isClose }) => [
    what,
    scenario,
    bar,
    formatInterval(measured, unit),
    isClose && !outcome.startsWith('not') ? `${outcome}, but the interval holds the bar` : outcome,
  ]);
  return textTable(['bar', 'scenario ', 'limit', 'measured', 'verdict '], rows, style);
}

/** What the numbers in parentheses are, for the number of rounds that there were. */
function ofIntervals({ scenarios }: BenchResult): string {
  const coverages = scenarios.flatMap((scenario) => ratioTo(scenario, 'pgbouncer', 'rssMb')?.coverage ?? []);
  const [coverage = scenarios.map((scenario) => ratioTo(scenario, 'relay', 'rssMb')?.coverage ?? 0)[0] ?? 0] =
    coverages;
  return `the median of the ratios (and the interval that covers it with ${(coverage * 100).toFixed(0)} %)`;
}

function formatInterval(interval: Interval | null, unit: string): string {
  if (interval === null) return NOTHING;
  const { median, low, high } = interval;
  return `${median.toFixed(2)}${unit} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

/** Three digits that say something. */
function formatNumber(value: number | null): string {
  if (value === null) return NOTHING;
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 0.01))));
  return value.toFixed(digits);
}
