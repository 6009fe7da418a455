/**
 * Clients that leave in the middle of something (DESIGN §3, "A client that leaves"): what they had not finished leaves no
 * trace, and their server is either brought to a boundary and used again, or closed.
 */
import { describe, expect, test } from 'vitest';
import type { ServerCloseReason } from '../../src/base/close-reason.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

type Leave = 'Terminate' | 'EOF' | 'RST';
const ways: readonly Leave[] = ['Terminate', 'EOF', 'RST'];

function leave(client: SessionClient, how: Leave): void {
  if (how === 'Terminate') client.leave();
  else if (how === 'EOF') client.vanish();
  else client.crash();
}

interface Scene {
  readonly bench: SessionBench;
  readonly alice: SessionClient;
  readonly bob: SessionClient;
}

function scene(how: Leave, settings = {}): Scene {
  const bench = sessionBench({ pool_size: 1, ...settings });
  if (how !== 'Terminate') bench.expectClients('eof', 'connection_error');
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  bench.server().takeTypes();
  return { bench, alice, bob };
}

/** Bob is served by the server that Alice had, nothing of hers is there, and nothing was committed. */
function expectReused({ bench, bob }: Scene): void {
  expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
  expect(bob.pid()).toBe(bench.server(0).pid);
  expect(bench.postgres.sessions).toHaveLength(1);
  expect(bench.postgres.rows).toEqual([]);
}

/** Bob is served by another server, and nothing was committed. */
function expectReplaced({ bench, bob }: Scene, reason: ServerCloseReason): void {
  bench.expectServers(reason);
  bench.advance(1000);
  expect(bench.pool().closedServers.get(reason)).toBe(1);
  expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
  expect(bob.pid()).toBe(bench.server(1).pid);
  expect(bench.postgres.rows).toEqual([]);
}

