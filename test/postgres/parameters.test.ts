/**
 * Session parameters on one backend that clients share: what the *server* says that each has, against what a direct
 * connection with the same startup packet would have.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { type TcpAddress, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

type Startup = Readonly<Record<string, string>>;

/** Everything that a client can have been given, whether it is reported or not. */
const SHOWN = [
  'application_name',
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'IntervalStyle',
  'standard_conforming_strings',
  'default_transaction_read_only',
  'search_path',
  'statement_timeout',
  'extra_float_digits',
  'work_mem',
  'role',
] as const;
const STATE = `select pg_backend_pid(), ${SHOWN.map((name) => `current_setting('${name}')`).join(', ')}, current_schemas(false)`;

/** As clients write them, which is not how a server spells them. */
const STARTUPS: readonly Startup[] = [
  {},
  { datestyle: 'ISO' },
  { DateStyle: 'German', timezone: 'asia/tokyo', client_encoding: 'latin1' },
  { DateStyle: 'DMY', TimeZone: 'UTC', IntervalStyle: 'ISO_8601' },
  { DateStyle: 'SQL, DMY', timezone: '<+03>-03' },
  { datestyle: 'ISO' },
  { application_name: `über "x" 'y' \\ \\' 😀`, extra_float_digits: '3' },
  { application_name: 'n'.repeat(500), default_transaction_read_only: 'on' },
  { standard_conforming_strings: 'off', application_name: "\\'; select 1; --" },
  { search_path: '"$user", "A b", pg_catalog', statement_timeout: '5min' },
  { search_path: 'one,two' },
  { search_path: '' },
  { search_path: '""' },
  { options: '-c search_path=two\\ ,\\"A\\ b\\" --statement-timeout=1234567 -cwork_mem=1MB' },
  { options: '-c work_mem=2MB -c work_mem=3MB', statement_timeout: '1min', STATEMENT_TIMEOUT: '2min' },
  { options: '-c work_mem=2MB -c datestyle=postgres', WORK_MEM: '1GB' },
  { 'tsbouncer.custom': 'x', role: 'none' },
  { role: 'dave', options: '\\-c\tapplication_name=a\\\\b\\ c' },
];

const REFUSED: readonly Startup[] = [
  { no_such_parameter: '1' },
  { statement_timeout: 'soon' },
  { timezone: 'Nowhere/Land' },
  { client_encoding: 'klingon' },
  { DateStyle: 'ISO, German' },
  { search_path: '"' },
  { work_mem: '1' },
  { role: 'no_such_role' },
  { role: 'alice' },
  { server_version: '7.0' },
  { is_superuser: 'on' },
  { session_authorization: 'alice' },
  { log_statement: 'all' },
  { max_connections: '7' },
  { 'foo.': 'x' },
  { "x'y": '1' },
  { 'x.y"; select 1; --': '1' },
  { options: '-c=' },
  { options: '-c' },
  { options: '-c a' },
  { options: '--a-b' },
  { options: '-Q' },
  { options: '-- -c geqo=off' },
  { options: '-c geqo=off\\ ' },
];

function value(row: readonly (string | null)[] | undefined): (string | null)[] {
  return (row ?? []).slice(1);
}

/** What the login, or the first statement after it, ends with. */
async function refusal(address: TcpAddress, startup: Startup): Promise<Record<string, string | undefined>> {
  const client = await TcpClient.connect(address);
  client.send(bytes.startup(startup), bytes.query('select 1'), bytes.terminate);
  const error = (await client.rest()).find(({ type }) => type === 'E');
  await client.drop();
  const { S, C, M, D, H } = errorFields(error?.body ?? Buffer.of(0));
  return { S, C, M, D, H };
}

