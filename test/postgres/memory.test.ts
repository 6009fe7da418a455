/** What the process holds in memory, whatever its clients and servers do or do not read. Each test has a program of its own. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { type PoolerProcess, poolerProcess } from './pooler-process.ts';

const cluster = sharedCluster(18);
const MB = 2 ** 20;
const MOST_GROWTH = 64 * MB;
const LONG = 60_000;
/** Of a megabyte each, to be copied in. */
const CHUNKS = 80;

async function start(settings: Readonly<Record<string, unknown>> = {}): Promise<PoolerProcess> {
  const pool = await poolerProcess({ cluster, pool_mode: 'transaction', pool_size: 12, ...settings });
  // Node grows by itself while it warms up; that is no part of what is measured.
  const warm = await Promise.all(Array.from({ length: 20 }, () => pool.raw()));
  for (let i = 0; i < 10; i++) await Promise.all(warm.map((client) => client.query("select repeat('w', 100000)")));
  await Promise.all(warm.map((client) => client.leave()));
  return pool;
}

async function greedy(pool: PoolerProcess): Promise<TcpClient> {
  const client = await pool.raw();
  onTestFinished(() => client.drop('rst'));
  client.countOnly();
  return client;
}

/** Resolves when `count` backends wait for their client to read. */
async function stuckInWrite(pool: PoolerProcess, count: number): Promise<void> {
  for (;;) {
    const [row] = await cluster.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where datname = $1 and wait_event = 'ClientWrite'",
      [pool.database],
    );
    if (row?.n === count) return;
  }
}

/** Asks `count` times and returns the 99th percentile of the times that the answers took, in milliseconds. */
async function p99(pool: PoolerProcess, count = 300): Promise<number> {
  const client = await pool.raw();
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    expect((await client.query(`select ${i}`)).rows).toEqual([[String(i)]]);
    times.push(performance.now() - started);
  }
  await client.leave();
  return times.toSorted((a, b) => a - b)[Math.floor(count * 0.99)] ?? 0;
}

/** The server side of what was begun is over: whoever asks gets a server at once. */
async function expectServing(pool: PoolerProcess): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 12 }, () => pool.raw()));
  for (const { rows } of await Promise.all(clients.map((client) => client.query('select 1'))))
    expect(rows).toEqual([['1']]);
  await Promise.all(clients.map((client) => client.leave()));
}

