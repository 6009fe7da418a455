/** Session parameters (checklist 26–33): what a client is told at its login, and what servers are told before its statement. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m, parametersIn, server as s } from '../support/wire.ts';

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
      parameters: { APPLICATION_NAME: 'alice', timezone: 'Asia/Tokyo', search_path: 'secret', extra_float_digits: '3' },
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
      "SET TimeZone = 'Asia/Tokyo';SET application_name = 'alice'",
      'SHOW application_name',
      "SET TimeZone = 'Etc/UTC';SET application_name = ''",
      'SHOW TimeZone',
      'SHOW application_name',
      "SET TimeZone = 'Asia/Tokyo';SET application_name = 'alice'",
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
    expect(bench.server().queries).toEqual(["RESET DateStyle;SET DateStyle = 'German'", 'SELECT a', 'SELECT a']);
  });

  test('are known at the next login', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.client({ parameters: { DateStyle: 'German' } }).query('SELECT a');
    const bob = bench.client({ parameters: { datestyle: 'German' } });
    expect(bob.parameters.get('DateStyle')).toBe('German, DMY');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server().queries.filter((sql) => sql.includes('SET DateStyle'))).toHaveLength(1);
  });

  test('that equal the server’s need one SET only (ISO is ISO, MDY)', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client({ parameters: { DateStyle: 'ISO' } });
    alice.query('SELECT a');
    alice.query('SELECT a');
    expect(bench.server().queries.filter((sql) => sql.includes('SET DateStyle'))).toHaveLength(1);
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

  test('of a parameter that does not follow it is forwarded and reported', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    expect(alice.query("SET IntervalStyle = 'iso_8601'")).toBe('C(SET) S(IntervalStyle=iso_8601) Z(I)');
  });
});

describe('a value that the server refuses', () => {
  test('is the client’s error: FATAL, and the server is used by the next', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('parameter_refused');
    const alice = bench.client({ parameters: { TimeZone: 'invalid/zone', application_name: 'alice' } });
    const bob = bench.client();
    expect(alice.query('INSERT never')).toBe('E(22023)');
    expect(alice.isEnded).toBe(true);
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('a parameter that changes by itself (SIGHUP)', () => {
  test('on an idle server is no offence: the next client’s value is set again', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    bench.server().send(s.parameter('TimeZone', 'Asia/Tokyo'));
    bench.run();
    expect(alice.takeSummary()).toBe('');
    expect(alice.query('SELECT a')).toContain('T D(a) C(SELECT 1) Z(I)');
    expect(bench.server().queries).toEqual(["SET TimeZone = 'Etc/UTC'", 'SELECT a']);
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
