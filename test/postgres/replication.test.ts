/**
 * Replication through pools in transaction mode: PostgreSQL's own programs, a logical subscription from one version to the
 * other, and the bare protocol, on PostgreSQL 15 and 18. The programs of Debian's version 15 cannot back up a newer one.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { decode, errorFields } from '../support/corpus/server-message.ts';
import { type TcpAddress, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { type PostgresCluster, type PostgresVersion, startCluster } from '../support/postgres-cluster.ts';
import { itWith, runSystemClient, type SystemClient } from '../support/system-clients.ts';

const clusters = new Map<PostgresVersion, PostgresCluster>();

async function start(version: PostgresVersion): Promise<void> {
  const cluster = await startCluster({
    version,
    settings: { wal_level: 'logical', max_wal_senders: '8', wal_sender_timeout: '5s', synchronous_commit: 'on' },
    hba: ['host replication carol samehost reject', 'host replication bob,dave samehost trust'],
  });
  clusters.set(version, cluster);
  await cluster.query('alter role dave replication; alter role alice replication; alter role carol replication');
}

beforeAll(() => Promise.all([start(15), start(18)]));
afterAll(() => Promise.all([...clusters.values()].map((cluster) => cluster.close())));

/** The programs ask for a database `replication` where they need none. */
function onPool(version: PostgresVersion, options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({
    cluster: clusters.get(version)!,
    pool_mode: 'transaction',
    databases: { replication: {} },
    expectedCloses: ['unneeded'],
    ...options,
  });
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-replication-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

function connection(pool: PoolerFixture, user = 'dave'): string {
  return `host=${pool.host} port=${pool.port} user=${user}`;
}

async function run(program: SystemClient, ...argv: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await runSystemClient(program, argv);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  return stdout + stderr;
}

/** Resolves when `condition` holds on `cluster`; PostgreSQL has no event for it. */
async function until(cluster: PostgresCluster, condition: string, database = 'postgres'): Promise<void> {
  await cluster.query(
    `set statement_timeout = '15s';
     do $$ begin
       loop
         perform pg_stat_clear_snapshot();
         exit when ${condition};
         perform pg_sleep(0.01);
       end loop;
     end $$`,
    [],
    database,
  );
}

const NO_WALSENDER = `not exists (select from pg_stat_activity where backend_type = 'walsender')`;

/** What each replication connection of `pool` had to be opened for. */
function opened(pool: PoolerFixture, database: string): number {
  return pool.pooler.snapshot().pools.find((each) => each.database === database)?.connects ?? 0;
}

describe('pg_basebackup', () => {
  itWith('pg_basebackup')('copies the cluster, with its WAL streamed meanwhile over a second connection', async () => {
    const pool = await onPool(15);
    const { cluster, database } = pool;
    await cluster.query(
      'create table t as select i, repeat(md5(i::text), 10) from generate_series(1, 50000) i',
      [],
      database,
    );
    await cluster.query('checkpoint');
    const [table] = await cluster.query<{ path: string; md5: string }>(
      `select path, md5(pg_read_binary_file(path)) from pg_relation_filepath('t') path`,
      [],
      database,
    );
    const target = folder();
    await run('pg_basebackup', '-d', connection(pool), '-D', target, '-X', 'stream', '-c', 'fast', '-N', '-v');
    const copied = createHash('md5')
      .update(readFileSync(join(target, table!.path)))
      .digest('hex');
    expect(copied).toBe(table!.md5);
    expect(readdirSync(join(target, 'pg_wal')).length).toBeGreaterThan(0);
    expect(opened(pool, 'replication')).toBe(2);
    await until(cluster, NO_WALSENDER);
  });

  itWith('pg_basebackup')('in the place of an idle server, which comes back afterwards', async () => {
    const pool = await onPool(15, {
      pool_size: 1,
      databases: { replication: { dbname: 'postgres' } },
      expectedCloses: ['evicted', 'unneeded'],
    });
    const client = await pool.client({ connectionString: pool.urlOf('dave', 'replication') });
    await client.query('select 1');
    const argv = ['-D', '-', '-F', 'tar', '-X', 'none', '-c', 'fast'];
    expect((await run('pg_basebackup', '-d', connection(pool), ...argv)).length).toBeGreaterThan(10_000_000);
    await client.query('select 1');
    expect(opened(pool, 'replication')).toBe(3);
  });
});

describe('pg_receivewal', () => {
  itWith('pg_receivewal')('follows the WAL by a slot', async () => {
    const pool = await onPool(15);
    const { cluster, database } = pool;
    const target = folder();
    const slot = ['-d', connection(pool), '-S', 'walslot'];
    await run('pg_receivewal', ...slot, '--create-slot');
    await cluster.query('create table received as select 1', [], database);
    const [row] = await cluster.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
    // It stops behind that place, not at it.
    await cluster.query('create table more as select 1', [], database);
    const argv = [...slot, '-D', target, '--no-loop', '--synchronous', '-v', `--endpos=${row!.lsn}`];
    expect(await run('pg_receivewal', ...argv)).toContain('stopped log streaming');
    expect(readdirSync(target)).toEqual([expect.stringMatching(/^[0-9A-F]{24}\.partial$/)]);
    await run('pg_receivewal', ...slot, '--drop-slot');
    await until(cluster, NO_WALSENDER);
  });

  itWith('pg_receivewal')('gets in by the same password as others, or not', async () => {
    const pool = await onPool(15, { auth_type: 'scram-sha-256' });
    const slot = (password: string) => ['-d', `${connection(pool, 'alice')} password=${password}`, '-S', 'a', '-w'];
    const { stderr, code } = await runSystemClient('pg_receivewal', [...slot('wrong'), '--create-slot']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('password authentication failed')]);
    expect(opened(pool, 'replication')).toBe(0);
    await run('pg_receivewal', ...slot('alice-secret'), '--create-slot');
    await run('pg_receivewal', ...slot('alice-secret'), '--drop-slot');
    expect(opened(pool, 'replication')).toBe(2);
  });
});