describe('stays small', () => {
  it(
    'while ten clients do not read a result of a gigabyte, and serves the others',
    async () => {
      const pool = await start();
      const before = pool.residentBytes;
      pool.forgetPeak();
      const clients = await Promise.all(Array.from({ length: 10 }, () => greedy(pool)));
      for (const client of clients) {
        client.pause();
        client.send(bytes.query("select repeat('x', 1000000) from generate_series(1, 1000)"));
      }
      await stuckInWrite(pool, 10);
      expect(await p99(pool)).toBeLessThan(100);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      // One of them reads after all, to the end.
      const [reader, ...others] = clients as [TcpClient, ...TcpClient[]];
      reader.resume();
      await reader.received(1_000_000_000);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      await Promise.all(others.map((client) => client.drop('rst')));
      await expectServing(pool);
    },
    LONG,
  );

  it(
    'while a client sends a hundred megabytes of small queries and reads nothing',
    async () => {
      const pool = await start();
      const before = pool.residentBytes;
      pool.forgetPeak();
      const client = await greedy(pool);
      client.pause();
      const one = bytes.query('select 1234567');
      expect(one).toHaveLength(20);
      const megabyte = Buffer.alloc(20 * 50_000, one);
      for (let i = 0; i < 100; i++) client.send(megabyte);
      // It comes to a stop, and takes no more.
      for (let sent = -1; sent !== client.unsentBytes; await sleep(200)) sent = client.unsentBytes;
      expect(client.unsentBytes).toBeGreaterThan(50 * MB);
      expect(await p99(pool)).toBeLessThan(100);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      // It was not locked up: when the client reads, it goes on.
      const { bytesReceived } = client;
      client.resume();
      await client.received(bytesReceived + 15 * MB); // more than lies in all the buffers between
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      await client.drop('rst');
      await expectServing(pool);
    },
    LONG,
  );

  it(
    'while both directions are full, and comes through when the client reads',
    async () => {
      const pool = await start();
      const before = pool.residentBytes;
      pool.forgetPeak();
      const client = await greedy(pool);
      const { bytesReceived } = client;
      client.pause();
      const batch = Buffer.concat([bytes.extended('select $1::text', 'v'.repeat(1000)), bytes.sync]);
      const batches = 40_000;
      client.send(Buffer.alloc(batch.length * batches, batch));
      for (let sent = -1; sent !== client.unsentBytes; await sleep(100)) sent = client.unsentBytes;
      expect(client.unsentBytes).toBeGreaterThan(10 * MB);
      client.resume();
      // ParseComplete, BindComplete, RowDescription, DataRow, CommandComplete, ReadyForQuery
      const answer = 5 + 5 + (7 + 5 + 18) + (7 + 4 + 1000) + 14 + 6;
      await client.received(bytesReceived + answer * batches);
      expect(client.bytesReceived).toBe(bytesReceived + answer * batches);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
    },
    LONG,
  );

  it(
    'while a server does not read what is copied in',
    async () => {
      const pool = await start();
      await cluster.query('create table t (a int, b text); grant all on t to public', [], pool.database);
      const locker = await TcpClient.login(cluster, { user: 'dave', database: pool.database });
      onTestFinished(() => locker.drop());
      await locker.query('begin; lock table t in access exclusive mode');
      const before = pool.residentBytes;
      pool.forgetPeak();
      const client = await greedy(pool);
      const { bytesReceived } = client;
      const lines = 50_000;
      const chunk = bytes.copyData(`1\t${'c'.repeat(18)}\n`.repeat(lines));
      client.send(bytes.query('copy t from stdin'));
      for (let i = 0; i < CHUNKS; i++) client.send(chunk);
      client.send(bytes.copyDone);
      for (let sent = -1; sent !== client.unsentBytes; await sleep(200)) sent = client.unsentBytes;
      expect(client.unsentBytes).toBeGreaterThan(50 * MB);
      expect(await p99(pool)).toBeLessThan(100);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      await locker.query('commit');
      // CopyInResponse, CommandComplete, ReadyForQuery
      await client.received(bytesReceived + 12 + `COPY ${lines * CHUNKS}`.length + 6 + 6);
      expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
      expect(await cluster.query('select count(*)::int as n from t', [], pool.database)).toEqual([
        { n: lines * CHUNKS },
      ]);
    },
    LONG,
  );

  it('while messages of a gigabyte are announced and never sent', async () => {
    const pool = await start();
    const before = pool.residentBytes;
    pool.forgetPeak();
    const clients: TcpClient[] = [];
    for (const type of 'QPBFd') {
      for (const sent of [0, 100_000]) {
        const client = await greedy(pool);
        if (type === 'd') client.send(bytes.query('copy no_such from stdin'));
        client.send(bytes.lyingHeader(type, 0x3fff_ffff), Buffer.alloc(sent, 0x20));
        clients.push(client);
      }
    }
    for (let i = 0; i < 20; i++) {
      const stranger = await TcpClient.connect(pool);
      onTestFinished(() => stranger.drop());
      stranger.send(bytes.int32(10_000), bytes.int32(0x0003_0000));
    }
    expect(await p99(pool)).toBeLessThan(100);
    expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH / 2);
    await Promise.all(clients.map((client) => client.drop()));
    await expectServing(pool);
  });

  it('while a hundred thousand notices are not read', async () => {
    const pool = await start();
    const before = pool.residentBytes;
    pool.forgetPeak();
    const client = await greedy(pool);
    const { bytesReceived } = client;
    client.pause();
    const noise = `do $$ begin for i in 1..100000 loop raise notice '${'n'.repeat(200)}'; end loop; end $$`;
    client.send(bytes.query(noise));
    await stuckInWrite(pool, 1);
    expect(await p99(pool)).toBeLessThan(100);
    client.resume();
    await client.received(bytesReceived + 20 * MB);
    expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
  });

  it('while hundreds come and go, and gives everything back', async () => {
    const pool = await start();
    const round = async (): Promise<void> => {
      const clients = await Promise.all(Array.from({ length: 40 }, () => pool.raw()));
      await Promise.all(
        clients.map((client, i) => (i % 5 === 0 ? client.query('begin; select 1') : client.query('select 1'))),
      );
      await Promise.all(
        clients.map((client, i) => (i % 2 === 0 ? client.leave() : client.drop(i % 4 === 1 ? 'rst' : 'fin'))),
      );
    };
    for (let i = 0; i < 5; i++) await round();
    const before = pool.residentBytes;
    const { descriptorCount } = pool;
    for (let i = 0; i < 25; i++) await round();
    await expectServing(pool);
    await (await pool.raw()).leave();
    expect(pool.residentBytes - before).toBeLessThan(32 * MB);
    for (let i = 0; pool.descriptorCount > descriptorCount && i < 50; i++) await (await pool.raw()).leave();
    expect(pool.descriptorCount).toBeLessThanOrEqual(descriptorCount);
  });
});

