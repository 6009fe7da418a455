/**
 * A real PostgreSQL for tests, with users for each way of logging in, and questions that are asked directly, never
 * through the pooler. It knows neither the pooler nor the test runner.
 */
import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Client, type QueryResult, type QueryResultRow } from 'pg';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  type StopMode,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres.ts';
import { findPackage } from '../../src/embedded-postgres-install.ts';
import { makeClusterDirectory } from './cluster-directory.ts';

export type PostgresVersion = 15 | 18;

/** Every user of a cluster: how the server asks for the password, and what it is. */
export const users = {
  postgres: { password: 'postgres-secret', method: 'scram-sha-256' },
  alice: { password: 'alice-secret', method: 'scram-sha-256' },
  bob: { password: 'bob-secret', method: 'md5' },
  carol: { password: 'carol-secret', method: 'password' },
  dave: { password: undefined, method: 'trust' },
} as const;

export type UserName = keyof typeof users;

/** What it takes to reach a cluster that another process has started. */
export interface ClusterAddress {
  readonly version: PostgresVersion;
  readonly host: string;
  readonly port: number;
}

export interface ClusterOptions {
  readonly version: PostgresVersion;
  readonly maxConnections?: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf that go before those of `users`. */
  readonly hba?: readonly string[];
}

/** A client's session, as PostgreSQL sees it. */
export interface Activity {
  readonly pid: number;
  readonly user: string;
  readonly applicationName: string;
  /** active, idle, idle in transaction … */
  readonly state: string;
  /** The last statement. */
  readonly query: string;
  readonly clientPort: number;
}

/** Names the folder, made by the run's global setup, for programs that cannot be run where npm has put them. */
export const PROGRAMS_VARIABLE = 'TSBOUNCER_TEST_PROGRAMS';

/** No test needs its data after a crash of the machine. */
const FAST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  jit: 'off',
  shared_buffers: '32MB',
  max_wal_size: '128MB',
  max_prepared_transactions: '10',
} as const;

let databases = 0;

/** What the one has who may break a cluster. */
interface Own {
  readonly options: EmbeddedPostgresOptions;
  server: EmbeddedPostgres;
}

export class PostgresCluster implements ClusterAddress {
  readonly version: PostgresVersion;
  readonly host: string;
  readonly port: number;
  readonly #own: Own | null;

  /** Without `own` it is somebody else's: it can be asked, but not stopped. */
  constructor(address: ClusterAddress, own: Own | null = null) {
    this.version = address.version;
    this.host = address.host;
    this.port = address.port;
    this.#own = own;
  }

  url(database: string, user: UserName = 'postgres'): string {
    const { password } = users[user];
    const login = password === undefined ? user : `${user}:${password}`;
    return `postgres://${login}@${this.host}:${this.port}/${database}`;
  }

  /** Makes an empty database that no other test has; everyone may create tables in it. Returns its name. */
  async createDatabase(): Promise<string> {
    const name = `test_${process.pid}_${++databases}`;
    await this.query(`create database ${name}`);
    return name;
  }

  /**
   * Runs `sql` as superuser, in a session of its own that is gone when this returns: a number of connections that a
   * test counts, or fills up, is not disturbed by one that stays.
   */
  async query<Row extends QueryResultRow>(
    sql: string,
    parameters: readonly unknown[] = [],
    database = 'postgres',
  ): Promise<Row[]> {
    const client = new Client({ connectionString: this.url(database), application_name: 'postgres-cluster' });
    await client.connect();
    try {
      // A list of statements is only possible without parameters, and its result is that of the last one.
      const result: QueryResult<Row> | QueryResult<Row>[] =
        parameters.length === 0 ? await client.query<Row>(sql) : await client.query<Row>(sql, [...parameters]);
      return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
    } finally {
      await client.end();
    }
  }

  /** The clients' sessions in `database`, oldest first. */
  activity(database: string): Promise<Activity[]> {
    return this.query<Activity>(
      `select pid, usename as user, application_name as "applicationName", coalesce(state, '') as state, query,
              client_port as "clientPort"
         from pg_stat_activity
        where datname = $1 and backend_type = 'client backend' and pid <> pg_backend_pid()
        order by backend_start, pid`,
      [database],
    );
  }

