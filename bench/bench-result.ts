/** The shape of what a run of the benchmark has found out, as it is kept in `results/`. It holds no arithmetic. */

export const CONTENDERS = ['direct', 'relay', 'pgbouncer', 'tsbouncer'] as const;
export type ContenderName = (typeof CONTENDERS)[number];

/** CPU is that of the pooler's process alone, per transaction (or per login). Memory is its resident set. */
export type Metric =
  | 'perSecond'
  | 'p50Ms'
  | 'p99Ms'
  | 'cpuUs'
  | 'userUs'
  | 'systemUs'
  | 'rssMb'
  | 'peakRssMb'
  | 'seconds'
  | 'kbPerClient';

/** One measurement. A metric is absent where it makes no sense: `direct` has no pooler whose CPU could be counted. */
export type Sample = Readonly<Partial<Record<Metric, number>>>;

export interface ScenarioResult {
  readonly name: string;
  readonly about: string;
  /** By contender, the sample of each round: entries of the same index were measured next to each other. */
  readonly samples: Partial<Record<ContenderName, Sample[]>>;
  /** Why the scenario was not measured, or not to its end. */
  problem?: string;
}

export interface RunOptions {
  readonly pairs: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly restSeconds: number;
  readonly seed: number;
  /** Whether the pooler had a CPU of its own. */
  readonly isPinned: boolean;
}

interface RunEnvironment {
  readonly node: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly loadAverage: number;
  readonly postgres: string;
  /** As in `1.18.0`; null when there is none. */
  readonly pgbouncer: string | null;
  /** The commit, with `+changes` when the sources differ from it. */
  readonly tsbouncer: string;
}

export interface BenchResult {
  /** When it began, ISO 8601. */
  readonly date: string;
  readonly environment: RunEnvironment;
  readonly options: RunOptions;
  readonly scenarios: ScenarioResult[];
}
