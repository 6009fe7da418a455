/** node-postgres as applications use it, on few servers in transaction mode. */
import { createRequire } from 'node:module';
import { Pool, type Submittable } from 'pg';
import QueryStream from 'pg-query-stream';
import { expect, it } from 'vitest';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

/** pg-cursor comes without types. */
interface Cursor extends Submittable {
  read(rows: number): Promise<unknown[]>;
  close(): Promise<void>;
}
const CursorOf = createRequire(import.meta.url)('pg-cursor') as new (sql: string, values?: unknown[]) => Cursor;

const cluster = sharedCluster(18);

function transactionPool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster, pool_mode: 'transaction', pool_size: 1, ...options });
}

async function pidOf(client: { query(sql: string): Promise<{ rows: unknown[] }> }): Promise<unknown> {
  return (await client.query('select pg_backend_pid() as pid')).rows[0];
}

it('runs plain and parameterised queries of two clients on one server', async () => {
  const pool = await transactionPool();
  const [one, two] = [await pool.client(), await pool.client()];
  expect(await pidOf(one)).toEqual(await pidOf(two));
  expect((await one.query('select 1 as a; select 2 as b')) as unknown).toMatchObject([
    { rows: [{ a: 1 }] },
    { rows: [{ b: 2 }] },
  ]);
  const values = [7, 'text', null, new Date('2026-02-03T04:05:06Z'), { a: [1] }, [1, 2], Buffer.of(0, 255), true];
  const { rows, fields } = await two.query({
    text: 'select $1::int a, $2::text b, $3::int c, $4::timestamptz d, $5::jsonb e, $6::int[] f, $7::bytea g, $8::bool h',
    values,
    rowMode: 'array',
  });
  expect(rows).toEqual([values]);
  expect(fields).toHaveLength(8);
  await expect(one.query('select $1::int', ['x'])).rejects.toMatchObject({ code: '22P02' });
  await expect(one.query('selekt')).rejects.toMatchObject({ code: '42601', position: '1' });
  expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

it('keeps a transaction on one server, and two at a time on two', async () => {
  const pool = await transactionPool({ pool_size: 2 });
  const [one, two] = [await pool.client(), await pool.client()];
  await one.query('create table t (a int)');
  await one.query('begin');
  await two.query('begin');
  const [first, second] = [await pidOf(one), await pidOf(two)];
  expect(first).not.toEqual(second);
  await one.query('insert into t values ($1)', [1]);
  expect((await two.query('select count(*)::int as n from t')).rows).toEqual([{ n: 0 }]);
  expect([await pidOf(one), await pidOf(two)]).toEqual([first, second]);
  await one.query('commit');
  await expect(two.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
  await expect(two.query('select 1')).rejects.toMatchObject({ code: '25P02' });
  await two.query('rollback');
  expect((await two.query('select count(*)::int as n from t')).rows).toEqual([{ n: 1 }]);
});

it('serves a pool of forty with three servers', async () => {
  const pool = await transactionPool({ pool_size: 3 });
  const clients = new Pool({ connectionString: pool.url, max: 40 });
  clients.on('error', () => {}); // end() does not wait for its connections
  const pids = new Set<number>();
  await Promise.all(
    Array.from({ length: 1500 }, async (_, i) => {
      const { rows } = await clients.query<{ i: number; pid: number }>('select $1::int as i, pg_backend_pid() as pid', [
        i,
      ]);
      expect(rows[0]?.i).toBe(i);
      pids.add(rows[0]?.pid ?? 0);
    }),
  );
  expect(pids.size).toBe(3);
  expect(await pool.backends()).toHaveLength(3);
  await clients.end();
});

it('queues on one client, with and without its pipeline', async () => {
  const pool = await transactionPool();
  for (const pipeline of [false, true]) {
    const client = await pool.client({ pipeline });
    const answers = Array.from({ length: 300 }, (_, i) =>
      i % 10 === 5
        ? client.query('select 1 / $1::int', [0]).catch((error: { code: string }) => error.code)
        : client.query('select $1::int as i', [i]).then(({ rows }) => (rows[0] as { i: number }).i),
    );
    const expected = Array.from({ length: 300 }, (_, i) => (i % 10 === 5 ? '22012' : i));
    expect(await Promise.all(answers)).toEqual(expected);
  }
});

it('reads with cursors, to the end and not, alone and in a transaction', async () => {
  const pool = await transactionPool();
  const client = await pool.client();
  const pid = await pidOf(client);
  const cursor = client.query(new CursorOf('select i from generate_series(1, $1) i', [25]));
  const other = pool.backend(); // waits: between two reads the server is not free
  expect(await cursor.read(10)).toHaveLength(10);
  expect(await cursor.read(10)).toHaveLength(10);
  expect(await cursor.read(10)).toHaveLength(5);
  expect(await cursor.read(10)).toHaveLength(0);
  expect({ pid: await other }).toEqual(pid);

  const early = client.query(new CursorOf('select i from generate_series(1, 1000000) i'));
  expect(await early.read(5)).toHaveLength(5);
  await early.close();
  const failing = client.query(new CursorOf('select 10 / (3 - i) from generate_series(1, 5) i'));
  await expect(failing.read(10)).rejects.toMatchObject({ code: '22012' });
  expect(await pidOf(client)).toEqual(pid);

  await client.query('begin');
  const within = client.query(new CursorOf('select i from generate_series(1, 20) i'));
  expect(await within.read(15)).toHaveLength(15);
  await within.close();
  expect(await pidOf(client)).toEqual(pid);
  await client.query('commit');
  expect({ pid: await pool.backend() }).toEqual(pid);
});

it('streams rows, and gives the server back when the stream is destroyed', async () => {
  const pool = await transactionPool();
  const client = await pool.client();
  const pid = await pidOf(client);
  const stream = client.query(new QueryStream('select i from generate_series(1, 20000) i', [], { batchSize: 300 }));
  let sum = 0;
  for await (const { i } of stream as AsyncIterable<{ i: number }>) sum += i;
  expect(sum).toBe(200_010_000);

  const destroyed = client.query(
    new QueryStream('select i from generate_series(1, 10000000) i', [], { batchSize: 100 }),
  );
  for await (const row of destroyed) {
    if ((row as { i: number }).i === 250) break;
  }
  expect(await pidOf(client)).toEqual(pid);
  expect({ pid: await pool.backend() }).toEqual(pid);
});

it('hears notices, and the parameters that it has asked for', async () => {
  const pool = await transactionPool();
  const client = await pool.client({ application_name: 'mine' });
  const other = await pool.client({ application_name: 'other' });
  const notices: string[] = [];
  client.on('notice', ({ message }) => notices.push(message ?? ''));
  await client.query("do $$ begin raise notice 'heard'; end $$");
  expect(notices).toEqual(['heard']);
  const name = "select current_setting('application_name') as name, pg_backend_pid() as pid";
  const [mine] = (await client.query<{ name: string; pid: number }>(name)).rows;
  const [others] = (await other.query<{ name: string; pid: number }>(name)).rows;
  expect([mine?.name, others?.name]).toEqual(['mine', 'other']);
  expect(mine?.pid).toBe(others?.pid);
});

it('hears notifications in session mode', async () => {
  const pool = await transactionPool({ pool_mode: 'session', pool_size: 2, expectedCloses: ['replaced'] });
  const [listener, notifier] = [await pool.client(), await pool.client()];
  const heard = new Promise((resolve) => listener.once('notification', resolve));
  await listener.query('listen news');
  await notifier.query("notify news, 'it works'");
  expect(await heard).toMatchObject({ channel: 'news', payload: 'it works' });
});

it('has its query cancelled when it ends in the middle of it, and the server serves the next one', async () => {
  const pool = await transactionPool();
  const pid = await pool.backend();
  for (let i = 0; i < 10; i++) {
    const client = await pool.client();
    const pending = expect(client.query('select pg_sleep(60)')).rejects.toThrow('Connection terminated');
    const queued = expect(client.query('select 1')).rejects.toThrow();
    await client.end();
    await Promise.all([pending, queued]);
    expect(await pool.backend()).toBe(pid);
  }
});
