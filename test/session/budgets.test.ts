/**
 * Limits over several pools (DESIGN §6; fault C4, C5): max_db_connections, max_user_connections, max_server_connections.
 * Never exceeded at any step, closing connections counted, and nobody who could be served waits.
 */
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

/** A bench on which a sum of backends is looked at after each step. */
function limited(limit: number, settings: BenchSettings, setup: BenchSetup = {}): SessionBench {
  const bench = sessionBench({ query_wait_notify: 0, ...settings }, setup);
  const { onStep } = bench.environment;
  bench.environment.onStep = () => {
    onStep?.();
    if (bench.postgres.backends > limit) throw new Error(`${bench.postgres.backends} backends, ${limit} allowed`);
  };
  return bench;
}

function connect(bench: SessionBench, user: string, database = 'app'): SessionClient {
  const client = bench.connect();
  client.sendStartup({ user, database });
  bench.advance(0);
  return client;
}

const databases = { one: 'host=10.0.0.1', two: 'host=10.0.0.1', three: 'host=10.0.0.1' };

describe.each([
  ['max_server_connections', { max_server_connections: 2 }, ['one', 'two', 'three'], ['app', 'app', 'app']],
  ['max_db_connections', { max_db_connections: 2 }, ['one', 'one', 'one'], ['a', 'b', 'c']],
  ['max_user_connections', { max_user_connections: 2 }, ['one', 'two', 'three'], ['app', 'app', 'app']],
] as const)('%s over several pools', (_name, settings, names, users) => {
  function scene(extra: BenchSettings = {}) {
    const bench = limited(2, { ...settings, ...extra }, { databases });
    bench.expectServers('evicted');
    const clients = names.map((database, i) => bench.client({ database, user: users[i]! }));
    return { bench, clients };
  }

  test('an idle server of another pool makes room', () => {
    const { bench, clients } = scene();
    for (let round = 0; round < 5; round++) {
      for (const client of clients) expect(client.query('SELECT x')).toBe('T D(x) C(SELECT 1) Z(I)');
    }
    expect(bench.postgres.mostBackends).toBe(2);
  });

  test('with all in use, who wants one waits until one is free', () => {
    const { bench, clients } = scene();
    expect(clients[0]!.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    expect(clients[1]!.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    expect(clients[2]!.query('BEGIN')).toBe('');
    bench.advance(2000);
    expect(clients[2]!.takeSummary()).toBe('');
    clients[0]!.query('COMMIT');
    bench.advance(1000);
    expect(clients[2]!.takeSummary()).toBe('C(BEGIN) Z(T)');
    expect(bench.postgres.mostBackends).toBe(2);
  });

  test('two pools that are both busy all the time share: nobody starves', () => {
    const { bench, clients } = scene({ pool_size: 2 });
    const [alice, bob, carol] = clients;
    const answered = [0, 0, 0];
    for (const client of [alice!, bob!, carol!]) client.send(m.query('SELECT x'));
    for (let i = 0; i < 200; i++) {
      bench.advance(50);
      [alice!, bob!, carol!].forEach((client, who) => {
        if (!client.takeSummary().includes('Z(I)')) return;
        answered[who]!++;
        client.send(m.query('SELECT x'));
      });
    }
    bench.run();
    for (const count of answered) expect(count).toBeGreaterThan(10);
  });
});

describe('a claim that is stopped by a limit of its own', () => {
  test('lets others pass who ask later', () => {
    const bench = limited(10, { max_user_connections: 1, max_server_connections: 10, pool_size: 5 }, { databases });
    const alice = bench.client({ user: 'alice', database: 'one' });
    alice.query('BEGIN');
    // Alice's other pool waits for her one connection.
    const alice2 = connect(bench, 'alice', 'two');
    expect(alice2.takeSummary()).toBe('');
    const bob = connect(bench, 'bob', 'one');
    expect(bob.takeSummary()).toContain('Z(I)');
    alice.query('COMMIT');
    bench.expectServers('evicted');
    bench.advance(1000);
    expect(alice2.takeSummary()).toContain('Z(I)');
  });

  test('does not hide from the next one that an idle server could make room for him', () => {
    const bench = limited(
      10,
      { max_user_connections: 1, pool_size: 5 },
      {
        databases: {
          one: 'host=10.0.0.1',
          two: 'host=10.0.0.1',
          small: { host: '10.0.0.1', max_db_connections: 1 },
        },
      },
    );
    bench.expectServers('evicted');
    const alice = bench.client({ user: 'alice', database: 'one' });
    alice.query('BEGIN');
    const alice2 = connect(bench, 'alice', 'two');
    expect(alice2.takeSummary()).toBe('');
    // Bob's idle server fills the small database; Carol needs its place.
    bench.client({ user: 'bob', database: 'small' }).query('SELECT b');
    const carol = connect(bench, 'carol', 'small');
    bench.advance(1000);
    expect(carol.takeSummary()).toContain('Z(I)');
    alice.query('COMMIT');
  });
});

describe('a claim that nobody needs any more', () => {
  test('costs nobody a server', () => {
    const bench = limited(2, { max_server_connections: 2, pool_size: 2 }, { databases });
    bench.expectClients('eof');
    bench.expectServers('evicted');
    const first = bench.client({ database: 'one' });
    const second = bench.client({ database: 'two' });
    first.query('BEGIN');
    second.query('BEGIN');
    const third = bench.client({ database: 'one', user: 'app' });
    expect(third.query('SELECT x')).toBe('');
    third.vanish();
    second.query('COMMIT');
    bench.advance(2000);
    expect(bench.pool('two').closedServers.get('evicted')).toBeUndefined();
    expect(second.query('SELECT x')).toBe('T D(x) C(SELECT 1) Z(I)');
    first.query('COMMIT');
  });
});

/** Clients who all made a claim and were all served by the one server of their pool. */
function servedByTheirOwn(waiters: number) {
  const bench = limited(
    2,
    { max_server_connections: 2, pool_size: 0, max_client_conn: waiters + 10 },
    { databases, manual: true },
  );
  const first = bench.client({ database: 'one' });
  const second = bench.client({ database: 'two' });
  first.query('BEGIN');
  second.query('BEGIN');
  const others = Array.from({ length: waiters }, () => bench.client({ database: 'one' }));
  for (const other of others) other.send(m.query('SELECT x'));
  bench.run();
  first.query('COMMIT');
  for (const other of others) expect(other.takeSummary()).toBe('T D(x) C(SELECT 1) Z(I)');
  return { bench, first, second };
}

describe('a claim whose waiter got a server of its own pool', () => {
  test('is withdrawn: it takes no server from another pool', () => {
    const { bench, second } = servedByTheirOwn(3);
    second.query('COMMIT');
    bench.advance(2000);
    expect(second.query('SELECT x')).toBe('T D(x) C(SELECT 1) Z(I)');
    expect(bench.pool('two').closedServers.size).toBe(0);
    bench.finish();
  });

  test('also if there are thousands', () => {
    const { bench, second } = servedByTheirOwn(3000);
    second.query('COMMIT');
    bench.server(1).die('exit');
    bench.run();
    expect(bench.budget.inUse(bench.pool('one').scopes[2]!.key)).toBe(1);
    expect(bench.pool('one').closedServers.size).toBe(0);
    bench.expectServers('eof');
    bench.finish();
  });

  test('also that of a login that has left', () => {
    const bench = limited(1, { max_server_connections: 1 }, { databases });
    const alice = bench.client({ database: 'one' });
    alice.query('BEGIN');
    connect(bench, 'app', 'two').vanish();
    alice.query('COMMIT');
    bench.advance(1000);
    expect(alice.query('SELECT x')).toBe('T D(x) C(SELECT 1) Z(I)');
    expect(bench.pool('one').closedServers.size).toBe(0);
  });
});

describe('one PostgreSQL', () => {
  test('is the same hosts and port, or the same budget name; others have their own limit', () => {
    const bench = sessionBench(
      { max_server_connections: 1, query_wait_notify: 0 },
      {
        databases: {
          one: 'host=10.0.0.1',
          other: 'host=10.0.0.2',
          named: { host: '10.0.0.3', budget: 'shared' },
          named2: { host: '10.0.0.4', budget: 'shared' },
        },
      },
    );
    bench.postgresAt('10.0.0.2');
    const third = bench.postgresAt('10.0.0.3');
    const fourth = bench.postgresAt('10.0.0.4');
    bench.expectServers('evicted');
    for (const database of ['one', 'other', 'named']) {
      expect(bench.client({ database }).query('BEGIN')).toBe('C(BEGIN) Z(T)');
    }
    const waiting = connect(bench, 'app', 'named2');
    bench.advance(1000);
    expect(waiting.takeSummary()).toBe('');
    expect([third.backends, fourth.backends]).toEqual([1, 0]);
  });

  test('a server that closes and is not gone counts', () => {
    const bench = limited(1, { max_server_connections: 1, query_timeout: 1 }, { databases });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout', 'evicted');
    const alice = bench.client({ database: 'one' });
    alice.query('SELECT a');
    const postgres = bench.server();
    postgres.ignoresEnd = true;
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    const bob = connect(bench, 'app', 'two');
    bench.advance(3500);
    expect(bob.takeSummary()).toBe('');
    postgres.die('exit');
    bench.advance(0);
    expect(bob.takeSummary()).toContain('Z(I)');
  });

  test('leases of servers that fail to log in come back', () => {
    const bench = limited(1, { max_server_connections: 1, server_login_retry: 1 }, { databases });
    bench.expectServers('login_failed', 'connect_failed', 'evicted');
    bench.postgres.onStartup = (session) => session.refuseLogin('28P01');
    for (let i = 0; i < 5; i++) {
      connect(bench, 'app', 'one');
      connect(bench, 'app', 'two');
      bench.advance(1500);
    }
    bench.postgres.onStartup = null;
    bench.advance(1500);
    expect(connect(bench, 'app', 'one').takeSummary()).toContain('Z(I)');
    expect(connect(bench, 'app', 'two').takeSummary()).toContain('Z(I)');
  });
});

describe('chance', () => {
  test.each(Array.from({ length: 20 }, (_, seed) => seed))('seed %i: nothing exceeds, nobody is forgotten', (seed) => {
    const bench = limited(
      4,
      {
        max_server_connections: 4,
        max_user_connections: 3,
        max_db_connections: 2,
        pool_size: 2,
        server_login_concurrency: 2,
      },
      { databases, seed, shuffled: true },
    );
    bench.expectServers('evicted', 'idle_timeout');
    bench.expectClients('eof');
    const { random } = bench.environment;
    const clients = ['one', 'two', 'three'].flatMap((database) =>
      ['alice', 'bob'].flatMap((user) => [connect(bench, user, database), connect(bench, user, database)]),
    );
    bench.advance(60_000);
    for (const client of clients) expect(client.takeSummary()).toContain('Z(I)');
    const waiting = new Set<SessionClient>();
    for (let i = 0; i < 150; i++) {
      const client = random.pick(clients);
      if (!waiting.has(client)) {
        client.send(m.query(random.pick(['SELECT x', 'BEGIN; COMMIT', 'ROWS 10 y'])));
        waiting.add(client);
      }
      if (random.below(3) === 0) bench.advance(random.below(700));
      for (const asked of waiting) if (asked.takeSummary().includes('Z(I)')) waiting.delete(asked);
    }
    bench.advance(20_000);
    for (const asked of waiting) if (asked.takeSummary().includes('Z(I)')) waiting.delete(asked);
    expect(waiting.size).toBe(0);
    expect(bench.postgres.mostBackends).toBeLessThanOrEqual(4);
  });
});
