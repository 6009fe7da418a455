/** The console: who may do what, and what its commands do to clients, servers and those who wait. */
import { describe, expect, test } from 'vitest';
import { COMMANDS, type CommandDefinition } from '../../src/admin/admin-commands.ts';
import { SHOW_TABLES } from '../../src/admin/show-tables.ts';
import { errors } from '../../src/base/errors.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, rowValues } from '../support/wire.ts';

const TWO = { app: 'host=10.0.0.1 port=5432', other: 'host=10.0.0.1 port=5432' };

interface Scene {
  readonly bench: SessionBench;
  readonly boss: SessionClient;
}

function scene(settings: BenchSettings = {}, setup: BenchSetup = {}): Scene {
  const bench = sessionBench(
    { admin_users: 'boss', stats_users: 'watcher', pool_size: 1, query_wait_notify: 0, ...settings },
    { databases: TWO, ...setup },
  );
  bench.expectServers('paused', 'config_changed', 'database_removed');
  return { bench, boss: console(bench, 'boss') };
}

function console(bench: SessionBench, user: string): SessionClient {
  return bench.client({ user, database: 'pgbouncer' });
}

/** The text of the error that answers `sql`; null if none does. */
function refusal(client: SessionClient, bench: SessionBench, sql: string): string | null {
  client.send(m.query(sql));
  bench.run();
  const error = client.take().find(({ type }) => type === 'E');
  return error === undefined ? null : errorFields(error).get('M')!;
}

/** The rows of a SHOW, by column. */
function show(client: SessionClient, bench: SessionBench, what: string): Record<string, string | null>[] {
  client.send(m.query(`SHOW ${what}`));
  bench.run();
  const { columns } = SHOW_TABLES.find(({ name }) => name === what.toLowerCase())!;
  return client
    .take()
    .filter(({ type }) => type === 'D')
    .map((row) => Object.fromEntries(rowValues(row).map((value, index) => [columns[index]!.name, value])));
}

const database = (scene_: Scene, name: string) =>
  show(scene_.boss, scene_.bench, 'DATABASES').find((row) => row['name'] === name)!;

describe('who may come in', () => {
  test.each(['app', 'bos', 'boss2', 'BOSS', 'boss,watcher', 'pgbouncer', 'watche'])('not %s', (user) => {
    const { bench } = scene();
    bench.expectClients('console_refused');
    const stranger = bench.connect();
    stranger.sendStartup({ user, database: 'pgbouncer' });
    bench.run();
    const [error] = stranger.take();
    expect([errorFields(error!).get('C'), errorFields(error!).get('M')]).toEqual(['42501', 'not allowed']);
  });

  test('whatever auth_type is, a password that it asks for is checked', async () => {
    for (const auth_type of ['plain', 'md5', 'scram-sha-256']) {
      const bench = sessionBench({ admin_users: 'boss', auth_type });
      bench.expectClients('authentication_failed');
      const liar = bench.connect();
      liar.sendStartup({ user: 'boss', database: 'pgbouncer' });
      await bench.settle();
      expect(liar.take().map(({ type }) => type)).toEqual(['R']);
      liar.send(m.password('wrong'));
      await bench.settle();
      expect(liar.takeSummary()).toBe('E(28P01)');
    }
  });

  test('with auth_type any, those whom the settings name', () => {
    const bench = sessionBench(
      { admin_users: 'boss', auth_type: 'any' },
      { databases: { app: 'host=10.0.0.1 user=u' } },
    );
    expect(console(bench, 'boss').query('SHOW VERSION')).toBe('T D(tsbouncer 1.2.3) C(SHOW) Z(I)');
  });

  test('also where max_client_conn is reached', () => {
    const { bench, boss } = scene({ max_client_conn: 1 });
    bench.client();
    expect(show(boss, bench, 'LISTS').find(({ list }) => list === 'used_clients')!['items']).toBe('2');
    expect(console(bench, 'watcher').query('SHOW VERSION')).toContain('D(');
  });

  test('not more than a hundred', () => {
    const { bench } = scene();
    for (let count = 1; count < 100; count++) console(bench, 'watcher');
    const late = bench.connect();
    late.sendStartup({ user: 'watcher', database: 'pgbouncer' });
    bench.run();
    expect(late.takeSummary()).toBe('E(53300)');
  });
});

