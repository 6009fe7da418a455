/** The plain numbers that metrics are made of, counted along known conversations. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

describe('traffic', () => {
  test('queries, transactions and bytes', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    const { traffic } = bench.pool();
    const before = alice.chunks.reduce((sum, { length }) => sum + length, 0);
    const messages = [
      m.query('SELECT a'),
      m.query('BEGIN'),
      m.extended('SELECT a'),
      m.functionCall(1),
      m.query('COMMIT'),
      m.query('FAIL'),
    ];
    for (const message of messages) alice.exchange(message);
    expect([traffic.queries, traffic.transactions]).toEqual([6, 3]);
    expect(traffic.receivedBytes).toBe(messages.reduce((sum, { length }) => sum + length, 0));
    expect(traffic.sentBytes).toBe(alice.chunks.reduce((sum, { length }) => sum + length, 0) - before);
    expect([traffic.logins, traffic.assignments]).toEqual([1, 3]);
  });

  test('a pipeline counts each of its queries', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.exchange(m.query('SELECT a'), m.extended('SELECT b'), m.sync(), m.query('SELECT c'));
    const { traffic } = bench.pool();
    expect([traffic.queries, traffic.transactions, traffic.assignments]).toEqual([4, 4, 1]);
  });

  test('what the pooler asks for itself is no client’s', () => {
    const bench = sessionBench({ pool_size: 1, server_reset_query_always: true, server_check_delay: 0 });
    const alice = bench.client({ parameters: { application_name: 'alice' } });
    alice.query('SELECT a');
    bench.advance(1000);
    alice.query('SELECT a');
    expect(bench.server().queries.length).toBeGreaterThan(4);
    expect(bench.pool().traffic.queries).toBe(2);
  });

  test('time in queries, in transactions, and in the queue', () => {
    const bench = sessionBench({ pool_size: 1, query_wait_notify: 0 });
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    bench.advance(1000);
    alice.query('SLEEP');
    bench.advance(2000);
    bob.query('SELECT b');
    bench.advance(500);
    bench.server().finish();
    bench.run();
    bench.advance(250);
    alice.query('COMMIT');
    const { queryMs, transactionMs, waitMs } = bench.pool().traffic;
    expect({ queryMs, transactionMs, waitMs }).toEqual({ queryMs: 2500, transactionMs: 3750, waitMs: 750 });
  });
});

describe('connections', () => {
  test('are counted as they come and go, by reason', () => {
    const bench = sessionBench({ pool_size: 1, server_idle_timeout: 5 });
    bench.expectClients('eof');
    bench.expectServers('idle_timeout', 'eof');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('SELECT a');
    bench.advance(6000);
    bob.query('SELECT b');
    bench.server(1).die('exit');
    bench.run();
    alice.leave();
    bob.vanish();
    const pool = bench.pool();
    expect([pool.connects, pool.clients, pool.closedUnconfirmed]).toEqual([2, 0, 0]);
    expect(Object.fromEntries(pool.closedServers)).toEqual({ idle_timeout: 1, eof: 1 });
    expect(Object.fromEntries(bench.registry.closed)).toEqual({ terminated: 1, eof: 1 });
  });

  test('refused ones by their SQLSTATE', () => {
    const bench = sessionBench({ max_client_conn: 1 });
    bench.client();
    bench.connect().sendStartup();
    bench.connect().sendStartup({ database: 'none' });
    bench.connect().send(m.startup({}));
    bench.run();
    expect(Object.fromEntries(bench.registry.refused)).toEqual({ '53300': 1, '3D000': 1, '28000': 1 });
  });
});
