/** The library: several poolers in one process, addresses, and every way to close. */
import { connect, createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createPooler } from '../../src/pooler.ts';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { configurationOf, type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

async function isListening({ host, port }: { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ host, port });
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
}

async function lastWords(client: TcpClient): Promise<Record<string, string>> {
  const error = (await client.rest()).findLast(({ type }) => type === 'E');
  await client.drop();
  return error === undefined ? {} : errorFields(error.body);
}

function resources(): string {
  return process.getActiveResourcesInfo().toSorted().join(' ');
}

function login(pool: PoolerFixture): Promise<TcpClient> {
  return TcpClient.login(pool, { user: 'dave', database: pool.database });
}

const SHUTDOWN = { S: 'FATAL', C: '57P01', M: 'pooler is shutting down' };

it('runs twice in one process, each on a port of its own', async () => {
  const [one, two] = [
    await pooler({ cluster, pool_mode: 'transaction' }),
    await pooler({ cluster, pool_mode: 'transaction' }),
  ];
  expect(one.port).not.toBe(two.port);
  expect([one.port > 0, two.port > 0]).toEqual([true, true]);
  const [first, second] = [await one.client(), await two.client()];
  const database = 'select current_database() as name';
  expect((await first.query(database)).rows).toEqual([{ name: one.database }]);
  expect((await second.query(database)).rows).toEqual([{ name: two.database }]);
});

it('says all of its addresses, with the port that the system chose', async () => {
  const pool = await pooler({ cluster, listen_addr: '127.0.0.1, ::1', pool_mode: 'transaction', pool_size: 1 });
  const { addresses, address } = pool.pooler;
  expect(addresses.map(({ host }) => host)).toEqual(['127.0.0.1', '::1']);
  expect(new Set(addresses.map(({ port }) => port)).size).toBe(1);
  expect(address).toEqual(addresses[0]);
  const pids = new Set<string>();
  for (const where of addresses) {
    const client = await TcpClient.login(where, { user: 'dave', database: pool.database });
    pids.add((await client.query('select pg_backend_pid()')).rows[0]?.[0] ?? '');
    await client.leave();
  }
  expect(pids.size).toBe(1);
});

