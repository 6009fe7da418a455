/** Replication clients: a server of its own for each, and what becomes of both when either ends (checklist 56). */
import { describe, expect, test } from 'vitest';
import { errorFields, client as m, parametersIn, server as s } from '../support/wire.ts';
import { ask, closes, replica, STREAM, scene, streaming } from './replication-fixture.ts';

describe('a login', () => {
  test('gets a server of its own, which is told what the client said, but not who it is', () => {
    const bench = scene({}, { databases: { app: 'host=10.0.0.1 dbname=real user=pool password=p' } });
    const parameters = {
      replication: 'database',
      options: '-c geqo=off --work_mem=1MB',
      application_name: 'walreceiver',
      DateStyle: 'SQL',
      '_pq_.unknown': 'on',
    };
    const client = ask(bench, { parameters });
    expect(client.takeSummary()).toMatch(/^v.* R.* S.* K Z\(I\)$/);
    const { '_pq_.unknown': _ours, ...forServer } = parameters;
    expect(Object.fromEntries(bench.server().startup)).toEqual({ user: 'pool', database: 'real', ...forServer });
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('is answered with its own server’s parameters, the pooler’s key, and the notice that all get', () => {
    const bench = scene({ login_notify_message: 'be quick' });
    bench.client().query('SELECT a');
    bench.postgres.database.parameters.set('server_version', '99.9');
    const client = ask(bench, { parameters: { application_name: 'streams' } });
    const messages = client.take();
    expect(messages.map(({ type }) => type).join('')).toMatch(/^RS+KNZ$/);
    const { parameters } = bench.postgres.database;
    expect(parametersIn(messages)).toEqual(new Map([...parameters, ['application_name', 'streams']]));
    const key = messages.find(({ type }) => type === 'K')!.body;
    expect(key.readUInt32BE(0)).not.toBe(bench.server(1).pid);
    expect(client.exchange(m.query('SELECT x'))).toBe('T D(x) C(SELECT 1) Z(I)');
    expect(bench.server(1).queries).toEqual(['SELECT x']);
  });

  test('comes after the same authentication', async () => {
    const bench = scene({ auth_type: 'plain' });
    const [good, bad] = [ask(bench), ask(bench)];
    expect([good.takeSummary(), bad.takeSummary()]).toEqual(['R', 'R']);
    bad.send(m.password('wrong'));
    await bench.settle();
    expect(bad.takeSummary()).toBe('E(28P01)');
    expect(bench.postgres.sessions).toHaveLength(0);
    good.send(m.password('app-secret'), m.query('SELECT early'));
    await bench.settle();
    expect(good.takeSummary()).toMatch(/^R S.* K Z\(I\) T D\(early\) C\(SELECT 1\) Z\(I\)$/);
  });

  test.each(['', 'o', 'maybe', 'DATABASE', 'Database', ' on', '2', 'true '])('with "%s" is refused', (value) => {
    const bench = scene();
    const client = ask(bench, { parameters: { replication: value } });
    const fields = errorFields(client.take()[0]!);
    expect([fields.get('C'), fields.get('M'), fields.get('H')]).toEqual([
      '22023',
      `invalid value for parameter "replication": "${value}"`,
      'Valid values are: "false", 0, "true", 1, "database".',
    ]);
    expect(bench.postgres.sessions).toHaveLength(0);
  });

  test('runs no connect_query, which a walsender might refuse', () => {
    const bench = scene({}, { databases: { app: { host: '10.0.0.1', connect_query: 'SELECT hello' } } });
    replica(bench);
    expect(bench.server().queries).toEqual([]);
  });

  test('counts as a client', () => {
    const bench = scene({ max_client_conn: 1 });
    const { client } = replica(bench);
    expect(ask(bench).takeSummary()).toBe('E(53300)');
    client.leave();
    bench.run();
    expect(ask(bench).takeSummary()).toContain('Z(I)');
  });
});

describe('a stream', () => {
  test('goes both ways, and ends with the client’s Terminate; nobody gets its server', () => {
    const bench = scene();
    const { client, postgres } = streaming(bench);
    postgres.send(s.notice({ message: 'by the way' }), m.copyData('wal'));
    bench.run();
    expect(client.take().map(({ type, body }) => type + (type === 'd' ? body.toString() : ''))).toEqual(['N', 'dwal']);
    client.exchange(m.copyData('r'), m.copyDone());
    expect(postgres.takeTypes()).toBe('dc');
    postgres.send(m.copyDone(), s.complete('START_STREAMING'), s.ready());
    bench.run();
    expect(client.takeSummary()).toBe('c C(START_STREAMING) Z(I)');
    client.exchange(STREAM);
    postgres.expect('Q');
    client.terminate();
    bench.run();
    expect(postgres.takeTypes()).toBe('X');
    postgres.die('exit');
    bench.run();
    expect(client.isClosed).toBe(true);
    expect(bench.postgres.cancels).toHaveLength(0);
    expect(bench.pool().servers.total).toBe(0);
    expect(closes(bench)).toEqual({ unneeded: 1 });
    expect([...bench.registry.closed]).toEqual([['terminated', 1]]);
  });

  test('between two requests Terminate is handed on with FIN, and the slot is held until the server’s own', () => {
    const bench = scene({ server_close_timeout: 5 });
    const { client, postgres } = replica(bench);
    postgres.takeOver();
    postgres.ignoresEnd = true;
    client.leave();
    expect(postgres.takeTypes()).toBe('X');
    expect(bench.budget.inUse('database app')).toBe(1);
    postgres.ignoresEnd = false;
    postgres.die('exit');
    bench.run();
    expect(bench.budget.inUse('database app')).toBe(0);
    expect(closes(bench)).toEqual({ unneeded: 1 });
  });

  test('what was asked before Terminate runs to its end, as in PostgreSQL', () => {
    const bench = scene();
    const { client, postgres } = replica(bench);
    client.send(m.query('SLEEP'));
    bench.run();
    client.terminate();
    bench.advance(5000);
    expect(bench.postgres.cancels).toHaveLength(0);
    postgres.finish();
    bench.run();
    expect(client.takeSummary()).toBe('C(SELECT 1) Z(I)');
    expect([...bench.registry.closed]).toEqual([['terminated', 1]]);
    expect(bench.postgres.backends).toBe(0);
  });

  test('but not for longer than abandoned_query_timeout', () => {
    const bench = scene({ abandoned_query_timeout: 10 });
    bench.expectClients('abandoned_query_timeout');
    const { client } = replica(bench);
    client.send(m.query('SLEEP'));
    client.terminate();
    bench.run();
    bench.advance(9000);
    expect(bench.postgres.backends).toBe(1);
    bench.advance(2000);
    expect(bench.postgres.cancels.length).toBeGreaterThan(0);
    expect(bench.postgres.backends).toBe(0);
  });

  test.each(['vanish', 'crash'] as const)('of a client that does %s is cancelled, and its server gone', (how) => {
    const bench = scene();
    bench.expectClients('eof', 'connection_error');
    const { client } = replica(bench);
    client.send(m.query('SLEEP'));
    bench.run();
    client[how]();
    bench.run();
    expect(bench.postgres.cancels).toHaveLength(1);
    expect(bench.postgres.backends).toBe(0);
    expect(bench.pool().servers.total).toBe(0);
  });

  test('a client that goes in the middle of a message takes its server along', () => {
    const bench = scene();
    bench.expectClients('eof');
    const { client, postgres } = streaming(bench);
    client.exchange(m.copyData('half a message').subarray(0, 9));
    client.vanish();
    bench.run();
    expect(postgres.takeTypes()).toBe('');
    expect(bench.postgres.backends).toBe(0);
  });

  test('a malformed length ends it with an error of ours', () => {
    const bench = scene();
    bench.expectClients('protocol_violation');
    const { client } = streaming(bench);
    expect(client.exchange(Buffer.from('d\0\0\0\x03'))).toBe('E(08P01)');
    expect(bench.postgres.backends).toBe(0);
  });

  test('a message that PostgreSQL does not know is PostgreSQL’s to refuse', () => {
    const bench = scene();
    bench.expectServers('fatal_error');
    bench.expectClients('server_lost');
    const { client } = replica(bench);
    const error = client.exchange(Buffer.from('%\0\0\0\x04'));
    expect(error).toBe('E(08P01)');
  });
});

describe('a server that ends', () => {
  test('with an error: the client gets that one, and nothing else', () => {
    const bench = scene();
    bench.expectServers('fatal_error');
    bench.expectClients('server_lost');
    const { client, postgres } = streaming(bench);
    postgres.die('exit', s.error({ severity: 'FATAL', code: '57P01' }));
    bench.run();
    expect(client.takeSummary()).toBe('E(57P01)');
    expect(client.isEnded).toBe(true);
  });

  test.each(['exit', 'reset'] as const)('without a word (%s): 08006', (how) => {
    const bench = scene();
    bench.expectServers('eof');
    bench.expectClients('server_lost');
    const { client, postgres } = streaming(bench);
    postgres.die(how);
    bench.run();
    expect(client.takeSummary()).toBe('E(08006)');
    expect(client.isEnded).toBe(true);
  });

  test('in the middle of a message: nothing can be said any more', () => {
    const bench = scene();
    bench.expectServers('eof');
    bench.expectClients('server_lost');
    const { client, postgres } = streaming(bench);
    postgres.send(m.copyData('half a message').subarray(0, 9));
    bench.run();
    postgres.die('exit');
    bench.run();
    expect(Buffer.concat(client.chunks).subarray(-9)).toEqual(m.copyData('half a message').subarray(0, 9));
    expect(client.isEnded).toBe(true);
  });

  test('an error that ends nothing leaves everything as it is', () => {
    const bench = scene();
    const { client, postgres } = replica(bench);
    postgres.takeOver();
    client.exchange(m.parse('SELECT x'), m.sync());
    postgres.send(s.error({ code: '08P01', message: 'extended query protocol not supported' }), s.ready());
    bench.run();
    expect(client.takeSummary()).toBe('E(08P01) Z(I)');
    client.exchange(STREAM);
    expect(postgres.takeTypes()).toBe('PSQ');
  });
});

describe.each([
  ['memory that is used again', {}],
  ['memory of its own', { ownMemory: true }],
] as const)('backpressure, with chunks in %s', (_name, setup) => {
  const CHUNK = 'w'.repeat(1000);
  const COUNT = 3000;

  test('a client that does not read stops its server, and misses no byte', () => {
    const bench = scene({}, setup);
    const { client, postgres } = streaming(bench, { capacity: 8192 });
    client.stream.pause();
    for (let i = 0; i < COUNT; i++) postgres.send(m.copyData(`${i} ${CHUNK}`));
    bench.run();
    expect(bench.postgres.transportOf(postgres).isPaused).toBe(true);
    expect(bench.transportOf(client).unsentBytes).toBeLessThanOrEqual(65_536);
    client.exchange(m.copyData('still heard'));
    expect(postgres.takeTypes()).toBe('d');
    client.stream.resume();
    bench.run();
    expect(client.take().map(({ body }) => body.toString())).toEqual(
      Array.from({ length: COUNT }, (_, i) => `${i} ${CHUNK}`),
    );
  });

  test('a server that does not read stops its client, and misses no byte', () => {
    const bench = scene({}, setup);
    bench.postgres.receiveCapacity = 8192;
    const { client, postgres } = streaming(bench);
    postgres.stream.pause();
    client.exchange(...Array.from({ length: COUNT }, (_, i) => m.copyData(`${i} ${CHUNK}`)));
    expect(bench.transportOf(client).isPaused).toBe(true);
    postgres.stream.resume();
    bench.run();
    const got = postgres.received.filter(({ type }) => type === 'd').map(({ body }) => body.toString());
    expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => `${i} ${CHUNK}`));
    expect(bench.transportOf(client).isPaused).toBe(false);
  });

  test('client_write_timeout ends a client that takes nothing', () => {
    const bench = scene({ client_write_timeout: 5 }, setup);
    bench.expectClients('write_timeout');
    const { client, postgres } = streaming(bench, { capacity: 8192 });
    client.stream.pause();
    postgres.send(m.copyData('w'.repeat(100_000)));
    bench.advance(4000);
    expect(bench.registry.clients.size).toBe(1);
    bench.advance(2000);
    expect(bench.registry.clients.size).toBe(0);
    expect(bench.postgres.backends).toBe(0);
  });
});

