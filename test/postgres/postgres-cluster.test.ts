import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresCluster, startCluster, type UserName, users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const userNames: readonly UserName[] = ['postgres', 'alice', 'bob', 'carol', 'dave'];

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {}); // its server is killed under it
  await client.connect();
  return client;
}

describe.each([15, 18] as const)('the shared PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);

  it('is that version', async () => {
    const [row] = await cluster.query<{ major: number }>(
      `select current_setting('server_version_num')::int / 10000 as major`,
    );
    expect(row?.major).toBe(version);
  });

  it('gives each test a database, and counts the sessions in it', async () => {
    const [one, other] = await Promise.all([cluster.createDatabase(), cluster.createDatabase()]);
    expect(one).not.toBe(other);
    const client = await connect(cluster.url(one, 'alice'));
    await client.query('create table t (a int)');
    await client.query('begin');

    expect(await cluster.connectionCount(one)).toBe(1);
    expect(await cluster.connectionCount(other)).toBe(0);
    expect(await cluster.activity(one)).toMatchObject([
      { user: 'alice', state: 'idle in transaction', query: 'begin', applicationName: '' },
    ]);
    await client.end();
    expect(await cluster.connectionCount(one)).toBe(0);
  });

  it.each(userNames)('lets %s in as it should, and nobody with a wrong password', async (user) => {
    const { method, password } = users[user];
    const [stored] = await cluster.query<{ secret: string | null }>(
      'select rolpassword as secret from pg_authid where rolname = $1',
      [user],
    );
    expect(stored?.secret?.replace(/^(SCRAM-SHA-256|md5).*/, '$1') ?? null).toBe(
      password === undefined ? null : method === 'md5' ? 'md5' : 'SCRAM-SHA-256',
    );
    const client = await connect(cluster.url('postgres', user));
    await client.end();
    const wrong = connect(`postgres://${user}:wrong@${cluster.host}:${cluster.port}/postgres`);
    if (password === undefined) await (await wrong).end();
    else await expect(wrong).rejects.toMatchObject({ code: '28P01' });
  });

  it('cannot be stopped by a test', async () => {
    await expect(cluster.stop()).rejects.toThrow('shared');
  });
});

describe('a cluster of its own', () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await startCluster({
      version: 18,
      maxConnections: 20,
      settings: { work_mem: '1MB' },
      hba: ['host all alice samehost reject'],
    });
  });
  afterAll(() => cluster.close());

  it('has the settings and the lines of pg_hba.conf that were asked for', async () => {
    const [row] = await cluster.query(
      `select current_setting('max_connections') as connections, current_setting('work_mem') as memory`,
    );
    expect(row).toEqual({ connections: '20', memory: '1MB' });
    await expect(connect(cluster.url('postgres', 'alice'))).rejects.toMatchObject({ code: '28000' });
  });

  it.each(['fast', 'immediate'] as const)('restarts (%s) on the same port with the same data', async (mode) => {
    const database = await cluster.createDatabase();
    const client = await connect(cluster.url(database));
    const ended = new Promise((resolve) => client.once('end', resolve));
    await client.query('create table t (a int)');
    await client.query('checkpoint'); // no fsync, but nothing is lost by a crash of PostgreSQL alone
    await cluster.restart(mode);
    await ended;
    expect(await cluster.query('select * from t', [], database)).toEqual([]);
  });

  it('stops (smart) only when the last client has left', async () => {
    const client = await connect(cluster.url('postgres'));
    const events: string[] = [];
    const stopped = cluster.stop('smart').finally(() => events.push('stopped'));
    await client.query('select 1');
    events.push('answered');
    await client.end();
    await stopped;
    expect(events).toEqual(['answered', 'stopped']);
    await cluster.start();
  });

  it('ends one session for an administrator, and every session when one is killed', async () => {
    const database = await cluster.createDatabase();
    const [first, second] = await Promise.all([connect(cluster.url(database)), connect(cluster.url(database))]);
    const errors: string[] = [];
    const ends = [first, second].map((client) => {
      client.on('error', (error) => errors.push('code' in error ? String(error.code) : error.message));
      return new Promise((resolve) => client.once('end', resolve));
    });
    const [one, two] = await cluster.activity(database);
    await cluster.terminateBackend(one?.pid ?? 0);
    await Promise.race(ends);
    expect(errors).toContain('57P01');
    expect(await cluster.connectionCount(database)).toBe(1);
    cluster.killBackend(two?.pid ?? 0);
    await Promise.all(ends);
  });

  it('starts again after its postmaster was killed', async () => {
    await cluster.killPostmaster();
    await expect(connect(cluster.url('postgres'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await cluster.start();
    expect(await cluster.query('select 1 as one')).toEqual([{ one: 1 }]);
  });
});
