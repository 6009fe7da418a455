/** A PostgreSQL that is broken on purpose: what clients are told, who goes on, and that nothing is sent twice. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { type PostgresCluster, startCluster } from '../support/postgres-cluster.ts';

const SLOTS = 8;
const PID = 'select pg_backend_pid()';

let cluster: PostgresCluster;
beforeAll(async () => {
  // Three more are kept for superusers.
  cluster = await startCluster({ version: 18, maxConnections: SLOTS + 3 });
});
afterAll(() => cluster.close());

/** Everything that this file does to servers. */
const BROKEN = [
  'lifetime',
  'eof',
  'fatal_error',
  'dirty_while_idle',
  'connect_failed',
  'login_failed',
  'connect_timeout',
];

function pool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({
    cluster,
    pool_mode: 'transaction',
    pool_size: 2,
    server_login_retry: 0.2,
    expectedCloses: BROKEN,
    ...options,
  });
}

/** What ends the session of `client`, as SQLSTATE and words. */
async function lastWords(client: TcpClient): Promise<{ severity: string; sqlstate: string; message: string }> {
  const said = (await client.rest()).findLast(({ type }) => type === 'E');
  const { S: severity = 'none', C: sqlstate = '', M: message = '' } = said === undefined ? {} : errorFields(said.body);
  await client.drop();
  return { severity, sqlstate, message };
}

/** Why PostgreSQL itself lets nobody in; null if it does. */
async function refusal(database: string): Promise<string | null> {
  const client = await TcpClient.connect(cluster).catch(() => null);
  if (client === null) return 'ECONNREFUSED';
  client.send(bytes.startup({ user: 'dave', database }));
  await client.reach('Z', 1);
  if (client.ended) return (await lastWords(client)).sqlstate;
  await client.leave();
  return null;
}

/** Asks until it is answered; the pooler may turn newcomers away while it knows no better. */
async function answeredAgain(front: PoolerFixture): Promise<TcpClient> {
  for (;;) {
    const client = await TcpClient.connect(front);
    client.send(bytes.startup({ user: 'dave', database: front.database }), bytes.query('select 1'));
    await client.reach('Z', 2);
    if (!client.ended) {
      await client.take('Z', 2);
      onTestFinished(() => client.leave());
      return client;
    }
    expect((await lastWords(client)).sqlstate).toMatch(/^(08006|57P03|57P01)$/);
  }
}

it('closes the clients of a crash, and serves the idle ones when PostgreSQL is back', async () => {
  const front = await pool();
  const [idle, linked] = [await front.raw(), await TcpClient.login(front, { user: 'dave', database: front.database })];
  await idle.query('create table crashed (a int)');
  await linked.query('begin; insert into crashed values (1)');
  await cluster.query('checkpoint');
  const { rows } = await idle.query(PID);
  cluster.killBackend(Number(rows[0]?.[0]));
  const { severity, sqlstate } = await lastWords(linked);
  expect([severity, sqlstate]).toEqual(['FATAL', '08006']);
  while ((await refusal(front.database)) !== null);
  expect(await idle.query('select count(*) from crashed')).toMatchObject({ rows: [['0']], sqlstate: null });
  expect((await idle.query(PID)).rows).not.toEqual(rows);
});

it.each(['fast', 'immediate'] as const)(
  'goes on after PostgreSQL was stopped (%s) and started under load',
  async (mode) => {
    const front = await pool();
    await cluster.query(`create table written (n int); grant all on written to public`, [], front.database);
    await cluster.query('checkpoint'); // nothing is synced, and this must survive
    const acknowledged = new Set<number>();
    const refused = new Set<number>();
    const ends = new Map<string, number>();
    let next = 0;
    const stopping = new AbortController();
    const write = async (): Promise<void> => {
      while (!stopping.signal.aborted) {
        const client = await TcpClient.connect(front);
        client.send(bytes.startup({ user: 'dave', database: front.database }));
        await client.reach('Z', 1);
        if (!client.ended) await client.take('Z');
        while (!client.ended && !stopping.signal.aborted) {
          const number = next++;
          client.send(bytes.query(`insert into written values (${number})`));
          await client.reach('Z', 1);
          if (client.ended) break;
          const { sqlstate } = outcome(await client.take('Z'));
          (sqlstate === null ? acknowledged : refused).add(number);
        }
        if (client.ended) {
          const { sqlstate } = await lastWords(client);
          ends.set(sqlstate, (ends.get(sqlstate) ?? 0) + 1);
        } else await client.leave();
      }
    };
    const writers = Array.from({ length: 8 }, write);
    while (acknowledged.size < 200) await cluster.query('select 1');
    await cluster.stop(mode);
    const before = acknowledged.size;
    await cluster.start();
    while (acknowledged.size < before + 200) await cluster.query('select 1');
    stopping.abort();
    await Promise.all(writers);

    expect(refused.size).toBe(0);
    for (const sqlstate of ends.keys()) expect(['57P01', '57P03', '08006']).toContain(sqlstate);
    expect(front.serverCloses.length).toBeGreaterThan(0);
    const found = await cluster.query<{ n: number; count: number }>(
      'select n, count(*)::int as count from written group by n',
      [],
      front.database,
    );
    expect(found.filter(({ count }) => count > 1)).toEqual([]);
    const numbers = new Set(found.map(({ n }) => n));
    // What was acknowledged in the last moments before an immediate stop may be lost by PostgreSQL itself (fsync = off).
    if (mode === 'fast') expect([...acknowledged].filter((n) => !numbers.has(n))).toEqual([]);
  },
);

