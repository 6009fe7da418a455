/** Session parameters (checklist 26–33): what a client is told at its login, and what servers are told before its statement. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, parametersIn, server as s } from '../support/wire.ts';

/** What the pooler sends to set parameters: names and values as they stand in the calls. */
function set(...settings: readonly string[]): string {
  return `SELECT ${settings.map((setting) => `pg_catalog.set_config(${setting},false) IS NULL`).join(',')}`;
}

describe('the welcome', () => {
  test('is the parameter set of a real server, then a key, then ReadyForQuery', () => {
    const bench = sessionBench();
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    const messages = alice.take();
    expect(messages.map(({ type }) => type).join('')).toBe(`R${'S'.repeat(14)}KZ`);
    expect(Object.fromEntries(parametersIn(messages))).toEqual(Object.fromEntries(bench.postgres.database.parameters));
    expect(messages.at(-2)!.body).toHaveLength(8);
    // libpq reads the process id as a signed number.
    expect(messages.at(-2)!.body[0]! & 0x80).toBe(0);
  });

  test('has the client’s own values over the server’s, in the server’s spelling of the names', () => {
    const bench = sessionBench();
    const alice = bench.client({
      parameters: { APPLICATION_NAME: 'alice', timezone: 'Asia/Tokyo', search_path: 'secret', server_version: '7' },
    });
    expect(alice.parameters.get('application_name')).toBe('alice');
    expect(alice.parameters.get('TimeZone')).toBe('Asia/Tokyo');
    expect(alice.parameters.has('search_path')).toBe(false);
    expect(alice.parameters.get('server_version')).toBe('18.0');
  });

  test('needs no server once the pool has had one', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.query('BEGIN');
    bench.postgres.accepting = 'refuse';
    const bob = bench.client();
    expect(bob.parameters).toEqual(alice.parameters);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('follows the servers: after an upgrade new clients are told the new version', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectServers('eof');
    bench.client();
    bench.postgres.database.parameters.set('server_version', '19.0');
    bench.server().die('exit');
    bench.run();
    bench.client().query('SELECT a');
    expect(bench.client().parameters.get('server_version')).toBe('19.0');
  });

  test('waits for the first server, and holds what the client has sent meanwhile', () => {
    const bench = sessionBench();
    bench.postgres.onStartup = () => {};
    const alice = bench.connect();
    alice.send(m.startup({ user: 'app', database: 'app' }), m.query('SELECT a'));
    bench.run();
    expect(alice.takeSummary()).toBe('');
    bench.server().login();
    bench.run();
    expect(alice.takeSummary()).toMatch(/^R S.* K Z\(I\) T D\(a\) C\(SELECT 1\) Z\(I\)$/);
  });

  test('has login_notify_message as a notice before ReadyForQuery', () => {
    const bench = sessionBench({ login_notify_message: 'maintenance tonight' });
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    expect(alice.takeSummary()).toMatch(/ K N\(maintenance tonight\) Z\(I\)$/);
  });
});

