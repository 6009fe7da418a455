/** Cancel requests: the query that was meant ends with 57014, and never another one. */
import { Client } from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);
const PID = 'select pg_backend_pid()';

function onePool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster, pool_mode: 'transaction', pool_size: 1, ...options });
}

/** As libpq does it: a connection of its own, the request, and no answer but the close. */
async function cancel(pool: PoolerFixture, key: Buffer): Promise<void> {
  const connection = await TcpClient.connect(pool);
  connection.send(bytes.cancelRequest(key));
  expect(await connection.rest()).toEqual([]);
  await connection.drop();
}

/** Resolves when PostgreSQL runs a statement that begins with `sql`. */
async function runs(pool: PoolerFixture, sql: string): Promise<void> {
  for (;;) {
    const sessions = await pool.cluster.activity(pool.database);
    if (sessions.some(({ state, query }) => state === 'active' && query.startsWith(sql))) return;
  }
}

/** A statement that runs until `open`: it waits for a lock. */
interface Gate {
  readonly sql: string;
  readonly open: () => Promise<void>;
  /** What the pooler's sessions do. */
  readonly states: () => Promise<string[]>;
}

async function gate(pool: PoolerFixture): Promise<Gate> {
  const keeper = new Client({ connectionString: pool.cluster.url(pool.database) });
  await keeper.connect();
  const { rows } = await keeper.query<{ pid: number }>('select pg_backend_pid() as pid, pg_advisory_lock(1)');
  return {
    sql: 'select pg_advisory_xact_lock(1)',
    open: () => keeper.end(),
    states: async () =>
      (await pool.cluster.activity(pool.database)).filter(({ pid }) => pid !== rows[0]?.pid).map(({ state }) => state),
  };
}

it('ends a running statement, and the session goes on, on the same server', async () => {
  const pool = await onePool();
  const client = await pool.raw();
  const before = await client.query(PID);
  client.send(bytes.query('select pg_sleep(20)'));
  await runs(pool, 'select pg_sleep');
  await cancel(pool, client.cancelKey);
  expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I' });
  expect(await client.query(PID)).toEqual(before);
});

it('ends one statement of a pipeline, and fails a transaction', async () => {
  const pool = await onePool();
  const client = await pool.raw();
  client.send(
    bytes.query('begin'),
    bytes.query('select pg_sleep(20)'),
    bytes.query('select 1'),
    bytes.query('rollback'),
  );
  await runs(pool, 'select pg_sleep');
  await cancel(pool, client.cancelKey);
  const statuses = (await client.take('Z', 4)).filter(({ type }) => type === 'Z').map(({ body }) => body.toString());
  expect(statuses).toEqual(['T', 'E', 'E', 'I']);
  client.send(bytes.extended('select pg_sleep(20)'), bytes.sync, bytes.extended('select 2'), bytes.sync);
  await runs(pool, 'select pg_sleep');
  await cancel(pool, client.cancelKey);
  expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I' });
  expect(outcome(await client.take('Z')).rows).toEqual([['2']]);
});