/** An argument that the command can be given, in the order of states below. */
const ARGUMENTS: Readonly<Record<CommandDefinition['argument'], string>> = {
  '': '',
  '[db]': 'app',
  db: 'app',
  client_id: '999',
  '[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]': 'WAIT_FOR_CLIENTS',
};

const EVERYTHING = [
  ...COMMANDS.map(({ name, right, argument }) => ({ sql: `${name} ${ARGUMENTS[argument]}`, right })),
  ...SHOW_TABLES.map(({ name, right }) => ({ sql: `SHOW ${name}`, right })),
  { sql: 'SHOW HELP', right: 'stats' },
  { sql: 'SHOW client_encoding', right: 'stats' },
  { sql: "SET client_encoding = 'UTF8'", right: 'stats' },
  { sql: 'SET max_client_conn = 5', right: 'admin' },
];

const STATES = {
  active: () => {},
  'everything paused': ({ boss }: Scene) => boss.query('PAUSE'),
  'database paused': ({ boss }: Scene) => boss.query('PAUSE app'),
  suspended: ({ boss }: Scene) => boss.query('SUSPEND'),
  'database disabled': ({ boss }: Scene) => boss.query('DISABLE app'),
  'shutting down': ({ boss }: Scene) => boss.query('SHUTDOWN WAIT_FOR_CLIENTS'),
};

describe('rights', () => {
  const matrix = EVERYTHING.flatMap((command) =>
    (['boss', 'watcher'] as const).flatMap((user) =>
      Object.entries(STATES).map(([state, reach]) => ({ ...command, user, state, reach })),
    ),
  );
  test.each(matrix)('$sql, by $user, $state', ({ sql, right, user, reach }) => {
    const all = scene();
    // While all is suspended nobody comes in.
    const asker = console(all.bench, user);
    reach(all);
    const { asked } = all.bench.actions;
    const askedBefore = asked.length;
    const before = JSON.stringify(database(all, 'app'));
    const said = refusal(asker, all.bench, sql);
    const isAllowed = user === 'boss' || right === 'stats';
    if (isAllowed) {
      expect(said).not.toBe('admin access needed');
      return;
    }
    expect(said).toBe('admin access needed');
    expect(JSON.stringify(database(all, 'app'))).toBe(before);
    expect(asked.length).toBe(askedBefore);
  });

  test('a command that says none does not compile', () => {
    // @ts-expect-error its right is missing
    const command: CommandDefinition = { name: 'x', argument: '', documentation: '', run: () => ({ kind: 'none' }) };
    expect(command.name).toBe('x');
  });
});

