/**
 * Session state that clients leave on shared servers: it is undone before anybody else gets the server, kept, or refused,
 * and said once. What is undone for certain, PostgreSQL itself says (`test/postgres/session-state.test.ts`).
 */
import { describe, expect, test } from 'vitest';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

const RESET_SETTINGS = 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL';
const warning = (what: string): string => `N(${what} does not outlast its transaction here)`;

/** Alice, who leaves something behind, and Bob, who comes next, on the one server that there is. */
function scene(settings: BenchSettings = {}) {
  const bench = sessionBench({ pool_size: 1, ...settings });
  const [alice, bob] = [bench.client(), bench.client()];
  alice.query('SELECT warm');
  bob.query('SELECT warm');
  return { bench, alice, bob };
}

/** What the first server was asked in simple queries, clients' and ours, since `work` began. */
function asked(bench: SessionBench, work: () => void): readonly string[] {
  const session = bench.server(0);
  const before = session.queries.length;
  work();
  return session.queries.slice(before);
}

const WAYS: readonly (readonly [string, string, string, string])[] = [
  ['SET work_mem = 1MB', 'SET', 'SET', RESET_SETTINGS],
  ['SET ROLE x', 'SET', 'SET', RESET_SETTINGS],
  ['LISTEN x', 'LISTEN', 'LISTEN', 'UNLISTEN *'],
  ['PREPARE x AS SELECT 1', 'PREPARE', 'PREPARE', 'DEALLOCATE ALL'],
  ['DECLARE x CURSOR WITH HOLD FOR SELECT 1', 'DECLARE CURSOR', 'a cursor WITH HOLD', 'CLOSE ALL'],
  ['CREATE TEMP TABLE x ()', 'CREATE TABLE', 'a temporary table', 'DISCARD TEMP'],
];

