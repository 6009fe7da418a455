/**
 * Session mode by startup packet (session_startup: own, session_attach): what the *server* says that a parameter is,
 * where it comes from and what RESET makes of it, against a direct connection with the same startup packet.
 */
import { describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields, type ServerMessage } from '../support/corpus/server-message.ts';
import { type TcpAddress, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, SystemProcess } from '../support/system-clients.ts';

type Startup = Readonly<Record<string, string>>;

const NAMES = [
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'IntervalStyle',
  'search_path',
  'statement_timeout',
  'extra_float_digits',
  'work_mem',
  'ignore_system_indexes',
];
const SETTINGS = `select name, setting, source, reset_val from pg_settings
  where name in (${NAMES.map((name) => `'${name}'`).join(', ')}) order by name`;
const SHOWN = `select ${[...NAMES, 'role', 'is_superuser'].map((name) => `current_setting('${name}')`).join(', ')},
  current_setting('tsbouncer.custom', true)`;
const CHANGES = [
  "set timezone = 'Europe/Oslo'; set work_mem = '9MB'; set datestyle = 'SQL, DMY'; set search_path = pg_catalog",
  'reset timezone; reset work_mem',
  'reset all',
  "set work_mem = '9MB'; set timezone = 'Europe/Oslo'",
  'discard all',
  "begin; set timezone = 'Europe/Oslo'; set local work_mem = '9MB'",
  'rollback',
];

const STARTUPS: readonly Startup[] = [
  {},
  { DateStyle: 'German', timezone: 'asia/tokyo', client_encoding: 'latin1' },
  // Of two values the second builds on the first.
  { options: '-c datestyle=DMY', DateStyle: 'ISO' },
  { search_path: '"$user", "A b", pg_catalog', statement_timeout: '5min', application_name: 'app' },
  { options: '-c search_path=two\\ ,\\"A\\ b\\" --statement-timeout=1234567 -cwork_mem=1MB' },
  { options: '-c work_mem=2MB', WORK_MEM: '1GB', 'tsbouncer.custom': 'x', role: 'none' },
  // It cannot be set any more when a session has begun.
  { options: '-c ignore_system_indexes=on' },
];

/** That of none of them can be said with a SET, or that it is the session's user. */
const REFUSED: readonly Startup[] = [
  { no_such_parameter: '1' },
  { No_Such_Parameter: '1' },
  { timezone: 'Nowhere/Land', application_name: 'lost' },
  { client_encoding: 'klingon' },
  { DateStyle: 'ISO, German' },
  { work_mem: '1' },
  { role: 'no_such_role' },
  { session_authorization: 'alice' },
  { log_statement: 'all' },
  { max_connections: '7' },
  { User: 'postgres' },
  { DATABASE: 'postgres' },
  { options: '-c user=postgres' },
  { options: '-c options=-c\\ work_mem=1MB' },
  { 'foo.': 'x' },
  { options: '-c=' },
  { options: '-Q' },
];

/** What every report of a session looks like: the settings and their sources, before and after what it changes. */
async function story(client: TcpClient): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const change of ['select 1', ...CHANGES]) {
    await client.query(change);
    for (const sql of [SETTINGS, SHOWN]) seen.push([change, (await client.query(sql)).rows]);
  }
  return seen;
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

function parametersOf(messages: readonly ServerMessage[]): string[] {
  const told = messages.filter(({ type }) => type === 'S').map(({ body }) => body.toString());
  return told.sort();
}

