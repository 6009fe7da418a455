/**
 * Goes through the scenarios: in each round every contender once, in an order that is drawn anew, each time as a fresh
 * process. So what the machine does meanwhile, and how Node happened to compile, is in the noise and not in the ratio.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchPostgres } from './bench-postgres.ts';
import type { ContenderName, RunOptions, Sample, ScenarioResult } from './bench-result.ts';
import type { ChildProcesses } from './child-processes.ts';
import { startContender } from './contenders.ts';
import type { CommandPrefix } from './cpu-pinning.ts';
import { measure } from './measure.ts';
import { descriptorLimit } from './process-usage.ts';
import type { PgBouncer } from './programs.ts';
import { descriptorsNeeded, type Scenario } from './scenarios.ts';
import { seededRandom, shuffled } from './statistics.ts';
import { FIRST_JUDGED, isOlder } from './verdicts.ts';

export interface RunnerSite {
  readonly children: ChildProcesses;
  readonly directory: string;
  readonly postgres: BenchPostgres;
  readonly pgbench: string | null;
  readonly pgbouncer: PgBouncer | null;
  /** dist/main.js. */
  readonly tsbouncer: string;
  readonly contenders: readonly ContenderName[];
  /** What comes before the command of a pooler. */
  readonly prefix: CommandPrefix;
  readonly options: RunOptions;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/** A scenario that fails has its reason in `problem`, and the next one is gone on with. Rejects only when aborted. */
export async function runScenarios(site: RunnerSite, chosen: readonly Scenario[]): Promise<ScenarioResult[]> {
  const random = seededRandom(site.options.seed);
  const results: ScenarioResult[] = [];
  for (const scenario of chosen) {
    const result: ScenarioResult = { name: scenario.name, about: scenario.about, samples: {} };
    results.push(result);
    try {
      const obstacle = obstacleTo(site, scenario);
      if (obstacle === null) await runRounds(site, scenario, result, random);
      else result.problem = `not measured: ${obstacle}`;
    } catch (error) {
      site.signal.throwIfAborted();
      result.problem = `failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (result.problem !== undefined) site.progress(`${scenario.name}: ${result.problem}`);
  }
  return results;
}

function obstacleTo({ pgbench, postgres }: RunnerSite, { load, login }: Scenario): string | null {
  if (load.kind === 'pgbench' && pgbench === null) return 'pgbench is not installed';
  if (postgres.endpoint(login) === null) return `the server of BENCH_PG has no login of the kind ${login}`;
  const needed = descriptorsNeeded(load);
  const limit = descriptorLimit();
  if (limit < needed) return `the limit of open files is ${limit}, it needs ${needed} (ulimit -n)`;
  return null;
}

async function runRounds(
  site: RunnerSite,
  scenario: Scenario,
  result: ScenarioResult,
  random: () => number,
): Promise<void> {
  const taking = scenario.contenders.filter(
    (name) => site.contenders.includes(name) && (name !== 'pgbouncer' || canServe(site.pgbouncer, scenario)),
  );
  for (let round = 1; round <= site.options.pairs; round++) {
    const samples = new Map<ContenderName, Sample>();
    for (const name of shuffled(taking, random)) samples.set(name, await measureFresh(site, scenario, name));
    // Only whole rounds count, so that equal indices are pairs.
    for (const name of taking) (result.samples[name] ??= []).push(samples.get(name)!);
    const words = taking.map((name) => `${name} ${briefly(samples.get(name)!)}`);
    site.progress(`${scenario.name} ${round}/${site.options.pairs}: ${words.join(', ')}`);
  }
}

async function measureFresh(site: RunnerSite, scenario: Scenario, name: ContenderName): Promise<Sample> {
  const { postgres, signal } = site;
  signal.throwIfAborted();
  const { login, load } = scenario;
  const directory = join(site.directory, 'scenarios');
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const server = postgres.endpoint(login)!;
  const { verifier } = postgres;
  const contender = await startContender(name, { ...site, directory, server, login, verifier });
  try {
    return await measure({ ...site, directory }, load, contender);
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    await contender.stop();
  }
}

function briefly({ perSecond, cpuUs, kbPerClient }: Sample): string {
  if (kbPerClient !== undefined) return `${kbPerClient.toFixed(2)} KB`;
  const rate = `${(perSecond ?? 0).toFixed(0)}/s`;
  return cpuUs === undefined ? rate : `${rate} ${cpuUs.toFixed(1)} µs`;
}

/** An older PgBouncer fails on prepared statements in transaction mode. */
function canServe(pgbouncer: PgBouncer | null, { load }: Scenario): boolean {
  if (pgbouncer === null) return false;
  return load.kind !== 'pgbench' || load.protocol !== 'prepared' || !isOlder(pgbouncer.version, FIRST_JUDGED);
}
