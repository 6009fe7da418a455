/** How long a server that its client has left may take: abandoned_query_timeout, server_recovery_timeout. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

function scene(settings = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings });
  bench.expectClients('eof', 'abandoned_query_timeout');
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

describe('abandoned_query_timeout', () => {
  test('cancels what runs on after Terminate', () => {
    const { bench, alice, bob, postgres } = scene({ abandoned_query_timeout: 10 });
    alice.query('SLEEP');
    alice.leave();
    expect(bob.query('SELECT b')).toBe('');
    bench.advance(9000);
    expect(bench.postgres.cancels).toEqual([]);
    bench.advance(1500);
    expect(bench.postgres.cancels).toHaveLength(1);
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).toBe(postgres.pid);
  });

  test('also when the client has not closed its socket after Terminate', () => {
    const { bench, alice, bob, postgres } = scene({ abandoned_query_timeout: 10 });
    alice.exchange(m.query('SLEEP'), m.terminate());
    bench.advance(11_000);
    expect(bench.postgres.cancels).toHaveLength(1);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).toBe(postgres.pid);
  });

  test('0 lets it run for ever', () => {
    const { bench, alice, postgres } = scene({ abandoned_query_timeout: 0 });
    alice.query('SLEEP');
    alice.leave();
    bench.advance(1_800_000);
    expect(bench.postgres.cancels).toEqual([]);
    postgres.finish();
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(1);
  });
});

describe('server_recovery_timeout', () => {
  test('closes a server that does not hear the cancel', () => {
    const { bench, alice, bob, postgres } = scene({ server_recovery_timeout: 5 });
    bench.expectServers('recovery_timeout');
    postgres.takeOver();
    alice.query('SELECT slow');
    alice.vanish();
    expect(bench.postgres.cancels).toHaveLength(1);
    bench.advance(4500);
    expect(bench.pool().servers.in('recovering').size).toBe(1);
    bench.advance(700);
    expect(bench.pool().servers.in('recovering').size).toBe(0);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).not.toBe(postgres.pid);
  });

  test('counts after Terminate only from the end of the last statement', () => {
    const { bench, alice, postgres } = scene({ server_recovery_timeout: 5 });
    bench.expectServers('recovery_timeout');
    alice.query('BEGIN');
    alice.query('SLEEP');
    alice.leave();
    bench.advance(30_000);
    expect(postgres.queries.at(-1)).toBe('SLEEP');
    expect(postgres.isGone).toBe(false);
    postgres.takeOver();
    postgres.finish();
    bench.run();
    // The ROLLBACK is not answered.
    expect(postgres.takeTypes()).toBe('Q');
    bench.advance(4500);
    expect(bench.pool().servers.in('recovering').size).toBe(1);
    bench.advance(700);
    expect(bench.pool().closedServers.get('recovery_timeout')).toBe(1);
  });

  test('also holds when ROLLBACK is refused: the server is closed', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.expectServers('abandoned');
    alice.query('BEGIN');
    postgres.takeOver();
    alice.leave();
    expect(postgres.takeTypes()).toBe('Q');
    postgres.send(s.error({ code: 'XX000' }), s.ready('T'));
    bench.run();
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).not.toBe(postgres.pid);
  });

  test('the server is not used before the cancel connection has closed, and ROLLBACK waits for it too', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.postgres.cancelling = 'held';
    alice.query('BEGIN');
    alice.query('SLEEP');
    alice.vanish();
    const [cancel] = bench.postgres.cancels;
    cancel!.deliver();
    bench.run();
    expect(bob.query('SELECT b')).toBe('');
    expect(postgres.queries.at(-1)).toBe('SLEEP');
    cancel!.close();
    bench.run();
    expect(postgres.queries.slice(-2)).toEqual(['ROLLBACK', 'SELECT b']);
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('a cancel that has nothing left to cancel is not sent', () => {
    const { bench, alice, bob, postgres } = scene();
    postgres.holdReplies();
    alice.query('SELECT a');
    // The answer comes in the same moment in which the client goes.
    alice.stream.end();
    postgres.releaseReplies();
    bench.run();
    expect(bench.postgres.cancels).toEqual([]);
    expect(bob.pid()).toBe(postgres.pid);
  });
});