it('lets transactions end while PostgreSQL shuts down (smart), and who needs a new server waits', async () => {
  const front = await pool({ leavesServerDown: true });
  const [busy, waiting] = [await front.raw(), await front.raw()];
  await busy.query('begin');
  const stopped = cluster.stop('smart');
  while ((await refusal(front.database)) !== '57P03');
  waiting.send(bytes.query('select 1'));
  while (!front.log.some(({ message }) => message.includes('the database system is shutting down')))
    await (await front.raw()).leave();
  expect(waiting.ended).toBe(false);
  expect(await busy.query('select 1')).toMatchObject({ sqlstate: null, status: 'T' });
  expect(await busy.query('commit')).toMatchObject({ sqlstate: null, status: 'I' });
  // It gets the server that the other one has given back.
  expect(outcome(await waiting.take('Z'))).toMatchObject({ sqlstate: null, rows: [['1']] });
  await Promise.all([busy.leave(), waiting.leave()]);
  await front.close();
  await stopped;
  await cluster.start();
});

it('starts while PostgreSQL is down, says so, and serves when it is up', async () => {
  const databaseName = await cluster.createDatabase();
  await cluster.stop();
  const front = await pool({ databaseName });
  const first = await TcpClient.connect(front);
  first.send(bytes.startup({ user: 'dave', database: databaseName }));
  expect(await lastWords(first)).toEqual({
    severity: 'FATAL',
    sqlstate: '08006',
    message: expect.stringMatching(/connection to the server failed: .*ECONNREFUSED/),
  });
  const second = await TcpClient.connect(front);
  second.send(bytes.startup({ user: 'dave', database: databaseName }));
  expect(await lastWords(second)).toEqual({
    severity: 'FATAL',
    sqlstate: '08006',
    message: expect.stringMatching(/cached error: .*ECONNREFUSED.*\(server_login_retry\)/),
  });
  await cluster.start();
  const client = await answeredAgain(front);
  expect((await client.query('select 2')).rows).toEqual([['2']]);
});

it('lets clients wait while PostgreSQL starts (57P03)', async () => {
  const databaseName = await cluster.createDatabase();
  const front = await pool({ databaseName });
  await (await front.raw()).query('select 1');
  const [{ data_directory: data } = { data_directory: '' }] = await cluster.query<{ data_directory: string }>(
    'show data_directory',
  );
  await cluster.query('alter system set hot_standby = off');
  await cluster.stop();
  writeFileSync(join(data, 'standby.signal'), '');
  const started = cluster.start(); // it comes no further than recovery, without a word of readiness
  while ((await refusal(databaseName)) !== '57P03');
  const waiting = await TcpClient.connect(front);
  onTestFinished(() => waiting.leave());
  waiting.send(bytes.startup({ user: 'dave', database: databaseName }), bytes.query('select 1'));
  while (!front.log.some(({ message }) => /not accepting connections|starting up/.test(message)))
    await (await TcpClient.connect(front)).drop();
  expect([waiting.ended, outcome(waiting.messages).rows]).toEqual([false, []]);
  writeFileSync(join(data, 'promote'), '');
  process.kill(Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]), 'SIGUSR1');
  await started;
  await cluster.query('alter system reset hot_standby');
  expect(outcome(await waiting.take('Z', 2))).toMatchObject({ sqlstate: null, rows: [['1']] });
});

