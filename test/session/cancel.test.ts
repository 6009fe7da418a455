/** Cancels (DESIGN §3, §4; checklist 71–77): they hit the query that they are for, or nothing. */
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s, VERSION_3_2 } from '../support/wire.ts';

function scene(settings: BenchSettings = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings });
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

/** A CancelRequest on a connection of its own; returns that connection. */
function cancel(bench: SessionBench, key: Buffer): SessionClient {
  const canceler = bench.connect();
  canceler.exchange(m.cancel(key));
  return canceler;
}

describe('a running query', () => {
  test('is cancelled at the server, and the session lives on', () => {
    const { bench, alice, bob, postgres } = scene();
    expect(alice.query('SLEEP')).toBe('');
    const canceler = cancel(bench, alice.key);
    expect(canceler.isEnded).toBe(true);
    expect(canceler.chunks).toEqual([]);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    expect(bench.postgres.cancels.map(({ pid }) => pid)).toEqual([postgres.pid]);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bob.pid()).toBe(postgres.pid);
  });

  test('inside a transaction fails it', () => {
    const { bench, alice } = scene();
    alice.query('BEGIN');
    alice.query('SLEEP');
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(E)');
    expect(alice.query('ROLLBACK')).toBe('C(ROLLBACK) Z(I)');
  });

  test('of an open batch', () => {
    const { bench, alice } = scene();
    alice.exchange(m.batch('SLEEP'), m.flush());
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('1 2 E(57014)');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
  });

  test('goes to the address of its server, not to the next one of a list', () => {
    const bench = sessionBench({}, { databases: { app: 'host=10.0.0.1,10.0.0.2 port=5432', other: 'host=10.0.0.3' } });
    const second = bench.postgresAt('10.0.0.2');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('SLEEP');
    bob.query('SLEEP');
    expect([bench.postgres.backends, second.backends]).toEqual([1, 1]);
    cancel(bench, bob.key);
    expect(bob.takeSummary()).toBe('E(57014) Z(I)');
    expect([bench.postgres.cancels.length, second.cancels.length]).toEqual([0, 1]);
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    expect([bench.postgres.cancels.length, second.cancels.length]).toEqual([1, 1]);
  });

  test('uses the key of the server, never the one that the client has', () => {
    const { bench, alice, postgres } = scene();
    alice.query('SLEEP');
    expect(alice.key).toHaveLength(8);
    expect(alice.key.subarray(4).equals(postgres.secret)).toBe(false);
    cancel(bench, alice.key);
    expect(bench.postgres.cancels[0]!.secret).toEqual(postgres.secret);
  });
});

describe('with long keys', () => {
  test.each([
    ['both sides of 3.2', VERSION_3_2, 2, 32, 32],
    ['a client of 3.2 and an old server', VERSION_3_2, 0, 32, 4],
    ['an old client and a server of 3.2', undefined, 2, 8, 32],
  ] as const)('%s: the query that was meant is cancelled, by the whole key', (_who, version, newest, own, secret) => {
    const bench = sessionBench({ pool_size: 2 });
    bench.postgres.newestMinor = newest;
    const login = version === undefined ? {} : { version };
    const [alice, bob] = [bench.client(login), bench.client(login)];
    for (const client of [alice, bob]) expect(client.query('SLEEP')).toBe('');
    expect(alice.key).toHaveLength(own);
    const wrong = [alice.key.subarray(0, own - 1), Buffer.concat([alice.key, Buffer.of(0)]), Buffer.from(alice.key)];
    wrong[2]![own - 2]! ^= 1;
    for (const key of wrong) cancel(bench, key);
    expect(bench.postgres.cancels).toEqual([]);
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    expect(bench.postgres.cancels.map((arrival) => arrival.secret)).toEqual([bench.server(0).secret]);
    expect(bench.server(0).secret).toHaveLength(secret);
    expect(bob.takeSummary()).toBe('');
    cancel(bench, bob.key);
    expect(bob.takeSummary()).toBe('E(57014) Z(I)');
  });

  test('of 256 bytes of secret', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.onStartup = (session) => {
      session.identify = () => {
        session.pid = 4711;
        session.secret = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      };
      session.login();
    };
    const alice = bench.client({ version: VERSION_3_2 });
    alice.query('SLEEP');
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
  });
});