describe('PAUSE', () => {
  test('of a pool that is idle closes its servers, and the next client waits for RESUME', () => {
    const { bench, boss } = scene();
    const alice = bench.client();
    alice.query('SELECT a');
    expect(boss.query('PAUSE app')).toBe('C(PAUSE) Z(I)');
    expect(bench.pool().servers.alive).toBe(0);
    expect(alice.query('SELECT b')).toBe('');
    bench.advance(10_000);
    expect(bench.postgres.live.length).toBe(0);
    expect(boss.query('RESUME app')).toBe('C(RESUME) Z(I)');
    expect(alice.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('waits for the transaction that is open, and answers when its server is given back', () => {
    const { bench, boss } = scene();
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    expect(boss.query('PAUSE')).toBe('');
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.query('INSERT kept')).toBe('C(INSERT 0 1) Z(T)');
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    bench.advance(20);
    expect(boss.takeSummary()).toBe('C(PAUSE) Z(I)');
    expect(alice.query('SELECT a')).toBe('');
    expect(boss.query('RESUME')).toBe('C(RESUME) Z(I)');
    bench.run();
    expect([bob.takeSummary(), alice.takeSummary()]).toEqual(['T D(b) C(SELECT 1) Z(I)', 'T D(a) C(SELECT 1) Z(I)']);
  });

  test('of one database leaves the other alone, and query_wait_timeout goes on', () => {
    const { bench, boss } = scene({ query_wait_timeout: 3 });
    bench.expectClients('query_wait_timeout');
    const alice = bench.client();
    const carol = bench.client({ database: 'other' });
    boss.query('PAUSE app');
    alice.send(m.query('SELECT a'));
    expect(carol.query('SELECT c')).toBe('T D(c) C(SELECT 1) Z(I)');
    bench.advance(3500);
    expect(alice.takeSummary()).toBe('E(53300)');
  });

  test('lets clients in, who wait in their login if the pool has seen no server', () => {
    const { bench, boss } = scene();
    boss.query('PAUSE');
    const early = bench.connect();
    early.sendStartup();
    bench.advance(5000);
    expect(early.takeSummary()).toBe('');
    boss.query('RESUME');
    bench.run();
    early.acceptLogin(early.take());
    expect(early.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('opens no server for min_pool_size, and gives up one that is being opened without calling it a failure', () => {
    const { bench, boss } = scene({ pool_size: 3, min_pool_size: 3 });
    bench.client();
    bench.advance(1000);
    bench.postgres.onStartup = () => {};
    boss.query('RECONNECT');
    bench.advance(1000);
    expect(boss.query('PAUSE')).toBe('C(PAUSE) Z(I)');
    bench.postgres.onStartup = null;
    bench.advance(20_000);
    expect(bench.pool().servers.total).toBe(0);
    expect(bench.pool().health.isFailing).toBe(false);
    boss.query('RESUME');
    bench.advance(1000);
    expect(bench.pool().servers.idle.size).toBe(3);
  });

  test('ends with its console, which leaves: the pause stays', () => {
    const { bench, boss } = scene();
    bench.expectClients('eof');
    const alice = bench.client();
    alice.query('BEGIN');
    boss.send(m.query('PAUSE'));
    bench.run();
    boss.vanish();
    alice.query('COMMIT');
    bench.advance(100);
    const other = console(bench, 'boss');
    expect(show(other, bench, 'STATE').map(({ value }) => value)).toEqual(['no', 'yes', 'no']);
    other.query('RESUME');
  });

  test('that waits is undone by a cancel, and by RESUME from elsewhere', () => {
    const { bench, boss } = scene();
    const alice = bench.client();
    alice.query('BEGIN');
    boss.query('PAUSE');
    bench.connect().exchange(m.cancel(boss.key));
    expect(boss.takeSummary()).toBe('E(57014) Z(I)');
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(alice.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    boss.query('PAUSE');
    console(bench, 'boss').query('RESUME');
    bench.advance(20);
    expect(boss.takeSummary()).toBe('C(PAUSE) Z(I)');
    alice.query('COMMIT');
  });

  test('holds what comes behind it, and answers it afterwards', () => {
    const { bench, boss } = scene();
    const alice = bench.client();
    alice.query('BEGIN');
    expect(boss.exchange(m.query('PAUSE; SHOW STATE'), m.query('SHOW VERSION'))).toBe('');
    alice.query('COMMIT');
    bench.advance(20);
    expect(boss.takeSummary()).toBe(
      'C(PAUSE) T D(active,no) D(paused,yes) D(suspended,no) C(SHOW) Z(I) T D(tsbouncer 1.2.3) C(SHOW) Z(I)',
    );
    boss.query('RESUME');
  });

  test.each([
    ['PAUSE', 'PAUSE', 'already suspended/paused'],
    ['PAUSE', 'PAUSE app', 'already suspended/paused'],
    ['PAUSE', 'KILL app', 'already suspended/paused'],
    ['PAUSE app', 'RESUME', 'pooler is not paused/suspended'],
    ['SUSPEND', 'PAUSE', 'already suspended/paused'],
    ['PAUSE app', 'SUSPEND', 'cannot suspend with paused databases'],
    ['', 'RESUME', 'pooler is not paused/suspended'],
    ['', 'RESUME app', 'database app is not paused'],
    ['', 'RESUME nope', 'no such database: nope'],
    ['', 'PAUSE nope', 'no such database: nope'],
    ['', 'PAUSE pgbouncer', 'cannot pause admin db: pgbouncer'],
    ['', 'RECONNECT pgbouncer', 'cannot reconnect admin db: pgbouncer'],
    ['', 'WAIT_CLOSE pgbouncer', 'cannot wait in admin db: pgbouncer'],
    ['', 'KILL pgbouncer', 'cannot kill admin db: pgbouncer'],
    ['', 'DISABLE pgbouncer', 'cannot disable admin db: pgbouncer'],
    ['', 'ENABLE pgbouncer', 'cannot enable admin db: pgbouncer'],
    ['', 'DISABLE', 'a database is required'],
    ['', 'ENABLE nope', 'no such database: nope'],
    ['', 'KILL_CLIENT', 'invalid client pointer supplied'],
    ['', 'KILL_CLIENT x', 'invalid client pointer supplied'],
    ['', 'KILL_CLIENT 123', 'client not found'],
    ['', 'RELOAD x', "invalid command 'RELOAD x', use SHOW HELP;"],
    ['', 'SHUTDOWN x', "invalid command 'SHUTDOWN x', use SHOW HELP;"],
    ['', 'SHOW', "invalid command 'SHOW', use SHOW HELP;"],
    ['', 'SHOW nothing', "invalid command 'SHOW nothing', use SHOW HELP;"],
    ['', "PAUSE 'app'", "invalid command 'PAUSE 'app'', use SHOW HELP;"],
    ['', `PAUSE ${'x'.repeat(64)}`, 'bad arguments'],
    ['SHUTDOWN WAIT_FOR_CLIENTS', 'RESUME', 'pooler is shutting down'],
  ])('after %s, %s is refused, and the console goes on', (first, sql, words) => {
    const { bench, boss } = scene();
    if (first !== '') boss.query(first);
    expect(refusal(boss, bench, sql)).toBe(words);
    expect(boss.query('SHOW VERSION')).toBe('T D(tsbouncer 1.2.3) C(SHOW) Z(I)');
  });
});

describe('SUSPEND', () => {
  test('reads from nobody, keeps everything, and RESUME goes on with it', () => {
    const { bench, boss } = scene();
    const alice = bench.client();
    alice.query('BEGIN');
    const pid = alice.pid();
    expect(boss.query('SUSPEND')).toBe('C(SUSPEND) Z(I)');
    expect(show(boss, bench, 'STATE').map(({ value }) => value)).toEqual(['no', 'no', 'yes']);
    expect(alice.query('INSERT kept')).toBe('');
    const late = bench.connect();
    bench.advance(1000);
    expect([alice.takeSummary(), bench.registry.logins.size, bench.postgres.rows.length]).toEqual(['', 0, 0]);
    expect(boss.query('RESUME')).toBe('C(RESUME) Z(I)');
    expect(alice.takeSummary()).toBe('C(INSERT 0 1) Z(T)');
    expect(alice.pid()).toBe(pid);
    alice.query('COMMIT');
    expect(bench.postgres.rows).toEqual(['kept']);
    late.logIn();
  });

  test('waits for what a client has not taken, and drops it after suspend_timeout', () => {
    const { bench, boss } = scene({ suspend_timeout: 2 });
    bench.expectClients('suspend_timeout', 'eof');
    bench.expectServers('abandoned', 'recovery_timeout', 'suspend_timeout');
    const slow = bench.client({ capacity: 100 });
    slow.stream.pause();
    slow.send(m.query('ROWS 2000'));
    bench.run();
    expect(boss.query('SUSPEND')).toBe('');
    bench.advance(1900);
    expect(boss.takeSummary()).toBe('');
    bench.advance(200);
    expect(boss.takeSummary()).toBe('C(SUSPEND) Z(I)');
    expect([...bench.registry.clients]).toEqual([]);
    boss.query('RESUME');
  });

  test('ends with the last console', () => {
    const { bench, boss } = scene();
    bench.expectClients('eof');
    const alice = bench.client();
    boss.query('SUSPEND');
    expect(alice.query('SELECT a')).toBe('');
    boss.vanish();
    expect(alice.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
  });
});

describe('other commands', () => {
  test('DISABLE refuses newcomers once they have logged in, and nobody else', () => {
    const { bench, boss } = scene();
    bench.expectClients('no_such_database');
    const alice = bench.client();
    expect(boss.query('DISABLE app')).toBe('C(DISABLE) Z(I)');
    const late = bench.connect();
    late.sendStartup();
    bench.run();
    expect(errorFields(late.take()[0]!).get('M')).toBe('database "app" is disabled');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    boss.query('ENABLE app');
    expect(bench.client().query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('RECONNECT replaces idle servers now and linked ones when they are free; WAIT_CLOSE waits for these', () => {
    const { bench, boss } = scene({ pool_size: 2 });
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    const before = [alice.pid(), bob.pid()];
    expect(boss.query('RECONNECT app')).toBe('C(RECONNECT) Z(I)');
    expect(bob.pid()).not.toBe(before[1]);
    expect(alice.pid()).toBe(before[0]);
    expect(show(boss, bench, 'SERVERS').map((row) => row['close_needed'])).toContain('1');
    expect(boss.query('WAIT_CLOSE')).toBe('');
    alice.query('COMMIT');
    bench.advance(50);
    expect(boss.takeSummary()).toBe('C(WAIT_CLOSE) Z(I)');
    expect(before).not.toContain(alice.pid());
  });

  test('KILL ends clients and servers of one database, and pauses it', () => {
    const { bench, boss } = scene({ pool_size: 2 });
    bench.expectClients('database_removed', 'eof');
    const [alice, bob, carol] = [bench.client(), bench.client(), bench.client({ database: 'other' })];
    alice.query('BEGIN');
    alice.query('INSERT lost');
    expect(boss.query('KILL app')).toBe('C(KILL) Z(I)');
    expect([alice.takeSummary(), bob.takeSummary()]).toEqual(['E(57P04)', 'E(57P04)']);
    expect(carol.query('SELECT c')).toBe('T D(c) C(SELECT 1) Z(I)');
    bench.advance(1000);
    expect(bench.postgres.rows).toEqual([]);
    expect(database({ bench, boss }, 'app')['paused']).toBe('1');
    boss.query('RESUME app');
    expect(bench.client().query('SELECT d')).toBe('T D(d) C(SELECT 1) Z(I)');
  });

  test('KILL_CLIENT ends the client of that id, whatever it is doing', () => {
    const { bench, boss } = scene();
    bench.expectClients('admin_disconnect', 'eof');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    bob.query('SELECT b');
    const waiting = show(boss, bench, 'CLIENTS').find(({ state }) => state === 'waiting')!;
    const active = show(boss, bench, 'CLIENTS').find(
      ({ state, database: name }) => state === 'active' && name === 'app',
    )!;
    expect(boss.query(`KILL_CLIENT ${waiting['id']}`)).toBe('C(KILL_CLIENT) Z(I)');
    expect(boss.query(`KILL_CLIENT ${active['id']}`)).toBe('C(KILL_CLIENT) Z(I)');
    expect([alice.takeSummary(), bob.takeSummary()]).toEqual(['E(57P01)', 'E(57P01)']);
    expect(refusal(boss, bench, `KILL_CLIENT ${active['id']}`)).toBe('client not found');
  });

  test('RELOAD, SET and SHUTDOWN are passed on, and answered when they are done', async () => {
    const { bench, boss } = scene();
    boss.send(m.query("RELOAD; SET pool_mode = 'statement'; SET query_timeout TO 5; SHUTDOWN WAIT_FOR_SERVERS"));
    await bench.settle();
    expect(boss.takeSummary()).toBe('C(RELOAD) C(SET pool_mode=statement) C(SET query_timeout=5) C(SHUTDOWN) Z(I)');
    expect(bench.actions.asked).toEqual([
      'reload',
      'set pool_mode statement',
      'set query_timeout 5',
      'shutdown wait_for_servers',
    ]);
    bench.actions.answer = () => Promise.resolve(errors.reloadFailed());
    boss.send(m.query('RELOAD; SHOW VERSION'), m.query('SHOW VERSION'));
    await bench.settle();
    expect(boss.takeSummary()).toBe('E(F0000) Z(I) T D(tsbouncer 1.2.3) C(SHOW) Z(I)');
  });
});
