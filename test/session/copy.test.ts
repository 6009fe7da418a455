/**
 * COPY is part of the ledger (DESIGN §3, "The ledger"): for every order in which a client may send CopyData, CopyDone and
 * Sync around the server's answer, as many ReadyForQuery messages come as PostgreSQL sends, and none for the next client.
 */
import { describe, expect, test } from 'vitest';
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionClient } from '../support/session-client.ts';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

function copyBench() {
  const bench = sessionBench({ pool_size: 1 });
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

/** Bob gets exactly his own answer, on the same server, and nothing of Alice's is left. */
function expectShared(bob: SessionClient, postgres: ScriptedSession): void {
  expect(bob.query('SELECT bob')).toBe('T D(bob) C(SELECT 1) Z(I)');
  expect(bob.pid()).toBe(postgres.pid);
}

describe('COPY in a simple query', () => {
  test('data after the CopyInResponse', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.query('COPY IN')).toBe('G');
    expect(alice.exchange(m.copyData('r1'))).toBe('');
    expect(alice.exchange(m.copyData('r2'), m.copyDone())).toBe('C(COPY 2) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1', 'r2']);
    expectShared(bob, postgres);
  });

  test('data in one packet with the query', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(m.query('COPY IN'), m.copyData('r1'), m.copyDone())).toBe('G C(COPY 1) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1']);
    expectShared(bob, postgres);
  });

  test('CopyFail', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(m.query('COPY IN'), m.copyData('r1'), m.copyFail())).toBe('G E(57014) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expectShared(bob, postgres);
  });

  test('refused, with data and CopyDone in the same packet', () => {
    const { alice, bob, postgres } = copyBench();
    expect(alice.exchange(m.query('COPY REFUSED'), m.copyData('r1'), m.copyDone())).toBe('E(42P01) Z(I)');
    expectShared(bob, postgres);
  });

  test('bad data: what comes late is swallowed and holds no server', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(m.query('COPY IN'), m.copyData('bad'))).toBe('G E(22P04) Z(I)');
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(alice.exchange(m.copyData('r2'), m.copyDone())).toBe('');
    expectShared(bob, postgres);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
  });

  test('bad data while a CopyData is half forwarded: the rest of it does not hold the server for ever', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.query('COPY IN')).toBe('G');
    const late = m.copyData('late and long');
    postgres.holdReplies();
    expect(alice.exchange(m.copyData('bad'), late.subarray(0, 9))).toBe('');
    postgres.releaseReplies();
    bench.run();
    expect(alice.takeSummary()).toBe('E(22P04) Z(I)');
    expect(alice.exchange(late.subarray(9), m.copyDone())).toBe('');
    expectShared(bob, postgres);
  });

  test('two in one query', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.query('COPY IN; COPY IN')).toBe('G');
    expect(alice.exchange(m.copyData('r1'), m.copyDone())).toBe('C(COPY 1) G');
    expect(alice.exchange(m.copyData('r2'), m.copyDone())).toBe('C(COPY 2) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1', 'r2']);
    expectShared(bob, postgres);
  });

  test('two in one query, all data in one packet', () => {
    const { bench, alice, bob, postgres } = copyBench();
    const data = [m.copyData('r1'), m.copyDone(), m.copyData('r2'), m.copyDone()];
    expect(alice.exchange(m.query('COPY IN; COPY IN'), ...data)).toBe('G C(COPY 1) G C(COPY 2) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1', 'r2']);
    expectShared(bob, postgres);
  });

  test('two in one query, the first with bad data, all in one packet', () => {
    const { bench, alice, bob, postgres } = copyBench();
    const data = [m.copyData('bad'), m.copyDone(), m.copyData('r2'), m.copyDone()];
    expect(alice.exchange(m.query('COPY IN; COPY IN'), ...data)).toBe('G E(22P04) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expectShared(bob, postgres);
  });

  test('two in one query, the second refused, all in one packet', () => {
    const { bench, alice, bob, postgres } = copyBench();
    const data = [m.copyData('r1'), m.copyDone(), m.copyData('r2'), m.copyDone()];
    expect(alice.exchange(m.query('COPY IN; COPY REFUSED'), ...data)).toBe('G C(COPY 1) E(42P01) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expectShared(bob, postgres);
  });

  test('a needless Sync within the data is answered by nobody, and one after it by the server', () => {
    const { alice, bob, postgres } = copyBench();
    expect(alice.query('COPY IN')).toBe('G');
    expect(alice.exchange(m.copyData('r1'), m.sync(), m.flush(), m.copyData('r2'))).toBe('');
    expect(alice.exchange(m.copyDone(), m.sync())).toBe('C(COPY 2) Z(I)×2');
    expectShared(bob, postgres);
  });

  test('a Query before the data is complete ends the connection, and nothing is committed', () => {
    const { bench, alice, bob } = copyBench();
    bench.expectClients('server_lost');
    bench.expectServers('fatal_error', 'eof');
    expect(alice.query('COPY IN')).toBe('G');
    expect(alice.exchange(m.copyData('r1'), m.query('SELECT a'))).toBe('E(08P01)×2');
    expect(alice.isEnded).toBe(true);
    expect(bench.postgres.rows).toEqual([]);
    expect(bob.query('SELECT bob')).toBe('T D(bob) C(SELECT 1) Z(I)');
  });
});

