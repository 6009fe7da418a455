/** Getting servers at all (faults B5, B6, C9, E5, E8; checklist 79–81): refusals, silence, retries, several hosts. */
import { describe, expect, test } from 'vitest';
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s } from '../support/wire.ts';

function begin(bench: SessionBench, user = 'app'): SessionClient {
  const client = bench.connect();
  client.sendStartup({ user });
  bench.run();
  return client;
}

function scene(settings: BenchSettings = {}, setup: BenchSetup = {}) {
  return sessionBench({ query_wait_notify: 0, server_login_retry: 15, ...settings }, setup);
}

describe('a server that refuses the connection', () => {
  test('who waits is told, newcomers are told the cached reason, and nothing is tried before server_login_retry', () => {
    const bench = scene();
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    const alice = begin(bench);
    const [error] = alice.take();
    expect(errorFields(error!).get('C')).toBe('08006');
    expect(errorFields(error!).get('M')).toContain('ECONNREFUSED');
    expect(bench.environment.dials).toHaveLength(1);
    for (let i = 0; i < 5; i++) expect(begin(bench).takeSummary()).toBe('E(08006)');
    expect(bench.environment.dials).toHaveLength(1);
    bench.advance(14_000);
    expect(begin(bench).takeSummary()).toBe('E(08006)');
    expect(bench.environment.dials).toHaveLength(1);
    bench.advance(1500);
    bench.postgres.accepting = 'accept';
    expect(begin(bench).takeSummary()).toContain('Z(I)');
    expect(bench.environment.dials).toHaveLength(2);
  });

  test('one probe at a time, however many wait', () => {
    const bench = scene();
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    begin(bench);
    bench.advance(15_000);
    bench.postgres.accepting = 'hang';
    const clients = Array.from({ length: 10 }, () => begin(bench));
    expect(bench.environment.dials).toHaveLength(2);
    expect(clients.map((client) => client.takeSummary())).toEqual(clients.map(() => ''));
    bench.advance(10_000);
    expect(bench.environment.dials).toHaveLength(2);
  });

  test('clients that are logged in get the error when they want a server, and can come back', () => {
    const bench = scene({ pool_size: 1 });
    bench.expectServers('eof', 'connect_failed');
    bench.expectClients('server_unavailable');
    const alice = bench.client();
    const bob = bench.client();
    bench.postgres.crash();
    bench.run();
    expect(alice.query('SELECT a')).toBe('E(08006)');
    expect(bob.query('SELECT b')).toBe('E(08006)');
    expect(alice.isEnded).toBe(true);
    bench.postgres.accepting = 'accept';
    bench.advance(15_500);
    expect(bench.client().query('SELECT c')).toBe('T D(c) C(SELECT 1) Z(I)');
  });

  test('with a server alive, who waits gets that one', () => {
    const bench = scene({ pool_size: 3 });
    bench.expectServers('connect_failed');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    bench.postgres.accepting = 'refuse';
    expect(bob.query('SELECT b')).toBe('');
    expect(bob.isEnded).toBe(false);
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('attempts per second stay bounded for an hour', () => {
    const bench = scene({ server_login_retry: 15 }, { databases: { app: 'host=10.0.0.1 user=app min_pool_size=3' } });
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    bench.advance(3_600_000);
    expect(bench.environment.dials.length).toBeLessThanOrEqual(3600 / 15 + 2);
    expect(bench.environment.dials.length).toBeGreaterThan(100);
    bench.postgres.accepting = 'accept';
    bench.advance(16_000);
    expect(bench.pool().servers.idle.size).toBe(3);
  });

  test('server_login_retry 0 does not go round in a circle', async () => {
    const bench = scene(
      { server_login_retry: 0 },
      { databases: { app: 'host=nowhere.example user=app min_pool_size=1' } },
    );
    bench.run();
    await bench.settle();
    bench.advance(10_000);
    await bench.settle();
    bench.advance(10_000);
    expect(bench.pool().servers.total).toBe(0);
  });
});

describe('a server that refuses the login', () => {
  test.each([
    ['28P01', 'password authentication failed'],
    ['3D000', 'database "app" does not exist'],
    ['28000', 'no pg_hba.conf entry'],
  ])('with %s: its own error goes to all who wait', (code, message) => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) => session.refuseLogin(code, message);
    const alice = begin(bench);
    const [error] = alice.take();
    expect(errorFields(error!).get('C')).toBe(code);
    expect(errorFields(error!).get('M')).toBe(message);
    expect(begin(bench).takeSummary()).toBe(`E(${code})`);
    expect(bench.postgres.sessions).toHaveLength(1);
    bench.postgres.onStartup = null;
    bench.advance(15_500);
    expect(begin(bench).takeSummary()).toContain('Z(I)');
  });

  test.each(['57P03', '53300'])('with %s, which passes: who waits goes on waiting, and is served', (code) => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) => session.refuseLogin(code, 'not now');
    const alice = begin(bench);
    bench.advance(5000);
    expect(alice.isEnded).toBe(false);
    const tries = bench.postgres.sessions.length;
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(8);
    bench.postgres.onStartup = null;
    bench.advance(2000);
    expect(alice.takeSummary()).toContain('Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('with 53300 for the second connection: the first serves everybody', () => {
    const bench = scene({ pool_size: 2 });
    bench.expectServers('login_failed');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    bench.postgres.onStartup = (session) => session.refuseLogin('53300', 'sorry, too many clients already');
    bob.query('SELECT b');
    bench.advance(3000);
    expect(bob.isEnded).toBe(false);
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('with query_wait_timeout past, the waiter hears that', () => {
    const bench = scene({ pool_size: 1, query_wait_timeout: 5 });
    bench.expectServers('eof', 'login_failed');
    bench.expectClients('query_wait_timeout');
    const alice = bench.client();
    bench.server().die('exit');
    bench.postgres.onStartup = (session) => session.refuseLogin('57P03', 'starting up');
    bench.run();
    alice.query('SELECT a');
    bench.advance(5400);
    expect(alice.takeSummary()).toBe('E(53300)');
  });

  test.each([
    ['asks for something that does not exist', s.authentication(99)],
    ['asks for GSSAPI', s.authentication(7)],
    ['asks for a password that nobody knows, as it seems', s.authentication(10, Buffer.from('SCRAM-SHA-1\0\0'))],
    ['skips authentication', s.ready('I')],
    ['sends a row', s.row('x')],
    ['sends a truncated request', Buffer.from([0x52, 0, 0, 0, 6, 0, 0])],
    ['ends SASL before it began', s.authentication(12, Buffer.from('v=x'))],
    ['sends a malformed length', Buffer.from([0x52, 0, 0, 0, 2])],
    ['sends a message of 100 KB', Buffer.concat([Buffer.from([0x52, 0, 1, 0x90, 0]), Buffer.alloc(100)])],
    ['sends a broken key', Buffer.concat([s.authentication(0), s.keyData(Buffer.alloc(5))])],
    ['sends a key of 300 bytes', Buffer.concat([s.authentication(0), s.keyData(Buffer.alloc(300))])],
  ])('that %s: a neutral error, no hot loop', (_what, bytes) => {
    const bench = scene();
    bench.expectServers('login_failed', 'connect_failed', 'out_of_sync');
    bench.postgres.onStartup = (session) => session.takeOver().send(bytes);
    const alice = begin(bench);
    expect(alice.takeSummary()).toMatch(/^E\((08006|08P01|28000)\)$/);
    bench.advance(10_000);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('cut anywhere, a login works', () => {
    for (let cut = 1; cut < 60; cut++) {
      const bench = scene({}, { manual: true });
      bench.postgres.onStartup = (session) => {
        session.send = (...messages) => {
          const bytes = Buffer.concat(messages);
          session.stream.write(bytes.subarray(0, cut));
          bench.environment.postWhenQuiet(() => session.stream.write(bytes.subarray(cut)));
        };
        session.login();
      };
      expect(begin(bench).takeSummary()).toContain('Z(I)');
      bench.finish();
    }
  });
});

/** A server that knows only 3.0, and not how to say so. */
const old = (session: ScriptedSession): void => {
  if (session.minor > 0) session.refuseLogin('08P01', "bad packet header: '0000002100030002'");
  else session.login();
};

/** The versions that its sessions were asked for. */
const minors = (bench: SessionBench) => bench.postgres.sessions.map(({ minor }) => minor);

describe('the protocol version', () => {
  test('is 3.2, or what the server can', () => {
    for (const newest of [0, 2] as const) {
      const bench = scene();
      bench.postgres.newestMinor = newest;
      expect(begin(bench).takeSummary()).toContain('Z(I)');
      expect(minors(bench)).toEqual([2]);
    }
  });

  test.each([
    ['with 08P01, as PgBouncer before 1.23', old],
    [
      'with 0A000, as an old PostgreSQL',
      (session: ScriptedSession) => {
        if (session.minor > 0)
          session.refuseLogin('0A000', 'unsupported frontend protocol 3.2: server supports 1.0 to 3.0');
        else session.login();
      },
    ],
    [
      'by negotiating twice, as PgBouncer 1.24',
      (session: ScriptedSession) => {
        if (session.minor > 0) session.takeOver().send(s.negotiate(0), s.negotiate(0), s.authentication(3));
        else session.login();
      },
    ],
  ])('that is refused %s is not asked for again, and nobody notices', (_how, onStartup) => {
    const bench = scene({ pool_size: 3, max_server_connections: 3 });
    bench.expectServers('login_failed');
    bench.postgres.onStartup = onStartup;
    const alice = bench.client();
    expect(minors(bench)).toEqual([2, 0]);
    const others = [bench.client(), bench.client()];
    for (const client of [alice, ...others]) expect(client.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    expect(minors(bench)).toEqual([2, 0, 0, 0]);
    expect(bench.postgres.mostBackends).toBe(3);
  });

  test('is tried with the same lease, when the refusal has let go of its slot', () => {
    const bench = scene({ max_server_connections: 1 });
    bench.expectServers('login_failed');
    bench.postgres.onStartup = old;
    expect(begin(bench).takeSummary()).toContain('Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
    expect(bench.budget.inUse(bench.pool().scopes[2]!.key)).toBe(1);
  });

  test('is not what is wrong if the older one is refused as well: that error counts, and is not remembered', () => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) => session.refuseLogin('08P01', `no such user (3.${session.minor})`);
    const [error] = begin(bench).take();
    expect(errorFields(error!).get('M')).toBe('no such user (3.0)');
    expect(begin(bench).takeSummary()).toBe('E(08P01)');
    expect(minors(bench)).toEqual([2, 0]);
    bench.postgres.onStartup = null;
    bench.advance(15_500);
    expect(begin(bench).takeSummary()).toContain('Z(I)');
    expect(minors(bench)).toEqual([2, 0, 2]);
  });

  test('is remembered for one address, not for the others of its database', () => {
    const bench = scene({ pool_size: 4 }, { databases: { app: 'host=10.0.0.1,10.0.0.2 port=5432' } });
    bench.expectServers('login_failed');
    bench.postgres.onStartup = old;
    const second = bench.postgresAt('10.0.0.2');
    for (const client of Array.from({ length: 4 }, () => bench.client())) client.query('BEGIN');
    expect(minors(bench)).toEqual([2, 0, 0]);
    expect(second.sessions.map(({ minor }) => minor)).toEqual([2, 2]);
  });

  test('is given up where the refusing server never closes: who waits hears why', () => {
    const bench = scene({ server_close_timeout: 5 });
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) => {
      session.ignoresEnd = true;
      session.takeOver().send(s.error({ severity: 'FATAL', code: '0A000', message: 'which version?' }));
    };
    const alice = begin(bench);
    bench.advance(5500);
    const [error] = alice.take();
    expect(errorFields(error!).get('M')).toContain('which version?');
    expect(minors(bench)).toEqual([2]);
  });

  test('is not tried again after a shutdown has begun', () => {
    const bench = scene();
    bench.expectServers('login_failed', 'shutdown');
    bench.expectClients('shutdown');
    bench.postgres.onStartup = (session) => {
      session.ignoresEnd = true;
      session.takeOver().send(s.error({ severity: 'FATAL', code: '0A000', message: 'which version?' }));
    };
    begin(bench);
    bench.drain();
    bench.server().die('exit');
    bench.advance(30_000);
    expect(minors(bench)).toEqual([2]);
    expect(bench.isEmpty).toBe(true);
  });
});

describe('a server that is silent', () => {
  test('while connecting: server_connect_timeout, then the error', () => {
    const bench = scene({ server_connect_timeout: 5 });
    bench.expectServers('connect_timeout');
    bench.postgres.accepting = 'hang';
    const alice = begin(bench);
    bench.advance(4500);
    expect(alice.isEnded).toBe(false);
    bench.advance(1000);
    expect(alice.takeSummary()).toBe('E(08006)');
    expect(bench.pool().servers.total).toBe(0);
  });

  test('after the startup packet: its slot counts until it has gone, or surely must have', () => {
    const bench = scene({ server_connect_timeout: 5, server_close_timeout: 5, max_server_connections: 1 });
    bench.expectServers('connect_timeout');
    bench.postgres.onStartup = (session) => {
      session.ignoresEnd = true;
    };
    begin(bench);
    bench.advance(5400);
    const inUse = () => bench.budget.inUse(bench.pool().scopes[2]!.key);
    expect(inUse()).toBe(1);
    bench.advance(5000);
    // Cut without PostgreSQL having confirmed it: one more second.
    expect(bench.pool().servers.total).toBe(0);
    expect(inUse()).toBe(1);
    bench.advance(1500);
    expect(inUse()).toBe(0);
    expect(bench.pool().closedUnconfirmed).toBe(1);
  });

  test('after AuthenticationOk', () => {
    const bench = scene({ server_connect_timeout: 5 });
    bench.expectServers('connect_timeout');
    bench.postgres.onStartup = (session) => session.send(s.authentication(0), s.parameter('a', 'b'));
    const alice = begin(bench);
    bench.advance(5400);
    expect(alice.takeSummary()).toBe('E(08006)');
    expect(bench.postgres.backends).toBe(0);
  });

  test('a storm of parameters ends the login', () => {
    const bench = scene();
    bench.expectServers('login_failed');
    bench.postgres.onStartup = (session) =>
      session.send(s.authentication(0), ...Array.from({ length: 5000 }, (_, i) => s.parameter(`p${i}`, 'x')));
    const alice = begin(bench);
    expect(alice.takeSummary()).toMatch(/^E/);
  });
});

describe('several hosts', () => {
  const two = { databases: { app: 'host=10.0.0.1,10.0.0.2 port=5432' } };

  test('are used in turn', () => {
    const bench = scene({ pool_size: 4 }, two);
    const second = bench.postgresAt('10.0.0.2');
    const clients = Array.from({ length: 4 }, () => bench.client());
    for (const client of clients) client.query('BEGIN');
    expect([bench.postgres.backends, second.backends]).toEqual([2, 2]);
  });

  test('with load_balance_hosts=disable always the first that works', () => {
    const bench = scene({ pool_size: 4, load_balance_hosts: 'disable' }, two);
    const second = bench.postgresAt('10.0.0.2');
    bench.expectServers('connect_failed', 'eof');
    const clients = Array.from({ length: 2 }, () => bench.client());
    for (const client of clients) client.query('BEGIN');
    expect([bench.postgres.backends, second.backends]).toEqual([2, 0]);
    for (const client of clients) client.query('COMMIT');
    bench.postgres.crash();
    bench.run();
    for (const client of clients) expect(client.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    expect(second.backends).toBe(2);
  });

  test('with load_balance_hosts=disable one that accepts and then is silent is left for the next', () => {
    const settings = { load_balance_hosts: 'disable', server_connect_timeout: 3, server_close_timeout: 1 };
    const bench = scene({ ...settings, server_login_retry: 1 }, two);
    bench.expectServers('connect_timeout');
    bench.postgres.onStartup = (session) => {
      session.ignoresEnd = true;
    };
    const second = bench.postgresAt('10.0.0.2');
    expect(begin(bench).takeSummary()).toBe('');
    bench.advance(6000);
    expect(begin(bench).takeSummary()).toContain('Z(I)');
    expect([bench.postgres.sessions.length, second.backends]).toEqual([1, 1]);
    bench.advance(2000);
  });

  test('the next one is tried when the first refuses, and nobody notices', () => {
    const bench = scene({}, two);
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    const second = bench.postgresAt('10.0.0.2');
    for (let i = 0; i < 4; i++) expect(begin(bench).takeSummary()).toContain('Z(I)');
    expect(second.sessions.length).toBeGreaterThan(0);
  });

  test('the next one is tried when the first is silent', () => {
    const bench = scene({ server_connect_timeout: 3 }, two);
    bench.expectServers('connect_timeout');
    bench.postgres.accepting = 'hang';
    bench.postgresAt('10.0.0.2');
    const alice = begin(bench);
    bench.advance(3400);
    expect(alice.takeSummary()).toContain('Z(I)');
  });

  test('all of them fail: one error, one attempt at each', () => {
    const bench = scene({}, two);
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    bench.postgresAt('10.0.0.2').accepting = 'refuse';
    expect(begin(bench).takeSummary()).toBe('E(08006)');
    expect(bench.environment.dials.map(({ host }) => host)).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  test('a login that the first refuses is not tried elsewhere', () => {
    const bench = scene({}, two);
    bench.expectServers('login_failed');
    bench.postgresAt('10.0.0.2');
    bench.postgres.onStartup = (session) => session.refuseLogin('28P01');
    expect(begin(bench).takeSummary()).toBe('E(28P01)');
    expect(bench.environment.dials).toHaveLength(1);
  });

  test('while the first attempt closes, a shutdown opens no second one', () => {
    const bench = scene({ server_connect_timeout: 3 }, two);
    bench.expectServers('connect_timeout');
    bench.expectClients('shutdown');
    bench.postgres.onStartup = (session) => {
      session.ignoresEnd = true;
    };
    const second = bench.postgresAt('10.0.0.2');
    begin(bench);
    bench.advance(3400);
    expect(bench.pool().servers.in('closing').size).toBe(1);
    bench.drain();
    bench.advance(30_000);
    expect(second.sessions).toEqual([]);
    expect(bench.isEmpty).toBe(true);
  });
});

describe('names', () => {
  test('are resolved, all their addresses used in turn, and a change drains the old ones', async () => {
    const bench = scene({ pool_size: 4 }, { databases: { app: 'host=db.example' } });
    bench.expectServers('address_changed');
    bench.environment.names.set('db.example', ['10.0.0.1', '10.0.0.2']);
    const second = bench.postgresAt('10.0.0.2');
    const third = bench.postgresAt('10.0.0.3');
    const alice = begin(bench);
    await bench.settle();
    expect(alice.takeSummary()).toContain('Z(I)');
    const bob = bench.client();
    alice.query('BEGIN');
    bob.query('BEGIN');
    expect([bench.postgres.backends, second.backends]).toEqual([1, 1]);
    bench.environment.names.set('db.example', ['10.0.0.3']);
    bob.query('COMMIT');
    bench.advance(61_000);
    await bench.settle();
    // Bob's was idle and is gone; Alice's serves until the end of her transaction.
    expect(bench.postgres.backends + second.backends).toBe(1);
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    bench.run();
    expect(bench.postgres.backends + second.backends).toBe(0);
    alice.query('SELECT a');
    expect(third.backends).toBe(1);
  });

  test('of several hosts: a change drains the servers of that name only', async () => {
    const bench = scene({ pool_size: 4 }, { databases: { app: 'host=a.example,b.example' } });
    bench.expectServers('address_changed');
    bench.environment.names.set('a.example', ['10.0.0.1']);
    bench.environment.names.set('b.example', ['10.0.0.2']);
    const second = bench.postgresAt('10.0.0.2');
    const third = bench.postgresAt('10.0.0.3');
    const alice = begin(bench);
    await bench.settle();
    const bob = bench.client();
    alice.query('BEGIN');
    bob.send(m.query('BEGIN'));
    await bench.settle();
    expect([bench.postgres.backends, second.backends]).toEqual([1, 1]);
    for (const client of [alice, bob]) client.query('COMMIT');
    bench.environment.names.set('a.example', ['10.0.0.3']);
    bench.advance(61_000);
    await bench.settle();
    expect([bench.postgres.backends, second.backends, third.backends]).toEqual([0, 1, 0]);
  });

  test('that do not exist are an error for who waits', async () => {
    const bench = scene({}, { databases: { app: 'host=nowhere.example' } });
    const alice = begin(bench);
    await bench.settle();
    expect(alice.takeSummary()).toBe('E(08006)');
    expect(alice.exchange(m.sync())).toBe('');
  });
});
