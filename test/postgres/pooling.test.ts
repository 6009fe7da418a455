/** Who gets a server when, how many there are, and every timeout of those who wait and of those who have one. */
import { describe, expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);
const PID = 'select pg_backend_pid()';

function say(sql: string): Buffer {
  return Buffer.concat([bytes.extended(sql), bytes.sync]);
}

function pool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster, pool_mode: 'transaction', pool_size: 1, ...options });
}

function login(front: PoolerFixture): Promise<TcpClient> {
  return TcpClient.login(front, { user: 'dave', database: front.database });
}

async function lastWords(client: TcpClient): Promise<Record<string, string>> {
  const error = (await client.rest()).findLast(({ type }) => type === 'E');
  await client.drop();
  return error === undefined ? {} : errorFields(error.body);
}

describe('waiting', () => {
  it('is in the order of asking', async () => {
    const front = await pool();
    const holder = await front.raw();
    await holder.query('begin');
    const waiters = [];
    for (let i = 0; i < 100; i++) waiters.push(await front.raw());
    const order: number[] = [];
    const done = waiters.map(async (waiter, i) => {
      await waiter.query(`select ${i}`);
      order.push(i);
    });
    await (await front.raw()).leave();
    await holder.query('commit');
    await Promise.all(done);
    expect(order).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(await front.backends()).toHaveLength(1);
  });

  it('may be given up, at any moment, without loss of a server', async () => {
    const front = await pool({ pool_size: 2 });
    for (let round = 0; round < 40; round++) {
      const holders = await Promise.all([login(front), login(front)]);
      await Promise.all(holders.map((holder) => holder.query('begin')));
      const waiters = await Promise.all(Array.from({ length: 3 }, () => login(front)));
      for (const waiter of waiters) waiter.send(bytes.query('select 1'));
      // The first of them goes just when a server becomes free.
      holders[0]?.send(bytes.query('commit'));
      const gone = waiters[0]?.drop(round % 2 === 0 ? 'fin' : 'rst');
      await Promise.all([gone, holders[1]?.query('commit')]);
      for (const waiter of waiters.slice(1)) expect(outcome(await waiter.take('Z')).rows).toEqual([['1']]);
      await Promise.all([...holders, ...waiters.slice(1)].map((client) => client.drop()));
    }
    const last = await Promise.all([front.raw(), front.raw()]);
    const statuses = await Promise.all(last.map((client) => client.query('begin')));
    expect(statuses.map(({ status }) => status)).toEqual(['T', 'T']);
    expect(await front.backends()).toHaveLength(2);
    await Promise.all(last.map((client) => client.query('commit')));
  });

  it('ends with query_wait_timeout, in words that help', async () => {
    const front = await pool({ query_wait_timeout: 0.3 });
    const holder = await front.raw();
    await holder.query('begin');
    const waiter = await login(front);
    waiter.send(bytes.query('select 1'));
    expect(await lastWords(waiter)).toMatchObject({
      S: 'FATAL',
      C: '53300',
      M: 'query_wait_timeout',
      D: expect.stringContaining('1 of 1'),
      H: expect.stringContaining('pool_size'),
    });
    expect((await holder.query('commit')).status).toBe('I');
  });

  it('is told after query_wait_notify, and goes on', async () => {
    const front = await pool({ query_wait_notify: 0.2 });
    const [holder, waiter] = [await front.raw(), await front.raw()];
    await holder.query('begin');
    waiter.send(bytes.query('select 1'));
    expect((await waiter.next()).type).toBe('N');
    await holder.query('commit');
    expect(outcome(await waiter.take('Z')).rows).toEqual([['1']]);
  });

  it('opens the reserve after reserve_pool_timeout', async () => {
    const front = await pool({ reserve_pool_size: 1, reserve_pool_timeout: 0.3 });
    const [holder, waiter, third] = [await front.raw(), await front.raw(), await front.raw()];
    await holder.query('begin');
    waiter.send(bytes.query('begin'));
    await waiter.take('Z');
    expect(await front.backends()).toHaveLength(2);
    third.send(bytes.query('select 1'));
    await (await front.raw()).leave();
    expect(third.messages).toEqual([]);
    await holder.query('commit');
    await third.take('Z');
    await waiter.query('commit');
  });
});