describe.each([15, 18] as const)('PostgreSQL %s', (version) => {
  itWith('pg_recvlogical')('pg_recvlogical gets the changes of one database', async () => {
    const pool = await onPool(version);
    const { cluster, database } = pool;
    await cluster.query(
      'create table t (a text); grant all on t to dave; create publication p for table t',
      [],
      database,
    );
    const to = ['-d', `${connection(pool)} dbname=${database}`, '-S', 'logicalslot'];
    await run('pg_recvlogical', ...to, '--create-slot', '-P', 'pgoutput');
    const other = await pool.client();
    await other.query(`insert into t select 'change ' || i from generate_series(1, 2000) i`);
    const [row] = await cluster.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
    const output = await run(
      'pg_recvlogical',
      ...to,
      '--start',
      '--no-loop',
      `--endpos=${row!.lsn}`,
      '--file=-',
      '--option=proto_version=1',
      '--option=publication_names=p',
    );
    for (const i of [1, 1000, 2000]) expect(output).toContain(`change ${i}`);
    await run('pg_recvlogical', ...to, '--drop-slot');
    await until(cluster, NO_WALSENDER);
  });

  it('a subscription from the other version copies and follows', async () => {
    const pool = await onPool(version);
    const publisher = pool.cluster;
    const subscriber = clusters.get(version === 15 ? 18 : 15)!;
    const copy = await subscriber.createDatabase();
    const table = 'create table t (a int primary key, b text)';
    await publisher.query(`${table}; grant all on t to dave; create publication p for table t`, [], pool.database);
    await publisher.query(`insert into t select i, repeat('x', i) from generate_series(1, 1000) i`, [], pool.database);
    await subscriber.query(table, [], copy);
    const there = `${connection(pool)} dbname=${pool.database} options='-c statement_timeout=60s'`;
    await subscriber.query(`create subscription s connection '${there.replaceAll("'", "''")}' publication p`, [], copy);
    await until(subscriber, '(select count(*) from t) = 1000', copy);
    await until(subscriber, `(select srsubstate from pg_subscription_rel) = 'r'`, copy);
    const client = await pool.client();
    for (let i = 1001; i <= 1100; i++) await client.query('insert into t values ($1, $2)', [i, `row ${i}`]);
    await client.query('delete from t where a <= 100');
    await until(subscriber, '(select count(*) from t) = 1000 and (select min(a) from t) = 101', copy);
    const sum = 'select count(*)::int, sum(hashtext(a || b))::text from t';
    expect(await subscriber.query(sum, [], copy)).toEqual(await publisher.query(sum, [], pool.database));
    expect(pool.pooler.snapshot().pools[0]?.servers.dedicated).toBe(1);
    await subscriber.query('drop subscription s', [], copy);
    expect(await publisher.query('select slot_name from pg_replication_slots')).toEqual([]);
    await until(publisher, NO_WALSENDER);
  });

  it('a backup by the bare protocol is complete, and nobody waits for it', async () => {
    const pool = await onPool(version, { query_timeout: 1, client_idle_timeout: 1 });
    const client = await pool.raw({ replication: 'true' });
    const other = await pool.client();
    client.send(bytes.query(version === 15 ? `BASE_BACKUP (CHECKPOINT 'fast')` : `BASE_BACKUP (CHECKPOINT fast)`));
    client.pause();
    expect((await other.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    client.resume();
    const messages = await client.take('Z');
    expect(messages.some(({ type }) => type === 'H')).toBe(true);
    expect(messages.some(({ type }) => type === 'E')).toBe(false);
    expect(messages.reduce((sum, { body }) => sum + body.length, 0)).toBeGreaterThan(10_000_000);
  });

  it('answers as PostgreSQL does directly', async () => {
    const pool = await onPool(version, { expectedCloses: ['unneeded', 'fatal_error'] });
    const say = async (address: TcpAddress): Promise<unknown[]> => {
      const said: unknown[] = [];
      for (const replication of ['database', 'true']) {
        const client = await TcpClient.connect(address);
        client.send(bytes.startup({ user: 'dave', database: pool.database, replication, options: '-c work_mem=7MB' }));
        const login = (await client.take('Z')).map((message) => decode(message));
        said.push(login.filter(({ name }) => name !== 'BackendKeyData'));
        for (const sql of ['IDENTIFY_SYSTEM', 'SHOW work_mem', 'select current_user, 1/0', 'TIMELINE_HISTORY 7', '']) {
          client.send(bytes.query(sql));
          said.push([sql, (await client.take('Z')).map((message) => decode(message))]);
        }
        client.send(bytes.parse('select 1'), bytes.sync);
        said.push((await client.take('Z')).map((message) => decode(message)));
        client.send(bytes.message('%'));
        said.push((await client.rest()).map((message) => decode(message)));
        await client.drop();
      }
      return said;
    };
    expect(withoutLsn(await say(pool))).toEqual(withoutLsn(await say(pool.cluster)));
  });

  it('takes and refuses values of replication= as PostgreSQL does directly', async () => {
    const pool = await onPool(version);
    const outcomeOf = async (address: TcpAddress, replication: string): Promise<unknown> => {
      const client = await TcpClient.connect(address);
      client.send(
        bytes.startup({ user: 'dave', database: pool.database, replication }),
        bytes.query('IDENTIFY_SYSTEM'),
      );
      client.send(bytes.terminate);
      const errors = (await client.rest()).filter(({ type }) => type === 'E').map(({ body }) => errorFields(body));
      await client.drop();
      return errors.map(({ S, V, C, M, H }) => ({ S, V, C, M, H }));
    };
    for (const value of [
      '1',
      't',
      'Tru',
      'ON',
      'y',
      'database',
      '0',
      'of',
      'No',
      '',
      'o',
      'DATABASE',
      ' on',
      '2',
      'maybe',
    ]) {
      expect([value, await outcomeOf(pool, value)]).toEqual([value, await outcomeOf(pool.cluster, value)]);
    }
  });

  it('a refusal is the server’s own, and nobody else’s', async () => {
    const pool = await onPool(version, {
      expectedCloses: ['login_failed', 'unneeded'],
    });
    const other = await pool.client();
    const refused = async (user: string): Promise<string> => {
      const client = await TcpClient.connect(pool);
      client.send(bytes.startup({ user, database: pool.database, replication: 'true' }));
      const code = await client.fatal();
      await client.drop();
      return code;
    };
    expect([await refused('bob'), await refused('carol')]).toEqual(['42501', '28000']);
    const streams = await Promise.all(Array.from({ length: 8 }, () => pool.raw({ replication: 'true' })));
    expect(await refused('dave')).toBe('53300');
    expect((await other.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await Promise.all(streams.map((client) => client.leave()));
    await (await pool.raw({ replication: 'database' })).leave();
  });

  it('a stream ends with either side, and its slot in the pool is free then', async () => {
    const pool = await onPool(version, {
      pool_size: 1,
      expectedCloses: ['unneeded', 'fatal_error'],
    });
    const { cluster } = pool;
    const stream = async (): Promise<TcpClient> => {
      const client = await pool.raw({ replication: 'true' });
      const [row] = await cluster.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
      client.send(bytes.query(`START_REPLICATION PHYSICAL ${row!.lsn}`));
      await client.take('W');
      return client;
    };
    for (const end of ['fin', 'rst'] as const) await (await stream()).drop(end);
    await (await stream()).leave();
    const last = await stream();
    const [walsender] = await cluster.query<{ pid: number }>('select pid from pg_stat_replication');
    await cluster.terminateBackend(walsender!.pid);
    expect(await last.fatal()).toBe('57P01');
    await last.drop();
    await (await pool.client()).query('select 1');
  });

  it('a cancel by the pooler’s key reaches the walsender', async () => {
    const pool = await onPool(version);
    const client = await pool.raw({ replication: 'database' });
    client.send(bytes.query('select pg_sleep(20)'));
    await until(
      pool.cluster,
      `exists (select from pg_stat_activity where query like 'select pg_sleep(20)%' and state = 'active')`,
    );
    const canceller = await TcpClient.connect(pool);
    canceller.send(bytes.cancelRequest(client.cancelKey));
    await canceller.rest();
    await canceller.drop();
    const error = (await client.take('Z')).find(({ type }) => type === 'E');
    expect(errorFields(error!.body)['C']).toBe('57014');
  });

  it('SHUTDOWN WAIT_FOR_CLIENTS waits for a stream, too', async () => {
    const pool = await onPool(version);
    const client = await pool.raw({ replication: 'true' });
    const [row] = await pool.cluster.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
    client.send(bytes.query(`START_REPLICATION PHYSICAL ${row!.lsn}`));
    await client.take('W');
    const closed = pool.pooler.waitForClients();
    await pool.cluster.query('create table more as select 1', [], pool.database);
    await client.take('d');
    await client.leave();
    await closed;
  });
});

/** Positions in the WAL move on by themselves. */
function withoutLsn(said: unknown): unknown {
  return JSON.parse(JSON.stringify(said).replaceAll(/\b[0-9A-F]+\/[0-9A-F]+\b/g, 'LSN'));
}