const opener = (sql: string): Buffer[] => [m.parse(sql), m.bind(), m.execute()];

describe('COPY in the extended protocol', () => {
  test('Sync after CopyDone', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(...opener('COPY IN'), m.flush())).toBe('1 2 G');
    expect(alice.exchange(m.copyData('r1'), m.copyDone(), m.sync())).toBe('C(COPY 1) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1']);
    expectShared(bob, postgres);
  });

  test('Sync before the data and again after it, as libpq does', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(...opener('COPY IN'), m.sync())).toBe('1 2 G');
    expect(bob.query('SELECT early')).toBe('');
    expect(alice.exchange(m.copyData('r1'), m.copyDone(), m.sync())).toBe('C(COPY 1) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1']);
    expect(bob.takeSummary()).toBe('T D(early) C(SELECT 1) Z(I)');
    expectShared(bob, postgres);
  });

  test('Sync before the data, all in one packet', () => {
    const { bench, alice, bob, postgres } = copyBench();
    const data = [m.sync(), m.copyData('r1'), m.copyDone(), m.sync()];
    expect(alice.exchange(...opener('COPY IN'), ...data)).toBe('1 2 G C(COPY 1) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1']);
    expectShared(bob, postgres);
  });

  test('refused with a Sync before the data and one after it: both are answered', () => {
    const { alice, bob, postgres } = copyBench();
    const data = [m.sync(), m.copyData('r1'), m.copyDone(), m.sync()];
    expect(alice.exchange(...opener('COPY REFUSED'), ...data)).toBe('1 2 E(42P01) Z(I)×2');
    expectShared(bob, postgres);
  });

  test('bad data with a Sync before the data and one after it: only the second is answered', () => {
    const { alice, bob, postgres } = copyBench();
    const data = [m.sync(), m.copyData('bad'), m.copyDone(), m.sync()];
    expect(alice.exchange(...opener('COPY IN'), ...data)).toBe('1 2 G E(22P04) Z(I)');
    expectShared(bob, postgres);
  });

  test('a Sync after CopyData, before the opener is answered, waits for the answer: accepted', () => {
    const { bench, alice, bob, postgres } = copyBench();
    postgres.holdReplies();
    expect(alice.exchange(...opener('COPY IN'), m.copyData('r1'), m.sync(), m.copyData('r2'))).toBe('');
    // The server would ignore the Sync now, or answer it if it refused: nobody could tell which.
    expect(postgres.takeTypes()).toBe('QPBEdH');
    postgres.releaseReplies();
    bench.run();
    expect(postgres.takeTypes()).toBe('d');
    expect(alice.takeSummary()).toBe('1 2 G');
    expect(alice.exchange(m.copyDone(), m.sync())).toBe('C(COPY 2) Z(I)');
    expect(bench.postgres.rows).toEqual(['r1', 'r2']);
    expectShared(bob, postgres);
  });

  test('a Sync after CopyData, before the opener is answered, waits for the answer: refused', () => {
    const { bench, alice, bob, postgres } = copyBench();
    postgres.holdReplies();
    expect(alice.exchange(...opener('COPY REFUSED'), m.copyData('r1'), m.sync(), m.copyDone(), m.sync())).toBe('');
    expect(postgres.takeTypes()).not.toContain('S');
    postgres.releaseReplies();
    bench.run();
    expect(alice.takeSummary()).toBe('1 2 E(42P01) Z(I)×2');
    expectShared(bob, postgres);
  });

  test('without the server having flushed anything, a held Sync gets the answer that decides it', () => {
    const { bench, alice, bob, postgres } = copyBench();
    // What the statement returns stays in the server's buffer until somebody asks.
    expect(alice.exchange(...opener('SELECT a'), m.copyData('r1'), m.sync())).toBe('1 2 D(a) C(SELECT 1) Z(I)');
    expect(postgres.takeTypes()).toBe('QPBEdHS');
    expectShared(bob, postgres);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('bad data: the server drops what follows until the Sync', () => {
    const { bench, alice, bob, postgres } = copyBench();
    expect(alice.exchange(...opener('COPY IN'), m.flush())).toBe('1 2 G');
    expect(alice.exchange(m.copyData('bad'))).toBe('E(22P04)');
    expect(bob.query('SELECT early')).toBe('');
    expect(alice.exchange(m.copyData('r2'), m.copyDone(), m.parse('SELECT a'))).toBe('');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
    expect(bob.takeSummary()).toBe('T D(early) C(SELECT 1) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
    expectShared(bob, postgres);
  });

  test('a COPY that failed before its CopyDone, then a query in the same pipeline', () => {
    const { alice, bob, postgres } = copyBench();
    const pipeline = [m.copyData('bad'), m.copyDone(), m.sync(), m.query('SELECT next')];
    expect(alice.exchange(...opener('COPY IN'), ...pipeline)).toBe('1 2 G E(22P04) Z(I) T D(next) C(SELECT 1) Z(I)');
    expectShared(bob, postgres);
  });

  test('late CopyDone after the ReadyForQuery, then the next client, then a query', () => {
    const { alice, bob, postgres } = copyBench();
    expect(alice.exchange(...opener('COPY IN'), m.copyData('bad'), m.sync())).toBe('1 2 G E(22P04) Z(I)');
    expectShared(bob, postgres);
    expect(alice.exchange(m.copyDone(), m.sync())).toBe('Z(I)');
    expectShared(bob, postgres);
  });
});

describe('COPY OUT and COPY BOTH', () => {
  test('COPY OUT passes, in both protocols', () => {
    const { alice, bob, postgres } = copyBench();
    expect(alice.query('COPY OUT 3')).toBe('H d×3 c C(COPY 3) Z(I)');
    expect(alice.exchange(m.batch('COPY OUT 2'), m.sync())).toBe('1 2 H d×2 c C(COPY 2) Z(I)');
    expectShared(bob, postgres);
  });

  test('an unexpected CopyBothResponse ends with its client, and nobody gets the server', () => {
    const { bench, alice, bob, postgres } = copyBench();
    bench.expectServers('abandoned');
    bench.expectClients('eof');
    postgres.takeOver();
    alice.query('SELECT strange');
    postgres.send(s.copyBoth());
    bench.run();
    expect(alice.takeSummary()).toBe('W');
    expect(bob.query('SELECT bob')).toBe('');
    alice.vanish();
    bench.advance(10_000);
    expect(bob.takeSummary()).toBe('T D(bob) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });
});