describe('servers', () => {
  it('are not used by clients that ask for nothing', async () => {
    const front = await pool({ pool_size: 5 });
    await Promise.all(Array.from({ length: 10 }, () => front.raw()));
    // One was needed for what it reports.
    expect(await front.backends()).toHaveLength(1);
  });

  it('are kept at min_pool_size, and closed after server_idle_timeout above it', async () => {
    const front = await pool({
      pool_size: 5,
      min_pool_size: 2,
      server_idle_timeout: 0.3,
      expectedCloses: ['idle_timeout'],
    });
    const clients = await Promise.all(Array.from({ length: 5 }, () => front.raw()));
    await Promise.all(clients.map((client) => client.query('begin')));
    expect(await front.backends()).toHaveLength(5);
    await Promise.all(clients.map((client) => client.query('commit')));
    while ((await front.backends()).length !== 2);
    expect(front.serverCloses).toEqual(['idle_timeout', 'idle_timeout', 'idle_timeout']);
  });

  it('are replaced after server_lifetime, never in a transaction', async () => {
    const front = await pool({ server_lifetime: 0.3, expectedCloses: ['lifetime'] });
    const client = await front.raw();
    const [[first]] = (await client.query(`begin; ${PID}`)).rows as [[string]];
    const started = performance.now();
    while (performance.now() - started < 600) expect((await client.query(PID)).rows).toEqual([[first]]);
    await client.query('commit');
    expect((await client.query(PID)).rows).not.toEqual([[first]]);
    expect(front.serverCloses).toEqual(['lifetime']);
  });

  it('are reused when they come too late for who wanted them', async () => {
    const proxy = await FaultProxy.start(cluster);
    onTestFinished(() => proxy.close());
    const front = await pool({ through: proxy });
    proxy.holdNewConnections();
    const impatient = await TcpClient.connect(front);
    impatient.send(bytes.startup({ user: 'dave', database: front.database }));
    await proxy.connected(1);
    await impatient.drop();
    proxy.release();
    await (await front.raw()).query('select 1');
    expect(proxy.accepted).toBe(1);
  });

  it('that fail their reset are closed', async () => {
    const front = await pool({
      pool_mode: 'session',
      server_reset_query: 'select canary from no_such_table',
      expectedCloses: ['reset_failed'],
    });
    const pids = [await front.backend(), await front.backend()];
    expect(pids[0]).not.toBe(pids[1]);
  });

  it('run connect_query once, before anybody gets them', async () => {
    const front = await pool({ database: { connect_query: "set my.greeting = 'hello'" } });
    const client = await front.raw();
    const greeting = "select current_setting('my.greeting', true)";
    expect((await client.query(greeting)).rows).toEqual([['hello']]);
    // What a client leaves is undone, and what connect_query has set is not.
    await client.query("set my.greeting = 'changed'");
    expect((await client.query(greeting)).rows).toEqual([['hello']]);
  });

  it('are taken in turn with server_round_robin, and else the last one again', async () => {
    for (const isInTurn of [true, false]) {
      const front = await pool({ pool_size: 3, server_round_robin: isInTurn });
      const clients = await Promise.all(Array.from({ length: 3 }, () => front.raw()));
      await Promise.all(clients.map((client) => client.query('select pg_sleep(0.05)')));
      const pids = new Set<string>();
      for (let i = 0; i < 12; i++) pids.add((await clients[0]?.query(PID))?.rows[0]?.[0] ?? '');
      expect(pids.size).toBe(isInTurn ? 3 : 1);
    }
  });

  it('are found on the next host when one is dead, and after that as load_balance_hosts says', async () => {
    for (const policy of ['round-robin', 'disable']) {
      const front = await pool({
        through: { host: '127.0.0.9, 127.0.0.1', port: cluster.port },
        load_balance_hosts: policy,
        expectedCloses: ['connect_failed', 'lifetime'],
        server_lifetime: 0,
      });
      const client = await front.raw();
      for (let i = 0; i < 4; i++) expect((await client.query('select 1')).rows).toEqual([['1']]);
    }
  });

  it('are tried for one at a time while PostgreSQL is gone', async () => {
    const proxy = await FaultProxy.start(cluster);
    onTestFinished(() => proxy.close());
    const front = await pool({
      through: proxy,
      pool_size: 20,
      server_login_retry: 0.3,
      expectedCloses: ['connect_failed', 'eof'],
    });
    proxy.refuse(true);
    const started = performance.now();
    while (performance.now() - started < 900) {
      const clients = await Promise.all(Array.from({ length: 20 }, () => TcpClient.connect(front)));
      for (const client of clients) client.send(bytes.startup({ user: 'dave', database: front.database }));
      for (const client of clients) expect((await lastWords(client))['C']).toBe('08006');
    }
    // The first herd may have asked for as many as log in at a time.
    expect(proxy.accepted).toBeLessThanOrEqual(4 + 3);
    proxy.refuse(false);
  });
});