describe.each(ways)('%s', (how) => {
  test('without a server', () => {
    const it = scene(how);
    leave(it.alice, how);
    expectReused(it);
    expect(it.bench.server().queries).toEqual(['SELECT first', 'TOKENS', 'PID']);
  });

  test('idle in a transaction: rolled back', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.query('INSERT uncommitted');
    leave(it.alice, how);
    expect(it.bench.server().queries.at(-1)).toBe('ROLLBACK');
    expect(it.bench.postgres.cancels).toEqual([]);
    expectReused(it);
  });

  test('in a failed transaction: rolled back', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.query('FAIL');
    leave(it.alice, how);
    expect(it.bench.server().queries.at(-1)).toBe('ROLLBACK');
    expectReused(it);
  });

  test('in a batch without a Sync: it is made to fail, for a Sync would commit it', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('INSERT uncommitted'));
    leave(it.alice, how);
    expect(it.bench.server().takeTypes()).toBe('PBEHBS');
    expectReused(it);
  });

  test('in a batch whose replies the client has seen', () => {
    const it = scene(how);
    expect(it.alice.exchange(m.batch('INSERT uncommitted'), m.flush())).toBe('1 2 C(INSERT 0 1)');
    leave(it.alice, how);
    expect(it.bench.postgres.cancels).toEqual([]);
    expectReused(it);
  });

  test('in a batch that has failed', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('INSERT uncommitted'), m.bind({ statement: 'none' }), m.flush());
    leave(it.alice, how);
    expectReused(it);
  });

  test('in a batch inside a transaction', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.exchange(m.batch('INSERT uncommitted'));
    leave(it.alice, how);
    expect(it.bench.server().queries.at(-1)).toBe('ROLLBACK');
    expectReused(it);
  });

  test('in a batch that begins a transaction', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('BEGIN'), m.batch('INSERT uncommitted'));
    leave(it.alice, how);
    expectReused(it);
  });

  test('in COPY IN of a simple query', () => {
    const it = scene(how);
    it.alice.query('COPY IN');
    it.alice.exchange(m.copyData('uncommitted'));
    leave(it.alice, how);
    expect(it.bench.server().takeTypes()).toBe('Qdf');
    expect(it.bench.postgres.cancels).toEqual([]);
    expectReused(it);
  });

  test('in COPY IN of the extended protocol', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('INSERT uncommitted'), m.batch('COPY IN'), m.flush());
    it.alice.exchange(m.copyData('uncommitted'));
    leave(it.alice, how);
    expect(it.bench.server().takeTypes()).toMatch(/f.*BS$/);
    expectReused(it);
  });

  test('in COPY IN with the Sync already sent', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('COPY IN'), m.sync());
    it.alice.exchange(m.copyData('uncommitted'));
    leave(it.alice, how);
    expectReused(it);
  });

  test('before a COPY IN was answered', () => {
    const it = scene(how);
    const postgres = it.bench.server();
    postgres.holdReplies();
    it.alice.exchange(m.query('COPY IN'), m.copyData('uncommitted'));
    leave(it.alice, how);
    postgres.releaseReplies();
    it.bench.run();
    it.bench.advance(1000);
    expectReused(it);
  });

  test('before a COPY IN of an open batch was answered', () => {
    const it = scene(how);
    const postgres = it.bench.server();
    postgres.holdReplies();
    it.alice.exchange(m.batch('COPY IN'), m.copyData('uncommitted'));
    leave(it.alice, how);
    postgres.releaseReplies();
    it.bench.run();
    it.bench.advance(1000);
    expectReused(it);
  });

  test('in COPY OUT', () => {
    const it = scene(how);
    const postgres = it.bench.server();
    postgres.holdReplies();
    it.alice.query('COPY OUT 3');
    leave(it.alice, how);
    postgres.releaseReplies();
    it.bench.run();
    expectReused(it);
  });

  test('in the middle of a message: the server is closed', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.exchange(m.query('INSERT uncommitted').subarray(0, 9));
    // A Terminate inside a message is part of the message.
    if (how === 'Terminate') it.bench.expectClients('eof');
    leave(it.alice, how);
    expectReplaced(it, 'abandoned');
    expect(it.bench.server().queries).not.toContain('INSERT uncommitted');
  });

  test('in the middle of a message in COPY IN: the server is closed', () => {
    const it = scene(how);
    it.alice.query('COPY IN');
    it.alice.exchange(m.copyData('uncommitted'), m.copyData('x'.repeat(100)).subarray(0, 50));
    if (how === 'Terminate') it.bench.expectClients('eof');
    leave(it.alice, how);
    expectReplaced(it, 'abandoned');
  });

  test('with only part of a header sent: nothing of it was forwarded', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.exchange(m.query('INSERT uncommitted').subarray(0, 4));
    // With the Terminate behind it, the header becomes that of another message, which is half sent.
    leave(it.alice, how === 'Terminate' ? 'EOF' : how);
    it.bench.expectClients('eof');
    expectReused(it);
  });

  test('while it waits for a server: the place in the queue is given up', () => {
    const it = scene(how);
    it.bob.query('BEGIN');
    it.alice.query('INSERT never');
    expect(it.bench.pool().waiting.size).toBe(1);
    // The Terminate lies behind the held query; what is seen is the end.
    it.bench.expectClients('eof');
    leave(it.alice, how);
    expect(it.bench.pool().waiting.size).toBe(0);
    expect(it.bob.query('COMMIT')).toBe('C(COMMIT) Z(I)');
    expectReused(it);
  });

  test('while a server is prepared for it', () => {
    const it = scene(how);
    const carol = it.bench.client({ parameters: { application_name: 'carol' } });
    const postgres = it.bench.server();
    postgres.holdReplies();
    carol.query('INSERT never');
    it.bench.expectClients('eof');
    leave(carol, how);
    postgres.releaseReplies();
    it.bench.run();
    expect(postgres.queries.at(-1)).toBe("SELECT pg_catalog.set_config('application_name','carol',false) IS NULL");
    expect(it.bob.column('SHOW application_name')).toEqual(['']);
    expectReused(it);
  });

  test('with a statement running: after Terminate it runs to its end, else it is cancelled', () => {
    const it = scene(how);
    it.alice.query('BEGIN');
    it.alice.query('INSERT uncommitted');
    it.alice.query('SLEEP');
    leave(it.alice, how);
    expect(it.bob.query('SELECT b')).toBe(how === 'Terminate' ? '' : 'T D(b) C(SELECT 1) Z(I)');
    expect(it.bench.postgres.cancels).toHaveLength(how === 'Terminate' ? 0 : 1);
    if (how === 'Terminate') {
      it.bench.server().finish();
      it.bench.run();
      expect(it.bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    }
    expectReused(it);
  });

  test('with a statement of an open batch running', () => {
    const it = scene(how);
    it.alice.exchange(m.batch('INSERT uncommitted'), m.batch('SLEEP'));
    leave(it.alice, how);
    expect(it.bench.postgres.cancels).toHaveLength(how === 'Terminate' ? 0 : 1);
    if (how === 'Terminate') {
      it.bench.server().finish();
      it.bench.run();
    }
    expectReused(it);
  });

  test('with a pipeline whose first query runs', () => {
    const it = scene(how);
    it.alice.exchange(m.query('SLEEP'), m.query('BEGIN'), m.query('INSERT uncommitted'));
    leave(it.alice, how);
    if (how === 'Terminate') it.bench.server().finish();
    it.bench.run();
    expectReused(it);
  });

  test('with rows on their way that it never read', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof', 'connection_error');
    const alice = bench.client({ capacity: 4096 });
    const bob = bench.client();
    alice.stream.pause();
    alice.query(`ROWS 2000 ${'x'.repeat(500)}`);
    leave(alice, how);
    bench.advance(1000);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).toBe(bench.server(0).pid);
  });

  test('in session mode: the reset follows', () => {
    const it = scene(how, { pool_mode: 'session' });
    it.alice.query('BEGIN');
    it.alice.query('INSERT uncommitted');
    leave(it.alice, how);
    expect(it.bench.server().queries.slice(-2)).toEqual(['ROLLBACK', 'DISCARD ALL']);
    expectReused(it);
  });
});

describe('what was sent before Terminate', () => {
  test('is committed, as it is without a pooler', () => {
    const it = scene('Terminate');
    it.alice.exchange(m.query('SLEEP'), m.query('INSERT committed'), m.terminate());
    it.bench.server().finish();
    it.bench.run();
    expect(it.bench.postgres.rows).toEqual(['committed']);
    expect(it.bob.pid()).toBe(it.bench.server(0).pid);
  });

  test('is answered, if the client still reads', () => {
    const it = scene('Terminate');
    expect(it.alice.exchange(m.query('SELECT a'), m.terminate())).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(it.alice.isEnded).toBe(true);
    expectReused(it);
  });

  test('opens a COPY IN: nobody will ever send its data, so the server is freed', () => {
    const it = scene('Terminate');
    it.alice.exchange(m.query('COPY IN'), m.terminate());
    it.bench.advance(1000);
    expectReused(it);
  });

  test('leaves a transaction open', () => {
    const it = scene('Terminate');
    it.alice.exchange(m.query('BEGIN'), m.query('INSERT uncommitted'), m.terminate());
    expectReused(it);
  });

  test('is followed by more: that is not looked at', () => {
    const it = scene('Terminate');
    it.alice.exchange(m.terminate(), m.query('INSERT never'), Buffer.from('garbage'));
    expectReused(it);
  });
});
