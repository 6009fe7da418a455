/** What the configuration says about databases, users and limits, as clients and PostgreSQL see it. */
import { describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { startCluster, users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);
const WHO = 'select current_database(), current_user';
const PID = 'select pg_backend_pid()';

async function login(pool: PoolerFixture, user: string, database: string): Promise<TcpClient> {
  return TcpClient.login(pool, { user, database });
}

async function ask(pool: PoolerFixture, user: string, database: string, sql: string): Promise<(string | null)[][]> {
  const client = await login(pool, user, database);
  const { rows } = await client.query(sql);
  await client.leave();
  return rows;
}

async function lastWords(client: TcpClient): Promise<Record<string, string>> {
  const error = (await client.rest()).findLast(({ type }) => type === 'E');
  await client.drop();
  return error === undefined ? {} : errorFields(error.body);
}

describe('databases', () => {
  it('may have other names here, forced users, and a fallback', async () => {
    const databaseName = await cluster.createDatabase();
    const { host, port } = cluster;
    const pool = await pooler({
      cluster,
      databaseName,
      pool_mode: 'transaction',
      pool_size: 1,
      expectedCloses: ['login_failed'],
      databases: {
        alias: { dbname: databaseName },
        forced: { dbname: databaseName, user: 'alice', password: users.alice.password },
        '*': { host, port },
      },
    });
    expect(await ask(pool, 'dave', 'alias', WHO)).toEqual([[databaseName, 'dave']]);
    expect(await ask(pool, 'dave', 'forced', WHO)).toEqual([[databaseName, 'alice']]);
    expect(await ask(pool, 'bob', 'forced', WHO)).toEqual([[databaseName, 'alice']]);
    expect(await ask(pool, 'dave', 'postgres', WHO)).toEqual([['postgres', 'dave']]);
    // Both users of `forced` share its server.
    expect(await ask(pool, 'dave', 'forced', PID)).toEqual(await ask(pool, 'carol', 'forced', PID));
    // A name of its own is a pool of its own.
    expect(await ask(pool, 'dave', 'alias', PID)).not.toEqual(await ask(pool, 'dave', databaseName, PID));
    const nowhere = await TcpClient.connect(pool);
    nowhere.send(bytes.startup({ user: 'dave', database: 'no_such' }));
    expect(await lastWords(nowhere)).toMatchObject({ C: '3D000' });
    // A server is only closed when PostgreSQL has closed its side.
    await pool.pooler.close({ timeoutMs: 0 });
    expect(new Set(pool.serverCloses)).toEqual(new Set(['login_failed', 'shutdown']));
  });

  it('may be written as libpq and URLs have them', async () => {
    const databaseName = await cluster.createDatabase();
    const { host, port } = cluster;
    const pool = await pooler({
      cluster,
      databaseName,
      pool_mode: 'transaction',
      database: { user: 'carol', password: users.carol.password },
    });
    expect(await ask(pool, 'dave', databaseName, WHO)).toEqual([[databaseName, 'carol']]);
    await pool.close();
    const texts = await pooler({
      cluster,
      databaseName,
      rawDatabases: {
        keywords: `host=${host} port=${port} dbname=${databaseName} user=bob password='${users.bob.password}' pool_mode=transaction`,
        url: `postgres://alice:${users.alice.password}@${host}:${port}/${databaseName}?pool_size=1`,
      },
    });
    expect(await ask(texts, 'dave', 'keywords', WHO)).toEqual([[databaseName, 'bob']]);
    expect(await ask(texts, 'dave', 'url', WHO)).toEqual([[databaseName, 'alice']]);
  });

  it('and users have modes of their own', async () => {
    const pool = await pooler({
      cluster,
      pool_mode: 'session',
      pool_size: 1,
      database: { pool_mode: 'transaction' },
      users: { alice: { pool_mode: 'session', pool_size: 2 } },
    });
    const [one, two] = [await login(pool, 'dave', pool.database), await login(pool, 'dave', pool.database)];
    expect((await one.query(PID)).rows).toEqual((await two.query(PID)).rows);
    const sessions = [await login(pool, 'alice', pool.database), await login(pool, 'alice', pool.database)] as const;
    expect((await sessions[0].query(PID)).rows).not.toEqual((await sessions[1].query(PID)).rows);
    await Promise.all([one, two, ...sessions].map((client) => client.leave()));
  });

  it('and users have limits on their clients', async () => {
    const pool = await pooler({
      cluster,
      pool_mode: 'transaction',
      database: { max_db_client_connections: 3 },
      users: { dave: { max_user_client_connections: 2 } },
    });
    const clients = [await login(pool, 'dave', pool.database), await login(pool, 'dave', pool.database)];
    for (const [user, setting] of [
      ['dave', 'max_user_client_connections'],
      ['alice', 'max_db_client_connections'],
    ] as const) {
      if (user === 'alice') clients.push(await login(pool, 'alice', pool.database));
      const refused = await TcpClient.connect(pool);
      refused.send(bytes.startup({ user, database: pool.database }));
      expect(await lastWords(refused)).toMatchObject({ S: 'FATAL', C: '53300', M: expect.stringContaining(setting) });
    }
    await Promise.all(clients.map((client) => client.leave()));
  });
});

describe('max_packet_size', () => {
  it('ends a client that sends more, after what it asked before', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, max_packet_size: 2048 });
    const client = await login(pool, 'dave', pool.database);
    client.send(bytes.query('select 1'), bytes.query(`select '${'x'.repeat(3000)}'`), bytes.query('select 2'));
    const said = await client.rest();
    expect(outcome(said)).toMatchObject({ rows: [['1']], sqlstate: '54000' });
    await client.drop();
    expect((await ask(pool, 'dave', pool.database, 'select 3'))[0]).toEqual(['3']);
  });

  it('ends a client whose server sends more, and the server with it', async () => {
    const pool = await pooler({
      cluster,
      pool_mode: 'transaction',
      pool_size: 1,
      max_packet_size: 2048,
      expectedCloses: ['out_of_sync'],
    });
    const client = await login(pool, 'dave', pool.database);
    client.send(bytes.query("select repeat('x', 3000)"));
    expect(await lastWords(client)).toMatchObject({ S: 'FATAL' });
    expect(await ask(pool, 'dave', pool.database, "select repeat('x', 300)")).toEqual([['x'.repeat(300)]]);
  });
});

