/**
 * The embedded default of `npm start` without a config file: a real PostgreSQL from npm, a password that is made once,
 * and the config of a pooler in front of them. It neither starts the pooler nor knows how one is built.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { Environment } from './base/environment.ts';
import type { Logger } from './base/logger.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { EmbeddedPostgresError, systemErrorCode } from './embedded-postgres-install.ts';

const USER = 'postgres';

export interface DemoOptions {
  readonly log: Logger;
  readonly environment: Pick<Environment, 'randomBytes'>;
  /** By default `.tsbouncer` in the current folder. Data and password are kept in it from start to start. */
  readonly directory?: string;
}

/** In the shape of the YAML file; a type and not an interface, so that it passes where any object is taken. */
type DemoConfig = {
  readonly pgbouncer: {
    readonly listen_addr: string;
    readonly listen_port: number;
    readonly pool_mode: 'transaction';
    readonly auth_type: 'scram-sha-256';
    readonly auth_file: string;
    readonly admin_users: string;
    readonly http_port: number;
  };
  readonly databases: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
};

export interface Demo {
  readonly config: DemoConfig;
  readonly password: string;
  /** Where the data is. */
  readonly directory: string;
  /** PostgreSQL's, as in `18.4`. */
  readonly version: string;
  /** Fulfilled when PostgreSQL is gone, whoever ended it. */
  readonly exited: Promise<void>;
  /** Shuts PostgreSQL down and cuts its sessions: drain the pooler first. */
  stop(): Promise<void>;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Rejects with an EmbeddedPostgresError, whose message is one line for the user, if it cannot run here. */
export async function startDemo({ log, environment, directory = '.tsbouncer' }: DemoOptions): Promise<Demo> {
  const folder = resolve(directory);
  const authFile = join(folder, 'users.txt');
  const known = await readPassword(authFile);
  const password = known ?? environment.randomBytes(18).toString('base64url');
  // Before the data, so that there is never data without its password.
  if (known === null) await writePassword(folder, authFile, password);

  const postgres = await startEmbeddedPostgres({
    directory: folder,
    superuser: USER,
    password,
    authMethod: 'scram-sha-256',
    notice: (line) => log.warn({}, line),
  });
  if (known === null && !postgres.created) {
    await postgres.stop();
    await rm(authFile); // it would pass for the right one at the next start
    throw new EmbeddedPostgresError(
      `${authFile} is gone, and with it the password of the data in ${postgres.directory}: ` +
        `put the file back, or remove ${folder} to start afresh`,
    );
  }
  log.info({ port: postgres.port, data: postgres.directory }, `embedded PostgreSQL ${postgres.version} is ready`);

  const server = { host: postgres.host, port: postgres.port };
  return {
    config: {
      pgbouncer: {
        listen_addr: '127.0.0.1',
        listen_port: 6432,
        pool_mode: 'transaction',
        auth_type: 'scram-sha-256',
        auth_file: authFile,
        admin_users: USER,
        http_port: 9127,
      },
      databases: { postgres: server, '*': server },
    },
    password,
    directory: postgres.directory,
    version: postgres.version,
    exited: postgres.exited,
    stop: () => postgres.stop(),
  };
}

/** What to print when the pooler listens: lines to be pasted into another terminal, in the project's folder. */
export function demoBanner(
  demo: Pick<Demo, 'password' | 'directory' | 'version'>,
  addresses: { readonly pooler: Address; readonly metrics: Address | null },
): string {
  const { pooler, metrics } = addresses;
  const base = `postgres://${USER}:${demo.password}@${pooler.host}:${pooler.port}`;
  const url = `${base}/postgres`;
  const lines = [
    `tsbouncer listens on ${pooler.host}:${pooler.port}, in front of a PostgreSQL ${demo.version} of its own`,
    `(data in ${demo.directory}). In another terminal:`,
    '',
    `  psql ${url}`,
  ];
  if (canRequirePg()) {
    const program =
      `const c=new(require('pg').Client)('${url}');c.connect();` +
      `c.query('select version()').then(r=>{console.log(r.rows);c.end()})`;
    lines.push('', 'or, without psql:', '', `  node -e "${program}"`);
  }
  lines.push('', "The pooler's console, as PgBouncer's:", '', `  psql ${base}/pgbouncer -c 'show pools'`);
  if (metrics !== null) lines.push('', `Metrics: http://${metrics.host}:${metrics.port}/metrics`);
  return `${lines.join('\n')}\n`;
}

/** A production install has no `pg`; `node -e` looks for it from the current folder. */
function canRequirePg(): boolean {
  try {
    createRequire(join(process.cwd(), 'paste.js')).resolve('pg');
    return true;
  } catch {
    return false;
  }
}

async function readPassword(authFile: string): Promise<string | null> {
  const text = await readFile(authFile, 'utf8').catch((error: unknown) => {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return '';
    throw new EmbeddedPostgresError(
      `cannot read ${authFile} (${code ?? String(error)}): start as the user who made it, or in another folder`,
    );
  });
  return /^"postgres" "([^"]+)"$/m.exec(text)?.[1] ?? null;
}

async function writePassword(folder: string, authFile: string, password: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(authFile, `"${USER}" "${password}"\n`, { mode: 0o600 });
  } catch (error) {
    throw new EmbeddedPostgresError(
      `cannot write ${authFile} (${systemErrorCode(error) ?? String(error)}): start in a folder that is yours`,
    );
  }
}
