/**
 * max_server_connections and its kin, as counted by PostgreSQL itself every few milliseconds, connecting sessions and
 * those on their way out included: with exactly as many slots as the limit, nobody is ever turned away for want of one.
 */
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { type PostgresCluster, startCluster } from '../support/postgres-cluster.ts';
import { chance } from './chaos.ts';

const SLOTS = 8;
const SAMPLE_MS = 10;
const USERS = ['dave', 'alice'] as const;

let cluster: PostgresCluster;
let databases: string[];

beforeAll(async () => {
  // Three more are kept for superusers, and two superusers are there all the time.
  cluster = await startCluster({ version: 18, maxConnections: SLOTS + 3 + 2 });
  await cluster.query(WATCH);
  databases = [await cluster.createDatabase(), await cluster.createDatabase(), await cluster.createDatabase()];
});
afterAll(() => cluster.close());

interface Samples {
  /** The largest number seen: in `all`, by `user`, by `user@database`. */
  readonly largest: ReadonlyMap<string, number>;
  readonly count: number;
}

/** Counts the sessions of ordinary users while `work` goes on; inside PostgreSQL, so that it keeps its pace under load. */
async function sampled(milliseconds: number, work: (superuser: Client) => Promise<void>): Promise<Samples> {
  const [watcher, superuser] = [0, 1].map(() => new Client({ connectionString: cluster.url('postgres') })) as [
    Client,
    Client,
  ];
  await Promise.all([watcher.connect(), superuser.connect()]);
  const watched = watcher.query<{ key: string; largest: number; samples: number }>('select * from watch($1)', [
    milliseconds,
  ]);
  try {
    await work(superuser);
    const { rows } = await watched;
    return { largest: new Map(rows.map(({ key, largest }) => [key, largest])), count: rows[0]?.samples ?? 0 };
  } finally {
    await Promise.all([watcher.end(), superuser.end()]);
  }
}

const WATCH = `
  create function watch(ms int) returns table (key text, largest int, samples int) language plpgsql as $$
  declare
    ends timestamptz := clock_timestamp() + ms * interval '1 ms';
    n int := 0;
  begin
    create temp table seen (key text primary key, largest int) on commit drop;
    while clock_timestamp() < ends loop
      perform pg_stat_clear_snapshot();
      insert into seen
        select case when grouping(usename) = 1 then 'all' else coalesce(usename, 'connecting') end
               || case when grouping(datname) = 1 then '' else '@' || coalesce(datname, '') end, count(*)
          from pg_stat_activity
         where backend_type = 'client backend' and usename is distinct from 'postgres'
         group by grouping sets ((), (usename), (usename, datname))
        on conflict on constraint seen_pkey do update set largest = greatest(seen.largest, excluded.largest);
      n := n + 1;
      perform pg_sleep(${SAMPLE_MS / 1000});
    end loop;
    return query select s.key, s.largest, n from seen s;
  end $$`;

interface Load {
  readonly answers: Map<string, number>;
  readonly errors: string[];
}

/** Many clients of all databases and users, who come and go, in spells: sometimes only one database is wanted. */
async function load(front: PoolerFixture, milliseconds: number, seed: number): Promise<Load> {
  const random = chance(seed);
  const result: Load = { answers: new Map(), errors: [] };
  const end = performance.now() + milliseconds;
  const work = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      const spell = Math.floor((end - performance.now()) / 250) % 2 === 0;
      const database = databases[spell ? index % databases.length : 0] ?? '';
      const user = USERS[Math.floor(index / 2) % 2] ?? 'dave';
      const client = await TcpClient.connect(front);
      client.send(bytes.startup({ user, database }));
      await client.reach('Z', 1);
      for (let i = 0; i < 4 && !client.ended; i++) {
        const way = random();
        client.send(bytes.query(way < 0.2 ? `begin; select pg_sleep(0.005); commit` : `select pg_sleep(${way / 300})`));
        if (way > 0.95) break; // leaves in the middle
        await client.reach('Z', i + 2);
        if (!client.ended)
          result.answers.set(`${user}@${database}`, (result.answers.get(`${user}@${database}`) ?? 0) + 1);
      }
      if (client.ended) result.errors.push(await client.fatal());
      await client.drop(random() < 0.5 ? 'fin' : 'rst');
    }
  };
  await Promise.all(Array.from({ length: 36 }, (_, index) => work(index)));
  return result;
}

