/** Everything that ends because of the clock (checklist 25, 43, 84): when, what the client hears, what becomes of the server. */
import { describe, expect, test } from 'vitest';
import { type BenchSettings, type BenchSetup, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s } from '../support/wire.ts';

/** The janitor's rounds are this far apart at most. */
const ROUND = 400;

function scene(settings: BenchSettings = {}, setup: BenchSetup = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings }, setup);
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

describe('query_wait_timeout', () => {
  test('ends who waits for a server too long, and says why', () => {
    const { bench, alice, bob } = scene({ query_wait_timeout: 10 });
    bench.expectClients('query_wait_timeout');
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.advance(9900);
    expect(bob.isEnded).toBe(false);
    bench.advance(ROUND);
    const [error] = bob.take();
    const fields = errorFields(error!);
    expect([fields.get('V'), fields.get('C'), fields.get('M')]).toEqual(['FATAL', '53300', 'query_wait_timeout']);
    expect(fields.get('D')).toContain('app/app');
    expect(bob.isEnded).toBe(true);
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
  });

  test('counts from each start of waiting', () => {
    const { bench, alice, bob } = scene({ query_wait_timeout: 10 });
    for (let i = 0; i < 5; i++) {
      alice.query('BEGIN');
      bob.query('SELECT b');
      bench.advance(8000);
      alice.query('COMMIT');
      expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    }
  });

  test('0 waits for ever', () => {
    const { bench, alice, bob } = scene({ query_wait_timeout: 0 });
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.advance(3_000_000);
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('of a user wins over the setting', () => {
    const { bench, alice, bob } = scene({ query_wait_timeout: 100 }, { users: { app: { query_wait_timeout: 5 } } });
    bench.expectClients('query_wait_timeout');
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.advance(5000 + ROUND);
    expect(bob.takeSummary()).toBe('E(53300)');
  });
});

describe('query_wait_notify', () => {
  test('tells a waiter once that it waits', () => {
    const { bench, alice, bob } = scene({ query_wait_notify: 5 });
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.advance(4900);
    expect(bob.takeSummary()).toBe('');
    bench.advance(30_000);
    expect(bob.takeSummary()).toMatch(/^N\([^)]*\)$/);
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });
});

describe('query_timeout', () => {
  test('counts for each query of a pipeline by itself', () => {
    const { bench, alice, postgres } = scene({ query_timeout: 5 });
    alice.send(...Array.from({ length: 5 }, () => m.query('SLEEP')));
    bench.run();
    for (let i = 0; i < 5; i++) {
      bench.advance(3000);
      postgres.finish();
      bench.run();
      expect(alice.takeSummary()).toMatch(/Z\(I\)$/);
    }
    const { queryMs, queries } = bench.pool().traffic;
    expect([queries, queryMs]).toEqual([6, 15_000]);
  });
  test('ends client and server when a statement runs too long; the query is cancelled', () => {
    const { bench, alice, bob, postgres } = scene({ query_timeout: 5 });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    alice.query('SLEEP');
    bench.advance(4900);
    expect(alice.isEnded).toBe(false);
    bench.advance(ROUND);
    expect(alice.takeSummary()).toBe('E(57014)');
    expect(alice.isEnded).toBe(true);
    expect(bench.postgres.cancels.map(({ pid }) => pid)).toEqual([postgres.pid]);
    expect(postgres.isGone).toBe(true);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('does not count while nothing runs: idle in a transaction, or between two statements', () => {
    const { bench, alice } = scene({ query_timeout: 5 });
    alice.query('BEGIN');
    bench.advance(60_000);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(T)');
    bench.advance(60_000);
    alice.query('COMMIT');
  });

  test('counts each statement for itself', () => {
    const { bench, alice, postgres } = scene({ query_timeout: 5 });
    for (let i = 0; i < 4; i++) {
      alice.query('SLEEP');
      bench.advance(4000);
      postgres.finish();
      bench.run();
      expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    }
  });

  test('in the middle of a row cuts the client without a word', () => {
    const { bench, alice, postgres } = scene({ query_timeout: 5 });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    postgres.takeOver();
    alice.query('SELECT a');
    postgres.send(s.row('x'.repeat(100)).subarray(0, 50));
    bench.advance(5000 + ROUND);
    expect(alice.isEnded).toBe(true);
    expect(
      Buffer.concat(alice.chunks)
        .subarray(-50)
        .equals(s.row('x'.repeat(100)).subarray(0, 50)),
    ).toBe(true);
  });
});

describe('idle_transaction_timeout', () => {
  test('ends client and server; nothing is committed', () => {
    const { bench, alice, bob } = scene({ idle_transaction_timeout: 5 });
    bench.expectClients('idle_transaction_timeout');
    bench.expectServers('idle_transaction_timeout');
    alice.query('BEGIN');
    alice.query('INSERT lost');
    bench.advance(5000 + ROUND);
    expect(alice.takeSummary()).toBe('E(25P03)');
    expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('also in a batch without a Sync', () => {
    const { bench, alice, bob } = scene({ idle_transaction_timeout: 5 });
    bench.expectClients('idle_transaction_timeout');
    bench.expectServers('idle_transaction_timeout');
    alice.exchange(m.batch('INSERT lost'), m.flush());
    bench.advance(5000 + ROUND);
    expect(alice.takeSummary()).toBe('E(25P03)');
    expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
  });

  test('does not count while a statement runs, and begins again after it', () => {
    const { bench, alice, postgres } = scene({ idle_transaction_timeout: 5 });
    alice.query('BEGIN');
    alice.query('SLEEP');
    bench.advance(60_000);
    postgres.finish();
    bench.advance(4000);
    expect(alice.query('COMMIT')).toBe('C(SELECT 1) Z(T) C(COMMIT) Z(I)');
  });

  test('does not touch who is idle without a transaction, also with a server (session mode)', () => {
    const { bench, alice, bob } = scene({ idle_transaction_timeout: 5, pool_mode: 'session', pool_size: 2 });
    bob.query('SELECT b');
    bench.advance(600_000);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });
});

describe('transaction_timeout', () => {
  test('counts from the start of the transaction, whatever happens in it', () => {
    const { bench, alice, bob } = scene({ transaction_timeout: 5 });
    bench.expectClients('transaction_timeout');
    bench.expectServers('transaction_timeout');
    alice.query('BEGIN');
    alice.query('INSERT lost');
    for (let i = 0; i < 4; i++) {
      bench.advance(1200);
      alice.query('SELECT a');
    }
    alice.take();
    bench.advance(ROUND);
    expect(alice.takeSummary()).toBe('E(25P04)');
    expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
  });

  test('also counts for a single statement: it is a transaction, too', () => {
    const { bench, alice } = scene({ transaction_timeout: 5 });
    bench.expectClients('transaction_timeout');
    bench.expectServers('transaction_timeout');
    alice.query('SLEEP');
    bench.advance(5000 + ROUND);
    expect(alice.takeSummary()).toBe('E(25P04)');
  });

  test('does not touch a session that is idle outside of one', () => {
    const { bench, alice } = scene({ transaction_timeout: 5, pool_mode: 'session' });
    bench.advance(60_000);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('begins again with the next transaction', () => {
    const { bench, alice } = scene({ transaction_timeout: 5, pool_mode: 'session' });
    for (let i = 0; i < 4; i++) {
      alice.query('BEGIN');
      bench.advance(4000);
      expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    }
  });

  test('begins again within a pipeline of transactions', () => {
    const { bench, alice, postgres } = scene({ transaction_timeout: 5 });
    alice.send(...Array.from({ length: 4 }, () => m.query('BEGIN; SLEEP; COMMIT')));
    bench.run();
    for (let i = 0; i < 4; i++) {
      bench.advance(4000);
      expect(alice.isEnded).toBe(false);
      postgres.finish();
      bench.run();
    }
    expect(alice.takeSummary().match(/Z\(I\)/g)).toHaveLength(4);
  });
});

describe('client_idle_timeout', () => {
  test('ends who is idle without a transaction', () => {
    const { bench, alice, bob } = scene({ client_idle_timeout: 10 });
    bench.expectClients('idle_timeout');
    bench.advance(6000);
    bob.query('SELECT b');
    bench.advance(4000 + ROUND);
    expect(alice.takeSummary()).toBe('E(57P05)');
    expect(bob.isEnded).toBe(false);
    bench.advance(6000);
    expect(bob.takeSummary()).toBe('E(57P05)');
  });

  test('does not touch who is in a transaction, or waits', () => {
    const { bench, alice, bob } = scene({ client_idle_timeout: 10, query_wait_timeout: 0 });
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.advance(60_000);
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });
});

describe('client_login_timeout', () => {
  test('ends who does not say who it is, however slowly it speaks', () => {
    const bench = sessionBench({ client_login_timeout: 10 });
    const silent = bench.connect();
    const slow = bench.connect();
    const startup = m.startup({ user: 'app', database: 'app' });
    for (let i = 0; i < 10; i++) {
      slow.exchange(startup.subarray(i, i + 1));
      bench.advance(950);
    }
    expect([silent.isEnded, slow.isEnded]).toEqual([false, false]);
    bench.advance(500 + ROUND);
    expect(silent.takeSummary()).toBe('E(57014)');
    expect(slow.takeSummary()).toBe('E(57014)');
    expect(bench.postgres.sessions).toEqual([]);
  });

  test('ends who does not answer the question for its password', () => {
    const bench = sessionBench({ client_login_timeout: 10, auth_type: 'plain' });
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    expect(alice.takeSummary()).toBe('R');
    bench.advance(10_000 + ROUND);
    expect(alice.takeSummary()).toBe('E(57014)');
  });

  test('ends who waits for the first server (server down)', () => {
    const bench = sessionBench({ client_login_timeout: 10, server_connect_timeout: 100 });
    bench.expectServers('connect_timeout');
    bench.postgres.accepting = 'hang';
    const alice = bench.connect();
    alice.sendStartup();
    bench.advance(10_000 + ROUND);
    const [error] = alice.take();
    expect(errorFields(error!).get('M')).toBe('client_login_timeout (server down)');
    expect(bench.pool().learned.waiting.size).toBe(0);
  });

  test('0 is no limit', () => {
    const bench = sessionBench({ client_login_timeout: 0 });
    const alice = bench.connect();
    bench.advance(600_000);
    alice.logIn();
  });
});

describe('a process that was stopped (SIGSTOP, a suspended machine)', () => {
  test('does not judge by the clock before it has read what came meanwhile', () => {
    const { bench, alice, bob, postgres } = scene({
      query_timeout: 5,
      idle_transaction_timeout: 5,
      query_wait_timeout: 5,
      pool_size: 1,
    });
    alice.query('SLEEP');
    bob.query('SELECT b');
    postgres.finish();
    bench.environment.sleepThrough(600_000);
    bench.advance(ROUND);
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    bench.advance(2000);
  });
});

describe('server_close_timeout', () => {
  test('cuts who does not end; it counts as unconfirmed', () => {
    const { bench, alice, postgres } = scene({ query_timeout: 1, server_close_timeout: 3 });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    postgres.takeOver().ignoresEnd = true;
    alice.query('SELECT slow');
    bench.advance(1000 + ROUND);
    expect(bench.pool().servers.in('closing').size).toBe(1);
    expect(bench.postgres.openTransports).toHaveLength(1);
    bench.advance(3000 + ROUND);
    expect(bench.postgres.openTransports).toHaveLength(0);
    expect(bench.pool().closedUnconfirmed).toBe(1);
  });

  test('does not count who ends by itself as unconfirmed', () => {
    const { bench, alice } = scene({ query_timeout: 1 });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    alice.query('SLEEP');
    bench.advance(10_000);
    expect(bench.pool().closedUnconfirmed).toBe(0);
    expect(bench.pool().servers.total).toBe(0);
  });
});

describe('pools that nobody uses', () => {
  test('are forgotten after pool_idle_timeout', () => {
    const bench = sessionBench({ pool_idle_timeout: 20, server_idle_timeout: 5 });
    bench.expectServers('idle_timeout');
    bench.client().leave();
    expect(bench.router.poolCount).toBe(1);
    bench.advance(30_000);
    expect(bench.router.poolCount).toBe(0);
    expect(bench.client().query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('of the fallback database after autodb_idle_timeout, others stay', () => {
    const bench = sessionBench(
      { autodb_idle_timeout: 20, server_idle_timeout: 5 },
      { databases: { app: 'host=10.0.0.1', '*': 'host=10.0.0.1' } },
    );
    bench.expectServers('idle_timeout');
    bench.client({ database: 'other' }).leave();
    bench.client().leave();
    expect(bench.server(0).startup.get('database')).toBe('other');
    bench.advance(40_000);
    expect([...bench.router.pools].map(({ databaseName }) => databaseName)).toEqual(['app']);
  });
});