  async connectionCount(database: string): Promise<number> {
    return (await this.activity(database)).length;
  }

  /** Ends one session as an administrator would: its client gets a 57P01. */
  async terminateBackend(pid: number): Promise<void> {
    await this.query('select pg_terminate_backend($1)', [pid]);
  }

  /** Kills one session's process (SIGKILL): PostgreSQL then ends all others as well and recovers. */
  killBackend(pid: number): void {
    this.#mine();
    process.kill(pid, 'SIGKILL');
  }

  /** Kills the postmaster; its sessions notice that and end. */
  async killPostmaster(): Promise<void> {
    const { server } = this.#mine();
    server.process.kill('SIGKILL');
    await server.exited;
  }

  /** `smart` waits for every client to leave. */
  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.#mine().server.stop(mode);
  }

  /** On the same port and with the same data, once it is stopped or killed. */
  async start(): Promise<void> {
    const own = this.#mine();
    own.server = await startEmbeddedPostgres({ ...own.options, port: this.port });
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode);
    await this.start();
  }

  /** Stops it for good and removes its data. */
  async close(): Promise<void> {
    const { server, options } = this.#mine();
    await server.stop('immediate');
    await rm(options.directory, { recursive: true, force: true });
  }

  #mine(): Own {
    if (this.#own === null) throw new Error('this cluster is shared: start one of your own to break it');
    return this.#own;
  }
}

/** A cluster of the caller's own, which is to `close()` it. Takes half a second. */
export async function startCluster(options: ClusterOptions): Promise<PostgresCluster> {
  const directory = await makeClusterDirectory();
  const embedded: EmbeddedPostgresOptions = {
    directory,
    installDirectory: process.env[PROGRAMS_VARIABLE] ?? directory,
    password: users.postgres.password,
    hba: [...(options.hba ?? []), ...userLines()],
    settings: { ...FAST_SETTINGS, max_connections: String(options.maxConnections ?? 100), ...options.settings },
    ...(options.version === 18 ? {} : { packageDirectory: findPackageOf15() }),
  };
  for (;;) {
    const port = await findPort();
    try {
      const server = await startEmbeddedPostgres({ ...embedded, port });
      const cluster = new PostgresCluster(
        { version: options.version, host: server.host, port },
        { options: embedded, server },
      );
      await makeUsers(cluster);
      return cluster;
    } catch (error) {
      // Another process may have taken the port meanwhile.
      if (error instanceof Error && /could not bind/.test(error.message)) continue;
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }
}

function userLines(): string[] {
  return Object.entries(users).map(([user, { method }]) => `host all ${user} samehost ${method}`);
}

async function makeUsers(cluster: PostgresCluster): Promise<void> {
  const roles = Object.entries(users)
    .filter(([name]) => name !== 'postgres')
    .map(([name, { password, method }]) => {
      const encryption = method === 'md5' ? 'md5' : 'scram-sha-256';
      const secret = password === undefined ? '' : `password '${password}'`;
      return `set password_encryption = '${encryption}'; create role ${name} login ${secret};`;
    });
  await cluster.query(roles.join('\n'));
  // Databases are copies of this one, and since PostgreSQL 15 only their owner may create tables in them.
  await cluster.query('grant all on schema public to public', [], 'template1');
}

/** The folder with libpq and what it needs, for the loader. Its links are there once a cluster has been started. */
export function librariesOf18(): string {
  return join(findPackage(), 'native', 'lib');
}

/** PostgreSQL 15 is a dependency of a package in this folder; see its package.json for why. */
export function findPackageOf15(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const manifest = createRequire(import.meta.url).resolve('embedded-postgres-15/package.json');
  const main = createRequire(manifest).resolve(`@embedded-postgres/${platform}-${process.arch}`);
  return dirname(dirname(main));
}

/**
 * A free port from below those that the system gives to outgoing connections: while a cluster is stopped nobody may
 * take its port, not even a client that dials it (TCP can connect a port with itself).
 */
async function findPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const isFree = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.on('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
