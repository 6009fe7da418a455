/** One measurement of one contender: warm-up, load, and what it has cost. It neither compares nor repeats. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SINK_TABLE } from './bench-postgres.ts';
import type { RunOptions, Sample } from './bench-result.ts';
import type { ChildProcesses } from './child-processes.ts';
import type { Contender } from './contenders.ts';
import type { LoadResult } from './load-job.ts';
import { LoadProcess } from './load-process.ts';
import { runPgbench } from './pgbench.ts';
import { cpuTimeOf, memoryOf } from './process-usage.ts';
import type { CopyLoad, IdleLoad, Load, LoginLoad, PgbenchLoad } from './scenarios.ts';

export interface MeasureSite {
  readonly children: ChildProcesses;
  readonly directory: string;
  /** Null when it is not installed; then only loads of our own are measured. */
  readonly pgbench: string | null;
  readonly options: RunOptions;
  readonly signal: AbortSignal;
}

/** Enough for a p99; a log of all transactions would be load by itself. */
const WANTED_LATENCIES = 20_000;
const COPY_BYTES = 20_000_000;
const COPY_OUT = "COPY (SELECT i, repeat('x', 90) FROM generate_series(1, 200000) AS i) TO STDOUT";
const COPY_IN = `COPY ${SINK_TABLE} FROM STDIN WHERE false`;
const GRACE_MS = 60_000;
/** Of the logins that are measured, this part comes before them. */
const WARMUP_SHARE = 8;
/** PgBouncer has been seen to take half a minute for thousands of logins. */
const LOGINS_TIMEOUT_MS = 180_000;

export async function measure(site: MeasureSite, load: Load, contender: Contender): Promise<Sample> {
  if (load.kind === 'pgbench') return measurePgbench(site, load, contender);
  const loader = await LoadProcess.start(site.children, join(site.directory, 'load.log'));
  try {
    switch (load.kind) {
      case 'copy':
        return await measureCopy(site, load, contender, loader);
      case 'logins':
        return await measureLogins(load, contender, loader);
      case 'idle':
        return await measureIdle(site, load, contender, loader);
    }
  } finally {
    await loader.end();
  }
}

async function measurePgbench(site: MeasureSite, load: PgbenchLoad, contender: Contender): Promise<Sample> {
  const { children, directory, pgbench, options } = site;
  if (pgbench === null) throw new Error('there is no pgbench');
  const place = { children, directory, program: pgbench };
  const { endpoint } = contender;
  const { perSecond, connectSeconds } = await runPgbench(place, endpoint, load, options.warmupSeconds);
  const seconds = options.seconds + Math.ceil(connectSeconds - 0.1);
  const latencies = { wanted: WANTED_LATENCIES, expected: perSecond * options.seconds };
  const { used, result } = await usageOf(contender, async () => {
    const run = await runPgbench(place, endpoint, load, seconds, latencies);
    return { ...run, count: run.transactions };
  });
  return { perSecond: result.perSecond, p50Ms: result.p50Ms, p99Ms: result.p99Ms, ...used };
}

async function measureCopy(
  { options }: MeasureSite,
  load: CopyLoad,
  contender: Contender,
  loader: LoadProcess,
): Promise<Sample> {
  const isIn = load.direction === 'in';
  const job = (seconds: number): Promise<LoadResult> =>
    loader.do(
      {
        kind: 'copy',
        endpoint: contender.endpoint,
        sql: isIn ? COPY_IN : COPY_OUT,
        sendBytes: isIn ? COPY_BYTES : 0,
        clients: load.clients,
        seconds,
      },
      seconds * 1000 + GRACE_MS,
    );
  await job(options.warmupSeconds);
  const { used, result } = await usageOf(contender, () => job(options.seconds));
  return { perSecond: result.count / result.seconds, p50Ms: result.p50Ms, p99Ms: result.p99Ms, ...used };
}

async function measureLogins(load: LoginLoad, contender: Contender, loader: LoadProcess): Promise<Sample> {
  const { endpoint } = contender;
  const job = (count: number): Promise<LoadResult> => {
    const concurrency = Math.min(load.concurrency, count);
    return loader.do({ kind: 'logins', endpoint, count, concurrency }, LOGINS_TIMEOUT_MS);
  };
  await job(Math.ceil(load.count / WARMUP_SHARE));
  const { used, result } = await usageOf(contender, () => job(load.count));
  const { count, seconds, p50Ms, p99Ms } = result;
  return { perSecond: count / seconds, seconds, p50Ms, p99Ms, ...used };
}

/** At rest: what the logins have left behind may have been collected by then, and what the clients need is left. */
async function measureIdle(
  { options, signal }: MeasureSite,
  load: IdleLoad,
  contender: Contender,
  loader: LoadProcess,
): Promise<Sample> {
  const { endpoint, pid } = contender;
  if (pid === null) throw new Error('no process whose memory could be read');
  const { concurrency } = load;
  const rest = (): Promise<void> => sleep(options.restSeconds * 1000, undefined, { signal });
  await loader.do({ kind: 'open', endpoint, count: load.warmupClients, concurrency }, LOGINS_TIMEOUT_MS);
  await loader.do({ kind: 'close' }, GRACE_MS);
  await rest();
  const before = memoryOf(pid);
  await loader.do({ kind: 'open', endpoint, count: load.clients, concurrency }, LOGINS_TIMEOUT_MS);
  await rest();
  const after = memoryOf(pid);
  // It fails if one of them has been disconnected, who would have needed no memory.
  await loader.do({ kind: 'close' }, GRACE_MS);
  return {
    kbPerClient: (after.residentKb - before.residentKb) / load.clients,
    rssMb: after.residentKb / 1024,
    peakRssMb: after.peakKb / 1024,
  };
}

/** The CPU per transaction, and the memory, that a contender has used while `run` ran. */
async function usageOf<Result extends { readonly count: number }>(
  { pid }: Contender,
  run: () => Promise<Result>,
): Promise<{ used: Sample; result: Result }> {
  const before = pid === null ? null : cpuTimeOf(pid);
  const result = await run();
  if (pid === null || before === null) return { used: {}, result };
  const after = cpuTimeOf(pid);
  const memory = memoryOf(pid);
  const userUs = ((after.userMs - before.userMs) * 1000) / result.count;
  const systemUs = ((after.systemMs - before.systemMs) * 1000) / result.count;
  const used = {
    cpuUs: userUs + systemUs,
    userUs,
    systemUs,
    rssMb: memory.residentKb / 1024,
    peakRssMb: memory.peakKb / 1024,
  };
  return { used, result };
}
