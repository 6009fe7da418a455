/** Limits on clients and logins (fault G4, D8; checklist 17): which one was reached, its value, and nobody else is touched. */
import { describe, expect, test } from 'vitest';
import { type BenchSettings, type BenchSetup, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s } from '../support/wire.ts';

function refusedBy(
  settings: BenchSettings,
  setup: BenchSetup,
  logins: readonly { user?: string; database?: string }[],
) {
  const bench = sessionBench(settings, setup);
  const clients = logins.slice(0, -1).map((login) => bench.client(login));
  const last = bench.connect();
  last.sendStartup(logins.at(-1));
  bench.run();
  const [error] = last.take();
  return { bench, clients, last, fields: errorFields(error!) };
}

describe('clients', () => {
  test('max_client_conn', () => {
    const { bench, clients, last, fields } = refusedBy({ max_client_conn: 3 }, {}, [{}, {}, {}, {}]);
    expect([fields.get('V'), fields.get('C')]).toEqual(['FATAL', '53300']);
    expect(fields.get('M')).toContain('max_client_conn');
    expect(fields.get('D')).toContain('3');
    expect(last.isEnded).toBe(true);
    clients[0]!.leave();
    expect(bench.client().query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
  });

  test('max_db_client_connections', () => {
    const databases = { app: 'host=10.0.0.1 max_db_client_connections=1', other: 'host=10.0.0.1' };
    const { bench, fields } = refusedBy({}, { databases }, [{}, { user: 'somebody' }]);
    expect(fields.get('M')).toContain('max_db_client_connections');
    expect(fields.get('C')).toBe('53300');
    bench.client({ database: 'other' });
  });

  test('max_user_client_connections', () => {
    const databases = { app: 'host=10.0.0.1', other: 'host=10.0.0.1' };
    const users = { app: { max_user_client_connections: 1 } };
    const { bench, fields } = refusedBy({}, { databases, users }, [{}, { database: 'other' }]);
    expect(fields.get('M')).toContain('max_user_client_connections');
    bench.client({ user: 'somebody' });
  });

  test('holds for those who were waiting for the first server, too', () => {
    const bench = sessionBench({ max_client_conn: 2, max_login_clients: 10 });
    bench.postgres.onStartup = () => {};
    const clients = Array.from({ length: 4 }, () => {
      const client = bench.connect();
      client.sendStartup();
      return client;
    });
    bench.run();
    bench.server().login();
    bench.run();
    expect(clients.map((client) => client.takeSummary().slice(-4)).sort()).toEqual(
      ['Z(I)', 'Z(I)', '300)', '300)'].sort(),
    );
    expect(bench.registry.clients.size).toBe(2);
  });
});

describe('logins', () => {
  test('the oldest silent one is closed for the new one', () => {
    const bench = sessionBench({ max_login_clients: 3 });
    const silent = Array.from({ length: 3 }, () => bench.connect());
    const alice = bench.client();
    expect(silent.map(({ isEnded }) => isEnded)).toEqual([true, false, false]);
    expect(silent[0]!.chunks).toEqual([]);
    expect(alice.query('SELECT a')).toBe('T D(a) C(SELECT 1) Z(I)');
    expect(bench.registry.logins.size).toBe(2);
  });

  test('if all of them have said something, the new one hears why not', async () => {
    const bench = sessionBench({ max_login_clients: 2, auth_type: 'plain' });
    const busy = Array.from({ length: 2 }, () => bench.connect());
    for (const client of busy) client.sendStartup();
    bench.run();
    const late = bench.connect();
    const [error] = late.take();
    expect(errorFields(error!).get('C')).toBe('53300');
    expect(errorFields(error!).get('M')).toContain('max_login_clients');
    expect(busy.map((client) => client.takeSummary())).toEqual(['R', 'R']);
    for (const client of busy) client.send(m.password('app-secret'));
    await bench.settle();
    expect(busy.map((client) => client.takeSummary().slice(-4))).toEqual(['Z(I)', 'Z(I)']);
  });

  test('only those whose identity is not proven count', () => {
    const bench = sessionBench({ max_login_clients: 2, server_connect_timeout: 0, client_login_timeout: 0 });
    bench.postgres.onStartup = () => {};
    // These are known already, and wait for the first server.
    const known = Array.from({ length: 2 }, () => {
      const client = bench.connect();
      client.sendStartup();
      return client;
    });
    bench.run();
    const late = bench.connect();
    late.sendStartup();
    bench.run();
    expect(late.takeSummary()).toBe('');
    bench.server().login();
    bench.run();
    for (const client of [...known, late]) expect(client.takeSummary()).toContain('Z(I)');
  });

  test('half of max_client_conn by default', () => {
    const bench = sessionBench({ max_client_conn: 10 });
    const silent = Array.from({ length: 8 }, () => bench.connect());
    expect(silent.filter(({ isEnded }) => !isEnded)).toHaveLength(5);
    expect(bench.registry.logins.size).toBe(5);
  });

  test('a flood of silent connections does not keep out who speaks', () => {
    const bench = sessionBench({ max_login_clients: 5 });
    for (let i = 0; i < 50; i++) {
      bench.connect();
      bench.client().leave();
    }
    expect(bench.registry.logins.size).toBeLessThanOrEqual(5);
  });
});

describe('messages', () => {
  test('max_packet_size for clients: the limit is told, and others go on', () => {
    const bench = sessionBench({ max_packet_size: 2048 });
    bench.expectClients('protocol_violation');
    const alice = bench.client();
    const bob = bench.client();
    expect(alice.query(`SELECT ${'x'.repeat(1900)}`)).toContain('Z(I)');
    alice.send(m.query(`SELECT ${'x'.repeat(3000)}`));
    bench.run();
    const [error] = alice.take();
    expect(errorFields(error!).get('C')).toBe('54000');
    expect(errorFields(error!).get('D')).toContain('2048');
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });

  test('max_packet_size for servers', () => {
    const bench = sessionBench({ max_packet_size: 2048 });
    bench.expectClients('server_lost');
    bench.expectServers('out_of_sync');
    const alice = bench.client();
    alice.query('SELECT first');
    bench.server().takeOver();
    alice.query('SELECT a');
    bench.server().send(s.row('x'.repeat(3000)));
    bench.run();
    expect(alice.takeSummary()).toBe('E(08P01)');
  });

  test('a claimed gigabyte costs nothing until it comes', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof');
    bench.expectServers('abandoned');
    const alice = bench.client();
    const claimed = Buffer.from([0x51, 0x3f, 0xff, 0xff, 0xff]);
    expect(alice.exchange(claimed, Buffer.from('SELECT'))).toBe('');
    expect(bench.sessionOf(alice).options.wire.keptBytes).toBe(0);
    alice.vanish();
    expect(bench.pool().closedServers.get('abandoned')).toBe(1);
    expect(bench.client().query('SELECT b')).toContain('Z(I)');
  });
});
