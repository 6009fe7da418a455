/** Getting a server for one replication client: sizes and budgets, turns, refusals (checklist 80), and who leaves meanwhile. */
import { describe, expect, test } from 'vitest';
import { errorFields, server as s } from '../support/wire.ts';
import { ask, closes, replica, STREAM, scene } from './replication-fixture.ts';

describe('the pool’s size', () => {
  test('an idle server makes room', () => {
    const bench = scene({ pool_size: 1 });
    bench.expectServers('evicted');
    const alice = bench.client();
    alice.query('SELECT a');
    const { client } = replica(bench);
    expect(bench.postgres.mostBackends).toBe(1);
    expect(alice.query('SELECT b')).toBe('');
    client.leave();
    bench.run();
    expect(alice.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
    expect(closes(bench)).toEqual({ evicted: 1, unneeded: 1 });
  });

  test('a busy one does when it becomes free, but first come those who have waited longer', () => {
    const bench = scene({ pool_size: 1 });
    bench.expectServers('evicted');
    const [alice, bob, carol] = [bench.client(), bench.client(), bench.client()];
    alice.query('BEGIN');
    expect(bob.query('SELECT b')).toBe('');
    bench.advance(10);
    const client = ask(bench);
    bench.advance(10);
    expect(carol.query('SELECT c')).toBe('');
    bench.advance(1000);
    expect(client.takeSummary()).toBe('');
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(client.takeSummary()).toContain('Z(I)');
    expect(carol.takeSummary()).toBe('');
    client.leave();
    bench.run();
    expect(carol.takeSummary()).toBe('T D(c) C(SELECT 1) Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('one server goes for one client, not all of them', () => {
    const bench = scene({ pool_size: 3 });
    bench.expectServers('evicted');
    const clients = [bench.client(), bench.client(), bench.client()];
    for (const client of clients) client.query('BEGIN');
    const waiting = ask(bench);
    for (const client of clients) client.query('COMMIT');
    bench.run();
    expect(waiting.takeSummary()).toContain('Z(I)');
    expect(closes(bench)).toEqual({ evicted: 1 });
    expect(bench.pool().servers.idle.size).toBe(2);
  });

  test('reserve_pool_size helps after reserve_pool_timeout', () => {
    const bench = scene({ pool_size: 1, reserve_pool_size: 1, reserve_pool_timeout: 5 });
    bench.client().query('BEGIN');
    const client = ask(bench);
    bench.advance(4000);
    expect(client.takeSummary()).toBe('');
    bench.advance(2000);
    expect(client.takeSummary()).toContain('Z(I)');
  });

  test('min_pool_size opens none in its place', () => {
    const bench = scene({ pool_size: 2 }, { databases: { app: 'host=10.0.0.1 user=app min_pool_size=1' } });
    bench.expectServers('evicted');
    const [one, two] = [replica(bench), replica(bench)];
    bench.advance(1000);
    expect(bench.postgres.backends).toBe(2);
    one.client.leave();
    bench.advance(1000);
    expect(bench.pool().servers.idle.size).toBe(1);
    two.client.leave();
    bench.advance(1000);
    expect(bench.pool().servers.total).toBe(1);
  });

  test('query_wait_timeout ends the waiting', () => {
    const bench = scene({ pool_size: 1, query_wait_timeout: 3, client_login_timeout: 1 });
    bench.expectClients('query_wait_timeout');
    bench.client().query('BEGIN');
    const client = ask(bench);
    bench.advance(2800);
    expect(client.isEnded).toBe(false);
    bench.advance(400);
    expect(client.takeSummary()).toBe('E(53300)');
    expect(client.isEnded).toBe(true);
  });

  test('who leaves while waiting is gone at once, and what it had sent too', () => {
    const bench = scene({ pool_size: 1 });
    bench.expectClients('eof');
    const alice = bench.client();
    alice.query('BEGIN');
    const client = ask(bench);
    client.send(STREAM);
    client.vanish();
    expect(bench.registry.clients.size).toBe(1);
    alice.query('COMMIT');
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe.each([
  ['max_db_connections', { max_db_connections: 1 }, 'app', 'bob'],
  ['max_user_connections', { max_user_connections: 1 }, 'other', 'app'],
  ['max_server_connections', { max_server_connections: 1 }, 'other', 'bob'],
] as const)('%s', (_name, settings, database, user) => {
  const databases = { app: 'host=10.0.0.1', other: 'host=10.0.0.1' };

  test('idle servers are evicted for it, of its own pool and of others', () => {
    const bench = scene(settings, { databases });
    bench.expectServers('evicted');
    bench.client().query('SELECT a');
    const first = replica(bench);
    first.client.leave();
    bench.run();
    bench.client({ database, user }).query('SELECT a');
    replica(bench);
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('it holds its place from connect to FIN, and cannot be evicted', () => {
    const bench = scene(settings, { databases });
    const { client, postgres } = replica(bench);
    postgres.takeOver();
    postgres.ignoresEnd = true;
    const bob = bench.connect();
    bob.sendStartup({ database, user });
    bench.advance(3000);
    expect(bob.takeSummary()).toBe('');
    client.leave();
    bench.advance(1000);
    expect(bob.takeSummary()).toBe('');
    postgres.die('exit');
    bench.run();
    expect(bob.takeSummary()).toContain('Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('with all in use it waits, and gets what is given back', () => {
    const bench = scene(settings, { databases });
    bench.expectServers('evicted');
    const alice = bench.client();
    alice.query('BEGIN');
    const client = ask(bench, { database, user });
    bench.advance(2000);
    expect(client.takeSummary()).toBe('');
    alice.query('COMMIT');
    bench.run();
    expect(client.takeSummary()).toContain('Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
  });
});

describe('a server that refuses it', () => {
  test.each([
    ['28000', 'no pg_hba.conf entry for replication connection'],
    ['42501', 'permission denied to start WAL sender'],
    ['53300', 'number of requested standby connections exceeds "max_wal_senders"'],
    ['57P03', 'the database system is starting up'],
  ])('with %s: it alone hears that', (code, message) => {
    const bench = scene({ pool_size: 2 });
    bench.expectServers('login_failed');
    bench.expectClients('server_unavailable');
    bench.postgres.accepting = 'later';
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    const client = ask(bench);
    bench.postgres.onStartup = (session) => {
      if (session.startup.has('replication')) session.refuseLogin(code, message);
      else session.login();
    };
    bench.postgres.accepting = 'accept';
    bench.postgres.acceptPending();
    bench.run();
    const fields = errorFields(client.take()[0]!);
    expect([fields.get('V'), fields.get('C'), fields.get('M')]).toEqual(['FATAL', code, message]);
    expect(client.isEnded).toBe(true);
    expect(alice.takeSummary()).toContain('Z(I)');
    expect(bench.pool().health.isFailing).toBe(false);
    expect(bench.pool().refusal).toBeNull();
    expect(bench.client().query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.budget.inUse('database app')).toBe(1);
  });

  test('each comer is tried anew, also while the pool’s own logins fail', () => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) => {
      if (session.startup.has('replication')) session.login();
      else session.refuseLogin('3D000', 'no such database');
    };
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    expect(alice.takeSummary()).toBe('E(3D000)');
    replica(bench);
    expect(bench.pool().health.isFailing).toBe(true);
  });

  test('a method that we cannot answer is said too', () => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.expectClients('server_unavailable');
    bench.postgres.onStartup = (session) => session.send(s.authentication(7));
    const client = ask(bench);
    expect(client.takeSummary()).toBe('E(08006)');
    expect(bench.pool().health.isFailing).toBe(false);
  });
});

describe('a server that cannot be reached', () => {
  test('is said to the client, and to nobody else', () => {
    const bench = scene();
    bench.expectServers('connect_failed');
    bench.expectClients('server_unavailable');
    bench.postgres.accepting = 'refuse';
    const client = ask(bench);
    const fields = errorFields(client.take()[0]!);
    expect([fields.get('C'), fields.get('M')]).toEqual(['08006', expect.stringContaining('ECONNREFUSED')]);
    expect(bench.pool().health.isFailing).toBe(false);
    bench.postgres.accepting = 'accept';
    replica(bench);
  });

  test('the next host is tried, with the same parameters', () => {
    const bench = scene({}, { databases: { app: 'host=10.0.0.1,10.0.0.2' } });
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    const second = bench.postgresAt('10.0.0.2');
    const client = ask(bench, { parameters: { application_name: 'walreceiver' } });
    expect(client.takeSummary()).toContain('Z(I)');
    expect(second.sessions[0]!.startup.get('application_name')).toBe('walreceiver');
    expect(bench.budget.inUse('database app')).toBe(1);
  });

  test('server_connect_timeout ends the waiting for one that is silent', () => {
    const bench = scene({ server_connect_timeout: 3 });
    bench.expectServers('connect_timeout');
    bench.expectClients('server_unavailable');
    bench.postgres.accepting = 'hang';
    const client = ask(bench);
    bench.advance(2000);
    expect(client.isEnded).toBe(false);
    bench.advance(1500);
    expect(client.takeSummary()).toBe('E(08006)');
  });

  test('who leaves meanwhile takes nobody’s try along, and leaves none behind', () => {
    const bench = scene({ max_db_connections: 1 });
    bench.expectClients('eof');
    bench.postgres.accepting = 'later';
    const [alice, bob] = [ask(bench), ask(bench)];
    expect(bench.environment.dials).toHaveLength(1);
    bench.postgres.accepting = 'accept';
    alice.vanish();
    bench.run();
    expect(bob.takeSummary()).toContain('Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
    expect(bench.environment.dials).toHaveLength(2);
  });

  test('who leaves while the name is looked up costs no connection', async () => {
    const bench = scene({}, { databases: { app: 'host=db.example' } });
    bench.expectClients('eof');
    const client = ask(bench);
    client.vanish();
    await bench.settle();
    bench.advance(20_000);
    await bench.settle();
    expect(bench.environment.dials).toEqual([]);
    expect(bench.budget.inUse('database app')).toBe(0);
  });

  test('server_login_concurrency holds for them as well', () => {
    const bench = scene({ server_login_concurrency: 1 });
    bench.postgres.accepting = 'later';
    const clients = [ask(bench), ask(bench), ask(bench)];
    expect(bench.environment.dials).toHaveLength(1);
    bench.postgres.accepting = 'accept';
    bench.postgres.acceptPending();
    bench.run();
    for (const client of clients) expect(client.takeSummary()).toContain('Z(I)');
    expect(bench.environment.dials).toHaveLength(3);
  });
});