describe('a server that differs', () => {
  test('is told the client’s values before its first statement, and only what differs', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { application_name: 'alice', TimeZone: 'Asia/Tokyo' } });
    const bob = bench.client();
    expect(alice.query('SHOW application_name')).toBe('T D(alice) C(SHOW) Z(I)');
    expect(bob.column('SHOW TimeZone')).toEqual(['Etc/UTC']);
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(alice.column('SHOW TimeZone')).toEqual(['Asia/Tokyo']);
    expect(bench.server().queries).toEqual([
      set("'TimeZone','Asia/Tokyo'", "'application_name','alice'"),
      'SHOW application_name',
      set("'TimeZone','Etc/UTC'", "'application_name',''"),
      'SHOW TimeZone',
      'SHOW application_name',
      set("'TimeZone','Asia/Tokyo'", "'application_name','alice'"),
      'SHOW TimeZone',
    ]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('the ParameterStatus of that SET reaches nobody else, and the statement nobody twice', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { application_name: 'alice' } });
    const bob = bench.client();
    for (let i = 0; i < 3; i++) {
      expect(alice.exchange(m.extended('SELECT a'))).toBe('1 2 T D(a) C(SELECT 1) Z(I)');
      expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    }
  });

  test('values that are hostile stay values', () => {
    const bench = sessionBench({ pool_size: 1 });
    const hostile = ["a'; INSERT x; --", "\\'; INSERT x; --", "''", '\\', 'ü€😀', 'tab\there', "E'x'", '$$x$$'];
    for (const value of hostile) {
      const client = bench.client({ parameters: { application_name: value } });
      expect(client.column('SHOW application_name')).toEqual([value]);
      client.leave();
    }
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('canonical values', () => {
  test('replace the client’s, so that not every transaction begins with the same SET', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { DateStyle: 'German' } });
    expect(alice.query('SELECT a')).toBe('S(DateStyle=German, DMY) T D(a) C(SELECT 1) Z(I)');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    const sql = set("'DateStyle',NULL", "'DateStyle','German'");
    expect(bench.server().queries).toEqual([sql, 'SELECT a', 'SELECT a']);
  });

  test('are known at the next login', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.client({ parameters: { DateStyle: 'German' } }).query('SELECT a');
    const bob = bench.client({ parameters: { datestyle: 'German' } });
    expect(bob.parameters.get('DateStyle')).toBe('German, DMY');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server().queries.filter((sql) => sql.includes('DateStyle'))).toHaveLength(1);
  });

  test('that equal the server’s need one SET only (ISO is ISO, MDY)', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { DateStyle: 'ISO' } });
    alice.query('SELECT a');
    alice.query('SELECT a');
    expect(bench.server().queries.filter((sql) => sql.includes('DateStyle'))).toHaveLength(1);
  });
});

describe('a client’s own SET', () => {
  test('is forwarded, remembered, and set again on another server', () => {
    const bench = sessionBench({ pool_size: 2 });
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query("SET application_name = 'alice'")).toBe('C(SET) S(application_name=alice) Z(I)');
    // Bob takes the server that Alice had; she gets the other one.
    bob.query('BEGIN');
    expect(alice.column('SHOW application_name')).toEqual(['alice']);
    expect(bench.postgres.sessions).toHaveLength(2);
    expect(bob.column('SHOW application_name')).toEqual(['']);
    bob.query('COMMIT');
  });

  test('that is rolled back is forgotten', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.query('BEGIN');
    alice.query("SET application_name = 'alice'");
    expect(alice.query('ROLLBACK')).toBe('C(ROLLBACK) S(application_name=) Z(I)');
    expect(alice.query('SHOW application_name')).toBe('T D() C(SHOW) Z(I)');
    expect(bench.server().queries.filter((sql) => sql.startsWith('SET'))).toHaveLength(1);
  });

  test('that the ROLLBACK after its disappearance undoes is not left on the server', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    alice.query("SET application_name = 'alice'");
    alice.vanish();
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('of anything that is reported follows it', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query("SET IntervalStyle = 'iso_8601'")).toBe('C(SET) S(IntervalStyle=iso_8601) Z(I)');
    expect(bob.column('SHOW IntervalStyle')).toEqual(['postgres']);
    expect(alice.query('SHOW IntervalStyle')).toBe('T D(iso_8601) C(SHOW) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('of what a server has reported for the first time is not left to another client', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.client();
    const bob = bench.client();
    const alice = bench.client();
    alice.query("SET ext.mode = 'loud'");
    // As an extension's parameter is once its library is loaded.
    bench.server().send(s.parameter('ext.mode', 'loud'));
    bench.run();
    expect(bob.column('SHOW ext.mode')).toEqual(['']);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server().queries).toEqual([
      "SET ext.mode = 'loud'",
      set("'ext.mode',NULL"),
      'SHOW ext.mode',
      'SELECT b',
    ]);
  });
});