it('takes a full PostgreSQL (53300) for one that will have room again', async () => {
  const front = await pool({ query_wait_timeout: 10 });
  const others: TcpClient[] = [];
  for (let i = 0; i < SLOTS; i++) others.push(await TcpClient.login(cluster, { user: 'dave', database: 'postgres' }));
  const waiting = [await TcpClient.connect(front), await TcpClient.connect(front)];
  for (const client of waiting) {
    onTestFinished(() => client.leave());
    client.send(bytes.startup({ user: 'dave', database: front.database }), bytes.query('select 1'));
  }
  while (!front.log.some(({ message }) => message.includes('remaining connection slots')))
    await cluster.query('select 1');
  expect(waiting.map(({ ended, messages }) => ended || messages.length > 0)).toEqual([false, false]);
  await Promise.all(others.map((other) => other.leave()));
  for (const client of waiting)
    expect(outcome(await client.take('Z', 2))).toMatchObject({ sqlstate: null, rows: [['1']] });
});

it('tells a client in the middle of something what the server’s last words were', async () => {
  const front = await pool({ pool_size: 1 });
  const login = () => TcpClient.login(front, { user: 'dave', database: front.database });
  const pid = await front.backend();

  const idle = await login();
  await cluster.terminateBackend(pid);
  while ((await front.backends()).includes(pid));
  await (await front.raw()).leave(); // by now the pooler has read its last words
  expect((await idle.query('select 1')).rows).toEqual([['1']]);

  const inTransaction = await login();
  await inTransaction.query('begin');
  const [second] = await front.backends();
  await cluster.terminateBackend(second ?? 0);
  expect(await lastWords(inTransaction)).toMatchObject({ severity: 'FATAL', sqlstate: '57P01' });

  const inQuery = await login();
  inQuery.send(bytes.query(`select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)`), bytes.query('select 1'));
  expect(await lastWords(inQuery)).toEqual({
    severity: 'FATAL',
    sqlstate: '57P01',
    message: 'terminating connection due to administrator command',
  });

  const tooIdle = await login();
  await tooIdle.query('begin; set local idle_in_transaction_session_timeout = 50');
  expect(await lastWords(tooIdle)).toMatchObject({ severity: 'FATAL', sqlstate: '25P03' });
  expect((await idle.query('select 1')).rows).toEqual([['1']]);
  await idle.leave();
});

it('never sends a statement twice when the answer was lost', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const front = await pool({ pool_size: 1, through: proxy });
  const client = await TcpClient.login(front, { user: 'dave', database: front.database });
  await client.query('create table once (a int)');
  // Nothing of ours is under way when the answers stop: what CREATE might have left has been undone.
  await client.query('select 1');
  proxy.stall('to client');
  client.send(bytes.query('insert into once values (1)'));
  const count = 'select count(*)::int as n from once';
  while ((await cluster.query<{ n: number }>(count, [], front.database))[0]?.n === 0);
  proxy.cut('rst');
  expect(await lastWords(client)).toMatchObject({ severity: 'FATAL', sqlstate: '08006' });
  const next = await front.raw();
  expect((await next.query('select count(*) from once')).rows).toEqual([['1']]);
});

it.each(['fin', 'rst'] as const)(
  'ends a client whose row was cut in the middle, without a word that could pass for its end (%s)',
  async (how) => {
    const proxy = await FaultProxy.start(cluster);
    onTestFinished(() => proxy.close());
    const front = await pool({ pool_size: 1, through: proxy });
    const client = await TcpClient.login(front, { user: 'dave', database: front.database });
    await client.query('select 1');
    proxy.cutAfterBytesToClient(50_000, how);
    client.send(bytes.query("select repeat('x', 100000)"));
    const said = (await client.rest()).map(({ type }) => type);
    expect(said).toEqual(['T']);
    await client.drop();
    expect((await (await front.raw()).query('select 2')).rows).toEqual([['2']]);
  },
);

it('does not give out a server that has died while it was idle', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const front = await pool({ through: proxy });
  const clients = [await front.raw(), await front.raw()];
  for (const how of ['fin', 'rst'] as const) {
    await Promise.all(clients.map((client) => client.query('select pg_sleep(0.01)')));
    // The second one may have been opened for somebody who has got the first one since: it is to be idle, too.
    const idle = `select count(*)::int as n from pg_stat_activity
      where datname = '${front.database}' and state = 'idle' and usename <> 'postgres'`;
    while (((await cluster.query<{ n: number }>(idle))[0]?.n ?? 0) < 2);
    await (await front.raw()).leave();
    proxy.cut(how);
    await proxy.closed(0);
    await (await front.raw()).leave(); // by now the pooler has read it
    for (const client of clients) expect((await client.query('select 1')).rows).toEqual([['1']]);
  }
});