it('leaves nothing behind when it cannot start', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const before = resources();
  const settings = { cluster, listen_port: port };
  await expect(createPooler(configurationOf(settings, 'postgres'), { log: silent })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
  // The first address is free, the second is not: neither is listened on.
  const both = { cluster, listen_addr: '127.0.0.2, 127.0.0.1', listen_port: port };
  await expect(createPooler(configurationOf(both, 'postgres'), { log: silent })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
  expect(await isListening({ host: '127.0.0.2', port })).toBe(false);
  await expect(createPooler({ pgbouncer: { listen_prot: 1 } }, { log: silent })).rejects.toThrow(/listen_port/);
  await expect(createPooler('/nonexistent/tsbouncer.yaml')).rejects.toThrow(/no such file/);
  const deadline = performance.now() + 1000;
  while (resources() !== before && performance.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
  expect(resources()).toBe(before);
});

describe('close()', () => {
  it('tells idle clients at once, and those who wait, and lets a transaction end', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const [idle, active, waiting] = [await login(pool), await login(pool), await login(pool)];
    await idle.query('select 1');
    await active.query('create table t (a int)');
    await active.query('begin; insert into t values (1)');
    waiting.send(bytes.query('select 2'));
    await (await pool.raw()).leave();
    let closed = false;
    const done = pool.pooler.close().then(() => {
      closed = true;
    });
    expect(await lastWords(idle)).toMatchObject(SHUTDOWN);
    expect(await lastWords(waiting)).toMatchObject(SHUTDOWN);
    expect(await isListening(pool)).toBe(false);
    expect((await active.query('select count(*) from t')).rows).toEqual([['1']]);
    expect(closed).toBe(false);
    active.send(bytes.query('commit'));
    await active.take('Z');
    expect(await lastWords(active)).toMatchObject(SHUTDOWN);
    await done;
    expect(await cluster.query('select * from t', [], pool.database)).toEqual([{ a: 1 }]);
  });

  it('lets a transaction end in session mode, too, and no more than that', async () => {
    const pool = await pooler({ cluster, pool_mode: 'session', pool_size: 2 });
    const client = await login(pool);
    await client.query('create table t (a int)');
    await client.query('begin; insert into t values (1)');
    const done = pool.pooler.close();
    expect((await client.query('select count(*) from t')).rows).toEqual([['1']]);
    client.send(
      bytes.query('commit'),
      bytes.query('insert into t values (2)'),
      bytes.query('insert into t values (3)'),
    );
    expect(
      (await client.rest()).map(({ type, body }) => (type === 'C' ? body.toString().slice(0, -1) : type)).slice(0, 2),
    ).toEqual(['COMMIT', 'Z']);
    await client.drop();
    await done;
    const rows = await cluster.query<{ a: number }>('select * from t order by a', [], pool.database);
    expect(rows[0]).toEqual({ a: 1 });
  });

  it('cuts what is left after its time, and rolls it back', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 2 });
    const [inTransaction, inQuery] = [await login(pool), await login(pool)];
    await inTransaction.query('create table t (a int)');
    await inTransaction.query('begin; insert into t values (1)');
    inQuery.send(bytes.query('select pg_sleep(60)'));
    await (await pool.raw()).leave();
    const started = performance.now();
    const words = [lastWords(inTransaction), lastWords(inQuery)];
    await pool.pooler.close({ timeoutMs: 200 });
    expect(performance.now() - started).toBeGreaterThanOrEqual(190);
    expect(performance.now() - started).toBeLessThan(1500);
    for (const word of words) expect(await word).toMatchObject(SHUTDOWN);
    expect(await pool.backends()).toEqual([]);
    expect(await cluster.query('select * from t', [], pool.database)).toEqual([]);
  });

  it('may be called again, which only shortens it', async () => {
    const pool = await pooler({ cluster, pool_mode: 'session', pool_size: 2 });
    const client = await login(pool);
    await client.query('begin');
    const first = pool.pooler.close();
    const second = pool.pooler.close({ timeoutMs: 60_000 });
    const third = pool.pooler.close({ timeoutMs: 50 });
    await Promise.all([first, second, third]);
    await pool.pooler.close();
    await pool.pooler.close({ timeoutMs: 0 });
    expect(await lastWords(client)).toMatchObject(SHUTDOWN);
  });

  it('ends idle sessions and open logins, too', async () => {
    const pool = await pooler({ cluster, pool_mode: 'session', pool_size: 2, auth_type: 'plain' });
    const idle = await TcpClient.login(pool, { user: 'alice', database: pool.database }, 'alice-secret');
    await idle.query('select 1');
    const [mute, half] = [await TcpClient.connect(pool), await TcpClient.connect(pool)];
    half.send(bytes.startup({ user: 'alice', database: pool.database }));
    await half.next('R');
    await (await TcpClient.connect(pool)).drop();
    await pool.pooler.close();
    for (const client of [idle, mute, half]) expect(await lastWords(client)).toMatchObject({ C: '57P01' });
  });

  it('ends at the end of a statement, not in the middle of its answer', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const client = await login(pool);
    client.send(bytes.query("select i, repeat('x', 1000) from generate_series(1, 30000) i"));
    await client.received(100_000);
    client.pause();
    const done = pool.pooler.close();
    client.resume();
    const said = await client.rest();
    expect(said.filter(({ type }) => type === 'D')).toHaveLength(30_000);
    expect(said.slice(-3).map(({ type }) => type)).toEqual(['C', 'Z', 'E']);
    await client.drop();
    await done;
  });

  it('cuts clients that do not read, and servers that do not end', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const client = await login(pool);
    client.send(bytes.query("select repeat('x', 1000000) from generate_series(1, 500)"));
    await client.received(100_000);
    client.pause();
    const started = performance.now();
    await pool.pooler.close({ timeoutMs: 100 });
    expect(performance.now() - started).toBeLessThan(4000);
    expect(await pool.backends()).toEqual([]);
    await client.drop();
  });

  it('is fast when nobody was ever there', async () => {
    const pool = await pooler({ cluster });
    const started = performance.now();
    await pool.pooler.close();
    expect(performance.now() - started).toBeLessThan(500);
  });
});
