/** How many servers a pool has, who gets the next one, and which (C1–C3, C8; checklist 78, 82). */
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

function scene(clients: number, settings: BenchSettings = {}, setup: BenchSetup = {}) {
  const bench = sessionBench({ query_wait_notify: 0, ...settings }, setup);
  return { bench, clients: Array.from({ length: clients }, () => bench.client()) };
}

function beginAll(clients: readonly SessionClient[]): boolean[] {
  return clients.map((client) => client.query('BEGIN') !== '');
}

/** Samples at every step how many backends there are. */
function watch(bench: SessionBench, limit: number): void {
  const { onStep } = bench.environment;
  bench.environment.onStep = () => {
    onStep?.();
    if (bench.postgres.backends > limit) throw new Error(`${bench.postgres.backends} backends, ${limit} allowed`);
  };
}

describe('pool_size', () => {
  test('is never exceeded, and clients beyond it wait', () => {
    const { bench, clients } = scene(5, { pool_size: 3 });
    watch(bench, 3);
    expect(beginAll(clients)).toEqual([true, true, true, false, false]);
    expect(bench.postgres.backends).toBe(3);
    expect(bench.pool().waiting.size).toBe(2);
    for (const client of clients) {
      client.query('COMMIT');
      client.take();
    }
    expect(bench.pool().waiting.size).toBe(0);
  });

  test('0 is no limit', () => {
    const { bench, clients } = scene(30, { pool_size: 0, server_login_concurrency: 100 });
    expect(beginAll(clients).every(Boolean)).toBe(true);
    expect(bench.postgres.backends).toBe(30);
  });

  test('holds with many logins at the gate: all of them arrive', () => {
    const { bench, clients } = scene(20, { pool_size: 20, server_login_concurrency: 2 });
    watch(bench, 20);
    bench.postgres.onStartup = (session) => bench.environment.postWhenQuiet(() => session.login());
    for (const client of clients) client.send(m.query('BEGIN'));
    let logins = 0;
    const { onStep } = bench.environment;
    bench.environment.onStep = () => {
      onStep?.();
      const connecting = bench.pool().servers.in('connecting').size;
      logins = Math.max(logins, connecting);
    };
    bench.run();
    expect(logins).toBe(2);
    expect(clients.map((client) => client.takeSummary())).toEqual(clients.map(() => 'C(BEGIN) Z(T)'));
    expect(bench.postgres.backends).toBe(20);
  });

  test('counts servers that close until they have gone', () => {
    const { bench, clients } = scene(2, { pool_size: 1, query_timeout: 1 });
    const [alice, bob] = clients;
    watch(bench, 1);
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    alice!.query('SELECT a');
    const postgres = bench.server();
    postgres.ignoresEnd = true;
    alice!.query('SLEEP');
    bench.postgres.cancelling = 'held';
    bob!.query('SELECT b');
    bench.advance(4000);
    expect(bob!.takeSummary()).toBe('');
    postgres.die('exit');
    bench.run();
    expect(bob!.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('counts a closed server that PostgreSQL has not confirmed for its extra second', () => {
    const { bench, clients } = scene(2, {
      pool_size: 1,
      query_timeout: 1,
      server_close_timeout: 3,
      cancel_wait_timeout: 3,
    });
    const [alice, bob] = clients;
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    alice!.query('SELECT a');
    bench.server().ignoresEnd = true;
    alice!.query('SLEEP');
    bench.postgres.cancelling = 'held';
    bob!.query('SELECT b');
    bench.advance(4500);
    expect(bench.pool().closedUnconfirmed).toBe(1);
    // The cancel has not closed: the backend is still there for all that is known.
    expect(bench.postgres.sessions).toHaveLength(1);
    bench.advance(5000);
    expect(bob!.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });
});

describe('waiters', () => {
  test('are served in the order of their coming', () => {
    const { bench, clients } = scene(20, { pool_size: 1 });
    const order: number[] = [];
    clients[0]!.query('BEGIN');
    for (const client of clients.slice(1)) client.query('SELECT x');
    clients.forEach((client, i) => {
      const { onData } = client.stream;
      client.stream.onData = (chunk) => {
        order.push(i);
        onData(chunk);
      };
    });
    clients[0]!.query('COMMIT');
    expect(order).toEqual(clients.map((_, i) => i));
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a newcomer does not overtake', () => {
    const { clients } = scene(3, { pool_size: 1 });
    const [alice, bob, carol] = clients;
    alice!.query('BEGIN');
    bob!.query('BEGIN');
    // Alice ends and begins again in one packet: Bob is next.
    alice!.exchange(m.query('COMMIT'));
    expect(bob!.takeSummary()).toBe('C(BEGIN) Z(T)');
    expect(alice!.query('SELECT a')).toBe('');
    expect(carol!.query('SELECT c')).toBe('');
    bob!.query('COMMIT');
    expect(alice!.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('who leaves in the moment in which a server becomes free: the next one gets it', () => {
    const { bench, clients } = scene(3, { pool_size: 1 });
    const [alice, bob, carol] = clients;
    bench.expectClients('eof', 'connection_error');
    alice!.query('BEGIN');
    bob!.query('SELECT b');
    carol!.query('SELECT c');
    bob!.stream.reset();
    alice!.exchange(m.query('COMMIT'));
    expect(carol!.takeSummary()).toBe('T D(c) C(SELECT 1) Z(I)');
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('a connection whose only waiter has left becomes idle, and is used', () => {
    const { bench, clients } = scene(2, { pool_size: 2 });
    const [alice, bob] = clients;
    bench.expectClients('eof');
    alice!.query('BEGIN');
    bench.postgres.onStartup = () => {};
    bob!.query('SELECT b');
    bob!.vanish();
    bench.server(1).login();
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(bench.client().pid()).toBe(bench.server(1).pid);
  });

  test('1000 of them on one server all get their own answer', () => {
    const bench = sessionBench({ pool_size: 1, max_client_conn: 1001, query_wait_notify: 0 });
    const clients = Array.from({ length: 1000 }, () => bench.client());
    clients.forEach((client, i) => client.send(m.query(`SELECT ${i}`)));
    bench.run();
    clients.forEach((client, i) => expect(client.takeSummary()).toBe(`T D(${i}) C(SELECT 1) Z(I)`));
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('which server', () => {
  test('the one that was used last (LIFO), so that the others can time out', () => {
    const { bench, clients } = scene(3, { pool_size: 3 });
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    const last = bench.server(2).pid;
    expect([clients[0]!.pid(), clients[1]!.pid(), clients[0]!.pid()]).toEqual([last, last, last]);
  });

  test('each in turn with server_round_robin', () => {
    const { bench, clients } = scene(3, { pool_size: 3, server_round_robin: true });
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    const pids = Array.from({ length: 6 }, () => clients[0]!.pid());
    expect(new Set(pids.slice(0, 3)).size).toBe(3);
    expect(pids.slice(3)).toEqual(pids.slice(0, 3));
    expect(bench.postgres.sessions).toHaveLength(3);
  });

  test('with server_check_delay past, one that has passed the check', () => {
    const { bench, clients } = scene(1, { pool_size: 1, server_check_delay: 30, server_check_query: 'SELECT check' });
    const [alice] = clients;
    alice!.query('SELECT a');
    bench.advance(29_000);
    alice!.query('SELECT a');
    expect(bench.server().queries).toEqual(['SELECT a', 'SELECT a']);
    bench.advance(31_000);
    expect(alice!.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server().queries.slice(-2)).toEqual(['SELECT check', 'SELECT b']);
  });

  test('one that fails the check is closed, and the client gets another', () => {
    const { bench, clients } = scene(1, { pool_size: 1, server_check_delay: 0.1, server_check_query: 'FAIL' });
    bench.expectServers('check_failed');
    bench.advance(300);
    bench.postgres.onStartup = (session) => {
      session.login();
      // The new one is fresh, and not checked in the same moment.
    };
    clients[0]!.send(m.query('SELECT b'));
    bench.run();
    expect(bench.pool().closedServers.get('check_failed')).toBeGreaterThan(0);
  });

  test('one that does not answer the check is closed in time, and the client gets another', () => {
    const { bench, clients } = scene(1, { pool_size: 1, server_check_delay: 10 });
    bench.expectServers('not_answering');
    clients[0]!.query('SELECT a');
    bench.advance(11_000);
    bench.server().takeOver();
    expect(clients[0]!.query('SELECT b')).toBe('');
    bench.advance(16_000);
    expect(clients[0]!.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('two waiters and two servers that need a check: both are checked, no third one is opened', () => {
    const { bench, clients } = scene(2, { pool_size: 3, server_check_delay: 10 });
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    bench.advance(11_000);
    for (const client of clients) client.send(m.query('BEGIN'));
    bench.run();
    for (const client of clients) expect(client.takeSummary()).toBe('C(BEGIN) Z(T)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });
});

describe('while one server is checked', () => {
  test('whoever comes gets one that needs no check, also if that is at once', () => {
    const { bench, clients } = scene(3, { pool_size: 3, server_round_robin: true, server_check_delay: 30 });
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    bench.advance(25_000);
    clients[0]!.query('SELECT a');
    clients[0]!.query('SELECT a');
    bench.advance(10_000);
    // The third has been idle for long; the other two have not.
    bench.server(2).holdReplies();
    expect([clients[0]!.query('SELECT a'), clients[1]!.query('SELECT b')]).toContain('T D(b) C(SELECT 1) Z(I)');
    bench.server(2).releaseReplies();
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(3);
    expect(clients[0]!.query('SELECT a')).toContain('T D(a) C(SELECT 1) Z(I)');
  });
});

/** Three idle servers that will be due for a check. */
function checkedScene(settings: BenchSettings) {
  const { bench, clients } = scene(3, { server_check_delay: 10, ...settings });
  bench.expectServers('not_answering');
  beginAll(clients);
  for (const client of clients) client.query('COMMIT');
  return { bench, client: clients[0]! };
}

describe('servers that do not answer the check', () => {
  test('leave their waiter to a new one after a second', () => {
    const { bench, client } = checkedScene({ pool_size: 4 });
    bench.advance(11_000);
    for (const session of bench.postgres.sessions) session.takeOver();
    expect(client.query('SELECT a')).toBe('');
    bench.advance(1500);
    expect(client.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
    bench.advance(20_000);
    expect(bench.postgres.sessions.length).toBeLessThanOrEqual(5);
  });

  test('leave their waiter to the next idle one after a second', () => {
    const { bench, client } = checkedScene({ pool_size: 3 });
    bench.advance(11_000);
    bench.server(2).takeOver();
    bench.server(1).takeOver();
    expect(client.query('SELECT a')).toBe('');
    bench.advance(2500);
    expect(client.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(3);
  });

  test('are no reason to wait while one needs no check, with server_round_robin', () => {
    const { bench, client } = checkedScene({ pool_size: 3, server_round_robin: true });
    bench.advance(8000);
    client.query('SELECT a');
    bench.advance(3000);
    bench.server(1).takeOver();
    expect(client.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });
});

describe('a server that dies while it is checked', () => {
  test('leaves its waiter to the next idle one', () => {
    const { bench, clients } = scene(2, { pool_size: 2, server_check_delay: 10 });
    bench.expectServers('eof', 'connect_failed');
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    bench.advance(11_000);
    // No new one can be opened; the other idle one is fine.
    bench.postgres.accepting = 'refuse';
    bench.server(1).takeOver();
    expect(clients[0]!.query('SELECT a')).toBe('');
    bench.server(1).die('exit');
    bench.run();
    expect(clients[0]!.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(clients[0]!.pid()).toBe(bench.server(0).pid);
  });
});

describe('min_pool_size', () => {
  test('is filled when a client has come, and kept when servers time out', () => {
    const { bench } = scene(1, { pool_size: 5, min_pool_size: 3, server_idle_timeout: 10 });
    bench.advance(400);
    expect(bench.pool().servers.idle.size).toBe(3);
    bench.advance(60_000);
    expect(bench.pool().servers.idle.size).toBe(3);
    expect(bench.postgres.sessions).toHaveLength(3);
  });

  test('with a forced user is filled before anybody comes', () => {
    const bench = sessionBench({ pool_size: 5, min_pool_size: 2 }, { databases: { app: 'host=10.0.0.1 user=app' } });
    bench.advance(400);
    expect(bench.postgres.backends).toBe(2);
  });

  test('of two pools does not fit into a limit: what is free is taken, nobody is evicted', () => {
    const bench = sessionBench(
      { min_pool_size: 8, max_server_connections: 10 },
      { databases: { one: 'host=10.0.0.1 user=one', two: 'host=10.0.0.1 user=two' } },
    );
    bench.advance(30_000);
    expect(bench.postgres.sessions).toHaveLength(10);
    // Who waits is another matter.
    bench.expectServers('evicted');
    const clients = Array.from({ length: 5 }, () => bench.client({ database: 'two' }));
    expect(beginAll(clients)).toEqual([true, true, true, true, true]);
    bench.advance(30_000);
    expect(bench.postgres.sessions).toHaveLength(13);
  });

  test('without a client is let go', () => {
    const { bench, clients } = scene(1, { pool_size: 5, min_pool_size: 2, server_idle_timeout: 10 });
    bench.expectServers('idle_timeout');
    bench.advance(400);
    clients[0]!.leave();
    bench.advance(3_000_000);
    expect(bench.postgres.sessions.length).toBeLessThanOrEqual(2);
  });

  test('a server that has come to its age is replaced', () => {
    const { bench } = scene(1, { pool_size: 2, min_pool_size: 2, server_lifetime: 100 });
    bench.expectServers('lifetime');
    bench.advance(1000);
    const before = bench.postgres.sessions.length;
    bench.advance(300_000);
    expect(bench.postgres.sessions.length).toBeGreaterThan(before);
    expect(bench.pool().servers.idle.size).toBe(2);
    expect(bench.postgres.mostBackends).toBe(2);
  });
});

describe('the reserve', () => {
  test('opens for a pool whose client waits longer than reserve_pool_timeout', () => {
    const { bench, clients } = scene(4, { pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 3 });
    watch(bench, 2);
    beginAll(clients);
    bench.advance(2900);
    expect(bench.postgres.backends).toBe(1);
    bench.advance(500);
    expect(bench.postgres.backends).toBe(2);
    expect(clients[1]!.takeSummary()).toBe('C(BEGIN) Z(T)');
    bench.advance(10_000);
    expect(bench.pool().waiting.size).toBe(2);
  });

  test('is off with reserve_pool_timeout 0', () => {
    const { bench, clients } = scene(2, { pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 0 });
    beginAll(clients);
    bench.advance(60_000);
    expect(bench.postgres.backends).toBe(1);
  });
});

describe('age', () => {
  test('server_lifetime closes an idle server, and one in use when it is given back', () => {
    const { bench, clients } = scene(2, { pool_size: 2, server_lifetime: 10 });
    bench.expectServers('lifetime');
    const [alice, bob] = clients;
    alice!.query('BEGIN');
    bob!.query('SELECT b');
    bench.advance(11_000);
    expect(bench.pool().servers.idle.size).toBe(0);
    expect(bench.pool().servers.linked.size).toBe(1);
    bench.advance(10_000);
    alice!.query('COMMIT');
    expect(bench.pool().servers.total).toBe(0);
  });

  test('a cohort is spread: not all are closed at once', () => {
    const { bench, clients } = scene(10, { pool_size: 10, server_lifetime: 100, min_pool_size: 10 });
    bench.expectServers('lifetime');
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    let most = 0;
    let before = 0;
    for (let second = 0; second < 300; second++) {
      bench.advance(1000);
      const closed = bench.pool().closedServers.get('lifetime') ?? 0;
      most = Math.max(most, closed - before);
      before = closed;
    }
    expect(before).toBeGreaterThan(8);
    expect(most).toBe(1);
  });

  test('server_lifetime 0 uses each connection once', () => {
    const { bench, clients } = scene(1, { pool_size: 1, server_lifetime: 0 });
    bench.expectServers('lifetime');
    for (let i = 0; i < 3; i++) clients[0]!.query('SELECT a');
    expect(bench.postgres.sessions.length).toBeGreaterThanOrEqual(3);
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('server_idle_timeout closes those that nobody needs, the longest idle first', () => {
    const { bench, clients } = scene(3, { pool_size: 3, server_idle_timeout: 10 });
    bench.expectServers('idle_timeout');
    beginAll(clients);
    for (const client of clients) client.query('COMMIT');
    for (let i = 0; i < 12; i++) {
      bench.advance(1000);
      clients[0]!.query('SELECT a');
    }
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(bench.postgres.live.map(({ pid }) => pid)).toEqual([bench.server(2).pid]);
  });
});