describe('timeouts', () => {
  test('of queries, transactions, idleness and age do not end a replication client', () => {
    const bench = scene({
      query_timeout: 1,
      transaction_timeout: 1,
      idle_transaction_timeout: 1,
      client_idle_timeout: 1,
      client_login_timeout: 1,
      server_idle_timeout: 1,
      server_lifetime: 1,
      server_connect_timeout: 1,
    });
    const { client, postgres } = streaming(bench);
    const idle = replica(bench);
    const asked = replica(bench);
    asked.client.query('BEGIN');
    bench.advance(600_000);
    postgres.send(m.copyData('still here'));
    bench.run();
    expect(client.takeSummary()).toMatch(/^d/);
    expect(idle.client.query('SELECT x')).toBe('T D(x) C(SELECT 1) Z(I)');
    expect(asked.client.query('COMMIT')).toBe('C(COMMIT) Z(I)');
  });
});

describe('a shutdown', () => {
  test('ends who stands between two requests with 57P01, and lets a stream go on', () => {
    const bench = scene();
    bench.expectClients('shutdown');
    const idle = replica(bench);
    const open = replica(bench);
    open.client.query('BEGIN');
    const { client, postgres } = streaming(bench);
    bench.drain();
    expect(idle.client.takeSummary()).toBe('E(57P01)');
    bench.advance(60_000);
    postgres.send(m.copyData('wal'));
    bench.run();
    expect(client.takeSummary()).toMatch(/^d/);
    expect(open.client.query('COMMIT')).toBe('C(COMMIT) Z(I) E(57P01)');
    expect(bench.isEmpty).toBe(false);
    client.exchange(m.copyDone());
    postgres.send(m.copyDone(), s.complete('COPY 0'), s.ready());
    bench.run();
    expect(client.takeSummary()).toBe('c C(COPY 0) Z(I) E(57P01)');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });

  test('tells those who wait, or whose server is being opened', () => {
    const bench = scene({ pool_size: 1 });
    bench.expectClients('shutdown');
    bench.expectServers('shutdown');
    bench.postgres.accepting = 'hang';
    const [alice, bob] = [ask(bench), ask(bench)];
    bench.drain();
    expect([alice.takeSummary(), bob.takeSummary()]).toEqual(['E(57P01)', 'E(57P01)']);
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
    expect(ask(bench).takeSummary()).toBe('E(57P01)');
  });

  test('cuts a stream at its end', () => {
    const bench = scene();
    bench.expectClients('shutdown');
    const { client } = streaming(bench);
    bench.drain();
    bench.cut();
    expect(client.takeSummary()).toBe('E(57P01)');
    bench.advance(3000);
    expect(bench.isEmpty).toBe(true);
  });
});

