/**
 * Reload (fault F8): what a new configuration does to clients, servers and those who wait, at the moment of its coming.
 * Nobody is disconnected who need not be, and what is too much or outdated goes as soon as nobody needs it.
 */
import { describe, expect, test } from 'vitest';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m } from '../support/wire.ts';

const APP = { host: '10.0.0.1', port: 5432 };
const ANSWER = 'T D(x) C(SELECT 1) Z(I)';

function scene(settings: BenchSettings = {}, setup: BenchSetup = {}): SessionBench {
  const bench = sessionBench({ query_wait_notify: 0, ...settings }, setup);
  bench.expectServers('config_changed', 'over_limit', 'evicted');
  return bench;
}

/** Clients that are all in a transaction. */
function busy(bench: SessionBench, count: number) {
  const clients = Array.from({ length: count }, () => bench.client());
  for (const client of clients) expect(client.query('BEGIN')).toBe('C(BEGIN) Z(T)');
  return clients;
}

describe('a pool that becomes smaller', () => {
  test('closes idle servers at once, and the others as they come back', () => {
    const bench = scene({ pool_size: 5 });
    const clients = busy(bench, 5);
    clients[0]!.query('COMMIT');
    clients[1]!.query('COMMIT');
    bench.reload({ pool_size: 1 });
    expect(bench.postgres.backends).toBe(3);
    expect(clients[2]!.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(bench.postgres.backends).toBe(2);
    clients[3]!.query('COMMIT');
    clients[4]!.query('COMMIT');
    expect(bench.postgres.backends).toBe(1);
    for (const client of clients) expect(client.query('SELECT x')).toBe(ANSWER);
    expect(bench.postgres.backends).toBe(1);
  });

  test('opens nothing that was under way for it', () => {
    const bench = scene({ pool_size: 5, server_login_concurrency: 1 });
    busy(bench, 1);
    bench.postgres.accepting = 'later';
    const waiting = Array.from({ length: 4 }, () => bench.client());
    for (const client of waiting) client.send(m.query('SELECT x'));
    bench.run();
    bench.reload({ pool_size: 2, server_login_concurrency: 4 });
    bench.postgres.accepting = 'accept';
    bench.postgres.acceptPending();
    bench.advance(1000);
    expect(waiting.map((client) => client.takeSummary())).toEqual([ANSWER, ANSWER, ANSWER, ANSWER]);
    expect(bench.postgres.mostBackends).toBe(2);
  });
});

describe('a pool that becomes larger', () => {
  test('serves those who wait at once', () => {
    const bench = scene({ pool_size: 1 });
    const [, waiting] = [busy(bench, 1), bench.client()];
    expect(waiting.query('SELECT x')).toBe('');
    bench.reload({ pool_size: 2 });
    expect(waiting.takeSummary()).toBe(ANSWER);
  });

  test('is filled to min_pool_size at once', () => {
    const bench = scene({ pool_size: 5 });
    bench.client();
    bench.reload({ min_pool_size: 3 });
    expect(bench.postgres.backends).toBe(3);
  });
});

describe.each(['max_db_connections', 'max_user_connections', 'max_server_connections'])('%s', (name) => {
  test('made smaller closes idle servers at once, and the others as they come back', () => {
    const bench = scene({ pool_size: 5 });
    const clients = busy(bench, 4);
    clients[0]!.query('COMMIT');
    bench.reload({ [name]: 2 });
    expect(bench.postgres.backends).toBe(3);
    clients[1]!.query('COMMIT');
    expect(bench.postgres.backends).toBe(2);
    clients[2]!.query('COMMIT');
    expect(bench.postgres.backends).toBe(2);
  });

  test('made larger serves those who wait at once', () => {
    const bench = scene({ pool_size: 5, [name]: 1 });
    const [, waiting] = [busy(bench, 1), bench.client()];
    expect(waiting.query('SELECT x')).toBe('');
    bench.reload({ [name]: 0 });
    expect(waiting.takeSummary()).toBe(ANSWER);
  });
});

describe('another host', () => {
  const MOVED = { databases: { app: { host: '10.0.0.2' } } };

  test('takes over as servers come back; no client is dropped, no transaction cut', () => {
    const bench = scene({ pool_size: 3 });
    const [active, idle] = busy(bench, 2);
    idle!.query('COMMIT');
    const moved = bench.postgresAt('10.0.0.2');
    bench.reload({}, MOVED);
    expect(bench.postgres.backends).toBe(1);
    expect(idle!.query('SELECT x')).toBe(ANSWER);
    expect(moved.backends).toBe(1);
    expect(active!.query('INSERT kept')).toBe('C(INSERT 0 1) Z(T)');
    expect(active!.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(bench.postgres.rows).toEqual(['kept']);
    expect(bench.postgres.backends).toBe(0);
    expect(active!.query('SELECT x')).toBe(ANSWER);
    expect(bench.environment.dials.map(({ host }) => host)).toEqual(['10.0.0.1', '10.0.0.1', '10.0.0.2']);
  });

  test('is tried at once by those who wait for one that does not answer', () => {
    const bench = scene({ pool_size: 1 });
    bench.postgres.accepting = 'hang';
    bench.postgresAt('10.0.0.2');
    const login = bench.connect();
    login.sendStartup();
    bench.run();
    expect(login.takeSummary()).toBe('');
    bench.reload({}, MOVED);
    login.acceptLogin(login.take());
    expect(login.query('SELECT x')).toBe(ANSWER);
  });

  test('is tried at once where the old one has failed', () => {
    const bench = scene();
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    bench.postgresAt('10.0.0.2');
    const early = bench.connect();
    early.sendStartup();
    bench.run();
    expect(early.takeSummary()).toMatch(/^E\(08006\)/);
    bench.reload({}, MOVED);
    expect(bench.client().query('SELECT x')).toBe(ANSWER);
  });

  test('has leases of its own budget, and the old one gets its back', () => {
    const bench = scene({ pool_size: 1, max_server_connections: 1 });
    const [active] = busy(bench, 1);
    bench.postgresAt('10.0.0.2');
    bench.reload({}, MOVED);
    expect([bench.budget.inUse('postgres 10.0.0.1:5432'), bench.budget.inUse('postgres 10.0.0.2:5432')]).toEqual([
      1, 0,
    ]);
    active!.query('COMMIT');
    active!.query('SELECT x');
    expect([bench.budget.inUse('postgres 10.0.0.1:5432'), bench.budget.inUse('postgres 10.0.0.2:5432')]).toEqual([
      0, 1,
    ]);
  });

  test('in session mode waits for the client to leave, or with server_fast_close for its transaction', () => {
    for (const server_fast_close of [false, true]) {
      const bench = scene({ pool_mode: 'session', server_fast_close });
      bench.expectClients('server_closed');
      const [inTransaction, between] = busy(bench, 2);
      between!.query('COMMIT');
      bench.postgresAt('10.0.0.2');
      bench.reload({}, MOVED);
      expect(between!.takeSummary()).toBe(server_fast_close ? 'E(57P01)' : '');
      const end = inTransaction!.query('COMMIT');
      expect(end).toBe(server_fast_close ? 'C(COMMIT) Z(I) E(57P01)' : 'C(COMMIT) Z(I)');
      if (!server_fast_close) expect(inTransaction!.query('SELECT x')).toBe(ANSWER);
    }
  });
});

describe.each([
  ['port', { port: 5433 }],
  ['dbname', { dbname: 'other' }],
  ['connect_query', { connect_query: 'SELECT c' }],
  ['timezone', { timezone: 'UTC' }],
  ['budget', { budget: 'b' }],
])('another %s', (_name, change) => {
  test('replaces servers', () => {
    const bench = scene({}, { databases: { app: APP } });
    bench.postgresAt('10.0.0.1', 5433);
    const client = bench.client();
    client.query('SELECT x');
    const before = bench.environment.dials.length;
    bench.reload({}, { databases: { app: { ...APP, ...change } } });
    expect(client.query('SELECT x')).toBe(ANSWER);
    expect(bench.environment.dials.length).toBe(before + 1);
    expect([...bench.pool().closedServers]).toEqual([['config_changed', 1]]);
  });
});

test('what does not concern servers leaves them alone', () => {
  const bench = scene({}, { databases: { app: APP } });
  const client = bench.client();
  client.query('SELECT x');
  const harmless = { pool_size: 7, min_pool_size: 1, reserve_pool_size: 2, max_db_connections: 9, server_lifetime: 9 };
  bench.reload({ server_idle_timeout: 7, query_timeout: 3 }, { databases: { app: { ...APP, ...harmless } } });
  expect(client.query('SELECT x')).toBe(ANSWER);
  expect(bench.environment.dials).toHaveLength(1);
});

function removed(): SessionBench {
  const bench = scene({ pool_size: 2 });
  bench.expectClients('database_removed');
  bench.expectServers('database_removed');
  return bench;
}

describe('a database that is removed', () => {
  const OTHER = { databases: { other: APP } };

  test('tells idle clients and those who wait at once, the others after their transaction', () => {
    const bench = removed();
    const idle = bench.client();
    const [active, second] = busy(bench, 2);
    const waiting = bench.client();
    waiting.query('SELECT w');
    bench.reload({}, OTHER);
    expect(waiting.takeSummary()).toBe('E(57P04)');
    const [error] = idle.take();
    expect([errorFields(error!).get('V'), errorFields(error!).get('M')]).toEqual(['FATAL', 'database removed']);
    expect(active!.query('INSERT kept')).toBe('C(INSERT 0 1) Z(T)');
    expect(active!.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P04)');
    expect(second!.query('ROLLBACK')).toBe('C(ROLLBACK) Z(I) E(57P04)');
    expect(bench.postgres.rows).toEqual(['kept']);
    bench.advance(1000);
    expect([...bench.router.pools]).toEqual([]);
  });

  test('refuses newcomers and those who are logging in', () => {
    const bench = removed();
    bench.postgres.accepting = 'hang';
    const login = bench.connect();
    login.sendStartup();
    bench.run();
    bench.reload({}, OTHER);
    expect(login.takeSummary()).toBe('E(57P04)');
    const late = bench.connect();
    late.sendStartup();
    bench.run();
    expect(late.takeSummary()).toMatch(/E\(3D000\)$/);
    bench.postgres.accepting = 'refuse';
  });

  test('and is back later is another one, beside what is left of the first', () => {
    const bench = removed();
    const [active] = busy(bench, 1);
    bench.reload({}, OTHER);
    bench.reload();
    const client = bench.client();
    expect(client.query('SELECT x')).toBe(ANSWER);
    expect(active!.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P04)');
    expect(client.query('SELECT x')).toBe(ANSWER);
    bench.advance(1000);
    expect([...bench.router.pools]).toHaveLength(1);
  });

  test('goes on where the fallback serves its name', () => {
    const bench = scene();
    const client = bench.client();
    client.query('SELECT x');
    bench.reload({}, { databases: { '*': APP } });
    expect(client.query('SELECT x')).toBe(ANSWER);
    expect(bench.environment.dials).toHaveLength(1);
  });
});

test('a database that is added just works', () => {
  const bench = scene();
  bench.reload({}, { databases: { app: APP, fresh: APP } });
  expect(bench.client({ database: 'fresh' }).query('SELECT x')).toBe(ANSWER);
});

const forced = (user: string) => ({ databases: { app: { ...APP, user } } });

describe('a forced user', () => {
  test('that becomes another one keeps its clients, who are served as the new one', () => {
    const bench = scene({}, forced('first'));
    const [active] = busy(bench, 1);
    const idle = bench.client();
    bench.reload({}, forced('second'));
    expect(idle.query('SELECT x')).toBe(ANSWER);
    expect(active!.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(active!.query('SELECT x')).toBe(ANSWER);
    expect([...bench.router.pools].map(({ userName }) => userName)).toEqual(['second']);
    expect(bench.postgres.live.map(({ startup }) => startup.get('user'))).toEqual(['second']);
  });

  test('that is new, or is gone, ends its clients after their transaction', () => {
    for (const [before, after] of [
      [{ databases: { app: APP } }, forced('x')],
      [forced('x'), { databases: { app: APP } }],
    ] as const) {
      const bench = scene({}, before);
      bench.expectClients('config_changed');
      const [active] = busy(bench, 1);
      const idle = bench.client();
      bench.reload({}, after);
      expect(idle.takeSummary()).toBe('E(57P01)');
      expect(active!.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P01)');
      expect(bench.client().query('SELECT x')).toBe(ANSWER);
    }
  });
});

describe('another pool_mode', () => {
  test('session to transaction: after its next query a client shares, and its statements are mapped', () => {
    const bench = scene({ pool_mode: 'session', pool_size: 1 });
    const alice = bench.client();
    alice.query('SELECT x');
    const bob = bench.client();
    expect(bob.query('SELECT x')).toBe('');
    bench.reload({ pool_mode: 'transaction' });
    // As in PgBouncer: not before.
    expect(bob.takeSummary()).toBe('');
    expect(alice.query('SELECT x')).toBe(ANSWER);
    expect(bob.takeSummary()).toBe(ANSWER);
    expect(alice.exchange(m.parse('SELECT x', 's'), m.sync())).toBe('1 Z(I)');
    expect(bob.exchange(m.parse('SELECT y', 's'), m.sync())).toBe('1 Z(I)');
    expect(alice.exchange(m.bind({ statement: 's' }), m.execute(), m.sync())).toBe('2 D(x) C(SELECT 1) Z(I)');
    expect(bob.exchange(m.bind({ statement: 's' }), m.execute(), m.sync())).toBe('2 D(y) C(SELECT 1) Z(I)');
  });

  test('transaction to session: a client keeps its next server, with the statements that it has', () => {
    const bench = scene({ pool_size: 2 });
    const alice = bench.client();
    expect(alice.exchange(m.parse('SELECT x', 's'), m.sync())).toBe('1 Z(I)');
    bench.reload({ pool_mode: 'session' });
    expect(alice.exchange(m.bind({ statement: 's' }), m.execute(), m.sync())).toBe('2 D(x) C(SELECT 1) Z(I)');
    expect(bench.sessionOf(alice).state).toBe('linked');
    bench.reload({ pool_mode: 'transaction' });
    expect(alice.exchange(m.bind({ statement: 's' }), m.execute(), m.sync())).toBe('2 D(x) C(SELECT 1) Z(I)');
    expect(bench.sessionOf(alice).state).toBe('idle');
  });

  test('to statement mode: a transaction is refused from then on', () => {
    const bench = scene();
    bench.expectClients('statement_mode');
    const alice = bench.client();
    bench.reload({ pool_mode: 'statement' });
    expect(alice.query('BEGIN')).toMatch(/E\(0A000\)$/);
  });
});

describe('limits and times of clients', () => {
  test('reach those who are there', () => {
    const bench = scene();
    bench.expectClients('idle_timeout', 'query_timeout');
    bench.expectServers('query_timeout');
    const [idle, running] = [bench.client(), bench.client()];
    running.query('SLEEP');
    bench.advance(10_000);
    bench.reload({ client_idle_timeout: 30, query_timeout: 20 });
    bench.advance(9000);
    expect([idle.takeSummary(), running.takeSummary()]).toEqual(['', '']);
    bench.advance(2000);
    expect(running.takeSummary()).toBe('E(57014)');
    bench.advance(20_000);
    expect(idle.takeSummary()).toMatch(/^E\(57P05\)/);
  });

  test('an idle client goes by the time that it has been idle, whatever the timeout was before', () => {
    const bench = scene({ client_idle_timeout: 100 });
    bench.expectClients('idle_timeout');
    const [first, second] = [bench.client(), bench.client({ user: 'other' })];
    bench.advance(5000);
    bench.reload({ client_idle_timeout: 8 }, { users: { other: { client_idle_timeout: 0 } } });
    bench.advance(2500);
    expect(first.takeSummary()).toBe('');
    bench.advance(1000);
    expect(first.takeSummary()).toBe('E(57P05)');
    bench.advance(100_000);
    expect(second.takeSummary()).toBe('');
  });

  test('too many clients stay, and nobody else is let in', () => {
    const bench = scene();
    bench.expectClients('limit_reached');
    const clients = [bench.client(), bench.client()];
    bench.reload({ max_client_conn: 1 });
    for (const client of clients) expect(client.query('SELECT x')).toBe(ANSWER);
    const late = bench.connect();
    late.sendStartup();
    bench.run();
    expect(late.takeSummary()).toMatch(/E\(53300\)/);
  });

  test('max_packet_size holds from the next message on', () => {
    const bench = scene();
    bench.expectClients('protocol_violation');
    const client = bench.client();
    bench.reload({ max_packet_size: 1024 });
    expect(client.query(`SELECT ${'x'.repeat(2000)}`)).toMatch(/E\(54000\)$/);
  });
});

test('a thousand reloads, with clients at work between any two: nothing is lost, and nothing is left', () => {
  const bench = scene({ pool_size: 4 }, { shuffled: true });
  const hosts = [bench.postgresAt('10.0.0.1'), bench.postgresAt('10.0.0.2')];
  const clients = Array.from({ length: 8 }, () => bench.client());
  let asked = 0;
  let answered = 0;
  const collect = (): void => {
    for (const client of clients) answered += client.takeSummary().split('Z(I)').length - 1;
  };
  for (let round = 0; round < 1000; round++) {
    for (const client of clients) {
      if (bench.environment.random.below(3) === 0) continue;
      client.send(m.query(`SELECT r${round}`));
      asked++;
    }
    const host = `10.0.0.${1 + (round % 2)}`;
    const max_db_connections = 1 + (round % 4);
    // Somewhere among the steps that the queries take: chance decides.
    bench.reload({ pool_size: 1 + (round % 5) }, { databases: { app: { ...APP, host, max_db_connections } } });
    if (round % 20 === 0) bench.advance(300);
    collect();
  }
  bench.advance(5000);
  collect();
  expect(answered).toBe(asked);
  expect(asked).toBeGreaterThan(4000);
  for (const { sessions } of hosts) expect(sessions.length).toBeGreaterThan(100);
  expect(bench.registry.closed.size).toBe(0);
});
