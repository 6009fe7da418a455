/** auth_query for databases that only the fallback `*` has: whoever may connect makes up their names. */
import { expect, test } from 'vitest';
import { client as m } from '../support/wire.ts';
import { logIn, REFUSED, refusal, scene, types } from './auth-query-scene.ts';

const IN = /^RS+KZ$/;
const MANY = { max_client_conn: 2000, max_login_clients: 2000 };
const FALLBACK = { databases: { '*': 'host=10.0.0.1' } };

test('they log in one or two at a time, however many there are', async () => {
  const { bench } = scene(MANY, FALLBACK);
  bench.postgres.onStartup = () => {};
  for (let i = 0; i < 40; i++) bench.connect().send(m.startup({ user: 'x', database: `no${i}` }));
  await bench.settle();
  expect(bench.environment.dials).toHaveLength(2);
  // Who has left is not asked for.
  for (const client of bench.clients.slice(2, 39)) client.stream.destroy();
  await bench.settle();
  for (const session of bench.postgres.sessions.slice()) session.refuseLogin('3D000', 'database does not exist');
  await bench.settle();
  expect(bench.postgres.sessions.map(({ startup }) => startup.get('database'))).toEqual(['no0', 'no1', 'no39']);
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});

test('names that are waited for by nobody make room for one that is', async () => {
  const { bench } = scene(MANY, FALLBACK);
  const { onStartup } = bench.postgres;
  bench.postgres.onStartup = () => {};
  for (let i = 0; i < 50; i++) bench.connect().send(m.startup({ user: 'x', database: `no${i}` }));
  await bench.settle();
  for (const client of bench.clients) client.stream.destroy();
  await bench.settle();
  const alice = bench.connect();
  alice.send(m.startup({ user: 'alice', database: 'real' }));
  await bench.settle();
  bench.postgres.onStartup = onStartup;
  for (const session of bench.postgres.sessions.slice()) session.refuseLogin('3D000', 'database does not exist');
  await bench.settle();
  expect(alice.takeSummary()).toBe('R');
  alice.send(m.password('alice-secret'));
  await bench.settle();
  expect(types(alice.take())).toMatch(IN);
});

test('a server that cannot be reached is tried for one of them, and not for each', async () => {
  const { bench } = scene({ ...MANY, server_login_retry: 15 }, FALLBACK);
  bench.expectServers('connect_failed');
  bench.postgres.accepting = 'refuse';
  for (let i = 0; i < 20; i++) {
    expect(refusal((await logIn(bench, 'alice', 'alice-secret', { database: `db${i}` })).answer)).toBe(REFUSED);
  }
  expect(bench.environment.dials).toHaveLength(1);
  bench.postgres.accepting = 'accept';
  bench.advance(15_500);
  expect(types((await logIn(bench, 'alice', 'alice-secret', { database: 'db7' })).answer)).toMatch(IN);
});

test('a database that does not exist is no fault of the others', async () => {
  const { bench } = scene(MANY, FALLBACK);
  const { onStartup } = bench.postgres;
  bench.postgres.onStartup = (session) => {
    if (session.startup.get('database') === 'real') onStartup?.(session);
    else session.refuseLogin('3D000', 'database does not exist');
  };
  expect(refusal((await logIn(bench, 'alice', 'alice-secret', { database: 'no' })).answer)).toBe(REFUSED);
  expect(types((await logIn(bench, 'alice', 'alice-secret', { database: 'real' })).answer)).toMatch(IN);
});

test('nobody’s connection is closed for them', async () => {
  const { bench, peer } = scene(
    { ...MANY, auth_user: '' },
    { databases: { '*': 'host=10.0.0.1 auth_user=auth max_server_connections=1', app: 'host=10.0.0.1' } },
  );
  const { client } = await logIn(bench, 'local');
  expect(client.query('SELECT a')).toContain('Z(I)');
  const stranger = bench.connect();
  stranger.send(m.startup({ user: 'x', database: 'made-up' }));
  bench.advance(2000);
  await bench.settle();
  expect(bench.pool('app', 'local').servers.idle.size).toBe(1);
  expect(peer.sessions).toHaveLength(0);
  stranger.stream.destroy();
  bench.run();
});

test('the log tells of some of them', async () => {
  const { bench } = scene(MANY, FALLBACK);
  bench.postgres.onStartup = (session) => session.refuseLogin('3D000', 'database does not exist');
  for (let i = 0; i < 400; i++) bench.connect().send(m.startup({ user: 'x', database: `no${i}` }));
  await bench.settle();
  const lines = bench.log.at('warn').filter((line) => line.includes('auth_query'));
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.length).toBeLessThanOrEqual(200);
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});
