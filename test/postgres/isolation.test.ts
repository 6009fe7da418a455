/** What one client leaves behind on a server, and what the next one on the same backend finds of it. */
import { expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

function onePool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster: sharedCluster(18), pool_size: 1, ...options });
}

/** Everything of a session that can be seen from inside; the first column is its backend. */
const SESSION = `select pg_backend_pid(), current_user, session_user, current_setting('search_path'),
  current_setting('work_mem'), current_setting('statement_timeout'), current_setting('role'),
  current_setting('default_transaction_isolation'), current_setting('plan_cache_mode'), coalesce(current_setting('my.canary', true), ''),
  (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors),
  (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'),
  (select count(*) from pg_listening_channels()), to_regclass('pg_temp.canary') is null,
  current_setting('DateStyle'), current_setting('TimeZone'), current_setting('application_name'),
  current_setting('client_encoding'), current_setting('standard_conforming_strings'), current_setting('extra_float_digits')`;

const PLANT = [
  'create temp table canary as select 1',
  'set search_path = pg_catalog, pg_temp',
  "set work_mem = '77kB'",
  'set statement_timeout = 12345',
  'set default_transaction_isolation = serializable',
  'set plan_cache_mode = force_custom_plan',
  "set my.canary = 'alive'",
  'prepare canary as select 2',
  'declare canary cursor with hold for select 3',
  'select pg_advisory_lock(4), pg_advisory_lock(4)',
  'listen canary',
  "set datestyle = 'German'",
  "set timezone = 'Asia/Tokyo'",
  "set application_name = 'canary'",
  "set client_encoding = 'latin1'",
  'set standard_conforming_strings = off',
  'set extra_float_digits = -1',
  'set role pg_read_all_settings',
];

async function session(client: TcpClient): Promise<(string | null)[]> {
  return (await client.query(SESSION)).rows[0] ?? [];
}

it.each([
  ['leaves', async (client: TcpClient) => client.leave()],
  ['vanishes', async (client: TcpClient) => client.drop('rst')],
  [
    'leaves in a transaction',
    async (client: TcpClient) => client.query('begin; set local role pg_monitor').then(() => client.leave()),
  ],
  [
    'leaves in a failed transaction',
    async (client: TcpClient) => client.query('begin; select 1/0').then(() => client.leave()),
  ],
  [
    'vanishes in an open batch',
    async (client: TcpClient) => {
      client.send(
        bytes.parse("select set_config('work_mem', '99kB', false)", 'canary_statement'),
        bytes.bind({ statement: 'canary_statement' }),
        bytes.execute(),
        bytes.flush,
      );
      client.send(
        bytes.bind({ statement: 'canary_statement', portal: 'canary_portal' }),
        bytes.execute('canary_portal'),
        bytes.flush,
      );
      await client.reach('D', 1);
      await client.drop();
    },
  ],
])('keeps no state at all in session mode when a client %s', async (_how, end) => {
  const pool = await onePool({ pool_mode: 'session' });
  await pool.cluster.query('grant pg_read_all_settings to dave');
  const clean = await pool.raw();
  const before = await session(clean);
  await clean.leave();
  const planter = await pool.raw();
  for (const sql of PLANT) expect((await planter.query(sql)).sqlstate).toBeNull();
  planter.send(bytes.parse('select 5', 'canary_protocol'), bytes.sync);
  await planter.take('Z');
  expect(await session(planter)).not.toEqual(before);
  await end(planter);
  // The same backend: or nothing would be proven.
  expect(await session(await pool.raw())).toEqual(before);
});

it('takes the parameters that it tracks from client to client in transaction mode', async () => {
  const pool = await onePool({ pool_mode: 'transaction' });
  const tracked = `select pg_backend_pid(), current_setting('DateStyle'), current_setting('TimeZone'), current_setting('application_name'),
    current_setting('client_encoding'), current_setting('standard_conforming_strings')`;
  const [plain, german, quoted] = [
    await pool.raw(),
    await pool.raw({
      DateStyle: 'German',
      TimeZone: 'Europe/Berlin',
      application_name: 'deutsch',
      client_encoding: 'LATIN1',
    }),
    await pool.raw({
      application_name: `it's "quoted" \\ with ; -- and $$`,
      standard_conforming_strings: 'off',
      datestyle: 'sql',
    }),
  ];
  const [first] = (await plain.query(tracked)).rows;
  const [pid] = first ?? [];
  for (let round = 0; round < 3; round++) {
    expect((await german.query(tracked)).rows).toEqual([
      [pid, 'German, DMY', 'Europe/Berlin', 'deutsch', 'LATIN1', 'on'],
    ]);
    expect((await quoted.query(tracked)).rows).toEqual([
      [pid, 'SQL, MDY', first?.[2], `it's "quoted" \\ with ; -- and $$`, 'UTF8', 'off'],
    ]);
    expect((await plain.query(tracked)).rows).toEqual([first]);
  }
  // What a client sets follows it, too; and only it.
  await plain.query("set timezone = 'Asia/Tokyo'");
  await german.query("begin; set local timezone = 'America/Lima'; commit");
  expect((await german.query('show timezone')).rows).toEqual([['Europe/Berlin']]);
  expect((await quoted.query('show timezone')).rows).toEqual([[first?.[2]]]);
  expect((await plain.query('show timezone')).rows).toEqual([['Asia/Tokyo']]);
});

it('tells a client whose startup parameter the server refuses, and goes on', async () => {
  const pool = await onePool({ pool_mode: 'transaction' });
  const pid = await pool.backend();
  const client = await pool.raw({ TimeZone: 'Nowhere/Land' });
  client.send(bytes.query('select 1'));
  expect(await client.fatal()).toBe('22023');
  await client.drop();
  expect(await pool.backend()).toBe(pid);
});

it('leaves no transaction, lock or cursor behind in transaction mode', async () => {
  const pool = await onePool({ pool_mode: 'transaction' });
  const pid = await pool.backend();
  await pool.cluster.query('create table t as select 1 as a; grant all on t to public', [], pool.database);
  for (const how of ['leave', 'drop'] as const) {
    const client = await pool.raw();
    await client.query(
      'begin; update t set a = 2; declare c cursor for select 1; savepoint s; select pg_advisory_xact_lock(1)',
    );
    await client[how]();
    const next = await pool.raw();
    const seen = await next.query(`select a, pg_backend_pid(), (select count(*) from pg_cursors),
      (select count(*) from pg_locks where pid = pg_backend_pid() and locktype in ('advisory', 'transactionid')) from t`);
    expect(seen).toMatchObject({ rows: [['1', String(pid), '0', '0']], status: 'I' });
    await next.leave();
  }
});

it('never shows an answer, an error or a notification of one client to another', async () => {
  const pool = await onePool({ pool_mode: 'transaction', server_reset_query_always: true });
  const [one, two] = [await pool.raw(), await pool.raw()];
  await one.query('listen secrets');
  const [[pid]] = (await one.query('select pg_backend_pid()')).rows as [[string]];
  await pool.cluster.query("notify secrets, 'for one'", [], pool.database);
  two.send(bytes.query('select pg_backend_pid()'));
  const said = await two.take('Z');
  expect(said.map(({ type }) => type)).not.toContain('A');
  expect(outcome(said).rows).toEqual([[pid]]);
});