describe.each([15, 18] as const)('on PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);

  function pool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
    return pooler({ cluster, pool_mode: 'transaction', pool_size: 1, ...options });
  }

  async function makeSchemas(database: string): Promise<void> {
    await cluster.query('create schema one; create schema two; create schema "A b"', [], database);
    await cluster.query('grant all on schema one, two, "A b" to public', [], database);
  }

  it('each client has what a direct connection has, whoever had the backend before', async () => {
    const front = await pool();
    await makeSchemas(front.database);
    const clients = [];
    for (const startup of STARTUPS) {
      const direct = await TcpClient.login(cluster, { user: 'dave', database: front.database, ...startup });
      clients.push({ startup, client: await front.raw(startup), expected: value((await direct.query(STATE)).rows[0]) });
      await direct.leave();
    }
    const pids = new Set<string | null | undefined>();
    for (let step = 0; step < 3 * clients.length; step++) {
      // Each comes after several others.
      const { startup, client, expected } = clients[(step * 7) % clients.length]!;
      const { rows } = await client.query(STATE);
      expect(value(rows[0]), JSON.stringify(startup)).toEqual(expected);
      pids.add(rows[0]?.[0]);
    }
    expect(pids.size).toBe(1);
  });

  it('what it refuses is the client’s error, in its words, and the backend serves the next', async () => {
    const front = await pool();
    const { database } = front;
    const bystander = await front.raw({ work_mem: '1MB', application_name: 'bystander' });
    const [before] = (await bystander.query(STATE)).rows;
    for (const startup of REFUSED) {
      const packet = { user: 'dave', database, ...startup };
      const direct = await refusal(cluster, packet);
      expect(direct['S'], JSON.stringify(startup)).toBe('FATAL');
      expect(await refusal(front, packet), JSON.stringify(startup)).toEqual(direct);
      expect((await bystander.query(STATE)).rows).toEqual([before]);
    }
    expect(await front.backends()).toHaveLength(1);
  });

  it('names and values cannot be more than names and values', async () => {
    const front = await pool();
    const { database } = front;
    await cluster.query('create table canary (a int); grant all on canary to public', [], database);
    const piece = fc.constantFrom(
      "'",
      "''",
      '"',
      '\\',
      '\\\\',
      "\\'",
      ';',
      ')',
      ',NULL,false)',
      ';insert into canary values (1);',
      '--',
      '/*',
      '$$',
      "E'",
      '\n',
      '\r',
      '\u0001',
      '\u007f',
      'ü',
      '\u2028',
      '😀',
      'a',
      '=',
      ' ',
    );
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    const quotes = [
      {},
      { standard_conforming_strings: 'off' },
      { client_encoding: 'SJIS' },
      { client_encoding: 'BIG5' },
    ];
    const bystander = await front.raw();
    const [[pid]] = (await bystander.query('select pg_backend_pid()')).rows as [[string]];
    await fc.assert(
      fc.asyncProperty(text, text, fc.constantFrom(...quotes), async (name, content, others) => {
        const packet: Startup = { user: 'dave', database, ...others };
        const shows = "select pg_backend_pid(), convert_to(current_setting('x.value'), 'UTF8'), 1";
        const client = await TcpClient.login(front, { ...packet, 'x.value': content });
        expect((await client.query(shows)).rows).toEqual([[pid, `\\x${Buffer.from(content).toString('hex')}`, '1']]);
        await client.leave();
        // In another encoding the words of the refusal could not be told.
        const hostile = {
          ...packet,
          client_encoding: 'UTF8',
          [`x${name}`]: content,
          options: `-c x.o=${content.replaceAll(/[\s\\]/g, '\\$&')}`,
        };
        const [direct, through] = [await refusal(cluster, hostile), await refusal(front, hostile)];
        expect(through).toEqual(direct);
      }),
      { numRuns: 40, seed: version },
    );
    expect((await bystander.query('select pg_backend_pid(), count(*) from canary')).rows).toEqual([[pid, '0']]);
  });

  it('a client’s own set_config on its search_path is not taken for PostgreSQL’s', async () => {
    const front = await pool();
    const evil = await front.raw({ search_path: 'evil, pg_catalog', application_name: 'evil', work_mem: '1MB' });
    await cluster.query('create schema evil; grant all on schema evil to public', [], front.database);
    await evil.query(`create table evil.seen (a text)`);
    await evil.query(
      `create function evil.set_config(text, text, boolean) returns text language sql
         as $$ insert into evil.seen values ($1) returning $2 $$`,
    );
    expect((await evil.query("select set_config('a', 'b', false)")).rows).toEqual([['b']]);
    const victim = await front.raw({ application_name: 'victim', search_path: 'public', work_mem: '2MB' });
    const [row] = (await victim.query(STATE)).rows;
    expect([row?.[1], row?.[8], row?.[11]]).toEqual(['victim', 'public', '2MB']);
    expect((await evil.query('select pg_backend_pid(), * from evil.seen')).rows).toEqual([[row?.[0], 'a']]);
  });

  it('a statement_timeout that is nearly none stops its own client only', async () => {
    const front = await pool();
    const hasty = await front.raw({ statement_timeout: '1' });
    const calm = await front.raw({ application_name: 'calm' });
    const pids = new Set<string | null | undefined>();
    for (let i = 0; i < 20; i++) {
      expect((await hasty.query('select pg_sleep(1)')).sqlstate).toBe('57014');
      const { rows } = await calm.query(
        "select pg_backend_pid(), current_setting('statement_timeout') from pg_sleep(0.01)",
      );
      expect(rows[0]?.[1]).toBe('0');
      pids.add(rows[0]?.[0]);
    }
    expect(pids.size).toBe(1);
  });

  it('node-postgres has its statement_timeout and options', async () => {
    const front = await pool();
    const [one, two, plain] = [
      await front.client({ statement_timeout: 4321, lock_timeout: 1234, application_name: 'one' }),
      await front.client({ options: '-c work_mem=1MB -c search_path=pg_catalog' }),
      await front.client(),
    ];
    const sql = `select pg_backend_pid() as pid, (select string_agg(setting, '/' order by name) from pg_settings
      where name in ('statement_timeout', 'lock_timeout', 'work_mem', 'application_name')) as settings`;
    const seen = [];
    for (const client of [one, two, plain, one])
      seen.push((await client.query<{ pid: number; settings: string }>(sql)).rows[0]!);
    expect(seen.map(({ settings }) => settings)).toEqual([
      'one/1234/4321/4096',
      '/0/0/1024',
      '/0/0/4096',
      'one/1234/4321/4096',
    ]);
    expect(new Set(seen.map(({ pid }) => pid)).size).toBe(1);
    await expect(one.query('select pg_sleep(10)')).rejects.toMatchObject({ code: '57014' });
    expect((await plain.query('select pg_sleep(0)')).rowCount).toBe(1);
  });

  it('a database entry says what sessions begin with, and RESET returns to', async () => {
    const front = await pool({
      database: { datestyle: 'German', timezone: 'Asia/Tokyo', client_encoding: 'latin1', application_name: 'entry' },
    });
    const plain = await front.raw();
    const own = await front.raw({ TimeZone: 'UTC', application_name: 'own' });
    const sql = `select pg_backend_pid(), string_agg(setting, '/' order by name) from pg_settings
      where name in ('DateStyle', 'TimeZone', 'client_encoding', 'application_name')`;
    const rows = [];
    for (const client of [plain, own, plain]) rows.push((await client.query(sql)).rows[0]);
    const pid = rows[0]?.[0];
    expect(rows).toEqual([
      [pid, 'German, DMY/Asia/Tokyo/entry/LATIN1'],
      [pid, 'German, DMY/UTC/own/LATIN1'],
      [pid, 'German, DMY/Asia/Tokyo/entry/LATIN1'],
    ]);
    expect((await plain.query("set timezone = 'UTC'; reset timezone; show timezone")).rows).toEqual([['Asia/Tokyo']]);
  });

  it('application_name_add_host is seen in pg_stat_activity', async () => {
    const front = await pool({ application_name_add_host: true });
    const client = await front.raw({ application_name: 'billing' });
    const sql = 'select application_name from pg_stat_activity where pid = pg_backend_pid()';
    expect((await client.query(sql)).rows).toEqual([[`billing - 127.0.0.1:${client.localPort}`]]);
  });

  it.each(['session', 'statement'])('wishes are known in %s mode', async (mode) => {
    const front = await pool({ pool_mode: mode, session_startup: 'set' });
    const names = ['work_mem', 'DateStyle', 'role'];
    const sql = `select pg_backend_pid(), ${names.map((name) => `current_setting('${name}')`).join(', ')}`;
    const one = await front.raw({ options: '-c work_mem=1MB', datestyle: 'SQL', role: 'dave' });
    const [first] = (await one.query(sql)).rows;
    await one.leave();
    const two = await front.raw();
    const [second] = (await two.query(sql)).rows;
    expect([first?.slice(1), second?.slice(1)]).toEqual([
      ['1MB', 'SQL, MDY', 'dave'],
      ['4MB', 'ISO, MDY', 'none'],
    ]);
    expect(second?.[0]).toBe(first?.[0]);
  });
});