describe('timeouts', () => {
  const cases: readonly (readonly [string, string, string, Record<string, unknown>])[] = [
    ['query_timeout', 'select pg_sleep(30)', '57014', { query_timeout: 0.3 }],
    ['idle_transaction_timeout', 'begin', '25P03', { idle_transaction_timeout: 0.3 }],
    ['transaction_timeout', 'begin; select 1', '25P04', { transaction_timeout: 0.3 }],
    ['client_idle_timeout', 'select 1', '57P05', { client_idle_timeout: 0.3 }],
  ];
  it.each(cases)('%s ends who is over it, and the next one is served', async (name, sql, sqlstate, settings) => {
    const closes = [name, 'abandoned'];
    const front = await pool({ ...settings, expectedCloses: closes, server_close_timeout: 1 });
    const client = await login(front);
    client.send(bytes.query(sql));
    expect(await lastWords(client)).toMatchObject({ S: 'FATAL', C: sqlstate });
    expect((await (await front.raw()).query('select 2')).rows).toEqual([['2']]);
    expect(await front.backends()).toHaveLength(1);
  });

  it('query_timeout does not count idle time in a transaction', async () => {
    const front = await pool({ query_timeout: 0.3 });
    const client = await front.raw();
    await client.query('begin');
    await cluster.query('select pg_sleep(0.8)');
    expect((await client.query('commit')).status).toBe('I');
  });

  it('client_login_timeout ends who does not log in, in any phase', async () => {
    const front = await pool({ auth_type: 'plain', client_login_timeout: 0.3 });
    const [mute, half, asked] = [
      await TcpClient.connect(front),
      await TcpClient.connect(front),
      await TcpClient.connect(front),
    ];
    half.send(bytes.int32(50));
    asked.send(bytes.startup({ user: 'alice', database: front.database }));
    for (const client of [mute, half, asked]) expect(await lastWords(client)).toMatchObject({ S: 'FATAL', C: '57014' });
  });
});

describe('statement mode', () => {
  it('allows statements, and ends who opens a transaction', async () => {
    const front = await pool({ pool_mode: 'statement', expectedCloses: ['abandoned'] });
    const client = await login(front);
    await client.query('create table t (a int)');
    expect((await client.query('insert into t values (1); select count(*) from t')).rows).toEqual([['1']]);
    client.send(bytes.query('begin; insert into t values (2)'));
    expect(await lastWords(client)).toMatchObject({ S: 'FATAL', C: '0A000' });
    expect((await (await front.raw()).query('select count(*) from t')).rows).toEqual([['1']]);
  });
});

describe('errors of the pooler’s own', () => {
  it('fail the transaction that they belong to', async () => {
    const front = await pool({ disable_pqexec: true });
    await cluster.query('create table t (a int); grant all on t to public', [], front.database);
    for (const waits of [true, false]) {
      const client = await front.raw();
      const parts = [
        say('begin'),
        say('insert into t values (1)'),
        bytes.query('select 1'),
        say('select 2'),
        say('commit'),
      ];
      const answers = [];
      if (!waits) client.send(...parts);
      for (const part of parts) {
        if (waits) client.send(part);
        answers.push(outcome(await client.take('Z')));
      }
      expect(answers.map(({ sqlstate, status }) => `${sqlstate} ${status}`)).toEqual([
        'null T',
        'null T',
        '0A000 E',
        '25P02 E',
        'null I',
      ]);
      expect(answers[4]?.tags).toEqual(['ROLLBACK']);
      expect(await cluster.query('select * from t', [], front.database)).toEqual([]);
      client.send(bytes.query('select 1'), say('select 3'));
      expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '0A000', status: 'I' });
      expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: null, rows: [['3']] });
      await client.leave();
    }
  });
});