it('shows its notice to who logs in', async () => {
  const pool = await pooler({ cluster, login_notify_message: 'Welcome to the pool' });
  const client = await TcpClient.connect(pool);
  client.send(bytes.startup({ user: 'dave', database: pool.database }));
  const notice = (await client.take('Z')).find(({ type }) => type === 'N');
  expect(errorFields(notice?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'NOTICE', M: 'Welcome to the pool' });
  await client.leave();
});

it('tells clients of a setting that has changed on the server, and keeps the server', async () => {
  const own = await startCluster({ version: 18 });
  try {
    const pool = await pooler({ cluster: own, pool_mode: 'transaction', pool_size: 1 });
    const [plain, asking] = [await pool.raw(), await pool.raw({ TimeZone: 'Asia/Tokyo' })];
    const [[pid, zone]] = (await plain.query("select pg_backend_pid(), current_setting('TimeZone')")).rows as [
      [string, string],
    ];
    await own.query("alter system set timezone = 'America/Lima'");
    await own.query('select pg_reload_conf()');
    while ((await own.query<{ timezone: string }>('show timezone'))[0]?.['timezone'] === zone);
    // As without a pooler: whoever has asked for nothing else gets the new one, and hears of it.
    plain.send(bytes.query("select pg_backend_pid(), current_setting('TimeZone')"));
    const said = await plain.take('Z');
    expect(outcome(said).rows).toEqual([[pid, 'America/Lima']]);
    expect(said.filter(({ type }) => type === 'S').map(({ body }) => body.toString())).toEqual([
      'TimeZone\0America/Lima\0',
    ]);
    expect((await asking.query('show timezone')).rows).toEqual([['Asia/Tokyo']]);
    expect(pool.serverCloses).toEqual([]);
    await pool.close();
  } finally {
    await own.close();
  }
});
