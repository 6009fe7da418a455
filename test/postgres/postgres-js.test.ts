/** postgres.js, which pipelines by itself, with `prepare: false` on few servers in transaction mode. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import postgres, { type ISql, type Options, type Sql } from 'postgres';
import { expect, it, onTestFinished } from 'vitest';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);

async function start(
  options: Partial<PoolerOptions> = {},
  driver: Options<Record<string, never>> = {},
): Promise<{ pool: PoolerFixture; sql: Sql }> {
  const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, ...options });
  const sql = postgres(pool.url, { prepare: false, max: 1, onnotice: () => {}, ...driver });
  onTestFinished(() => sql.end());
  return { pool, sql };
}

async function pidOf(sql: ISql): Promise<number> {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  return row?.pid ?? 0;
}

it.each([1, 2, 10])('pipelines hundreds of queries over %i connections and two servers', async (max) => {
  const { pool, sql } = await start({ pool_size: 2 }, { max });
  const answers = await Promise.all(
    Array.from({ length: 400 }, (_, i) =>
      i % 50 === 49
        ? sql`select 1 / ${0}::int`.catch((error: { code: string }) => error.code)
        : sql`select ${i}::int as i, ${`text ${i}`} as t`.then(([row]) => [row?.['i'], row?.['t']]),
    ),
  );
  expect(answers).toEqual(Array.from({ length: 400 }, (_, i) => (i % 50 === 49 ? '22012' : [i, `text ${i}`])));
  expect((await pool.backends()).length).toBe(Math.min(max, 2));
});

it('pipelines within max_pipeline, and one at a time', async () => {
  for (const max_pipeline of [1, 7, 100]) {
    const { sql } = await start({}, { max_pipeline } as object);
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => sql`select ${i}::int as i`));
    expect(answers.map(([row]) => row?.['i'])).toEqual(Array.from({ length: 100 }, (_, i) => i));
  }
});

it('runs transactions, savepoints, and rolls back', async () => {
  const { pool, sql } = await start({ pool_size: 2 }, { max: 4 });
  await sql`create table t (a int)`;
  await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      sql
        .begin(async (within) => {
          const pid = await pidOf(within);
          await within`insert into t values (${i})`;
          await within.savepoint((deeper) => deeper`select 1/0`).catch(() => {});
          expect(await pidOf(within)).toBe(pid);
          if (i % 2 === 1) throw new Error('rolled back');
        })
        .catch((error: Error) => expect(error.message).toBe('rolled back')),
    ),
  );
  const [row] = await sql`select count(*)::int as n from t`;
  expect(row).toEqual({ n: 20 });
  expect((await pool.backends()).length).toBe(2);
});

it('runs many statements in one simple query', async () => {
  const { pool, sql } = await start();
  const results = await sql
    .unsafe('select 1 as a; select 2 as b; create table u (c int); insert into u values (3) returning c')
    .simple();
  expect((results as unknown as unknown[][]).map((rows) => rows[0])).toEqual([{ a: 1 }, { b: 2 }, { c: 3 }]);
  await expect(sql.unsafe('insert into u values (4); select 1/0').simple()).rejects.toMatchObject({ code: '22012' });
  expect(await sql`select * from u`).toEqual([{ c: 3 }]);
  expect(await pool.backend()).toBe(await pidOf(sql));
});

it('reads with cursors, to the end and not', async () => {
  const { pool, sql } = await start();
  const pid = await pidOf(sql);
  let rows = 0;
  for await (const batch of sql`select i from generate_series(1, 1000) i`.cursor(37)) rows += batch.length;
  expect(rows).toBe(1000);
  for await (const [row] of sql`select i from generate_series(1, 100000) i`.cursor(10)) {
    if (Number(row?.['i']) > 25) break;
  }
  expect(await pidOf(sql)).toBe(pid);
  expect(await pool.backend()).toBe(pid);
});

it('copies in and out', async () => {
  const { pool, sql } = await start();
  await sql`create table copied (a int, b text)`;
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\tline ${i}\n`);
  await pipeline(Readable.from(lines), await sql`copy copied from stdin`.writable());
  const chunks: Buffer[] = [];
  // Small, because the driver forgets to go on reading when the end of a COPY comes while its stream is full.
  const some = await sql`copy (select * from copied where a < 500 order by a) to stdout`.readable();
  for await (const chunk of some) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).toString()).toBe(lines.slice(0, 500).join(''));
  expect(await sql`select count(*)::int as n from copied`).toEqual([{ n: 20_000 }]);
  expect(await pool.backend()).toBe(await pidOf(sql));
});

it('cancels a query', async () => {
  const { pool, sql } = await start({ pool_size: 1 }, { max: 2 });
  const pid = await pidOf(sql);
  const sleeping = sql`select pg_sleep(20)`;
  const failed = expect(sleeping).rejects.toMatchObject({ code: '57014' });
  while (
    !(await pool.cluster.activity(pool.database)).some(
      ({ query, state }) => state === 'active' && query.includes('sleep'),
    )
  );
  sleeping.cancel();
  await failed;
  expect(await pidOf(sql)).toBe(pid);
});

it('listens in session mode', async () => {
  const { sql } = await start({ pool_mode: 'session', pool_size: 3 }, { max: 2 });
  const heard: string[] = [];
  const first = new Promise<void>((resolve) => {
    void sql
      .listen('news', (payload) => {
        heard.push(payload);
        if (heard.length === 3) resolve();
      })
      .then(async () => {
        for (const payload of ['a', 'b', 'c']) await sql.notify('news', payload);
      });
  });
  await first;
  expect(heard).toEqual(['a', 'b', 'c']);
});

it('finds the server that it looks for', async () => {
  const { pool, sql } = await start(
    {},
    { target_session_attrs: 'read-write', connection: { application_name: 'mine', statement_timeout: 5000 } },
  );
  expect(await sql`select current_setting('application_name') as name`).toEqual([{ name: 'mine' }]);
  expect(await pool.backend()).toBe(await pidOf(sql));
});

it('prepares its statements in session mode', async () => {
  const { sql } = await start({ pool_mode: 'session', pool_size: 2 }, { prepare: true, max: 2 });
  for (let i = 0; i < 50; i++) {
    const [row] = await sql`select ${i}::int as i`;
    expect(row).toEqual({ i });
  }
});
