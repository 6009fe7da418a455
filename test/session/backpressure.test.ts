/** Slow peers (DESIGN §3, "Backpressure"; §5, whose memory): who is full stops its source, and nothing locks up or grows. */
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, rowValues, server as s, type WireMessage } from '../support/wire.ts';

const KB = 1024;

function rowsIn(messages: readonly WireMessage[]): string[] {
  return messages.filter(({ type }) => type === 'D').map((row) => rowValues(row)[0] ?? '');
}

/** A client that takes `capacity` bytes and does not read. */
function slowClient(capacity: number, settings: BenchSettings = {}, setup: BenchSetup = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings }, setup);
  const alice = bench.client({ capacity });
  const bob = bench.client();
  alice.query('SELECT first');
  alice.stream.pause();
  return { bench, alice, bob, postgres: bench.server() };
}

/** Two results, of which neither alone is more than one chunk: only the second one holds its server. */
function fillTwice(bench: SessionBench, client: SessionClient): void {
  client.query(`ROWS 300 ${'a'.repeat(100)}`);
  expect(bench.pool().servers.idle.size).toBe(1);
  client.query(`ROWS 400 ${'a'.repeat(100)}`);
  expect(bench.transportOf(client).unsentBytes).toBeGreaterThan(64 * KB);
  expect(bench.pool().servers.linked.size).toBe(1);
  expect([...bench.pool().servers.linked][0]!.ledger.idle).toBe(true);
}

const memories = [
  ['memory that is used again', {}],
  ['memory of its own', { ownMemory: true }],
] as const;