describe('what a client leaves behind', () => {
  test.each(WAYS)('%s is undone before another one gets the server, and said', (sql, tag, what, reset) => {
    const { bench, alice, bob } = scene();
    const queries = asked(bench, () => {
      alice.send(m.query(sql));
      bob.send(m.query('SELECT b'));
      bench.run();
    });
    expect(alice.takeSummary()).toBe(`C(${tag}) ${warning(what)} Z(I)`);
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(queries).toEqual([sql, reset, 'SELECT b']);
  });

  test.each(WAYS)('%s by the extended protocol as well', (sql, tag, what, reset) => {
    const { bench, alice } = scene();
    const queries = asked(bench, () => {
      expect(alice.exchange(m.batch(sql), m.sync())).toBe(`1 2 C(${tag}) ${warning(what)} Z(I)`);
    });
    expect(queries).toEqual([reset]);
    const named = asked(bench, () => {
      alice.exchange(m.parse(sql, 's'), m.sync());
      expect(alice.exchange(m.bind({ statement: 's', portal: 'p' }), m.execute('p'), m.sync())).toBe(
        `2 C(${tag}) Z(I)`,
      );
    });
    expect(named).toEqual([reset]);
  });

  test('a parameter is what the next one does not find', () => {
    const { alice, bob } = scene();
    alice.query('SET work_mem = 1MB');
    expect([bob.column('SHOW work_mem'), alice.column('SHOW work_mem')]).toEqual([['4MB'], ['4MB']]);
  });

  test('stays until the transaction ends, and is undone after a ROLLBACK, too', () => {
    const { bench, alice } = scene();
    const queries = asked(bench, () => {
      alice.query('BEGIN');
      expect(alice.query('SET work_mem = 1MB')).toBe(`C(SET) ${warning('SET')} Z(T)`);
      expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
      alice.query('ROLLBACK');
    });
    expect(queries.at(-1)).toBe(RESET_SETTINGS);
  });

  test.each(['BEGIN;SET work_mem = 1MB;COMMIT', 'SET work_mem = 1MB;SELECT a', 'SELECT a;SET TimeZone = UTC'])(
    'is seen in a text of several statements: %s',
    (sql) => {
      const { bench, alice } = scene();
      expect(asked(bench, () => alice.query(sql))).toEqual([sql, RESET_SETTINGS]);
    },
  );

  test('may be temporary though the text does not say it: that is undone without a word', () => {
    const { bench, alice } = scene();
    const sql = 'BEGIN;CREATE TEMP TABLE x ();COMMIT';
    const queries = asked(bench, () => expect(alice.query(sql)).toBe('C(BEGIN) C(CREATE TABLE) C(COMMIT) Z(I)'));
    expect(queries).toEqual([sql, 'DISCARD TEMP']);
  });

  test('all of it is undone at once', () => {
    const { bench, alice } = scene();
    alice.query('BEGIN');
    for (const [sql] of WAYS) alice.query(sql);
    const resets = [RESET_SETTINGS, 'UNLISTEN *', 'DEALLOCATE ALL', 'CLOSE ALL', 'DISCARD TEMP'];
    expect(asked(bench, () => alice.query('COMMIT'))).toEqual(['COMMIT', resets.join(';')]);
  });

  test.each(['vanish', 'crash', 'leave'] as const)('is undone when its client is gone (%s)', (how) => {
    const { bench, alice, bob } = scene();
    bench.expectClients('eof', 'connection_error');
    alice.query('BEGIN');
    alice.query('SET work_mem = 1MB');
    alice[how]();
    const session = bench.server(0);
    expect(session.queries.slice(-2)).toEqual(['ROLLBACK', RESET_SETTINGS]);
    expect(bob.column('SHOW work_mem')).toEqual(['4MB']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('LOAD, which nothing undoes, ends the server, also behind DISCARD ALL', () => {
    for (const sql of ['LOAD x', 'LOAD x;SELECT a']) {
      const { bench, alice, bob } = scene();
      bench.expectServers('dirty');
      const pid = alice.pid();
      expect(alice.query(sql)).toContain(warning('LOAD'));
      expect(bob.pid()).not.toBe(pid);
    }
    const { bench, alice, bob } = scene();
    bench.expectServers('dirty');
    const pid = alice.pid();
    alice.exchange(m.query('LOAD x'), m.query('DISCARD ALL'));
    expect(bob.pid()).not.toBe(pid);
  });

  test('DISCARD ALL in the same turn leaves nothing to undo', () => {
    const { bench, alice } = scene();
    expect(asked(bench, () => alice.exchange(m.query('SET work_mem = 1MB'), m.query('DISCARD ALL')))).toEqual([
      'SET work_mem = 1MB',
      'DISCARD ALL',
    ]);
  });

  test('server_reset_query_always comes on top, unless it is DISCARD ALL', () => {
    for (const [always, queries] of [
      ['SELECT always', ['SET work_mem = 1MB', `${RESET_SETTINGS};SELECT always`]],
      ['DISCARD ALL', ['SET work_mem = 1MB', 'DISCARD ALL']],
    ] as const) {
      const { bench, alice } = scene({ server_reset_query_always: true, server_reset_query: always });
      expect(asked(bench, () => alice.query('SET work_mem = 1MB'))).toEqual(queries);
    }
  });
});

describe('what leaves nothing behind', () => {
  test.each([
    'SET LOCAL work_mem = 1MB',
    "SET TimeZone = 'UTC'",
    "SET application_name = 'x'",
    'DECLARE x CURSOR FOR SELECT 1',
    'PREPARE TRANSACTION x',
    'RESET work_mem',
  ])('%s is neither undone nor told', (sql) => {
    for (const messages of [[m.query(sql)], [m.batch(sql), m.sync()]]) {
      const { bench, alice } = scene();
      const queries = asked(bench, () => expect(alice.exchange(...messages)).not.toContain('N('));
      expect(queries.filter((query) => query !== sql)).toEqual([]);
    }
  });

  test.each([
    `DECLARE x CURSOR FOR SELECT ${'a'.repeat(3000)}`,
    "DECLARE x CURSOR FOR SELECT ';'",
    "SET TimeZone = UTC;SET application_name = 'a;b' ; SET LOCAL work_mem = 1MB;SELECT a",
  ])('nor is %s', (sql) => {
    const { bench, alice } = scene();
    expect(asked(bench, () => expect(alice.query(sql)).not.toContain('N('))).toEqual([sql]);
  });

  test.each([
    ['SET TimeZone = UTC;SET work_mem = 1MB', RESET_SETTINGS],
    ['DECLARE x CURSOR FOR SELECT a;DECLARE y CURSOR WITH HOLD FOR SELECT a', 'CLOSE ALL'],
    ["SET TimeZone = E'\\\\';SET TimeZone = UTC", RESET_SETTINGS],
  ])('but what stands behind it is, and what cannot be told: %s', (sql, reset) => {
    const { bench, alice } = scene();
    expect(asked(bench, () => expect(alice.query(sql)).toContain('N('))).toEqual([sql, reset]);
  });

  test('an unnamed Parse that was skipped tells nothing of the old statement', () => {
    const { bench, alice } = scene();
    alice.exchange(m.parse('SET work_mem = 1MB'), m.sync());
    alice.exchange(m.execute('none'), m.parse('SET LOCAL work_mem = 1MB'), m.sync());
    expect(asked(bench, () => alice.exchange(m.bind(), m.execute(), m.sync()))).toEqual([RESET_SETTINGS]);
  });
});

describe('the warning', () => {
  test('comes once in a session, for the first of all', () => {
    const { alice, bob } = scene();
    expect(alice.query('LISTEN x')).toBe(`C(LISTEN) ${warning('LISTEN')} Z(I)`);
    expect(alice.query('LISTEN x; SET work_mem = 1MB')).toBe('C(LISTEN) C(SET) Z(I)');
    expect(bob.query('SET work_mem = 1MB; SELECT a')).toBe(`C(SET) ${warning('SET')} T D(a) C(SELECT 1) Z(I)`);
  });

  test('is a WARNING that names session mode', () => {
    const { bench, alice } = scene();
    alice.send(m.query('LISTEN x'));
    bench.run();
    const notice = alice.take().find(({ type }) => type === 'N')!;
    const text = notice.body.toString();
    expect(text).toMatch(/^SWARNING\0VWARNING\0C01000\0/);
    expect(text).toContain('pool_mode=session');
  });

  test('is not for session mode, where nothing is lost', () => {
    const { alice } = scene({ pool_mode: 'session', pool_size: 2 });
    for (const [sql, tag] of WAYS) expect(alice.query(sql)).toBe(`C(${tag}) Z(I)`);
  });
});

describe('server_dirty_policy=keep', () => {
  test('undoes nothing and says nothing', () => {
    const { bench, alice, bob } = scene({ server_dirty_policy: 'keep' });
    const texts = [...WAYS.map(([sql]) => sql), 'LOAD x'];
    const queries = asked(bench, () => {
      for (const sql of texts) expect(alice.query(sql)).not.toContain('N(');
    });
    expect(queries).toEqual(texts);
    expect(bob.column('SHOW work_mem')).toEqual(['1MB']);
  });
});

describe('server_dirty_policy=error', () => {
  test.each([...WAYS.map(([sql]) => sql), 'LOAD x'])('refuses %s in every way', (sql) => {
    const { bench, alice } = scene({ server_dirty_policy: 'error' });
    const queries = asked(bench, () => {
      expect(alice.query(sql)).toBe('E(0A000) Z(I)');
      expect(alice.exchange(m.batch(sql), m.sync())).toBe('1 E(0A000) Z(I)');
      expect(alice.exchange(m.parse(sql, 's'), m.sync())).toBe('1 Z(I)');
      expect(alice.exchange(m.bind({ statement: 's' }), m.execute(), m.sync())).toBe('E(0A000) Z(I)');
      expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    });
    expect(queries.filter((query) => query === sql)).toEqual([]);
  });

  test.each([
    ['simple', [m.query('LISTEN x')]],
    ['extended', [m.batch('LISTEN x'), m.sync()]],
    ['named', [m.parse('LISTEN x', 's'), m.bind({ statement: 's' }), m.execute(), m.sync()]],
  ])('fails the transaction on the server, too: %s', (_how, messages) => {
    for (const isPipelined of [true, false]) {
      const { alice, bob } = scene({ server_dirty_policy: 'error' });
      const before = [m.query('BEGIN'), m.query('INSERT lost')];
      if (isPipelined) alice.exchange(...before, ...messages, m.query('COMMIT'));
      else for (const message of [...before, Buffer.concat(messages), m.query('COMMIT')]) alice.exchange(message);
      expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
    }
  });

  test('lets through what leaves nothing', () => {
    const { alice } = scene({ server_dirty_policy: 'error' });
    expect(alice.query('SET LOCAL work_mem = 1MB')).toBe('C(SET) Z(I)');
    expect(alice.query("SET application_name = 'x'")).toBe('C(SET) S(application_name=x) Z(I)');
    expect(alice.query('DECLARE x CURSOR FOR SELECT 1')).toBe('C(DECLARE CURSOR) Z(I)');
  });

  test('undoes what no first word tells', () => {
    const { bench, alice } = scene({ server_dirty_policy: 'error' });
    const sql = 'SELECT a;SET work_mem = 1MB';
    expect(asked(bench, () => alice.query(sql))).toEqual([sql, RESET_SETTINGS]);
  });
});