function front(settings: Readonly<Record<string, unknown>>): Promise<PoolerFixture> {
  const [databaseName = '', ...others] = databases;
  return pooler({
    cluster,
    databaseName,
    databases: Object.fromEntries(others.map((name) => [name, {}])),
    pool_mode: 'transaction',
    pool_size: 5,
    expectedCloses: ['evicted', 'abandoned', 'lifetime'],
    ...settings,
  });
}

/** What an administrator does is not for lack of slots. */
const TERMINATED = 'terminating connection due to administrator command';

/** Nobody was turned away by PostgreSQL, which has exactly as many slots as the pooler may take. */
function expectNoLackOfSlots(pool: PoolerFixture, { largest, count }: Samples): void {
  expect(
    pool.log.filter(({ message }) => message.startsWith('server login failed') && !message.includes(TERMINATED)),
  ).toEqual([]);
  expect(count).toBeGreaterThan(50);
  expect(largest.get('all')).toBeLessThanOrEqual(SLOTS);
}

it('never has more sessions than max_server_connections, and serves everybody', async () => {
  const pool = await front({ max_server_connections: SLOTS, server_lifetime: 0.5 });
  const samples = await sampled(2500, async () => {
    const { answers, errors } = await load(pool, 2500, 20_261_127);
    expect(errors).toEqual([]);
    // Six pools share the slots, and none of them starves.
    expect(answers.size).toBe(databases.length * USERS.length);
    for (const count of answers.values()) expect(count).toBeGreaterThan(10);
  });
  expectNoLackOfSlots(pool, samples);
  expect(samples.largest.get('all')).toBe(SLOTS);
  expect(pool.serverCloses).toContain('evicted');
}, 30_000);

it('keeps max_db_connections, max_user_connections and pool sizes', async () => {
  const pool = await front({
    max_server_connections: SLOTS,
    max_db_connections: 4,
    users: { alice: { max_user_connections: 3 }, dave: { pool_size: 2 } },
  });
  const { largest, ...rest } = await sampled(1500, async () => {
    const { answers, errors } = await load(pool, 1500, 20_261_128);
    expect(errors).toEqual([]);
    expect(answers.size).toBe(databases.length * USERS.length);
  });
  expectNoLackOfSlots(pool, { largest, ...rest });
  expect(largest.get('alice')).toBe(3);
  for (const database of databases) {
    expect(largest.get(`dave@${database}`)).toBeLessThanOrEqual(2);
    expect((largest.get(`dave@${database}`) ?? 0) + (largest.get(`alice@${database}`) ?? 0)).toBeLessThanOrEqual(2 + 3);
  }
}, 30_000);

it('keeps the limit while sessions are terminated and clients vanish in the middle of statements', async () => {
  const pool = await front({
    max_server_connections: SLOTS,
    expectedCloses: ['evicted', 'abandoned', 'lifetime', 'eof', 'fatal_error', 'dirty_while_idle', 'recovery_timeout'],
    server_recovery_timeout: 0,
  });
  const random = chance(20_261_129);
  const samples = await sampled(2000, async (superuser) => {
    const killing = new AbortController();
    const kill = async (): Promise<void> => {
      while (!killing.signal.aborted) {
        await superuser.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
            where usename in ('alice', 'dave') order by random() limit 1`,
        );
        await superuser.query('select pg_sleep($1)', [random() / 10]);
      }
    };
    const killed = kill();
    const { answers, errors } = await load(pool, 2000, 20_261_130);
    killing.abort();
    await killed;
    for (const sqlstate of errors) expect(['57P01', '08006']).toContain(sqlstate);
    expect(answers.size).toBe(databases.length * USERS.length);
  });
  expectNoLackOfSlots(pool, samples);
}, 30_000);
