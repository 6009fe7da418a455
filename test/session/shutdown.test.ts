/** Draining and cutting: who may finish, who is told what, and that nothing is left. */
import { describe, expect, test } from 'vitest';
import { type BenchSettings, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m } from '../support/wire.ts';

function scene(settings: BenchSettings = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings });
  bench.expectClients('shutdown', 'server_unavailable');
  bench.expectServers('shutdown');
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

describe('a drain', () => {
  test('ends idle clients with 57P01 and closes idle servers with Terminate', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.drain();
    const [error] = alice.take();
    expect([errorFields(error!).get('V'), errorFields(error!).get('C')]).toEqual(['FATAL', '57P01']);
    expect(bob.takeSummary()).toBe('E(57P01)');
    expect(postgres.received.at(-1)!.type).toBe('X');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('lets a transaction end, then ends its client', () => {
    const { bench, alice } = scene();
    alice.query('BEGIN');
    alice.query('INSERT kept');
    bench.drain();
    expect(alice.query('INSERT too')).toBe('C(INSERT 0 1) Z(T)');
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P01)');
    expect(bench.postgres.rows).toEqual(['kept', 'too']);
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('lets a running query end', () => {
    const { bench, alice, postgres } = scene();
    alice.query('SLEEP');
    bench.drain();
    expect(alice.isEnded).toBe(false);
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I) E(57P01)');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('tells those who wait', () => {
    const { bench, alice, bob } = scene();
    alice.query('BEGIN');
    bob.query('SELECT b');
    bench.drain();
    expect(bob.takeSummary()).toBe('E(57P01)');
    alice.query('ROLLBACK');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('tells those who log in, at any stage', () => {
    const { bench } = scene();
    const silent = bench.connect();
    const half = bench.connect();
    half.exchange(m.startup({ user: 'app' }).subarray(0, 6));
    bench.drain();
    expect([silent.takeSummary(), half.takeSummary()]).toEqual(['E(57P01)', 'E(57P01)']);
    // Who is accepted in the same moment gets no server either.
    const late = bench.connect();
    late.sendStartup();
    bench.run();
    expect(late.takeSummary()).toMatch(/^E\(57P01\)$/);
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('in session mode ends a session at its next boundary', () => {
    const { bench, alice } = scene({ pool_mode: 'session' });
    alice.query('BEGIN');
    bench.drain();
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P01)');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('while a server logs in, is prepared, recovers, is reset, or waits for a cancel', () => {
    for (const stage of ['login', 'prepare', 'recover', 'cancel'] as const) {
      const { bench, alice, postgres } = scene({ pool_size: 2 });
      bench.expectClients('eof');
      if (stage === 'login') {
        bench.postgres.onStartup = () => {};
        alice.query('BEGIN');
        bench.client().query('SELECT b');
      }
      if (stage === 'prepare') {
        postgres.holdReplies();
        bench.client({ parameters: { application_name: 'x' } }).query('SELECT c');
      }
      if (stage === 'recover') {
        alice.query('BEGIN');
        postgres.holdReplies();
        alice.vanish();
      }
      if (stage === 'cancel') {
        bench.postgres.cancelling = 'held';
        alice.query('SLEEP');
        bench.connect().exchange(m.cancel(alice.key));
        postgres.finish();
        bench.run();
      }
      bench.drain();
      if (stage === 'login') alice.query('COMMIT');
      for (const cancel of bench.postgres.cancels) cancel.close();
      postgres.releaseReplies();
      bench.advance(20_000);
      expect(bench.isEmpty).toBe(true);
    }
  });

  test('a pipeline in progress is answered to its end', () => {
    const { bench, alice, postgres } = scene();
    alice.exchange(m.query('SLEEP'), m.query('SELECT a'), m.extended('SELECT c'));
    bench.drain();
    postgres.finish();
    bench.run();
    expect(alice.takeSummary()).toBe('C(SELECT 1) Z(I) T D(a) C(SELECT 1) Z(I) 1 2 T D(c) C(SELECT 1) Z(I) E(57P01)');
  });
});

describe('a cut', () => {
  test('ends everything at once: clients are told, queries cancelled, sockets closed', () => {
    const { bench, alice } = scene({ pool_size: 3 });
    const carol = bench.client();
    alice.query('SLEEP');
    carol.query('BEGIN');
    carol.query('INSERT lost');
    bench.drain();
    bench.cut();
    expect([alice.takeSummary(), carol.takeSummary()]).toEqual(['E(57P01)', 'E(57P01)']);
    bench.advance(10_000);
    expect(bench.postgres.rows).toEqual([]);
    expect(bench.isEmpty).toBe(true);
  });

  test('does not wait for clients that do not close, or servers that do not', () => {
    const { bench, alice, postgres } = scene();
    postgres.takeOver().ignoresEnd = true;
    alice.query('SELECT a');
    alice.stream.pause();
    bench.drain();
    bench.cut();
    bench.advance(30_000);
    expect(bench.isEmpty).toBe(true);
  });
});

describe('PgBouncer’s WAIT_FOR_SERVERS', () => {
  test('gives out no server any more; who holds one keeps it to the end of its transaction', () => {
    const { bench, alice, bob } = scene();
    alice.query('BEGIN');
    bench.environment.post(() => {
      bench.router.stop({ severity: 'FATAL', sqlstate: '57P01', message: 'server shutting down' }, 'shutdown');
    });
    bench.run();
    expect(bob.query('SELECT b')).toBe('E(57P01)');
    expect(alice.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expect(bench.pool().servers.total).toBe(0);
    expect(alice.query('SELECT a')).toBe('E(57P01)');
  });
});