it('does not forget who waits when the last server goes while logins fail', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const front = await pool({ through: proxy, server_login_retry: 60 });
  const [holder, waiter] = [0, 1].map(() => TcpClient.login(front, { user: 'dave', database: front.database })) as [
    Promise<TcpClient>,
    Promise<TcpClient>,
  ];
  await (await holder).query('begin');
  const { accepted } = proxy;
  proxy.refuse(true);
  (await waiter).send(bytes.query('select 1'));
  await proxy.connected(accepted + 1);
  while (!front.log.some(({ message }) => message.startsWith('server login failed'))) await (await front.raw()).leave();
  proxy.cut('rst');
  expect(await lastWords(await holder)).toMatchObject({ sqlstate: '08006' });
  // No other try is due for a minute.
  expect(await lastWords(await waiter)).toMatchObject({ severity: 'FATAL', sqlstate: '08006' });
  proxy.refuse(false);
});

it('gives up a server that does not answer the login, and tells who has waited', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const front = await pool({ through: proxy, server_connect_timeout: 0.3, server_close_timeout: 0.1 });
  proxy.holdNewConnections();
  const client = await TcpClient.connect(front);
  client.send(bytes.startup({ user: 'dave', database: front.database }));
  expect(await lastWords(client)).toMatchObject({
    severity: 'FATAL',
    sqlstate: '08006',
    message: expect.stringContaining('connect timeout'),
  });
  proxy.release();
  await answeredAgain(front);
});

it('tests a server that was idle for long, and takes another one if it does not answer', async () => {
  const proxy = await FaultProxy.start(cluster);
  onTestFinished(() => proxy.close());
  const front = await pool({
    through: proxy,
    server_check_delay: 0,
    server_connect_timeout: 0.3,
    server_close_timeout: 0.1,
    query_timeout: 3,
    expectedCloses: ['not_answering', 'check_failed'],
  });
  const client = await front.raw();
  const before = await client.query(PID);
  expect(await client.query(PID)).toEqual(before);
  proxy.stall('to server');
  const after = await client.query(PID);
  expect(after.sqlstate).toBeNull();
  expect(after.rows).not.toEqual(before.rows);
  proxy.release();
});

it('tries a changed password once in each server_login_retry, and goes on when it is right again', async () => {
  const front = await pool({ auth_type: 'plain', server_login_retry: 0.5, server_lifetime: 0 });
  const login = async (): Promise<TcpClient> => {
    const client = await TcpClient.connect(front);
    client.send(bytes.startup({ user: 'alice', database: front.database }));
    await client.reach('R', 1);
    client.send(bytes.password('alice-secret'));
    await client.reach('Z', 1);
    client.send(bytes.query('select current_user'));
    return client;
  };
  const first = await login();
  expect(outcome(await first.take('Z', 2)).rows).toEqual([['alice']]);
  await cluster.query("alter role alice password 'other'");
  const started = performance.now();
  const ends = new Set<string>();
  while (performance.now() - started < 1000) {
    const client = await login();
    const { sqlstate, message } = await lastWords(client);
    ends.add(`${sqlstate} ${message.replace(/.*(password authentication failed for user "alice").*/, '$1')}`);
  }
  expect([...ends]).toEqual(['28P01 password authentication failed for user "alice"']);
  const failures = front.log.filter(({ message }) => message.includes('password authentication failed'));
  const atServer = failures.filter(({ message }) => message.startsWith('server login failed'));
  expect(atServer.length).toBeGreaterThan(0);
  expect(atServer.length).toBeLessThanOrEqual(3);
  await cluster.query("alter role alice password 'alice-secret'");
  for (;;) {
    const again = await login();
    await again.reach('Z', 2);
    const served = !again.ended;
    await again.leave();
    if (served) break;
  }
  await first.leave();
});

it('passes on what a server says about a database that it does not have', async () => {
  const front = await pool({ databaseName: 'no_such_database', leavesServerDown: true });
  const client = await TcpClient.connect(front);
  client.send(bytes.startup({ user: 'dave', database: 'no_such_database' }));
  expect(await lastWords(client)).toEqual({
    severity: 'FATAL',
    sqlstate: '3D000',
    message: 'database "no_such_database" does not exist',
  });
});
