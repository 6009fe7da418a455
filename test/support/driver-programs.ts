/**
 * The programs in `drivers/`, each of which uses one driver as applications do, and how several of them are run at once.
 *
 * A program is started as `program CASE NAME` and finds its target in PGHOST, PGPORT, PGUSER and PGDATABASE. It connects,
 * says `ready`, waits for a line, and plays the case. Each of its questions holds a token made of NAME, and it ends with
 * an error if an answer is not the one to its question. At the end it says how many answers it has checked, and which
 * backends have given them: {"answers":40,"pids":[17,18]}.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { findPackage } from '../../src/embedded-postgres-install.ts';
import type { DriverTarget } from './driver-target.ts';
import { JDBC, type SystemClient, SystemProcess } from './system-clients.ts';

const FOLDER = join(import.meta.dirname, 'drivers');

export interface DriverProgram {
  readonly client: SystemClient;
  readonly argv: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface DriverReport {
  readonly answers: number;
  readonly pids: readonly number[];
}

export const psycopg: DriverProgram = { client: 'psycopg', argv: [join(FOLDER, 'psycopg-client.py')] };
export const asyncpg: DriverProgram = { client: 'asyncpg', argv: [join(FOLDER, 'asyncpg-client.py')] };
export const dbdPg: DriverProgram = { client: 'DBD::Pg', argv: [join(FOLDER, 'dbd-pg-client.pl')] };
export const pdo: DriverProgram = { client: 'PDO', argv: [join(FOLDER, 'pdo-client.php')] };

/** Compiles it into `folder`: Java can run a source file too, but would compile it again for each client. */
export function compileJdbcClient(folder: string): DriverProgram {
  execFileSync('/usr/bin/javac', ['-cp', JDBC, '-d', folder, join(FOLDER, 'JdbcClient.java')], { stdio: 'pipe' });
  const quickStart = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto'];
  return { client: 'JDBC', argv: [...quickStart, '-cp', `${folder}:${JDBC}`, 'JdbcClient'] };
}

/** What makes a program of the system use the embedded PostgreSQL's libpq, which is of version 18. Until the test ends. */
export function libpq18(): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-libpq-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  // Not the package's own folder: its other libraries are older than the system's.
  const libraries = join(findPackage(), 'native', 'lib');
  for (const name of ['libssl.so.1.1', 'libcrypto.so.1.1']) symlinkSync(join(libraries, name), join(folder, name));
  symlinkSync(join(libraries, 'libpq.so.5.18'), join(folder, 'libpq.so.5'));
  return { LD_LIBRARY_PATH: folder };
}

/** Runs `clients` of it at once; rejects with what a program says of its failure. */
export async function runDrivers(
  program: DriverProgram,
  name: string,
  target: DriverTarget,
  clients: number,
): Promise<DriverReport[]> {
  const environment = {
    PGHOST: target.host,
    PGPORT: String(target.port),
    PGUSER: 'dave',
    PGDATABASE: target.database,
    ...program.environment,
  };
  const processes = Array.from(
    { length: clients },
    (_, i) => new SystemProcess(program.client, [...program.argv, name, `client${i}`], environment),
  );
  await Promise.all(processes.map((process) => process.says('ready\n')));
  for (const process of processes) process.write('go\n');
  return Promise.all(
    processes.map(async (process, i) => {
      const { stdout, stderr, code } = await process.end();
      const report = stdout.replace(/^ready\n/, '');
      if (code !== 0 || stderr !== '') throw new Error(`client${i} ended with ${code}: ${stderr}${report}`);
      return JSON.parse(report) as DriverReport;
    }),
  );
}
