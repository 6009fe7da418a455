/**
 * The benchmark's program: reads the command line, puts up PostgreSQL, has the scenarios run, prints and keeps the
 * result. Whatever happens, it leaves no process and no file of its own behind.
 */
import { rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { EmbeddedPostgresError } from '../src/embedded-postgres-install.ts';
import { type BenchPostgres, startBenchPostgres } from './bench-postgres.ts';
import type { BenchResult } from './bench-result.ts';
import { ChildProcesses } from './child-processes.ts';
import { reserveCpu } from './cpu-pinning.ts';
import { type BenchOptions, readOptions, USAGE, UsageError } from './options.ts';
import { describeMachine, describeSources, findPgBouncer, findProgram } from './programs.ts';
import { report } from './report.ts';
import { readResult, renderResult, writeResult } from './result-file.ts';
import { type RunnerSite, runScenarios } from './runner.ts';
import { scenarios } from './scenarios.ts';
import { SetupError } from './setup-error.ts';
import { missedBars, verdictsOn } from './verdicts.ts';

/** The compiled benchmark is elsewhere, so the checkout is where npm starts us. */
const ROOT = process.cwd();
const RESULTS = 'bench/results';
const SHARED_MEMORY = '/dev/shm';
const WANTED_BYTES = 2e9;
/** One Ctrl-C may reach us twice, from the terminal and from npm. */
const SECOND_SIGNAL_AFTER_MS = 1000;

const children = new ChildProcesses();
const abort = new AbortController();
const folders: string[] = [];

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options.action === 'help') return void process.stdout.write(USAGE);
  if (options.action === 'list') {
    const lines = scenarios.map(({ name, about }) => `${name.padEnd(24)}${about}\n`);
    return void process.stdout.write(lines.join(''));
  }
  if (options.action === 'show' && options.file !== null) {
    return print(await readResult(resolve(ROOT, options.file)), options);
  }
  if (process.platform !== 'linux') {
    throw new SetupError('the benchmark reads CPU and memory in /proc, which only Linux has');
  }
  handleSignals();
  const result = await run(options);
  const path = resolve(ROOT, options.file ?? defaultPath(result.date, options.isQuick));
  await writeResult(path, result);
  print(result, options);
  say(`kept in ${relative(ROOT, path)}`);
  if (result.scenarios.some(({ problem }) => problem?.startsWith('failed') === true)) process.exitCode = 1;
}

function print(result: BenchResult, { output, isStrict }: BenchOptions): void {
  process.stdout.write(output === 'json' ? renderResult(result) : report(result, output));
  if (!isStrict) return;
  const missed = missedBars(verdictsOn(result)).length;
  if (missed === 0) return;
  say(`bars missed: ${missed}`);
  process.exitCode = 1;
}

function defaultPath(date: string, isQuick: boolean): string {
  return join(RESULTS, `${date.slice(0, 19).replaceAll(':', '-')}${isQuick ? '-quick' : ''}.json`);
}

async function run(options: BenchOptions): Promise<BenchResult> {
  const date = new Date().toISOString();
  const built = process.env['TSBOUNCER'];
  const pgbouncer = options.contenders.includes('pgbouncer') ? await findPgBouncer(children) : null;
  const pgbench = findProgram('pgbench');
  sayWhatIsMissing(options, { pgbouncer: pgbouncer?.version ?? null, pgbench });
  const prefix = options.run.isPinned ? await reserveCpu(children) : [];
  const directory = await makeFolder((await hasRoom(SHARED_MEMORY)) ? SHARED_MEMORY : tmpdir());
  const programs = await makeFolder(tmpdir());
  const machine = describeMachine();
  const postgres = await startBenchPostgres({ data: join(directory, 'postgres'), programs });
  try {
    abort.signal.throwIfAborted();
    say(`PostgreSQL ${postgres.description}`);
    await prepare(postgres, options, pgbench, directory);
    const site: RunnerSite = {
      children,
      directory,
      postgres,
      pgbench,
      pgbouncer,
      tsbouncer: resolve(ROOT, built || 'dist/main.js'),
      contenders: options.contenders,
      prefix,
      options: options.run,
      signal: abort.signal,
      progress: say,
    };
    const results = await runScenarios(site, options.scenarios);
    abort.signal.throwIfAborted();
    const environment = {
      node: process.version,
      ...machine,
      postgres: postgres.description,
      pgbouncer: pgbouncer?.version ?? null,
      tsbouncer: built || (await describeSources(children, ROOT)),
    };
    return { date, environment, options: options.run, scenarios: results };
  } finally {
    children.killAll();
    await postgres.stop();
  }
}

function sayWhatIsMissing(
  { contenders }: BenchOptions,
  found: { readonly pgbouncer: string | null; readonly pgbench: string | null },
): void {
  if (found.pgbouncer !== null) say(`PgBouncer ${found.pgbouncer}`);
  else if (contenders.includes('pgbouncer')) {
    say('PgBouncer: none on the PATH (apt-get install pgbouncer, then /usr/sbin, or PGBOUNCER=path): left out');
  }
  if (found.pgbench === null) {
    say('pgbench: none on the PATH (apt-get install postgresql-contrib): what needs it is left out');
  }
}

async function prepare(
  postgres: BenchPostgres,
  options: BenchOptions,
  program: string | null,
  directory: string,
): Promise<void> {
  const needsTables = options.scenarios.some(({ load }) => load.kind === 'pgbench' && load.script === null);
  await postgres.prepare(needsTables && program !== null ? { children, program, directory } : null);
}

async function hasRoom(folder: string): Promise<boolean> {
  const space = await statfs(folder).catch(() => null);
  return space !== null && space.bavail * space.bsize > WANTED_BYTES;
}

/** Others must be able to pass through it: PostgreSQL and PgBouncer do not run as root. */
async function makeFolder(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'tsbouncer-bench-'));
  folders.push(folder);
  await chmod(folder, 0o711);
  return folder;
}

/** The first signal ends the children, which fails what waits for them, so that `run` tidies up; a later one ends us. */
function handleSignals(): void {
  let firstAt: number | null = null;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      firstAt ??= performance.now();
      if (performance.now() - firstAt > SECOND_SIGNAL_AFTER_MS) process.exit(130);
      abort.abort(new Error(`ended by ${signal}`));
      children.killAll();
    });
  }
}

process.on('exit', () => {
  children.killAll();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

main().catch((error: unknown) => {
  if (error instanceof UsageError) say(`${error.message}\n\n${USAGE}`);
  else if (error instanceof SetupError || error instanceof EmbeddedPostgresError) say(error.message);
  else if (abort.signal.aborted) say(String(abort.signal.reason));
  else say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = error instanceof UsageError ? 2 : abort.signal.aborted ? 130 : 1;
});
