/**
 * A canary for each kind of session state, planted by one client on the one backend that there is: what *PostgreSQL* says
 * of the session to the next client is what it said before.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler, startPooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const CANARIES = [
  'set statement_timeout = 123456',
  "set work_mem = '5MB'",
  'set role alice',
  'set session authorization alice',
  'set session characteristics as transaction isolation level serializable',
  "set canary.custom = 'x'",
  'listen canary',
  'prepare canary as select 1',
  'declare canary cursor with hold for select 1',
  'create temp table canary (a int)',
  'create temporary table canary as select 1 as a',
  'create temp table canary as select 1 as a where false',
  'select 1 as a into temp canary',
  'with b as (select 1 as a) select * into temporary table canary from b',
  'create temp view canary as select 1 as a',
  'create or replace temp view canary as select 1 as a',
  'create local temporary sequence canary',
  'create temp table canary (a int); insert into canary values (1)',
  'create table pg_temp.canary (a int)',
  `create function pg_temp.canary() returns int language sql as 'select 1'`,
] as const;

/** Only DISCARD ALL forgets a parameter that no library knows: RESET leaves an empty text. */
const STATE = `
  select pg_backend_pid(), current_user, session_user,
    (select string_agg(name || '=' || setting, E'\\n' order by name) from pg_settings),
    nullif(current_setting('canary.custom', true), ''),
    array(select pg_listening_channels()),
    array(select name from pg_prepared_statements where from_sql),
    array(select name from pg_cursors),
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
    (select count(*) from pg_proc where pronamespace = pg_my_temp_schema())`;

interface Planted {
  readonly sqlstate: string | null;
  readonly warnings: readonly (string | undefined)[];
}

type Way = readonly [string, (client: TcpClient, sql: string) => Promise<Planted>];

async function ask(client: TcpClient, message: Buffer): Promise<Planted> {
  client.send(message);
  const messages = await client.take('Z');
  const warnings = messages.filter(({ type }) => type === 'N').map(({ body }) => errorFields(body)['M']);
  return { sqlstate: outcome(messages).sqlstate, warnings };
}

async function state(client: TcpClient): Promise<(string | null)[]> {
  const { rows, sqlstate } = await client.query(STATE);
  expect(sqlstate).toBeNull();
  return rows[0] ?? [];
}

const WAYS: readonly Way[] = [
  ['a simple query', (client, sql) => ask(client, bytes.query(sql))],
  ['the extended protocol', (client, sql) => ask(client, Buffer.concat([bytes.extended(sql), bytes.sync]))],
  [
    'a named statement and portal',
    (client, sql) => {
      const { parse, bind, execute, sync, close } = bytes;
      const run = [parse(sql, 'plant'), bind({ statement: 'plant', portal: 'p' }), execute('p')];
      return ask(client, Buffer.concat([...run, close('S', 'plant'), sync]));
    },
  ],
  ['a text of several statements', (client, sql) => ask(client, bytes.query(`begin; ${sql}; commit`))],
];

describe.each([15, 18] as const)('on PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);
  let pool: PoolerFixture;

  beforeAll(async () => {
    pool = await startPooler({ cluster, pool_mode: 'transaction', pool_size: 1, expectedCloses: ['dirty'] });
  });
  afterAll(() => pool.close());

  const login = (front = pool): Promise<TcpClient> => front.raw({ user: 'postgres' });

  describe.each(WAYS)('planted by %s', (way, plant) => {
    const canaries = CANARIES.filter((sql) => !sql.includes(';') || !/extended|portal/.test(way));
    it.each(canaries)('%s', async (sql) => {
      const [alice, bob] = [await login(), await login()];
      const before = await state(bob);
      const { sqlstate, warnings } = await plant(alice, sql);
      expect(sqlstate).toBeNull();
      expect(warnings.filter((text) => text?.includes('does not outlast its transaction')).length).toBeLessThan(2);
      expect(await state(bob)).toEqual(before);
      expect(await state(alice)).toEqual(before);
    });
  });

  // A LISTEN shows when it is committed.
  it.each(CANARIES.filter((sql) => !sql.startsWith('listen')))(
    'its own transaction sees it, and one that rolls back leaves nothing either: %s',
    async (sql) => {
      const [alice, bob] = [await login(), await login()];
      const before = await state(bob);
      for (const end of ['commit', 'rollback']) {
        await alice.query('begin');
        expect((await alice.query(sql)).sqlstate).toBeNull();
        expect(await state(alice)).not.toEqual(before);
        expect((await alice.query(end)).sqlstate).toBeNull();
        expect(await state(bob)).toEqual(before);
      }
    },
  );

  it('nobody hears what another one listened for', async () => {
    const [alice, bob] = [await login(), await login()];
    const { warnings } = await ask(alice, bytes.query('listen canary'));
    expect(warnings).toEqual(['LISTEN does not outlast its transaction here']);
    await cluster.query('notify canary', [], pool.database);
    for (const client of [bob, alice]) {
      client.send(bytes.query('select 1'));
      expect((await client.take('Z')).map(({ type }) => type).join('')).toBe('TDCZ');
    }
  });

  it('a library stays with its backend, which goes', async () => {
    const [alice, bob] = [await login(), await login()];
    const [pid] = await state(bob);
    for (const sql of ["load 'plpgsql'", "begin; load 'plpgsql'; commit"]) {
      expect((await alice.query(sql)).sqlstate).toBeNull();
      const [next] = await state(bob);
      expect(next).not.toBe(pid);
    }
  });

  it('a client that goes in the middle leaves nothing', async () => {
    const [alice, bob] = [await login(), await login()];
    const before = await state(bob);
    await alice.query('begin');
    for (const sql of CANARIES.filter((text) => !/temp/.test(text))) await alice.query(sql);
    await alice.drop('rst');
    expect(await state(bob)).toEqual(before);
  });

  it('in session mode server_reset_query leaves nothing at all', async () => {
    const front = await pooler({ cluster, pool_mode: 'session', pool_size: 1 });
    const first = await login(front);
    const before = await state(first);
    await first.leave();
    for (const sql of CANARIES) {
      const alice = await login(front);
      const { sqlstate, warnings } = await ask(alice, bytes.query(sql));
      expect({ sql, sqlstate, warnings }).toMatchObject({ sqlstate: null });
      expect(warnings.filter((text) => text?.includes('outlast'))).toEqual([]);
      expect(await state(alice), sql).not.toEqual(before);
      await alice.leave();
      const bob = await login(front);
      expect(await state(bob), sql).toEqual(before);
      await bob.leave();
    }
  });
});