describe.each(memories)('a client that does not read, with chunks in %s', (_name, setup) => {
  test('stops its server; when it reads on, it gets every byte', () => {
    const { bench, alice, postgres } = slowClient(8 * KB, {}, setup);
    const rows = 20_000;
    alice.query(`ROWS ${rows} ${'x'.repeat(100)}`);
    const transport = bench.transportOf(alice);
    expect(bench.postgres.transportOf(postgres).isPaused).toBe(true);
    // One chunk at most waits in the pooler.
    expect(transport.unsentBytes).toBeLessThanOrEqual(64 * KB);
    expect(postgres.stream.transport.unsentBytes).toBeGreaterThan(500 * KB);
    alice.stream.resume();
    bench.run();
    const messages = alice.take();
    expect(rowsIn(messages)).toEqual(Array.from({ length: rows }, () => 'x'.repeat(100)));
    expect(messages.at(-1)?.type).toBe('Z');
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('does not hold the server for the last chunk: at most one waits in memory of its own', () => {
    const { bench, alice, bob, postgres } = slowClient(8 * KB, {}, setup);
    alice.query(`ROWS 300 ${'a'.repeat(100)}`);
    expect(bench.transportOf(alice).unsentBytes).toBeGreaterThan(20 * KB);
    expect(bench.pool().servers.idle.size).toBe(1);
    // The server goes on at once, into other memory; the bench checks that what was lent is not overwritten.
    expect(bob.column(`ROWS 300 ${'b'.repeat(100)}`)).toHaveLength(300);
    expect(bob.pid()).toBe(postgres.pid);
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toEqual(Array.from({ length: 300 }, () => 'a'.repeat(100)));
  });

  test('with more than one chunk waiting holds the server; the drain decides', () => {
    const { bench, alice, bob, postgres } = slowClient(1 * KB, {}, setup);
    fillTwice(bench, alice);
    expect(bob.query('SELECT b')).toBe('');
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toHaveLength(700);
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bob.pid()).toBe(postgres.pid);
  });

  test('goes on with another server while the first one’s bytes are still on their way', () => {
    const { bench, alice, bob } = slowClient(4 * KB, { pool_size: 2 }, setup);
    alice.query(`ROWS 300 ${'a'.repeat(100)}`);
    bob.query('BEGIN');
    const carol = bench.client();
    carol.query('BEGIN');
    alice.query(`ROWS 300 ${'c'.repeat(100)}`);
    carol.query('COMMIT');
    bob.query('COMMIT');
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toEqual([
      ...Array.from({ length: 300 }, () => 'a'.repeat(100)),
      ...Array.from({ length: 300 }, () => 'c'.repeat(100)),
    ]);
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('and is cut gives the server back, with its memory untouched by what comes next', () => {
    const { bench, alice, bob, postgres } = slowClient(4 * KB, {}, setup);
    bench.expectClients('eof', 'connection_error');
    alice.query(`ROWS 5000 ${'a'.repeat(100)}`);
    alice.crash();
    bench.advance(1000);
    expect(bob.column(`ROWS 5 ${'b'.repeat(100)}`)).toEqual(Array.from({ length: 5 }, () => 'b'.repeat(100)));
    expect(bob.pid()).toBe(postgres.pid);
  });
});

describe('a server that does not read', () => {
  test('stops its client, and gets every byte when it reads on', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.receiveCapacity = 8 * KB;
    const alice = bench.client();
    alice.query('SELECT first');
    const postgres = bench.server();
    postgres.stream.pause();
    const rows = 5000;
    alice.exchange(
      m.query('COPY IN'),
      ...Array.from({ length: rows }, (_, i) => m.copyData(`row ${i} ${'x'.repeat(200)}`)),
    );
    expect(bench.transportOf(alice).isPaused).toBe(true);
    expect(bench.postgres.transportOf(postgres).unsentBytes).toBeLessThanOrEqual(64 * KB);
    postgres.stream.resume();
    bench.run();
    expect(alice.exchange(m.copyDone())).toContain(`C(COPY ${rows}) Z(I)`);
    expect(bench.postgres.rows).toHaveLength(rows);
    expect(bench.postgres.rows.every((row, i) => row.startsWith(`row ${i} `))).toBe(true);
    expect(bench.transportOf(alice).isPaused).toBe(false);
  });

  test('and whose client goes is closed or recovered, not forgotten', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof', 'connection_error');
    bench.expectServers('abandoned', 'recovery_timeout');
    bench.postgres.receiveCapacity = 4 * KB;
    const alice = bench.client();
    const bob = bench.client();
    alice.query('SELECT first');
    const postgres = bench.server();
    postgres.stream.pause();
    alice.exchange(m.query(`SELECT ${'x'.repeat(300 * KB)}`));
    expect(bench.transportOf(alice).isPaused).toBe(true);
    alice.crash();
    // A stopped socket does not see the RST; what was read is written on when the server reads.
    postgres.stream.resume();
    bench.advance(10_000);
    expect(bob.query('SELECT b')).toContain('T D(b) C(SELECT 1) Z(I)');
  });
});

describe('a server that has answered, and has not read everything', () => {
  test('is given back when it has: late CopyData must not get to it behind somebody else’s query', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.receiveCapacity = 4 * KB;
    const alice = bench.client();
    const bob = bench.client();
    alice.query('COPY IN');
    const postgres = bench.server().takeOver();
    postgres.stream.pause();
    alice.exchange(m.copyData('late '.repeat(4 * KB)));
    expect(bench.postgres.transportOf(postgres).unsentBytes).toBeGreaterThan(0);
    postgres.send(s.error({ code: '22P04' }), s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('E(22P04) Z(I)');
    expect(bench.pool().servers.linked.size).toBe(1);
    expect(bob.query('SELECT b')).toBe('');
    postgres.stream.resume();
    bench.run();
    expect(postgres.takeTypes()).toBe('dQ');
    postgres.send(s.complete('SELECT 0'), s.ready('I'));
    bench.run();
    expect(bob.takeSummary()).toBe('C(SELECT 0) Z(I)');
  });
});

describe('both full at once', () => {
  test('a pipeline without reading goes on as soon as the client reads', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.postgres.receiveCapacity = 8 * KB;
    bench.postgres.poolerCapacity = 8 * KB;
    const alice = bench.client({ capacity: 8 * KB });
    alice.stream.pause();
    const queries = 2000;
    alice.exchange(...Array.from({ length: queries }, (_, i) => m.query(`SELECT ${i} ${'x'.repeat(300)}`)));
    const { wire } = bench.sessionOf(alice).options;
    expect(wire.paused).toBe(true);
    expect(bench.transportOf(alice).unsentBytes).toBeLessThanOrEqual(64 * KB);
    expect(bench.postgres.openTransports[0]!.unsentBytes).toBeLessThanOrEqual(64 * KB);
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take()).map((row) => row.split(' ')[0])).toEqual(
      Array.from({ length: queries }, (_, i) => i.toString()),
    );
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('more than 65,536 owed replies stop the client, not the process', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    alice.query('SELECT first');
    const postgres = bench.server();
    postgres.holdReplies();
    const syncs = 100_000;
    alice.exchange(Buffer.concat(Array.from({ length: syncs }, () => m.sync())));
    const { ledger } = [...bench.pool().servers.linked][0]!;
    expect(ledger.owed).toBeLessThanOrEqual(65_536 + 64 * KB);
    expect(postgres.received.length).toBeLessThan(syncs);
    postgres.releaseReplies();
    bench.run();
    expect(alice.takeSummary()).toBe(`Z(I)×${syncs}`);
    expect(bench.pool().servers.idle.size).toBe(1);
  });
});