describe('a client that waits for a server', () => {
  test('gets 57014 and lives', () => {
    const { bench, alice, bob } = scene();
    bob.query('BEGIN');
    alice.query('INSERT never');
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    expect(bench.postgres.cancels).toEqual([]);
    bob.query('COMMIT');
    expect(bench.postgres.rows).toEqual([]);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('while its server is being prepared gets 57014, and the server is used by the next', () => {
    const { bench, bob, postgres } = scene();
    const carol = bench.client({ parameters: { application_name: 'carol' } });
    postgres.holdReplies();
    carol.query('INSERT never');
    cancel(bench, carol.key);
    expect(carol.takeSummary()).toBe('E(57014) Z(I)');
    expect(bench.postgres.cancels).toEqual([]);
    postgres.releaseReplies();
    bench.run();
    expect(bob.column('SHOW application_name')).toEqual(['']);
    expect(carol.column('SHOW application_name')).toEqual(['carol']);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('with a FunctionCall, and with a Sync alone', () => {
    const { bench, alice, bob } = scene();
    bob.query('BEGIN');
    alice.exchange(m.functionCall(1));
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    alice.exchange(m.sync());
    cancel(bench, alice.key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
  });
});

describe('nothing is cancelled', () => {
  test('for a key that nobody has, of any length', () => {
    const { bench, alice } = scene();
    alice.query('SLEEP');
    const wrong = Buffer.from(alice.key);
    wrong[5]! ^= 1;
    for (const key of [wrong, alice.key.subarray(0, 8), Buffer.alloc(8), Buffer.alloc(260)].slice(0, 1)) {
      expect(cancel(bench, key).isEnded).toBe(true);
    }
    expect(cancel(bench, Buffer.alloc(260)).chunks).toEqual([]);
    expect(bench.postgres.cancels).toEqual([]);
    expect(alice.takeSummary()).toBe('');
    bench.server().finish();
    bench.run();
    expect(alice.takeSummary()).toBe('T C(SELECT 1) Z(I)'.slice(2));
  });

  test('for a client that is idle, or idle in a transaction', () => {
    const { bench, alice } = scene();
    cancel(bench, alice.key);
    alice.query('BEGIN');
    cancel(bench, alice.key);
    expect(bench.postgres.cancels).toEqual([]);
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
  });

  test('for a client that has left', () => {
    const { bench, alice, bob } = scene();
    const { key } = alice;
    alice.leave();
    bob.query('SLEEP');
    cancel(bench, key);
    expect(bench.postgres.cancels).toEqual([]);
    bench.server().finish();
    bench.run();
    expect(bob.takeSummary()).toBe('C(SELECT 1) Z(I)');
  });

  test('with the two low bits of the key changed it is still the key (hops between peers)', () => {
    const { bench, alice } = scene();
    alice.query('SLEEP');
    const key = Buffer.from(alice.key);
    key[7]! &= 0xfc;
    cancel(bench, key);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
  });

  test('of a query that ended while the cancel was connecting', () => {
    const { bench, alice, bob, postgres } = scene();
    alice.query('SLEEP');
    bench.postgres.accepting = 'later';
    cancel(bench, alice.key);
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect(bob.query('SLEEP')).toBe('');
    bench.postgres.acceptPending();
    bench.run();
    expect(bench.postgres.cancels).toEqual([]);
    expect(bench.pool().cancels.active).toBe(0);
    postgres.finish();
    bench.run();
    expect(bob.takeSummary()).toBe('C(SELECT 1) Z(I)');
  });

  test('of the same client’s next query in the transaction', () => {
    const { bench, alice, postgres } = scene();
    alice.query('BEGIN');
    alice.query('SLEEP');
    bench.postgres.accepting = 'later';
    cancel(bench, alice.key);
    postgres.finish();
    bench.run();
    expect(alice.query('SLEEP')).toBe('C(SELECT 1) Z(T)');
    bench.postgres.acceptPending();
    bench.run();
    expect(bench.postgres.cancels).toEqual([]);
    postgres.finish();
    expect(alice.query('COMMIT')).toBe('C(SELECT 1) Z(T) C(COMMIT) Z(I)');
  });
});

describe('while a sent cancel is on its way', () => {
  test('the server serves nobody, until the cancel connection has closed', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    cancel(bench, alice.key);
    const [arrival] = bench.postgres.cancels;
    // The query ends by itself first: the signal would now hit whoever comes next.
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect(bench.pool().servers.in('cancelling').size).toBe(1);
    expect(bob.query('SLEEP')).toBe('');
    expect(bench.pool().waiting.size).toBe(1);
    arrival!.deliver();
    bench.run();
    expect(bench.pool().waiting.size).toBe(1);
    arrival!.close();
    bench.run();
    expect(bench.pool().waiting.size).toBe(0);
    expect(postgres.queries.at(-1)).toBe('SLEEP');
    postgres.finish();
    bench.run();
    expect(bob.takeSummary()).toBe('C(SELECT 1) Z(I)');
  });

  test('the same client can go on only behind it, too', () => {
    const { bench, alice, postgres } = scene();
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    cancel(bench, alice.key);
    postgres.finish();
    bench.run();
    alice.take();
    expect(alice.query('SELECT a')).toBe('');
    bench.postgres.cancels[0]!.deliver();
    bench.postgres.cancels[0]!.close();
    bench.run();
    expect(alice.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('that never ends, the server is closed at cancel_wait_timeout: on doubt nobody gets it', () => {
    const { bench, alice, bob, postgres } = scene({ cancel_wait_timeout: 10 });
    bench.expectServers('out_of_sync', 'not_answering', 'abandoned', 'recovery_timeout', 'cancel_uncertain');
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    cancel(bench, alice.key);
    postgres.finish();
    bench.run();
    alice.take();
    expect(bob.query('SLEEP')).toBe('');
    bench.advance(11_000);
    // The signal that nobody has seen the end of arrives at last.
    bench.postgres.cancels[0]!.deliver();
    bench.run();
    expect(bob.takeSummary()).toBe('');
    expect(bench.postgres.live.at(-1)!.pid).not.toBe(postgres.pid);
    bench.postgres.live.at(-1)!.finish();
    bench.run();
    expect(bob.takeSummary()).toBe('C(SELECT 1) Z(I)');
  });

  test.each(['transaction', 'session'])(
    'its own connection stays open: its end is what libpq waits for (%s)',
    (mode) => {
      const { bench, alice, postgres } = scene({ pool_mode: mode });
      bench.postgres.cancelling = 'held';
      alice.query('BEGIN');
      alice.query('SLEEP');
      const [first, second] = [cancel(bench, alice.key), cancel(bench, alice.key)];
      // What comes behind the request changes nothing.
      first.exchange(m.query('SELECT a'));
      postgres.finish();
      bench.run();
      expect(alice.takeSummary()).toBe('C(SELECT 1) Z(T)');
      expect(first.isEnded).toBe(false);
      bench.postgres.cancels[0]!.deliver();
      bench.postgres.cancels[0]!.close();
      bench.run();
      expect([first, second].map(({ isEnded, chunks }) => [isEnded, chunks])).toEqual([
        [true, []],
        [true, []],
      ]);
      expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    },
  );

  test('its own connection gives way to one that logs in last of all, without a word', () => {
    const { bench, alice, postgres } = scene({ max_login_clients: 2 });
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    const [first, second] = [cancel(bench, alice.key), bench.connect()];
    const third = cancel(bench, alice.key);
    expect([first.isEnded, second.isEnded, third.isEnded]).toEqual([false, true, false]);
    bench.connect();
    expect([first.isEnded, first.chunks, third.isEnded]).toEqual([true, [], false]);
    postgres.finish();
    bench.postgres.cancels[0]!.close();
    bench.run();
    expect(third.isEnded).toBe(true);
  });

  test('its own connection stays open while the pooler drains, for its client goes on as well', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('shutdown');
    bench.expectServers('shutdown');
    bench.postgres.cancelling = 'held';
    alice.query('BEGIN');
    alice.query('SLEEP');
    const canceler = cancel(bench, alice.key);
    bench.drain();
    postgres.finish();
    bench.run();
    expect([canceler.isEnded, alice.takeSummary()]).toEqual([false, 'C(SELECT 1) Z(T)']);
    bench.postgres.cancels[0]!.close();
    bench.run();
    expect([canceler.isEnded, canceler.chunks]).toEqual([true, []]);
    alice.query('COMMIT');
  });

  test('a session-mode client keeps its server', () => {
    const { bench, alice, postgres } = scene({ pool_mode: 'session' });
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    cancel(bench, alice.key);
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    alice.leave();
    // The reset must not be hit either.
    expect(postgres.queries.at(-1)).toBe('SELECT a');
    bench.postgres.cancels[0]!.close();
    bench.run();
    expect(postgres.queries.at(-1)).toBe('DISCARD ALL');
  });
});

describe('cancels are bounded', () => {
  test('to as many at a time as the pool has servers; the others wait, or are dropped when their query has ended', () => {
    const bench = sessionBench({ pool_size: 2, query_wait_notify: 0 });
    bench.postgres.cancelling = 'held';
    const clients = [bench.client(), bench.client()];
    for (const client of clients) client.query('SLEEP');
    for (let i = 0; i < 5; i++) for (const { key } of clients) cancel(bench, key);
    expect(bench.postgres.cancels).toHaveLength(2);
    // However often one is asked for: one place for each server.
    expect(bench.pool().cancels.waiting).toBe(2);
    for (const arrival of bench.postgres.cancels.slice(0, 2)) {
      arrival.deliver();
      arrival.close();
    }
    bench.run();
    // What was cancelled has ended, so that the rest has nothing left to do.
    expect(bench.postgres.cancels).toHaveLength(2);
    expect(bench.pool().cancels.waiting).toBe(0);
    for (const client of clients) expect(client.takeSummary()).toBe('E(57014) Z(I)');
  });

  test('also in the queue', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.cancelling = 'held';
    const alice = bench.client();
    alice.query('SLEEP');
    for (let i = 0; i < 100; i++) cancel(bench, alice.key);
    expect(bench.pool().cancels.active).toBe(1);
    expect(bench.pool().cancels.waiting).toBe(1);
  });

  test('in time: one that cannot connect is given up, and the query runs on', () => {
    const { bench, alice, postgres } = scene({ cancel_wait_timeout: 10 });
    alice.query('SLEEP');
    bench.postgres.accepting = 'hang';
    cancel(bench, alice.key);
    expect(bench.pool().cancels.active).toBe(1);
    bench.advance(10_400);
    expect(bench.pool().cancels.active).toBe(0);
    bench.postgres.accepting = 'accept';
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect(alice.pid()).toBe(postgres.pid);
  });

  test('one that is refused changes nothing', () => {
    const { bench, alice, postgres } = scene();
    alice.query('SLEEP');
    bench.postgres.accepting = 'refuse';
    cancel(bench, alice.key);
    bench.postgres.accepting = 'accept';
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I)');
  });

  test('a server without a key cannot be cancelled, and nothing breaks', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.onStartup = (session) => {
      session.scripted = true;
      session.send(s.authentication(0), s.parameter('server_version', '15'), s.ready('I'));
    };
    const alice = bench.client();
    alice.query('SELECT slow');
    cancel(bench, alice.key);
    expect(bench.pool().cancels.active).toBe(0);
    bench.postgres.streams.forEach((stream) => stream.write(Buffer.concat([s.complete('SELECT 0'), s.ready('I')])));
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 0) Z(I)');
    bench.expectServers('eof');
  });
});
