/** When a server is given back (DESIGN §3, "Release"): at the ReadyForQuery that ends everything, and at nothing else. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

/** One server and two clients, so that who may not have it has to wait. */
function twoClients(settings = {}) {
  const bench = sessionBench({ pool_size: 1, ...settings });
  return { bench, alice: bench.client(), bob: bench.client() };
}

describe('a server is shared', () => {
  test('after each simple query', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(alice.pid()).toBe(bob.pid());
    expect(bench.postgres.sessions).toHaveLength(1);
    expect(bench.pool().servers.idle.size).toBe(1);
  });

  test('after a Sync', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.exchange(m.extended('SELECT a'))).toBe('1 2 T D(a) C(SELECT 1) Z(I)');
    expect(bob.exchange(m.extended('SELECT b'))).toBe('1 2 T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('after a FunctionCall', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.exchange(m.functionCall(1))).toBe('V Z(I)');
    expect(bob.exchange(m.functionCall(2))).toBe('E(42883) Z(I)');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('after a query that failed', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.query('FAIL 22012')).toBe('E(22012) Z(I)');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('after an empty query and an empty batch', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.query('')).toBe('I Z(I)');
    expect(bob.exchange(m.sync())).toBe('Z(I)');
    expect(alice.exchange(m.extended(''))).toBe('1 2 n I Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('a server is kept', () => {
  test('inside a transaction, also a failed one, until its end', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.query('BEGIN')).toBe('C(BEGIN) Z(T)');
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.query('FAIL')).toBe('E(22012) Z(E)');
    expect(alice.query('SELECT a')).toBe('E(25P02) Z(E)');
    expect(bob.takeSummary()).toBe('');
    expect(alice.query('COMMIT')).toBe('C(ROLLBACK) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('although the tag says COMMIT, when the status says otherwise (COMMIT AND CHAIN)', () => {
    const { bench, alice, bob } = twoClients();
    alice.query('BEGIN');
    const postgres = bench.server().takeOver();
    expect(alice.query('COMMIT AND CHAIN')).toBe('');
    postgres.send(s.complete('COMMIT'), s.ready('T'));
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.takeSummary()).toBe('C(COMMIT) Z(T)');
    alice.query('COMMIT');
    postgres.send(s.complete('COMMIT'), s.ready('I'));
    bench.run();
    expect(postgres.takeTypes()).toBe('QQQ');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(bob.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('between Parse+Describe+Flush and Bind+Execute+Sync', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.exchange(m.parse('SELECT a'), m.describe('S'), m.flush())).toBe('1 t T');
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.exchange(m.bind(), m.execute(), m.sync())).toBe('2 D(a) C(SELECT 1) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server().takeTypes()).toBe('PDHBESQ');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('after a Bind that failed, until the Sync', () => {
    const { bench, alice, bob } = twoClients({ max_prepared_statements: 0 });
    expect(alice.exchange(m.bind({ statement: 'none' }), m.flush())).toBe('E(26000)');
    expect(bob.query('SELECT b')).toBe('');
    // The server drops it, and answers nothing.
    expect(alice.exchange(m.query('SELECT a'))).toBe('');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('until the last of many Syncs is answered', () => {
    const { bench, alice, bob } = twoClients();
    alice.query('SELECT first');
    const postgres = bench.server().takeOver();
    const syncs = 50;
    alice.send(...Array.from({ length: syncs }, () => m.extended('SELECT a')));
    expect(bob.query('SELECT b')).toBe('');
    for (let i = 1; i < syncs; i++) {
      postgres.send(s.parseComplete(), s.bindComplete(), s.noData(), s.complete('INSERT 0 0'), s.ready('I'));
      bench.run();
      expect(alice.takeSummary()).toBe('1 2 n C(INSERT 0 0) Z(I)');
      expect(bench.pool().servers.linked.size).toBe(1);
      expect(postgres.takeTypes()).not.toContain('Q');
    }
    postgres.send(s.parseComplete(), s.bindComplete(), s.noData(), s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(postgres.takeTypes()).toBe('Q');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(bob.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
  });

  test('while a Sync that was sent later is on its way (Query, then a batch, each answered on its own)', () => {
    const { bench, alice, bob } = twoClients();
    alice.query('SELECT first');
    const postgres = bench.server().takeOver();
    alice.send(m.query('SELECT a'), m.parse('SELECT c'), m.sync());
    expect(bob.query('SELECT b')).toBe('');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(postgres.takeTypes()).toBe('QPS');
    postgres.send(s.parseComplete(), s.ready('I'));
    bench.run();
    expect(postgres.takeTypes()).toBe('Q');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(bob.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
  });

  test('after Query and Parse in one go: the ReadyForQuery of the Query does not end the batch', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.exchange(m.query('SELECT a'), m.parse('SELECT c'), m.flush())).toBe('T D(a) C(SELECT 1) Z(I) 1');
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.exchange(m.sync())).toBe('Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('while a message is partly forwarded, of which nothing is owed yet', () => {
    const { bench, alice, bob } = twoClients();
    const second = m.query('SELECT a2');
    expect(alice.exchange(m.query('SELECT a1'), second.subarray(0, 8))).toBe('T D(a1) C(SELECT 1) Z(I)');
    expect(bob.query('SELECT b')).toBe('');
    expect(alice.exchange(second.subarray(8))).toBe('T D(a2) C(SELECT 1) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('what does not keep a server', () => {
  test('a Query ends an open batch', () => {
    const { bench, alice, bob } = twoClients();
    expect(alice.exchange(m.parse('SELECT a'), m.flush())).toBe('1');
    expect(alice.exchange(m.query('SELECT c'))).toBe('T D(c) C(SELECT 1) Z(I)');
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a header that is not complete belongs to the next transaction', () => {
    const { bench, alice, bob } = twoClients();
    const second = m.query('SELECT a2');
    for (let bytes = 1; bytes < 5; bytes++) {
      expect(alice.exchange(m.query('SELECT a1'), second.subarray(0, bytes))).toBe('T D(a1) C(SELECT 1) Z(I)');
      expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
      expect(alice.exchange(second.subarray(bytes))).toBe('T D(a2) C(SELECT 1) Z(I)');
    }
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a Flush without a batch acquires nothing', () => {
    const { bench, alice, bob } = twoClients();
    bob.query('BEGIN');
    expect(alice.exchange(m.flush())).toBe('');
    expect(bench.pool().waiting.size).toBe(0);
    expect(bench.sessionOf(alice).state).toBe('idle');
    bob.query('COMMIT');
    expect(bench.server().takeTypes()).toBe('QQ');
  });

  test('late CopyData, CopyDone and CopyFail acquire nothing', () => {
    const { bench, alice, bob } = twoClients();
    bob.query('BEGIN');
    expect(alice.exchange(m.copyData('x'), m.copyDone(), m.copyFail())).toBe('');
    expect(bench.pool().waiting.size).toBe(0);
    bob.query('COMMIT');
    expect(bench.server().takeTypes()).toBe('QQ');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });
});

describe('what follows the last ReadyForQuery', () => {
  test('in the same chunk reaches neither this client nor the next', () => {
    const { bench, alice, bob } = twoClients();
    alice.query('SELECT first');
    const postgres = bench.server().takeOver();
    alice.send(m.query('SELECT a'));
    expect(bob.query('SELECT b')).toBe('');
    postgres.send(
      s.complete('INSERT 0 0'),
      s.ready('I'),
      s.notice({ message: 'later' }),
      s.parameter('application_name', 'other'),
      s.notification(1, 'channel'),
    );
    bench.run();
    expect(alice.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
    expect(bob.takeSummary()).toBe('');
    // Bob's own application_name is set again before his statement.
    expect(postgres.queries.at(-1)).toBe("SELECT pg_catalog.set_config('application_name','',false) IS NULL");
    postgres.send(s.complete('SET'), s.parameter('application_name', ''), s.ready('I'));
    bench.run();
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'));
    bench.run();
    expect(bob.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
  });

  test('in the same chunk closes the server, if it is a reply that nobody asked for', () => {
    const { bench, alice, bob } = twoClients();
    bench.expectServers('out_of_sync');
    alice.query('SELECT first');
    const postgres = bench.server().takeOver();
    alice.send(m.query('SELECT a'));
    expect(bob.query('SELECT b')).toBe('');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'), s.row('foreign'), s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('a second ReadyForQuery closes the server', () => {
    const { bench, alice, bob } = twoClients();
    bench.expectServers('out_of_sync');
    alice.query('SELECT first');
    const postgres = bench.server().takeOver();
    alice.send(m.query('SELECT a'));
    expect(bob.query('SELECT b')).toBe('');
    postgres.send(s.complete('INSERT 0 0'), s.ready('I'), s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('C(INSERT 0 0) Z(I)');
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.server(1).queries).toEqual(['SELECT b']);
  });
});

describe('what came together leaves together', () => {
  test('messages of one chunk are one write, in both directions', () => {
    const { bench, alice } = twoClients();
    alice.query('SELECT first');
    const toServer = bench.postgres.transportOf(bench.server());
    const toClient = bench.transportOf(alice);
    const [before, beforeBack] = [toServer.writes, toClient.writes];
    alice.exchange(m.query('BEGIN'), m.query('ROWS 20 x'), m.extended('SELECT a'), m.query('COMMIT'));
    expect(toServer.writes - before).toBe(1);
    // The server answers each query with a packet of its own; they arrive together.
    expect(toClient.writes - beforeBack).toBeLessThanOrEqual(4);
    const [held, heldBack] = [bench.server(), toClient.writes];
    held.holdReplies();
    alice.exchange(m.query('ROWS 50 x'), m.query('SELECT a'));
    held.releaseReplies();
    bench.run();
    expect(toClient.writes - heldBack).toBe(1);
  });
});
