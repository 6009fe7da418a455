/** Runs pgbench and reads what it says. It does not know whom it is sent against. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChildProcesses, lastLines } from './child-processes.ts';
import type { Endpoint } from './raw-client.ts';
import type { PgbenchLoad } from './scenarios.ts';
import { quantile } from './statistics.ts';

export interface PgbenchRun {
  readonly transactions: number;
  readonly perSecond: number;
  /** NaN when no latencies were wanted. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** What connecting took before the first transaction; it is in the time that pgbench was told, but not in its rate. */
  readonly connectSeconds: number;
}

export interface PgbenchSite {
  readonly children: ChildProcesses;
  readonly program: string;
  /** For scripts and logs. */
  readonly directory: string;
}

/** What a run may take longer than it was told to, for connecting and for the last transactions. */
const GRACE_MS = 30_000;
const MOST_SECONDS_TO_CONNECT = 10;
const LOG_PREFIX = 'latencies';

/**
 * `latencies`: about how many of them are to be logged, and how many transactions are expected; a log of all would slow
 * pgbench down. Rejects if a single transaction fails.
 */
export async function runPgbench(
  site: PgbenchSite,
  endpoint: Endpoint,
  load: PgbenchLoad,
  seconds: number,
  latencies?: { readonly wanted: number; readonly expected: number },
): Promise<PgbenchRun> {
  const args = ['-n', '-M', load.protocol, '-c', String(load.clients), '-T', String(seconds)];
  if (load.reconnect) args.push('-C');
  if (load.script === null) args.push('-S');
  else {
    const path = join(site.directory, 'script.sql');
    await writeFile(path, `${load.script}\n`);
    args.push('-f', path);
  }
  if (latencies !== undefined) {
    const rate = Math.min(1, Math.max(0.001, latencies.wanted / Math.max(1, latencies.expected)));
    args.push('-l', `--log-prefix=${join(site.directory, LOG_PREFIX)}`, `--sampling-rate=${rate.toFixed(4)}`);
  }
  const output = await pgbench(site, endpoint, args, seconds * 1000 + GRACE_MS);
  const transactions = Number(/number of transactions actually processed: (\d+)/.exec(output)?.[1]);
  const perSecond = Number(/^tps = ([\d.]+)/m.exec(output)?.[1]);
  const failed = Number(/number of failed transactions: (\d+)/.exec(output)?.[1] ?? 0);
  if (failed > 0) throw new Error(`pgbench: ${lastLines(output)}`);
  const isEmpty = !(transactions > 0) || !(perSecond > 0);
  // All its time has gone into connecting.
  if (isEmpty && seconds < MOST_SECONDS_TO_CONNECT) return runPgbench(site, endpoint, load, seconds * 2, latencies);
  if (isEmpty) throw new Error(`pgbench: ${lastLines(output)}`);
  const connectSeconds = Number(/initial connection time = ([\d.]+) ms/.exec(output)?.[1] ?? 0) / 1000;
  return { transactions, perSecond, connectSeconds, ...(await readLatencies(site.directory)) };
}

/** Makes pgbench's tables, of 100,000 rows times `scale`. */
export async function makePgbenchTables(site: PgbenchSite, endpoint: Endpoint, scale: number): Promise<void> {
  await pgbench(site, endpoint, ['-i', '-q', '-s', String(scale)], 10 * GRACE_MS);
}

async function pgbench(
  { children, program, directory }: PgbenchSite,
  endpoint: Endpoint,
  args: readonly string[],
  timeoutMs: number,
): Promise<string> {
  const { host, port, user, password, database } = endpoint;
  const where = ['-h', host, '-p', String(port), '-U', user, database];
  const env = {
    PGPASSWORD: password,
    // No question for encryption first, which would be another round trip for each connection.
    PGSSLMODE: 'disable',
    PGGSSENCMODE: 'disable',
  };
  const { code, output } = await children.run(program, [...args, ...where], { env, cwd: directory, timeoutMs });
  if (code !== 0) throw new Error(`pgbench: ${lastLines(output)}`);
  return output;
}

/** The third field of each line is the latency in microseconds. The logs are gone afterwards. */
async function readLatencies(directory: string): Promise<{ p50Ms: number; p99Ms: number }> {
  const names = (await readdir(directory)).filter((name) => name.startsWith(`${LOG_PREFIX}.`));
  const values: number[] = [];
  for (const name of names) {
    for (const line of (await readFile(join(directory, name), 'utf8')).split('\n')) {
      const microseconds = Number(line.split(' ')[2]);
      if (microseconds > 0) values.push(microseconds / 1000);
    }
    await rm(join(directory, name));
  }
  const sorted = Float64Array.from(values).sort();
  return { p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
}