it('tells a client that waits for a server, which lives and keeps its place in the world', async () => {
  const pool = await onePool();
  const [holder, waiter] = [await pool.raw(), await pool.raw()];
  const [[pid]] = (await holder.query(`begin; ${PID}`)).rows as [[string]];
  waiter.send(bytes.query('select 1'));
  await cancel(pool, waiter.cancelKey);
  expect(outcome(await waiter.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I', rows: [] });
  waiter.send(bytes.extended('select 1'), bytes.extended('select 2'), bytes.sync);
  await cancel(pool, waiter.cancelKey);
  expect(outcome(await waiter.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I', rows: [] });
  expect((await holder.query('commit')).sqlstate).toBeNull();
  expect((await waiter.query(PID)).rows).toEqual([[pid]]);
});

it('does nothing to a client that is idle, in or out of a transaction', async () => {
  const pool = await onePool();
  const client = await pool.raw();
  await cancel(pool, client.cancelKey);
  expect((await client.query('begin')).status).toBe('T');
  await cancel(pool, client.cancelKey);
  expect(await client.query('select 1')).toMatchObject({ sqlstate: null, status: 'T' });
  expect((await client.query('commit')).status).toBe('I');
});

it('never hits the client that has the server next, whenever it comes', async () => {
  const pool = await onePool();
  const [first, second] = [await pool.raw(), await pool.raw()];
  const [[pid]] = (await first.query(PID)).rows as [[string]];
  let canceled = 0;
  for (let round = 0; round < 100; round++) {
    // Rounds differ in how far the query is when the request comes: not begun, running, answered.
    first.send(bytes.query(`select pg_sleep(${(round % 10) ** 2 / 1000}), ${round}`));
    second.send(bytes.query(`select pg_sleep(0.004), ${PID.slice(7)}, ${round}`));
    const request = await TcpClient.connect(pool);
    if (round % 3 === 0) await first.reach('Z', 1);
    request.send(bytes.cancelRequest(first.cancelKey));
    if (outcome(await first.take('Z')).sqlstate !== null) canceled++;
    expect(outcome(await second.take('Z'))).toMatchObject({ sqlstate: null, rows: [['', pid, String(round)]] });
    await request.rest();
    await request.drop();
  }
  expect(canceled).toBeGreaterThan(5);
  expect(canceled).toBeLessThan(95);
});

it('gives the server to nobody while a cancel for it is on its way', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const pool = await onePool({ through: proxy });
  const [first, second] = [await pool.raw(), await pool.raw()];
  const [[pid]] = (await first.query(PID)).rows as [[string]];
  const { accepted } = proxy;

  const { sql, open, states } = await gate(pool);
  proxy.holdNewConnections();
  first.send(bytes.query(sql));
  await runs(pool, sql);
  const request = cancel(pool, first.cancelKey);
  await proxy.connected(accepted + 1);
  await open();
  expect(outcome(await first.take('Z')).sqlstate).toBeNull();

  second.send(bytes.query(`select pg_sleep(0.1), ${PID.slice(7)}`));
  await (await pool.raw()).leave(); // whose login shows that the pooler has read what came before
  expect(await states()).toEqual(['idle']);
  proxy.release();
  await request;
  expect(outcome(await second.take('Z'))).toMatchObject({ sqlstate: null, rows: [['', pid]] });
});

it('gives the server to nobody while a cancel of a client that has left is on its way', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const pool = await onePool({ through: proxy });
  const [first, second] = [await pool.raw(), await pool.raw()];
  const [[pid]] = (await first.query(PID)).rows as [[string]];
  const { accepted } = proxy;

  const { sql, open, states } = await gate(pool);
  proxy.holdNewConnections();
  first.send(bytes.query(sql));
  await runs(pool, sql);
  await first.drop('rst');
  await proxy.connected(accepted + 1);
  await open();
  second.send(bytes.query(`select pg_sleep(0.1), ${PID.slice(7)}`));
  while ((await states()).some((state) => state !== 'idle'));
  await (await pool.raw()).leave();
  expect(await states()).toEqual(['idle']);
  proxy.release();
  expect(outcome(await second.take('Z'))).toMatchObject({ sqlstate: null, rows: [['', pid]] });
});

it('cancels again when the cancel was faster than the query of a client that has left', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const pool = await onePool({ through: proxy });
  const client = await pool.raw();
  const [[pid]] = (await client.query(PID)).rows as [[string]];
  const { accepted } = proxy;
  proxy.stall('to server');
  client.send(bytes.query('select pg_sleep(60)'));
  await (await pool.raw()).leave();
  await client.drop('rst');
  await proxy.connected(accepted + 1);
  await proxy.closed(accepted);
  proxy.release();
  expect(await pool.backend()).toBe(Number(pid));
});

it('does not know the key of a client that has left, nor any wrong one', async () => {
  const pool = await onePool();
  const [left, other] = [await pool.raw(), await pool.raw()];
  await left.query('select 1');
  await left.leave();
  const [backend] = await pool.backends();
  const { sql, open } = await gate(pool);
  other.send(bytes.query(`${sql}, ${PID.slice(7)}`));
  await runs(pool, sql);
  const own = other.cancelKey;
  const wrong = [
    left.cancelKey,
    Buffer.concat([own.subarray(0, 4), left.cancelKey.subarray(4)]),
    own.subarray(0, 4),
    own.subarray(0, 7),
    Buffer.concat([own, Buffer.of(0)]),
    Buffer.alloc(8),
    Buffer.alloc(256, 7),
    Buffer.concat([bytes.int32(backend ?? 0), own.subarray(4)]),
    ...Array.from({ length: 200 }, (_, i) => Buffer.concat([own.subarray(0, 4), bytes.int32(i * 65_537)])),
  ];
  await Promise.all(wrong.map((key) => cancel(pool, key)));
  await open();
  expect(outcome(await other.take('Z'))).toMatchObject({ sqlstate: null, rows: [['', String(backend)]] });
});

it.each([
  [18, 'the server’s long key', 8 + 36],
  [15, 'the short one of a server that knows only 3.0', 8 + 8],
] as const)(
  'speaks protocol 3.2 (PostgreSQL %i): the client’s long key stands for %s',
  async (version, _key, length) => {
    const server = sharedCluster(version);
    const proxy = await FaultProxy.start(server);
    onTestFinished(() => proxy.close());
    const pool = await onePool({ cluster: server, through: proxy });
    const me = { user: 'dave', database: pool.database };
    const client = await TcpClient.login(pool, me, undefined, bytes.VERSION_3_2);
    expect(client.cancelKey).toHaveLength(32);
    expect(client.cancelKey.readInt32BE(0)).toBeGreaterThanOrEqual(0);
    const before = await client.query(PID);

    client.send(bytes.query('select pg_sleep(20)'));
    await runs(pool, 'select pg_sleep');
    const key = client.cancelKey;
    const wrong = [
      key.subarray(0, 8),
      key.subarray(0, 31),
      Buffer.concat([key, Buffer.of(0)]),
      Buffer.concat([bytes.int32(Number(before.rows[0]?.[0])), key.subarray(4)]),
      ...[4, 31].map((at) => Buffer.from(key.map((byte, i) => (i === at ? byte ^ 1 : byte)))),
    ];
    await Promise.all(wrong.map((other) => cancel(pool, other)));
    expect(proxy.bytesToServer).toHaveLength(1);
    await cancel(pool, key);
    expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I' });
    expect(proxy.bytesToServer).toHaveLength(2);
    expect(proxy.bytesToServer[1]).toBe(length);
    expect(await client.query(PID)).toEqual(before);
    await client.leave();
  },
);

it('gives every client a key of its own that is not the server’s', async () => {
  const pool = await pooler({ cluster, pool_mode: 'session', pool_size: 20 });
  const clients = await Promise.all(Array.from({ length: 20 }, () => pool.raw()));
  const keys = clients.map(({ cancelKey }) => cancelKey.toString('hex'));
  expect(new Set(keys).size).toBe(20);
  for (const { cancelKey } of clients) {
    expect(cancelKey).toHaveLength(8);
    expect(cancelKey.readInt32BE(0)).toBeGreaterThanOrEqual(0);
  }
  const direct = await TcpClient.login(cluster, { user: 'dave', database: pool.database });
  onTestFinished(() => direct.leave());
  expect(direct.cancelKey.subarray(4)).toHaveLength(4);
});

it('reaches the right one of many queries, with as many cancels at a time as the pool has servers', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const pool = await onePool({ pool_size: 4, through: proxy });
  const clients = await Promise.all(Array.from({ length: 4 }, () => pool.raw()));
  for (const client of clients) client.send(bytes.query('select pg_sleep(20)'));
  while ((await pool.cluster.activity(pool.database)).filter(({ state }) => state === 'active').length < 4);
  const [meant, ...others] = clients as [TcpClient, ...TcpClient[]];
  const { accepted } = proxy;
  proxy.holdNewConnections();
  const requests = Promise.all(Array.from({ length: 60 }, () => cancel(pool, meant.cancelKey)));
  await proxy.connected(accepted + 1);
  await (await pool.raw()).leave();
  expect(proxy.accepted - accepted).toBeLessThanOrEqual(4);
  proxy.release();
  expect(outcome(await meant.take('Z')).sqlstate).toBe('57014');
  // It can be used at once, whatever is left of the sixty.
  for (let i = 0; i < 20; i++) expect((await meant.query('select pg_sleep(0.005)')).sqlstate).toBeNull();
  for (const other of others) {
    expect(other.messages).toEqual([]);
    await cancel(pool, other.cancelKey);
    expect(outcome(await other.take('Z')).sqlstate).toBe('57014');
  }
  await requests;
});

it('works in session mode, and does not hit the reset', async () => {
  const pool = await onePool({ pool_mode: 'session' });
  const client = await pool.raw();
  const [[pid]] = (await client.query(PID)).rows as [[string]];
  for (let round = 0; round < 20; round++) {
    client.send(bytes.query('select pg_sleep(20)'));
    await runs(pool, 'select pg_sleep');
    await cancel(pool, client.cancelKey);
    expect(outcome(await client.take('Z')).sqlstate).toBe('57014');
  }
  const key = client.cancelKey;
  const requests = Promise.all(Array.from({ length: 10 }, () => cancel(pool, key)));
  await client.leave();
  await requests;
  expect(await pool.backend()).toBe(Number(pid));
});
