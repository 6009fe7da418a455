/** Session and statement pooling; transaction pooling is everywhere else. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

describe('session mode', () => {
  test('a client keeps its server until it leaves; then the reset runs and the next one gets it', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1 });
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query("SET application_name = 'alice'")).toBe('C(SET) S(application_name=alice) Z(I)');
    expect(bob.query('SHOW application_name')).toBe('');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    alice.leave();
    expect(bob.takeSummary()).toBe('T D() C(SHOW) Z(I)');
    expect(bench.server().queries).toEqual([
      "SET application_name = 'alice'",
      'SELECT a',
      'DISCARD ALL',
      'SHOW application_name',
    ]);
  });

  test('a client that has not asked anything has no server', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1 });
    const alice = bench.client();
    const bob = bench.client();
    expect(bench.sessionOf(alice).server).toBeNull();
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(alice.query('SELECT a')).toBe('');
    bob.leave();
    expect(alice.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test.each(['eof', 'reset'])('a client that leaves by %s between two queries: reset as well', (how) => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1 });
    bench.expectClients('eof', 'connection_error');
    const alice = bench.client();
    alice.query('SELECT a');
    if (how === 'eof') alice.vanish();
    else alice.crash();
    expect(bench.server().queries.at(-1)).toBe('DISCARD ALL');
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('a reset that fails closes the server, and the waiter gets another', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1, server_reset_query: 'FAIL' });
    bench.expectServers('reset_failed');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('SELECT a');
    bob.query('SELECT b');
    alice.leave();
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('a reset that leaves a transaction open closes the server', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1, server_reset_query: 'BEGIN' });
    bench.expectServers('reset_failed');
    const alice = bench.client();
    alice.query('SELECT a');
    alice.leave();
    expect(bench.pool().servers.idle.size).toBe(0);
  });

  test('a reset that is not answered is given up', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1, query_wait_notify: 0 });
    bench.expectServers('not_answering');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('SELECT a');
    bench.server().takeOver();
    alice.leave();
    bob.query('SELECT b');
    bench.advance(14_000);
    expect(bob.takeSummary()).toBe('');
    bench.advance(2000);
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('without a reset query the server is used as it is, but parameters are set again', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1, server_reset_query: '' });
    const alice = bench.client();
    alice.query("SET application_name = 'alice'");
    alice.leave();
    const bob = bench.client();
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('what the reset reports does not reach the next client', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1 });
    const alice = bench.client();
    const bob = bench.client();
    alice.query("SET TimeZone = 'Asia/Tokyo'");
    expect(bob.query('SHOW TimeZone')).toBe('');
    alice.leave();
    expect(bob.takeSummary()).toBe('T D(Etc/UTC) C(SHOW) Z(I)');
  });

  test('prepared statements live as long as the client', () => {
    const bench = sessionBench({ pool_mode: 'session', pool_size: 1 });
    const alice = bench.client();
    expect(alice.exchange(m.parse('SELECT a', 'mine'), m.sync())).toBe('1 Z(I)');
    expect(alice.exchange(m.bind({ statement: 'mine' }), m.execute(), m.sync())).toBe('2 D(a) C(SELECT 1) Z(I)');
    alice.leave();
    const bob = bench.client();
    expect(bob.exchange(m.bind({ statement: 'mine' }), m.sync())).toBe('E(26000) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a session that is outdated is ended with server_fast_close, else when its client leaves', () => {
    for (const fast of [true, false]) {
      const bench = sessionBench({ pool_mode: 'session', pool_size: 1, server_fast_close: fast });
      bench.expectClients('server_closed');
      bench.expectServers('address_changed');
      const alice = bench.client();
      alice.query('SELECT a');
      [...bench.pool().servers.linked][0]!.closeWhenFree = 'address_changed';
      expect(alice.query('SELECT a')).toContain('T D(a) C(SELECT 1) Z(I)');
      expect(alice.isEnded).toBe(fast);
      if (!fast) alice.leave();
      expect(bench.pool().servers.total).toBe(0);
    }
  });
});

describe('statement mode', () => {
  test('gives the server back after each statement', () => {
    const bench = sessionBench({ pool_mode: 'statement', pool_size: 1 });
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bob.exchange(m.extended('SELECT b'))).toBe('1 2 T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('refuses transaction blocks, and nothing of them stays', () => {
    const bench = sessionBench({ pool_mode: 'statement', pool_size: 1 });
    bench.expectClients('statement_mode');
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query('BEGIN')).toBe('C(BEGIN) Z(T) E(0A000)');
    expect(alice.isEnded).toBe(true);
    expect(bench.server().queries.at(-1)).toBe('ROLLBACK');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a multi-statement query that ends its own block is fine', () => {
    const bench = sessionBench({ pool_mode: 'statement', pool_size: 1 });
    const alice = bench.client();
    expect(alice.query('BEGIN; INSERT x; COMMIT')).toBe('C(BEGIN) C(INSERT 0 1) C(COMMIT) Z(I)');
    expect(bench.postgres.rows).toEqual(['x']);
  });
});

describe('pool_mode per database and user', () => {
  test('a user wins over a database, which wins over the setting', () => {
    const bench = sessionBench(
      { pool_mode: 'session' },
      {
        databases: { app: 'host=10.0.0.1', trx: 'host=10.0.0.1 pool_mode=transaction' },
        users: { batch: { pool_mode: 'session' } },
      },
    );
    const plain = bench.client();
    const trx = bench.client({ database: 'trx' });
    const batch = bench.client({ database: 'trx', user: 'batch' });
    for (const client of [plain, trx, batch]) client.query('SELECT a');
    expect(bench.pool('app', 'app').servers.linked.size).toBe(1);
    expect(bench.pool('trx', 'app').servers.idle.size).toBe(1);
    expect(bench.pool('trx', 'batch').servers.linked.size).toBe(1);
  });

  test('server_reset_query_always resets in transaction mode too', () => {
    const bench = sessionBench({ pool_size: 1, server_reset_query_always: true });
    const alice = bench.client();
    alice.query('SELECT a');
    expect(bench.server().queries).toEqual(['SELECT a', 'DISCARD ALL']);
  });

  test('a connect_query runs once on each new server', () => {
    const bench = sessionBench(
      { pool_size: 1 },
      { databases: { app: { host: '10.0.0.1', connect_query: "SET TimeZone = 'Asia/Tokyo'" } } },
    );
    const alice = bench.client();
    alice.query('SELECT a');
    alice.query('SELECT a');
    expect(bench.server().queries.filter((sql) => sql.includes('Tokyo'))).toHaveLength(1);
  });

  test('a connect_query that leaves a transaction open gives nobody a server inside it', () => {
    const bench = sessionBench({ pool_size: 1 }, { databases: { app: { host: '10.0.0.1', connect_query: 'BEGIN' } } });
    bench.expectServers('transaction_left_open');
    bench.expectClients('server_unavailable');
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    alice.exchange(m.query('SELECT a'));
    expect(bench.pool().servers.linked.size).toBe(0);
    expect([...bench.pool().servers.idle].every(({ status }) => status === 0x49)).toBe(true);
  });

  test('a connect_query that is slow: its server is waited for, and no other one is opened', () => {
    const bench = sessionBench({ pool_size: 5 }, { databases: { app: { host: '10.0.0.1', connect_query: 'SLEEP' } } });
    // The login waits, too: what connect_query sets is what the client is told.
    const alice = bench.connect();
    alice.sendStartup();
    bench.advance(3000);
    expect(alice.takeSummary()).toBe('');
    expect(bench.postgres.sessions).toHaveLength(1);
    bench.server().finish();
    bench.run();
    expect(alice.takeSummary()).toMatch(/^R S.* K Z\(I\)$/);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('a server that ends in its connect_query counts as one that cannot be had', () => {
    const bench = sessionBench(
      { pool_size: 5, server_login_retry: 15 },
      { databases: { app: { host: '10.0.0.1', connect_query: 'SLEEP' } } },
    );
    bench.expectServers('eof');
    bench.expectClients('server_unavailable');
    bench.postgres.onStartup = (session) => {
      session.login();
      bench.environment.postWhenQuiet(() => session.die('exit'));
    };
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    expect(alice.takeSummary()).toBe('E(08006)');
    bench.advance(10_000);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('notices of a connect_query reach nobody', () => {
    const bench = sessionBench(
      { pool_size: 1 },
      { databases: { app: { host: '10.0.0.1', connect_query: 'NOTICE secret' } } },
    );
    const alice = bench.client();
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(alice.parameters.get('server_version')).toBe('18.0');
    expect(s.ready('I')).toHaveLength(6);
  });
});
