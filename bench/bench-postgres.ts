/**
 * The one PostgreSQL that all contenders work on: the embedded one from npm, tuned for this, or the one that `BENCH_PG`
 * names. It knows which endpoint asks for which kind of login, and what data is needed; not what is measured.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { startEmbeddedPostgres } from '../src/embedded-postgres.ts';
import { makePgbenchTables, type PgbenchSite } from './pgbench.ts';
import { type Endpoint, RawClient } from './raw-client.ts';
import type { Login } from './scenarios.ts';
import { SetupError } from './setup-error.ts';

/** What COPY FROM STDIN is sent to; its rows are thrown away. */
export const SINK_TABLE = 'tsbouncer_bench_sink';

const SCALE = 10;
/** PostgreSQL's default. */
const SCRAM_ITERATIONS = 4096;
const TRUST_DATABASE = 'bench';
const SCRAM_DATABASE = 'bench_scram';

/** Nothing here shall outlive the run, and nothing shall wait for a disk. */
const SETTINGS = {
  max_connections: '300',
  shared_buffers: '256MB',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  jit: 'off',
  max_wal_size: '1GB',
} as const;

export interface BenchPostgres {
  /** As in `18.4, embedded`. */
  readonly description: string;
  /** The SCRAM verifier that the server has of the endpoints' password; null if it is not known. */
  readonly verifier: string | null;
  /** Null if this server cannot be made to ask for such a login. */
  endpoint(login: Login): Endpoint | null;
  /** Makes pgbench's tables (null: nobody needs them) and the table for COPY. */
  prepare(pgbench: PgbenchSite | null): Promise<void>;
  stop(): Promise<void>;
}

export interface BenchPostgresPlaces {
  readonly data: string;
  /** On a file system that programs may be run from, which /dev/shm need not be. */
  readonly programs: string;
}

export async function startBenchPostgres(places: BenchPostgresPlaces): Promise<BenchPostgres> {
  const named = process.env['BENCH_PG'];
  return named === undefined || named === '' ? startEmbedded(places) : useExisting(named);
}

async function startEmbedded({ data, programs }: BenchPostgresPlaces): Promise<BenchPostgres> {
  const user = 'bench';
  const password = randomBytes(12).toString('hex');
  const server = await startEmbeddedPostgres({
    directory: data,
    installDirectory: programs,
    superuser: user,
    password,
    hba: [`host ${TRUST_DATABASE} all 127.0.0.1/32 trust`],
    settings: SETTINGS,
  });
  const on = (database: string): Endpoint => ({ host: server.host, port: server.port, user, password, database });
  const trust = on(TRUST_DATABASE);
  const verifier = scramVerifier(password);
  return {
    verifier,
    description: `${server.version}, embedded, data ${data.startsWith('/dev/shm/') ? 'in memory' : 'on disk'}`,
    endpoint: (login) => (login === 'trust' ? trust : on(SCRAM_DATABASE)),
    prepare: async (pgbench) => {
      // The server has to have the same verifier as the auth_file: PgBouncer logs in with what it learns from a client.
      const role = `ALTER ROLE ${user} PASSWORD '${verifier}'`;
      const databases = [TRUST_DATABASE, SCRAM_DATABASE].map((name) => `CREATE DATABASE ${name}`);
      await execute(on('postgres'), [role, ...databases]);
      await execute(trust, [`CREATE TABLE ${SINK_TABLE} (number int, filler text)`]);
      if (pgbench !== null) await makePgbenchTables(pgbench, trust, SCALE);
    },
    stop: () => server.stop('immediate'),
  };
}

/** As PostgreSQL keeps it in `rolpassword`. */
function scramVerifier(password: string): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, 32, 'sha256');
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  const serverKey = hmac('Server Key').toString('base64');
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

async function useExisting(url: string): Promise<BenchPostgres> {
  const { hostname, port, username, password, pathname } = parseUrl(url);
  const endpoint: Endpoint = {
    host: hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1',
    port: Number(port || 5432),
    user: decodeURIComponent(username) || 'postgres',
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)) || 'postgres',
  };
  const client = await RawClient.login(endpoint);
  const version = client.parameter('server_version') ?? 'unknown';
  await client.close();
  return {
    description: `${version}, at ${endpoint.host}:${endpoint.port}`,
    verifier: null,
    // Direct connections and the relay are asked for what this server asks for, whatever the scenario says.
    endpoint: (login) => (login === 'trust' || (login === 'scram' && endpoint.password !== '') ? endpoint : null),
    prepare: async (pgbench) => {
      await execute(endpoint, [`CREATE TABLE IF NOT EXISTS ${SINK_TABLE} (number int, filler text)`]);
      if (pgbench !== null && !(await hasPgbenchTables(endpoint))) await makePgbenchTables(pgbench, endpoint, SCALE);
    },
    stop: () => execute(endpoint, [`DROP TABLE IF EXISTS ${SINK_TABLE}`]),
  };
}

function parseUrl(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    // What it says may hold a password.
    throw new SetupError('BENCH_PG is not a URL such as postgres://user:password@host:5432/database');
  }
  return parsed;
}

async function hasPgbenchTables(endpoint: Endpoint): Promise<boolean> {
  try {
    await execute(endpoint, ['SELECT 1 FROM pgbench_accounts LIMIT 1']);
    return true;
  } catch {
    return false;
  }
}

async function execute(endpoint: Endpoint, statements: readonly string[]): Promise<void> {
  const client = await RawClient.login(endpoint);
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.close();
  }
}
