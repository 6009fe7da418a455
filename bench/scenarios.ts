/** THE table of scenarios: what is asked of each contender, by whom and how. It knows nothing of processes. */
import { CONTENDERS, type ContenderName } from './bench-result.ts';

/**
 * How clients log in. `scram`: the pooler's auth_file holds the plain password, with which it also logs in to the server.
 * `scram-verifier`: it holds the server's own SCRAM verifier, and the database's entry the password for the server.
 */
export type Login = 'trust' | 'scram' | 'scram-verifier';

export interface PgbenchLoad {
  readonly kind: 'pgbench';
  readonly clients: number;
  readonly protocol: 'simple' | 'extended' | 'prepared';
  /** null: pgbench's own `-S`, which needs its tables. */
  readonly script: string | null;
  /** A connection for each transaction (`-C`). */
  readonly reconnect: boolean;
}

export interface CopyLoad {
  readonly kind: 'copy';
  readonly clients: number;
  readonly direction: 'in' | 'out';
}

export interface LoginLoad {
  readonly kind: 'logins';
  readonly count: number;
  readonly concurrency: number;
}

export interface IdleLoad {
  readonly kind: 'idle';
  readonly clients: number;
  readonly warmupClients: number;
  readonly concurrency: number;
}

export type Load = PgbenchLoad | CopyLoad | LoginLoad | IdleLoad;

export interface Scenario {
  readonly name: string;
  readonly about: string;
  readonly login: Login;
  readonly load: Load;
  readonly contenders: readonly ContenderName[];
}

/** What this side and a pooler must be able to open for `load`; the rest of it is for servers, logs and Node itself. */
export function descriptorsNeeded(load: Load): number {
  const clients = load.kind === 'logins' ? load.concurrency : load.clients;
  return clients + 1000;
}

const SELECT_1 = 'SELECT 1;';
/** A row is 110 bytes on the wire. */
const ROWS_5_MB = "SELECT i, repeat('x', 90) FROM generate_series(1, 46000) AS i;";
const VALUES_5_MB = "SELECT repeat('x', 1000000) FROM generate_series(1, 5);";

function pgbench(
  name: string,
  about: string,
  load: Partial<PgbenchLoad> & Pick<PgbenchLoad, 'clients'>,
  login: Login = 'trust',
): Scenario {
  const all: PgbenchLoad = { kind: 'pgbench', protocol: 'simple', script: SELECT_1, reconnect: false, ...load };
  return { name, about, login, load: all, contenders: CONTENDERS };
}

function selects(protocol: PgbenchLoad['protocol']): Scenario[] {
  const select1 = [1, 16, 128].map((clients) =>
    pgbench(`select-1-${protocol}-${clients}`, `SELECT 1, ${protocol} protocol, clients: ${clients}`, {
      clients,
      protocol,
    }),
  );
  const byKey = pgbench(`pgbench-S-${protocol}-16`, `pgbench -S -M ${protocol}, clients: 16`, {
    clients: 16,
    protocol,
    script: null,
  });
  return [...select1, byKey];
}

/** Relay and direct would need a server connection for each of the 8,000 clients. */
const POOLERS: readonly ContenderName[] = ['pgbouncer', 'tsbouncer'];

export const scenarios: readonly Scenario[] = [
  ...selects('simple'),
  ...selects('extended'),
  // In transaction mode: PgBouncer has this from 1.21 on.
  ...selects('prepared'),
  pgbench('result-5mb-rows', 'a result of 5 MB in 46,000 rows, clients: 4', { clients: 4, script: ROWS_5_MB }),
  pgbench('result-5mb-values', 'a result of 5 MB in 5 rows, clients: 4', { clients: 4, script: VALUES_5_MB }),
  {
    name: 'copy-in',
    about: 'COPY FROM STDIN of 20 MB in messages of 8 KB, clients: 2',
    login: 'trust',
    load: { kind: 'copy', clients: 2, direction: 'in' },
    contenders: CONTENDERS,
  },
  {
    name: 'copy-out',
    about: 'COPY TO STDOUT of 20 MB in 200,000 rows, clients: 2',
    login: 'trust',
    load: { kind: 'copy', clients: 2, direction: 'out' },
    contenders: CONTENDERS,
  },
  pgbench('connect-trust', 'a connection per SELECT 1, trust, clients: 16', { clients: 16, reconnect: true }),
  pgbench(
    'connect-scram',
    'a connection per SELECT 1, SCRAM, plain secrets, clients: 16',
    { clients: 16, reconnect: true },
    'scram',
  ),
  pgbench(
    'connect-scram-verifier',
    'a connection per SELECT 1, SCRAM, verifiers, clients: 16',
    { clients: 16, reconnect: true },
    'scram-verifier',
  ),
  {
    name: 'idle-clients',
    about: '8,000 clients that have asked one SELECT 1 and are idle, after 500 others have come and gone',
    login: 'trust',
    load: { kind: 'idle', clients: 8000, warmupClients: 500, concurrency: 64 },
    contenders: POOLERS,
  },
  {
    name: 'logins',
    about: '8,000 logins (trust), 64 at a time',
    login: 'trust',
    load: { kind: 'logins', count: 8000, concurrency: 64 },
    contenders: POOLERS,
  },
  {
    name: 'logins-at-once',
    about: '8,000 logins (trust), all at once',
    login: 'trust',
    load: { kind: 'logins', count: 8000, concurrency: 8000 },
    contenders: POOLERS,
  },
];
