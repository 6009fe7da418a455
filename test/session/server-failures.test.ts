/** Servers that end, lie, or speak unasked (faults B; checklist 33, 68): who hears of it, and who gets another server. */
import { describe, expect, test } from 'vitest';
import { sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s } from '../support/wire.ts';

function scene(settings = {}) {
  const bench = sessionBench({ pool_size: 1, query_wait_notify: 0, ...settings });
  const alice = bench.client();
  const bob = bench.client();
  alice.query('SELECT first');
  return { bench, alice, bob, postgres: bench.server() };
}

const fatal = (code: string) => s.error({ severity: 'FATAL', code, message: 'terminating connection' });

describe('an idle server', () => {
  test.each(['exit', 'reset'] as const)('that goes (%s) is dropped, and nobody notices', (how) => {
    const { bench, alice, postgres } = scene();
    bench.expectServers('eof');
    postgres.die(how);
    bench.run();
    expect(bench.pool().servers.total).toBe(0);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test.each(['57P01', '57P05', '25P03', '57P02'])('that says FATAL %s is dropped, and nobody notices', (code) => {
    const { bench, alice, postgres } = scene();
    bench.expectServers('fatal_error');
    postgres.die('exit', fatal(code));
    bench.run();
    expect(alice.takeSummary()).toBe('');
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('that says FATAL and does not go is dropped too', () => {
    const { bench, alice, postgres } = scene();
    bench.expectServers('fatal_error');
    postgres.takeOver().send(fatal('57P01'));
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(0);
    bench.advance(6000);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test.each([
    ['a row', s.row('foreign')],
    ['a ReadyForQuery', s.ready('I')],
    ['a CommandComplete', s.complete('SELECT 1')],
    ['an error', s.error({ code: 'XX000' })],
    ['a ParseComplete', s.parseComplete()],
    ['CopyData', Buffer.from([0x64, 0, 0, 0, 5, 1])],
    ['an unknown type', Buffer.from([0x7e, 0, 0, 0, 4])],
    ['an authentication request', s.authentication(0)],
    ['a length of 3', Buffer.from([0x44, 0, 0, 0, 3])],
    ['a length of 4 GB', Buffer.from([0x44, 255, 255, 255, 255])],
    ['a ReadyForQuery of 2 bytes', Buffer.from([0x5a, 0, 0, 0, 6, 0x49, 0x49])],
    ['a broken ParameterStatus', Buffer.from([0x53, 0, 0, 0, 6, 0x41, 0x42])],
  ])('that sends %s is closed', (_what, bytes) => {
    const { bench, alice, postgres } = scene();
    bench.expectServers('dirty_while_idle', 'out_of_sync');
    postgres.takeOver().send(bytes);
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(0);
    postgres.die('exit');
    bench.run();
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(2);
  });

  test('that sends notices, notifications and parameters is kept, and nobody sees them', () => {
    const { bench, alice, bob, postgres } = scene();
    postgres.send(s.notice({ message: 'hello' }), s.notification(7, 'channel'), s.parameter('in_hot_standby', 'on'));
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(1);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('that sends half a notice, and the rest when somebody else has it: the rest is not his', () => {
    const { bench, alice, postgres } = scene();
    const notice = s.notice({ message: 'for nobody' });
    for (let cut = 5; cut < notice.length; cut++) {
      postgres.send(notice.subarray(0, cut));
      bench.run();
      alice.send(m.query('SELECT a'));
      bench.environment.post(() => postgres.send(notice.subarray(cut)));
      postgres.holdReplies();
      bench.run();
      postgres.releaseReplies();
      bench.run();
      expect(alice.takeSummary()).toBe('T D(a) C(SELECT 1) Z(I)');
    }
  });

  test('that dies between the choice and the first byte: an error, never a silent second try', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    alice.send(m.query('INSERT once'));
    // The server's end is on its way while the query is, too.
    bench.environment.post(() => postgres.die('reset'));
    bench.run();
    expect(alice.takeSummary()).toBe('E(08006)');
    expect(bench.postgres.sessions).toHaveLength(1);
    expect(bench.postgres.rows.length).toBeLessThanOrEqual(1);
  });
});

describe('a linked server', () => {
  test.each(['57P01', '25P03', '57P02'])(
    'that says FATAL %s in a transaction: that is the last thing that its client gets',
    (code) => {
      const { bench, alice, bob, postgres } = scene();
      bench.expectClients('server_lost');
      bench.expectServers('fatal_error');
      alice.query('BEGIN');
      postgres.die('exit', fatal(code));
      bench.run();
      expect(alice.takeSummary()).toBe(`E(${code})`);
      expect(alice.isEnded).toBe(true);
      expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
      expect(bench.postgres.sessions).toHaveLength(2);
    },
  );

  test('that says FATAL while it runs a query', () => {
    const { bench, alice } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('fatal_error');
    expect(alice.query('FATAL 57P01')).toBe('E(57P01)');
    expect(alice.isEnded).toBe(true);
  });

  test('that ends in the middle of a row: the client is cut there, not told that it is complete', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    postgres.takeOver();
    alice.query('SELECT a');
    const row = s.row('x'.repeat(100));
    postgres.die('exit', Buffer.concat([s.rowDescription('a'), row, row.subarray(0, 50)]));
    bench.run();
    const bytes = Buffer.concat(alice.chunks);
    expect(alice.takeSummary()).toBe(`T D(${'x'.repeat(24)})`);
    expect(bytes.subarray(-50).equals(row.subarray(0, 50))).toBe(true);
    expect(alice.isEnded).toBe(true);
  });

  test('that ends between two messages: one error, after everything that came before', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    postgres.takeOver();
    alice.query('SELECT a');
    postgres.die('exit', Buffer.concat([s.rowDescription('a'), s.row('x'), s.complete('SELECT 1')]));
    bench.run();
    const messages = alice.take();
    expect(messages.map(({ type }) => type).join('')).toBe('TDCE');
    expect(errorFields(messages.at(-1)!).get('V')).toBe('FATAL');
    expect(errorFields(messages.at(-1)!).get('C')).toBe('08006');
  });

  test('that ends while its client waits for the answer to COMMIT: an error, and nothing is sent again', () => {
    const { bench, alice } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    alice.query('BEGIN');
    alice.query('INSERT in doubt');
    expect(alice.query('CRASH')).toBe('E(08006)');
    expect(bench.postgres.sessions).toHaveLength(1);
    expect(bench.postgres.rows).toEqual([]);
  });

  test('that sends what nobody asked for is closed together with its client', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('out_of_sync');
    alice.query('BEGIN');
    postgres.takeOver().send(s.row('foreign'));
    bench.run();
    expect(alice.takeSummary()).toBe('E(08P01)');
    expect(alice.isEnded).toBe(true);
  });

  test('that sends a malformed length', () => {
    const { bench, alice, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('out_of_sync');
    postgres.takeOver();
    alice.query('SELECT a');
    postgres.send(s.rowDescription('a'), Buffer.from([0x44, 0, 0, 0, 2]));
    bench.run();
    expect(alice.takeSummary()).toBe('T E(08P01)');
  });

  test('notices, notifications and parameters at any time go to its client', () => {
    const { bench, alice, postgres } = scene();
    alice.query('BEGIN');
    postgres.send(s.notice({ message: 'hello' }), s.notification(7, 'channel'));
    bench.run();
    expect(alice.takeSummary()).toBe('N(hello) A');
    expect(alice.query('NOTICE twice')).toBe('N(twice) C(DO) Z(T)');
  });

  test('an error without fields, and one of 100 KB', () => {
    const { alice, bench, postgres } = scene();
    alice.query('BEGIN');
    postgres.takeOver();
    for (const error of [Buffer.from([0x45, 0, 0, 0, 4]), s.error({ message: 'x'.repeat(100_000) })]) {
      alice.query('SELECT a');
      postgres.send(error, s.ready('E'));
      bench.run();
      const messages = alice.take();
      expect(messages.map(({ type }) => type)).toEqual(['E', 'Z']);
      expect(messages[0]!.body.length).toBe(error.length - 5);
    }
  });

  test('a FATAL that is too long to be looked into: one error, and the end', () => {
    const { alice, bench, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof', 'fatal_error', 'out_of_sync');
    alice.query('BEGIN');
    postgres.die('exit', s.error({ severity: 'FATAL', code: '57P01', message: 'x'.repeat(100_000) }));
    bench.run();
    expect(alice.take().map(({ type }) => type)).toEqual(['E']);
    expect(alice.isEnded).toBe(true);
  });
});

describe('a server that ends while it', () => {
  test('is prepared for a client: the client hears of it', () => {
    const { bench, postgres } = scene();
    bench.expectClients('server_lost');
    bench.expectServers('eof');
    const carol = bench.client({ parameters: { application_name: 'carol' } });
    postgres.takeOver();
    carol.query('SELECT c');
    postgres.die('exit');
    bench.run();
    expect(carol.takeSummary()).toBe('E(08006)');
  });

  test('recovers: nobody hears of it, and the next one gets another', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.expectClients('eof');
    bench.expectServers('eof');
    alice.query('BEGIN');
    postgres.takeOver();
    alice.vanish();
    bob.query('SELECT b');
    postgres.die('exit');
    bench.run();
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('waits for a cancel to end', () => {
    const { bench, alice, bob, postgres } = scene();
    bench.expectServers('eof');
    bench.postgres.cancelling = 'held';
    alice.query('SLEEP');
    bench.connect().exchange(m.cancel(alice.key));
    postgres.finish();
    bench.run();
    bob.query('SELECT b');
    postgres.die('exit');
    bench.run();
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('has been closed already, and does not go: its slot counts until it has', () => {
    const { bench, alice, bob, postgres } = scene({ query_timeout: 2 });
    bench.expectClients('query_timeout');
    bench.expectServers('query_timeout');
    postgres.ignoresEnd = true;
    postgres.takeOver();
    alice.query('SELECT slow');
    bench.advance(2400);
    expect(alice.takeSummary()).toBe('E(57014)');
    expect(bob.query('SELECT b')).toBe('');
    bench.advance(3000);
    expect(bench.postgres.backends).toBe(1);
    expect(bench.postgres.cancels.length).toBeGreaterThan(0);
    expect(postgres.takeTypes()).not.toContain('X');
    // It goes at last.
    postgres.die('exit');
    bench.run();
    expect(bob.takeSummary()).toBe('T D(b) C(SELECT 1) Z(I)');
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('is closed between two queries hears Terminate', () => {
    const { bench, alice, postgres } = scene({ server_idle_timeout: 5 });
    bench.expectServers('idle_timeout');
    alice.query('SELECT a');
    bench.advance(6000);
    expect(postgres.received.at(-1)!.type).toBe('X');
    expect(bench.pool().servers.total).toBe(0);
  });
});

test('a session that ends in the chunk that its login ends in: its own words count, and a later one is waited for', () => {
  const bench = sessionBench({ pool_size: 1 });
  bench.expectServers('fatal_error');
  let isFirst = true;
  bench.postgres.onStartup = (session) => {
    session.holdReplies();
    session.login();
    if (isFirst) session.send(fatal('57P01'));
    session.releaseReplies();
    if (isFirst) session.die('exit');
    isFirst = false;
  };
  const alice = bench.connect();
  alice.sendStartup();
  bench.advance(3000);
  expect(alice.takeSummary()).toMatch(/^R S.* K Z\(I\)$/);
  expect(bench.log.lines.some(({ message }) => message.includes('terminating connection'))).toBe(true);
});
