/**
 * An error of the pooler's must fail on the server too (DESIGN §3): after it a COMMIT commits nothing. Tried with
 * disable_pqexec, which refuses each simple Query.
 */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

const statement = (sql: string) => m.extended(sql);

function scene(settings = {}) {
  const bench = sessionBench({ pool_size: 1, disable_pqexec: true, ...settings });
  const alice = bench.client();
  const bob = bench.client();
  return { bench, alice, bob };
}

describe('a refused Query', () => {
  test('without a server is answered by the pooler alone', () => {
    const { bench, alice } = scene();
    expect(alice.query('SELECT a')).toBe('E(0A000) Z(I)');
    expect(bench.server().received).toEqual([]);
    expect(alice.exchange(statement('SELECT a'))).toBe('1 2 T D(a) C(SELECT 1) Z(I)');
  });

  test('whose body comes later is answered once, and skipped', () => {
    const { bench, alice } = scene();
    const query = m.query('SELECT something long');
    expect(alice.exchange(query.subarray(0, 10))).toBe('E(0A000) Z(I)');
    expect(alice.exchange(query.subarray(10), statement('SELECT a'))).toBe('1 2 T D(a) C(SELECT 1) Z(I)');
    expect(bench.server().takeTypes()).toBe('PBDES');
  });

  test('inside a transaction fails it: COMMIT leaves no row', () => {
    const { bench, alice, bob } = scene();
    alice.exchange(statement('BEGIN'));
    alice.exchange(statement('INSERT lost'));
    expect(alice.query('SELECT a')).toBe('E(0A000) Z(E)');
    expect(alice.exchange(statement('COMMIT'))).toBe('1 2 n C(ROLLBACK) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expect(bob.exchange(statement('TOKENS'))).toBe('1 2 T C(SELECT 0) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('with BEGIN still unanswered fails the transaction too', () => {
    const { bench, alice } = scene();
    alice.exchange(statement('SELECT first'));
    bench.server().holdReplies();
    expect(alice.exchange(statement('BEGIN'), statement('INSERT lost'), m.query('SELECT a'))).toBe('');
    expect(alice.exchange(statement('COMMIT'))).toBe('');
    bench.server().releaseReplies();
    bench.run();
    expect(alice.takeSummary()).toBe(
      '1 2 n C(BEGIN) Z(T) 1 2 n C(INSERT 0 1) Z(T) E(0A000) Z(E) 1 2 n C(ROLLBACK) Z(I)',
    );
    expect(bench.postgres.rows).toEqual([]);
  });

  test('in one packet with BEGIN and COMMIT: no row', () => {
    const { bench, alice } = scene();
    expect(alice.exchange(statement('BEGIN'), statement('INSERT lost'), m.query('SELECT a'), statement('COMMIT'))).toBe(
      '1 2 n C(BEGIN) Z(T) 1 2 n C(INSERT 0 1) Z(T) E(0A000) Z(E) 1 2 n C(ROLLBACK) Z(I)',
    );
    expect(bench.postgres.rows).toEqual([]);
  });

  test('in an open batch fails the batch', () => {
    const { bench, alice, bob } = scene();
    expect(alice.exchange(m.batch('INSERT lost'), m.query('SELECT a'))).toBe('1 2 C(INSERT 0 1) E(0A000) Z(I)');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expect(bob.exchange(statement('SELECT b'))).toBe('1 2 T D(b) C(SELECT 1) Z(I)');
  });

  test('in a batch that has failed is dropped by the server, as every Query is', () => {
    const { bench, alice, bob } = scene();
    expect(alice.exchange(m.bind({ statement: 'none' }), m.flush())).toBe('E(26000)');
    expect(alice.exchange(m.query('SELECT a'), m.sync())).toBe('Z(I)');
    // What was prepared for that refusal is not kept for a later one.
    expect(alice.exchange(m.batch('SELECT a'), m.query('SELECT a'))).toBe('1 2 D(a) C(SELECT 1) E(0A000) Z(I)');
    expect(bob.exchange(statement('SELECT b'))).toBe('1 2 T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('in a transaction that had failed before: the server is asked, and its status is the true one', () => {
    const { alice } = scene();
    alice.exchange(statement('BEGIN'));
    expect(alice.exchange(statement('FAIL'))).toBe('1 2 n E(22012) Z(E)');
    expect(alice.query('SELECT a')).toBe('E(0A000) Z(E)');
    expect(alice.exchange(statement('ROLLBACK'))).toBe('1 2 n C(ROLLBACK) Z(I)');
  });

  test('many in a row: each is answered once', () => {
    const { bench, alice } = scene();
    alice.exchange(statement('BEGIN'));
    expect(alice.exchange(...Array.from({ length: 20 }, () => m.query('SELECT a')))).toBe(
      Array.from({ length: 20 }, () => 'E(0A000) Z(E)').join(' '),
    );
    alice.exchange(statement('ROLLBACK'));
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('in session mode with an idle server is answered by the pooler alone', () => {
    const { bench, alice } = scene({ pool_mode: 'session' });
    alice.exchange(statement('SELECT first'));
    bench.server().takeTypes();
    expect(alice.query('SELECT a')).toBe('E(0A000) Z(I)');
    expect(bench.server().takeTypes()).toBe('');
  });
});

describe('an error in place of a server (a cancel while waiting)', () => {
  test('skips the rest of an extended batch until its Sync, and answers that once', () => {
    const { bench, alice, bob } = scene({ disable_pqexec: false });
    bob.query('BEGIN');
    expect(alice.exchange(m.batch('INSERT lost'))).toBe('');
    expect(bench.pool().waiting.size).toBe(1);
    const canceler = bench.connect();
    canceler.exchange(m.cancel(alice.key));
    expect(alice.takeSummary()).toBe('E(57014)');
    expect(alice.exchange(m.flush(), m.query('INSERT lost'), m.parse('INSERT lost'))).toBe('');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
    expect(bench.pool().waiting.size).toBe(0);
    bob.query('COMMIT');
    expect(bench.postgres.rows).toEqual([]);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('the next batch of a pipeline is served', () => {
    const { bench, alice, bob } = scene({ disable_pqexec: false });
    bob.query('BEGIN');
    alice.exchange(m.batch('INSERT lost'), m.sync(), m.extended('INSERT kept'));
    const canceler = bench.connect();
    canceler.exchange(m.cancel(alice.key));
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
    bob.query('COMMIT');
    expect(alice.takeSummary()).toBe('1 2 n C(INSERT 0 1) Z(I)');
    expect(bench.postgres.rows).toEqual(['kept']);
  });
});