describe('a batch without end', () => {
  test('of 100,000 messages before the first Sync is answered', () => {
    const bench = sessionBench({ pool_size: 1 });
    const alice = bench.client();
    const parses = 100_000;
    alice.exchange(Buffer.concat(Array.from({ length: parses }, () => m.parse('SELECT a'))));
    expect(alice.exchange(m.sync())).toMatch(/^1×\d+ Z\(I\)$/);
    expect(bench.pool().servers.idle.size).toBe(1);
  });
});

describe('a release that waits for a slow client', () => {
  test.each([
    ['a Flush', m.flush()],
    ['late CopyData', m.copyData('x')],
    ['a late CopyDone', m.copyDone()],
  ])('is not forgotten because of %s', (_what, message) => {
    const { bench, alice, bob } = slowClient(1 * KB);
    fillTwice(bench, alice);
    alice.exchange(message);
    alice.stream.resume();
    bench.run();
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('gives way to the client’s next query, on the same server', () => {
    const { bench, alice, bob } = slowClient(1 * KB);
    fillTwice(bench, alice);
    alice.exchange(m.query('SELECT a'));
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toHaveLength(701);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('a client that waits', () => {
  test('is read on into 64 KB, then stopped; everything is forwarded in the end', () => {
    const { bench, alice, bob } = slowClient(1_000_000);
    alice.stream.resume();
    bob.query('BEGIN');
    const queries = Array.from({ length: 3000 }, (_, i) => m.query(`SELECT ${i} ${'x'.repeat(100)}`));
    alice.exchange(...queries);
    const { wire } = bench.sessionOf(alice).options;
    expect(wire.keptBytes).toBeGreaterThanOrEqual(64 * KB);
    expect(wire.keptBytes).toBeLessThan(64 * KB * 2);
    expect(bench.transportOf(alice).isPaused).toBe(true);
    bob.query('COMMIT');
    expect(rowsIn(alice.take()).map((row) => row.split(' ')[0])).toEqual(queries.map((_, i) => i.toString()));
    expect(bench.transportOf(alice).isPaused).toBe(false);
  });

  test.each(['FIN', 'RST'])('is gone at once with a %s, although the pooler waits for a server', (how) => {
    const { bench, alice, bob } = slowClient(1_000_000);
    bench.expectClients('eof', 'connection_error');
    alice.stream.resume();
    bob.query('BEGIN');
    alice.query('INSERT never');
    if (how === 'FIN') alice.vanish();
    else alice.crash();
    expect(bench.pool().waiting.size).toBe(0);
    expect(bench.registry.clients.size).toBe(1);
    bob.query('COMMIT');
    expect(bench.postgres.rows).toEqual([]);
  });

  test('with a full hold is gone at query_wait_timeout', () => {
    const { bench, alice, bob } = slowClient(1_000_000, { query_wait_timeout: 10 });
    bench.expectClients('query_wait_timeout');
    alice.stream.resume();
    bob.query('BEGIN');
    alice.exchange(m.query(`SELECT ${'x'.repeat(300 * KB)}`));
    alice.stream.end();
    bench.run();
    expect(bench.pool().waiting.size).toBe(1);
    bench.advance(10_400);
    expect(bench.pool().waiting.size).toBe(0);
    expect(alice.takeSummary()).toBe('E(53300)');
  });

  test('with a full hold and its end behind it: seen when a server is found; what came before is done', () => {
    const { bench, alice, bob, postgres } = slowClient(1_000_000);
    bench.expectClients('eof');
    alice.stream.resume();
    bob.query('BEGIN');
    alice.exchange(m.query(`INSERT ${'x'.repeat(100 * KB)}`), m.query('BEGIN'), m.query('INSERT lost'));
    alice.vanish();
    expect(bench.pool().waiting.size).toBe(1);
    bob.query('COMMIT');
    expect(bench.postgres.rows).toHaveLength(1);
    expect(bench.registry.clients.size).toBe(1);
    expect(bob.pid()).toBe(postgres.pid);
  });

  test('a message larger than the hold is forwarded whole', () => {
    const { bench, alice, bob } = slowClient(1_000_000);
    alice.stream.resume();
    bob.query('BEGIN');
    const text = 'y'.repeat(500 * KB);
    alice.exchange(m.query(`SELECT ${text}`));
    bob.query('COMMIT');
    expect(rowsIn(alice.take())).toEqual([text]);
    expect(bench.pool().servers.idle.size).toBe(1);
  });
});

describe('the end of a slow client’s session', () => {
  test('a server’s FATAL is the last thing that it gets, also when it reads late', () => {
    const { bench, alice, postgres } = slowClient(4 * KB);
    bench.expectClients('server_lost');
    bench.expectServers('fatal_error');
    alice.query(`ROWS 500 ${'a'.repeat(100)}; FATAL 57P01`);
    expect(postgres.isGone).toBe(true);
    alice.stream.resume();
    bench.advance(5000);
    const messages = alice.take();
    expect(rowsIn(messages)).toHaveLength(500);
    expect(messages.at(-1)?.type).toBe('E');
    expect(alice.isEnded).toBe(true);
  });

  test('an error of the pooler’s waits behind what is queued', () => {
    const { bench, alice, postgres } = slowClient(4 * KB);
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    alice.query(`ROWS 500 ${'a'.repeat(100)}`);
    alice.query('BEGIN');
    postgres.die('exit');
    bench.run();
    alice.stream.resume();
    bench.advance(1000);
    const messages = alice.take();
    expect(rowsIn(messages)).toHaveLength(500);
    expect(messages.at(-1)?.type).toBe('E');
  });

  test('client_write_timeout ends who does not read, and frees the server', () => {
    const { bench, alice, bob } = slowClient(4 * KB, { client_write_timeout: 20 });
    bench.expectClients('write_timeout');
    alice.query(`ROWS 20000 ${'a'.repeat(100)}`);
    bench.advance(19_000);
    expect(bench.registry.clients.size).toBe(2);
    bench.advance(2000);
    expect(bench.registry.clients.size).toBe(1);
    bench.advance(6000);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('client_write_timeout spares who reads a little now and then', () => {
    const { bench, alice } = slowClient(4 * KB, { client_write_timeout: 20 });
    alice.query(`ROWS 20000 ${'a'.repeat(100)}`);
    for (let i = 0; i < 8; i++) {
      bench.advance(15_000);
      alice.stream.resume();
      bench.environment.post(() => alice.stream.pause());
      bench.run();
    }
    expect(bench.registry.clients.size).toBe(2);
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toHaveLength(20_000);
  });
});

describe('client_write_timeout with a released server', () => {
  test('does not matter: who holds nothing may take its time', () => {
    const { bench, alice, bob } = slowClient(4 * KB, { client_write_timeout: 5 });
    alice.query(`ROWS 300 ${'a'.repeat(100)}`);
    expect(bench.pool().servers.idle.size).toBe(1);
    bench.advance(60_000);
    expect(bench.registry.clients.size).toBe(2);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    alice.stream.resume();
    bench.run();
    expect(rowsIn(alice.take())).toHaveLength(300);
  });
});