test('a cancel with the pooler’s key reaches the client’s own server', () => {
  const bench = scene();
  const { client, postgres } = replica(bench);
  client.send(m.query('SLEEP'));
  bench.run();
  const canceller = bench.connect();
  canceller.send(m.cancel(client.key));
  bench.run();
  expect(bench.postgres.cancels.map(({ pid }) => pid)).toEqual([postgres.pid]);
  expect(client.takeSummary()).toBe('E(57014) Z(I)');
  const late = bench.connect();
  late.send(m.cancel(client.key));
  bench.run();
  expect(bench.postgres.cancels).toHaveLength(1);
});

test('what it moves and where it stands is counted', () => {
  const bench = scene({ pool_size: 1 });
  bench.expectClients('eof');
  const { client, postgres } = streaming(bench);
  const waiting = ask(bench);
  const pool = bench.pool();
  expect(pool.servers.count('dedicated')).toBe(1);
  expect([pool.clients, pool.dedicated.waiting.size, pool.traffic.assignments, pool.traffic.logins]).toEqual([
    2, 1, 1, 2,
  ]);
  const { sentBytes, receivedBytes } = pool.traffic;
  postgres.send(m.copyData('w'.repeat(95)));
  bench.run();
  client.exchange(m.copyData('r'.repeat(45)));
  expect([pool.traffic.sentBytes - sentBytes, pool.traffic.receivedBytes - receivedBytes]).toEqual([100, 50]);
  expect(waiting.takeSummary()).toBe('');
  waiting.vanish();
});