describe.each([15, 18] as const)('on PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);

  function pool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
    return pooler({ cluster, pool_mode: 'session', pool_size: STARTUPS.length + 1, ...options });
  }

  it('a session is what a direct one is, from the first SHOW to RESET ALL, whoever had the backend before', async () => {
    const front = await pool();
    const pids = new Map<Startup, (string | null | undefined)[]>();
    // Each set twice, with all the others between.
    for (const startup of [...STARTUPS, ...STARTUPS]) {
      const direct = await TcpClient.login(cluster, { user: 'dave', database: front.database, ...startup });
      const expected = await story(direct);
      await direct.leave();
      const client = await TcpClient.login(front, { user: 'dave', database: front.database, ...startup });
      const [[pid]] = (await client.query('select pg_backend_pid()')).rows as [[string]];
      expect(await story(client), JSON.stringify(startup)).toEqual(expected);
      pids.set(startup, [...(pids.get(startup) ?? []), pid]);
      await client.leave();
    }
    for (const [first, second] of pids.values()) expect(second).toBe(first);
    expect(new Set([...pids.values()].map(([pid]) => pid)).size).toBe(STARTUPS.length);
  });

  it('what is refused is the client’s error, in PostgreSQL’s words, and the pool serves the next', async () => {
    const front = await pool({ expectedCloses: ['login_failed', 'fatal_error'], pool_size: 3 });
    const { database } = front;
    const before = await front.raw({ work_mem: '1MB' });
    await before.query('select 1');
    for (const startup of REFUSED) {
      const packet = { user: 'dave', database, ...startup };
      const direct = await refusal(cluster, packet);
      expect(direct['S'], JSON.stringify(startup)).toBe('FATAL');
      expect(await refusal(front, packet), JSON.stringify(startup)).toEqual(direct);
    }
    expect((await (await front.raw()).query('select current_user, current_database()')).rows).toEqual([
      ['dave', database],
    ]);
    expect((await before.query('show work_mem')).rows).toEqual([['1MB']]);
  });

  it('the longest idle server of another set makes room', async () => {
    const front = await pool({ pool_size: 1, expectedCloses: ['replaced'] });
    const zones = ['Asia/Tokyo', 'Europe/Oslo', 'Asia/Tokyo'];
    const pids = new Set();
    for (const TimeZone of zones) {
      const client = await front.raw({ TimeZone });
      const sql = "select setting, source, pg_backend_pid() from pg_settings where name = 'TimeZone'";
      const [row] = (await client.query(sql)).rows;
      expect(row?.slice(0, 2)).toEqual([TimeZone, 'client']);
      pids.add(row?.[2]);
      expect(await front.backends()).toHaveLength(1);
      await client.leave();
    }
    expect(pids.size).toBe(3);
    expect(front.serverCloses).toEqual(['replaced', 'replaced', 'replaced']);
  });

  it('session_startup: set is PgBouncer’s way: one backend for all, and RESET returns to its own values', async () => {
    const front = await pool({ session_startup: 'set', pool_size: 1 });
    const pids = new Set();
    for (const TimeZone of ['Asia/Tokyo', 'Europe/Oslo']) {
      const client = await front.raw({ TimeZone });
      pids.add((await client.query('select pg_backend_pid()')).rows[0]?.[0]);
      expect((await client.query('show timezone')).rows).toEqual([[TimeZone]]);
      const [[reset]] = (await client.query('reset timezone; show timezone')).rows as [[string]];
      expect(reset).not.toBe(TimeZone);
      await client.leave();
    }
    expect(pids.size).toBe(1);
  });

  describe('session_attach: login', () => {
    it.each([bytes.VERSION_3_0, bytes.VERSION_3_2])(
      'tells what the own server reports, and its pid (protocol %i)',
      async (minor) => {
        const front = await pool({ session_attach: 'login' });
        const packet = {
          user: 'dave',
          database: front.database,
          datestyle: 'German',
          options: '-c role=none',
          application_name: 'a',
        };
        const greetings = [];
        for (const address of [cluster, front]) {
          const client = await TcpClient.connect(address);
          client.send(bytes.startup(packet, minor));
          const messages = await client.take('Z');
          greetings.push(parametersOf(messages));
          const [[pid]] = (await client.query('select pg_backend_pid()')).rows as [[string]];
          expect(client.cancelKey.readUInt32BE(0)).toBe(Number(pid));
          await client.leave();
        }
        expect(greetings[1]).toEqual(greetings[0]);
      },
    );

    it('its key cancels, and another one with its pid does not', async () => {
      const front = await pool({ session_attach: 'login' });
      const client = await front.raw({ TimeZone: 'Asia/Tokyo' });
      const cancel = async (key: Buffer): Promise<void> => {
        const connection = await TcpClient.connect(front);
        connection.send(bytes.cancelRequest(key));
        await connection.rest();
        await connection.drop();
      };
      client.send(bytes.query('select pg_sleep(30)'));
      const running = async (): Promise<boolean> =>
        (await cluster.activity(front.database)).some(
          ({ state, query }) => state === 'active' && /pg_sleep/.test(query),
        );
      while (!(await running()));
      const wrong = Buffer.from(client.cancelKey);
      wrong[4]! ^= 1;
      await cancel(wrong);
      expect(await running()).toBe(true);
      await cancel(client.cancelKey);
      const error = (await client.take('Z')).find(({ type }) => type === 'E');
      expect(errorFields(error?.body ?? Buffer.of(0))['C']).toBe('57014');
      expect((await client.query('show timezone')).rows).toEqual([['Asia/Tokyo']]);
    });

    it('a refused value ends the login as it does directly', async () => {
      const front = await pool({ session_attach: 'login', expectedCloses: ['login_failed', 'fatal_error'] });
      const { database } = front;
      for (const startup of REFUSED) {
        const packet = { user: 'dave', database, ...startup };
        expect(await refusal(front, packet), JSON.stringify(startup)).toEqual(await refusal(cluster, packet));
      }
      expect((await (await front.raw()).query('select 1')).rows).toEqual([['1']]);
    });
  });

  itWith('psql')('psql with PGOPTIONS has its RESET', async () => {
    const front = await pool();
    const script = `show work_mem; set work_mem = '9MB'; show work_mem; reset work_mem; show work_mem; reset all;
      show search_path; select setting, source, reset_val from pg_settings where name in ('work_mem', 'search_path', 'DateStyle');
    `;
    const outcomes = [];
    for (const { host, port } of [cluster, front]) {
      const url = `postgres://dave@${host}:${port}/${front.database}`;
      const program = new SystemProcess('psql', ['-X', '-A', '-t', url], {
        PGOPTIONS: '-c work_mem=1MB -c search_path=pg_catalog\\,public',
        PGDATESTYLE: 'German',
      });
      program.write(script);
      outcomes.push(await program.end());
    }
    expect(outcomes[1]).toEqual(outcomes[0]);
    expect(outcomes[1]?.stdout).toContain('1MB\nSET\n9MB\nRESET\n1MB\nRESET\npg_catalog,public\n');
  });
});