describe('a value that the server refuses', () => {
  test('is the client’s error: FATAL, and the server is used by the next', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('parameter_refused');
    const alice = bench.client({ parameters: { TimeZone: 'invalid/zone', application_name: 'alice' } });
    const bob = bench.client();
    alice.send(m.query('INSERT never'));
    bench.run();
    const fields = errorFields(alice.take()[0]!);
    expect(fields.get('S')).toBe('FATAL');
    expect(fields.get('C')).toBe('22023');
    expect(fields.get('M')).toBe('invalid value for parameter "TimeZone": "invalid/zone"');
    expect(alice.isEnded).toBe(true);
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('also on a server that has another client’s wishes, which it then has no more', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('parameter_refused');
    const alice = bench.client({ parameters: { work_mem: '1MB' } });
    alice.query('SELECT a');
    const bob = bench.client({ parameters: { no_such_parameter: '1' } });
    expect(bob.query('INSERT never')).toBe('E(42704)');
    expect(bench.client().column('SHOW work_mem')).toEqual(['4MB']);
    expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('a wish', () => {
  test('is set before the client’s statement, and withdrawn before another’s', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { statement_timeout: '5s', options: '-c work_mem=1MB' } });
    const bob = bench.client({ parameters: { Work_Mem: '2MB' } });
    const carol = bench.client();
    expect(alice.query('SHOW statement_timeout')).toBe('T D(5s) C(SHOW) Z(I)');
    expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
    expect(bob.column('SHOW statement_timeout')).toEqual(['0']);
    expect(bob.column('SHOW work_mem')).toEqual(['2MB']);
    expect(carol.column('SHOW work_mem')).toEqual(['4MB']);
    expect(carol.column('SHOW statement_timeout')).toEqual(['0']);
    expect(bench.server().queries.filter((sql) => !sql.startsWith('SHOW'))).toEqual([
      set("'work_mem','1MB'", "'statement_timeout','5s'"),
      set("'statement_timeout',NULL", "'Work_Mem','2MB'"),
      set("'Work_Mem',NULL"),
    ]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('that two clients share costs one SET', () => {
    const bench = sessionBench({ pool_size: 1 });
    const parameters = { statement_timeout: '5s' };
    const clients = [bench.client({ parameters }), bench.client({ parameters })];
    for (const client of [...clients, ...clients]) client.query('SELECT a');
    expect(bench.server().queries.filter((sql) => sql.includes('set_config'))).toHaveLength(1);
  });

  test.each(['session', 'statement'])('is known in %s mode', (mode) => {
    const bench = sessionBench({ pool_size: 1, pool_mode: mode, session_startup: 'set' });
    const alice = bench.client({ parameters: { options: '--work-mem=1MB' } });
    expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
    alice.leave();
    expect(bench.client().column('SHOW work_mem')).toEqual(['4MB']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test.each(['DISCARD ALL', 'discard all;', 'RESET ALL', 'SELECT nothing'])(
    'is right after %s between two sessions',
    (reset) => {
      const bench = sessionBench({
        pool_size: 1,
        pool_mode: 'session',
        session_startup: 'set',
        server_reset_query: reset,
      });
      for (const work_mem of ['1MB', '1MB', null, '1MB']) {
        const client = bench.client({ parameters: work_mem === null ? {} : { work_mem } });
        expect(client.column('SHOW work_mem')).toEqual([work_mem ?? '4MB']);
        client.leave();
      }
      const withdrawals = bench.server().queries.filter((sql) => sql.includes('NULL,false'));
      expect(withdrawals).toHaveLength(reset.startsWith('RESET') || reset.startsWith('SELECT') ? 1 : 0);
      expect(bench.postgres.sessions).toHaveLength(1);
    },
  );

  test('that options give is overruled by the packet’s own, wherever that stands', () => {
    const bench = sessionBench({ pool_size: 1 });
    for (const parameters of [
      { options: '-c work_mem=1MB', work_mem: '2MB' },
      { work_mem: '2MB', options: '-c work_mem=1MB' },
    ]) {
      const client = bench.client({ parameters });
      expect(client.column('SHOW work_mem')).toEqual(['2MB']);
    }
  });

  test('may be one of very many', () => {
    const bench = sessionBench({ pool_size: 1 });
    const names = Array.from({ length: 1400 }, (_, i) => `a.${i.toString(36)}`);
    const alice = bench.client({
      parameters: {
        options: names
          .map((name) => `-c${name}=`)
          .join(' ')
          .slice(0, 9900),
      },
    });
    expect(alice.column('SHOW a.1')).toEqual(['']);
    expect(bench.client().column('SHOW a.1')).toEqual(['']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('of a client that leaves while it is being set is withdrawn all the same', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof');
    const bob = bench.client();
    const alice = bench.client({ parameters: { work_mem: '1MB' } });
    bench.server().holdReplies();
    alice.send(m.query('INSERT never'));
    bench.run();
    alice.vanish();
    bench.server().releaseReplies();
    bench.run();
    expect(bob.column('SHOW work_mem')).toEqual(['4MB']);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('that cannot be withdrawn costs the server, not the next client', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectServers('parameter_failed');
    bench.client({ parameters: { work_mem: '1MB' } }).query('SELECT a');
    const bob = bench.client({ parameters: { application_name: 'bob' } });
    const postgres = bench.server().takeOver();
    bob.send(m.query('SHOW application_name'));
    bench.run();
    for (const sql of [
      "'work_mem',NULL,false) IS NULL,pg_catalog.set_config('application_name'",
      "'work_mem',NULL,false) IS NULL",
    ]) {
      postgres.expect('Q', sql);
      postgres.send(s.error({ code: '0A000', message: 'parameter cannot be reset' }), s.ready('I'));
      bench.run();
    }
    postgres.expect('X');
    postgres.die('exit');
    bench.run();
    expect(bob.takeSummary()).toBe('T D(bob) C(SHOW) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('is set again if a cancel or a timeout has hit the SET', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.client();
    const alice = bench.client({ parameters: { work_mem: '1MB' } });
    const postgres = bench.server().takeOver();
    alice.send(m.query('SELECT a'));
    bench.run();
    postgres.expect('Q', 'work_mem');
    postgres.send(s.error({ code: '57014', message: 'canceling statement' }), s.ready('I'));
    bench.run();
    postgres.expect('Q', 'work_mem');
    postgres.send(s.complete('SELECT 1'), s.ready('I'));
    bench.run();
    postgres.expect('Q', 'SELECT a');
    postgres.send(s.complete('SELECT 0'), s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 0) Z(I)');
  });

  test('for the unchangeable is the server’s to refuse', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('parameter_refused');
    const alice = bench.client({ parameters: { server_version: 'invalid' } });
    expect(alice.query('SELECT a')).toBe('E(22023)');
    bench.client().query('SELECT b');
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('options', () => {
  test.each([
    ['-x', 'invalid command-line argument for server process: -x'],
    ['-c a', '-c a requires a value'],
  ])('%s ends the login with what PostgreSQL says', (options, message) => {
    const bench = sessionBench();
    const alice = bench.connect();
    alice.sendStartup({ parameters: { options } });
    bench.run();
    const [error] = alice.take();
    const fields = errorFields(error!);
    expect([fields.get('S'), fields.get('C'), fields.get('M')]).toEqual(['FATAL', '42601', message]);
    expect(alice.isEnded).toBe(true);
  });

  test('are not looked into before a password is proven', () => {
    const bench = sessionBench({ auth_type: 'plain' });
    const alice = bench.connect();
    alice.sendStartup({ parameters: { options: '-x' } });
    bench.run();
    expect(alice.takeSummary()).toMatch(/^R/);
  });

  test('are dropped where they are unknown if ignore_startup_parameters has `options`', () => {
    const bench = sessionBench({ pool_size: 1, ignore_startup_parameters: 'extra_float_digits, options' });
    const options = '-c work_mem=1MB -c intervalstyle=iso_8601 -c DateStyle=German -x';
    const alice = bench.client({ parameters: { options, extra_float_digits: 'invalid', statement_timeout: '1s' } });
    expect(alice.column('SHOW work_mem')).toEqual(['4MB']);
    expect(alice.column('SHOW IntervalStyle')).toEqual(['iso_8601']);
    expect(alice.column('SHOW DateStyle')).toEqual(['German, DMY']);
    expect(alice.column('SHOW statement_timeout')).toEqual(['1s']);
  });
});

test('ignore_startup_parameters drops names, but not of what PgBouncer tracks', () => {
  const bench = sessionBench({ pool_size: 1, ignore_startup_parameters: 'WORK_MEM,DateStyle,intervalstyle,no_such' });
  const parameters = {
    work_mem: '1MB',
    datestyle: 'German',
    IntervalStyle: 'iso_8601',
    no_such: '1',
    options: '-cno_such=1',
  };
  const alice = bench.client({ parameters });
  expect(alice.column('SHOW work_mem')).toEqual(['4MB']);
  expect(alice.column('SHOW DateStyle')).toEqual(['German, DMY']);
  expect(alice.column('SHOW IntervalStyle')).toEqual(['iso_8601']);
});

test('track_extra_parameters says what else that is', () => {
  const settings = { ignore_startup_parameters: 'work_mem, IntervalStyle', track_extra_parameters: 'work_mem' };
  const bench = sessionBench({ pool_size: 1, ...settings });
  const alice = bench.client({ parameters: { work_mem: '1MB', IntervalStyle: 'iso_8601' } });
  expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
  expect(alice.column('SHOW IntervalStyle')).toEqual(['postgres']);
});

describe('what the database entry says', () => {
  const databases = {
    app: 'host=10.0.0.1 datestyle=German timezone=Asia/Tokyo application_name=pool client_encoding=latin1',
  };

  test('is what servers begin with, and clients that do not say otherwise', () => {
    const bench = sessionBench({ pool_size: 1 }, { databases });
    const alice = bench.client();
    const bob = bench.client({ parameters: { timezone: 'UTC', application_name: 'bob' } });
    expect(Object.fromEntries(bench.server().startup)).toEqual({
      user: 'app',
      database: 'app',
      client_encoding: 'latin1',
      datestyle: 'German',
      timezone: 'Asia/Tokyo',
      application_name: 'pool',
    });
    expect(alice.parameters.get('DateStyle')).toBe('German, DMY');
    expect(alice.column('SHOW TimeZone')).toEqual(['Asia/Tokyo']);
    expect(bench.server().queries).toEqual(['SHOW TimeZone']);
    expect(bob.column('SHOW application_name')).toEqual(['bob']);
    expect(alice.column('SHOW application_name')).toEqual(['pool']);
  });

  test('as connect_query is not undone for the client', () => {
    const bench = sessionBench(
      { pool_size: 1 },
      { databases: { app: { host: '10.0.0.1', connect_query: "SET TimeZone = 'Asia/Tokyo'" } } },
    );
    const alice = bench.client();
    expect(alice.parameters.get('TimeZone')).toBe('Asia/Tokyo');
    expect(alice.column('SHOW TimeZone')).toEqual(['Asia/Tokyo']);
    expect(bench.server().queries).toEqual(["SET TimeZone = 'Asia/Tokyo'", 'SHOW TimeZone']);
  });
});

test('application_name_add_host says where a client comes from', () => {
  const bench = sessionBench({ pool_size: 1, application_name_add_host: true });
  const alice = bench.client({ parameters: { application_name: 'billing' } });
  const bob = bench.client();
  expect(alice.column('SHOW application_name')).toEqual([`billing - 192.0.2.7:${alice.port}`]);
  expect(bob.parameters.get('application_name')).toBe(`app - 192.0.2.7:${bob.port}`);
  expect(bob.column('SHOW application_name')).toEqual([`app - 192.0.2.7:${bob.port}`]);
});

describe('a parameter that changes by itself (SIGHUP)', () => {
  test('on an idle server is no offence: the next client’s value is set again', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    bench.server().send(s.parameter('TimeZone', 'Asia/Tokyo'));
    bench.run();
    expect(alice.takeSummary()).toBe('');
    expect(alice.query('SELECT a')).toContain('T D(a) C(SELECT 1) Z(I)');
    expect(bench.server().queries).toEqual([set("'TimeZone','Etc/UTC'"), 'SELECT a']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('on a linked server is forwarded and remembered', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.query('BEGIN');
    bench.server().send(s.parameter('TimeZone', 'Asia/Tokyo'));
    bench.run();
    expect(alice.takeSummary()).toBe('S(TimeZone=Asia/Tokyo)');
    alice.query('COMMIT');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.server().queries).toEqual(['BEGIN', 'COMMIT', 'SELECT a']);
  });

  test('on the last message before ReadyForQuery, cut anywhere', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.query('BEGIN');
    const postgres = bench.server();
    const change = s.parameter('TimeZone', 'Asia/Tokyo');
    for (let cut = 1; cut < change.length; cut++) {
      postgres.send(change.subarray(0, cut));
      bench.run();
      postgres.send(change.subarray(cut));
      bench.run();
      expect(alice.takeSummary()).toBe('S(TimeZone=Asia/Tokyo)');
    }
    alice.query('COMMIT');
  });
});

test('two clients with different values on one server always see their own', () => {
  const bench = sessionBench({ pool_size: 1 });
  const names = ['alice', 'bob', 'carol'];
  const clients = names.map((name) => bench.client({ parameters: { application_name: name } }));
  for (let i = 0; i < 30; i++) {
    const who = bench.environment.random.below(names.length);
    expect(clients[who]!.column('SHOW application_name')).toEqual([names[who]]);
  }
  expect(bench.postgres.sessions).toHaveLength(1);
});