it(
  'passes on a value of a gigabyte, in a row and one of a fifth of that in a Bind',
  async () => {
    const pool = await start();
    const before = pool.residentBytes;
    pool.forgetPeak();
    const client = await greedy(pool);
    const size = 1_000_000_000;
    let { bytesReceived } = client;
    client.send(bytes.query(`select repeat('g', ${size})`));
    // RowDescription of a column `repeat`, DataRow, CommandComplete, ReadyForQuery
    await client.received(bytesReceived + 32 + 11 + size + 14 + 6);
    expect(client.bytesReceived).toBe(bytesReceived + 32 + 11 + size + 14 + 6);
    bytesReceived = client.bytesReceived;
    const value = Buffer.alloc(200_000_000, 'v');
    const length = bytes.int32(value.length);
    client.send(
      bytes.parse('select length($1::text)'),
      bytes.lyingHeader('B', 4 + 1 + 1 + 2 + 2 + 4 + value.length + 2),
    );
    client.send(bytes.text(''), bytes.text(''), bytes.int16(0), bytes.int16(1), length);
    await client.sendAll(value);
    client.send(bytes.int16(0), bytes.execute(), bytes.sync);
    // ParseComplete, BindComplete, DataRow, CommandComplete, ReadyForQuery
    await client.received(bytesReceived + 5 + 5 + (7 + 4 + 9) + 14 + 6);
    expect(client.bytesReceived).toBe(bytesReceived + 5 + 5 + (7 + 4 + 9) + 14 + 6);
    expect(pool.peakBytes - before).toBeLessThan(MOST_GROWTH);
  },
  LONG,
);

it('takes the server back from a client that does not read for client_write_timeout', async () => {
  const pool = await poolerProcess({ cluster, pool_mode: 'transaction', pool_size: 1, client_write_timeout: 0.5 });
  const client = await greedy(pool);
  client.pause();
  client.send(bytes.query("select repeat('x', 1000000) from generate_series(1, 1000)"));
  await stuckInWrite(pool, 1);
  const next = await pool.raw();
  next.send(bytes.query('select 1'));
  expect(outcome(await next.take('Z')).rows).toEqual([['1']]);
  await next.leave();
  expect(pool.log.join('\n')).toContain('client_write_timeout');
});

it('lives on when it runs out of descriptors, without spinning, and serves again when there are some', async () => {
  const pool = await poolerProcess({ cluster, pool_mode: 'transaction', pool_size: 2 }, 64);
  const early = await pool.raw();
  expect((await early.query('select 1')).rows).toEqual([['1']]);
  const flood = await Promise.all(Array.from({ length: 120 }, () => TcpClient.connect(pool)));
  expect((await early.query('select 2')).rows).toEqual([['2']]);
  const before = pool.cpuMs;
  await sleep(500);
  expect(pool.cpuMs - before).toBeLessThan(250);
  expect((await early.query('select 3')).rows).toEqual([['3']]);
  await Promise.all(flood.map((client) => client.drop()));
  const late = await pool.raw();
  expect((await late.query('select 4')).rows).toEqual([['4']]);
  await Promise.all([early.leave(), late.leave()]);
  expect(pool.hasEnded).toBe(false);
});
