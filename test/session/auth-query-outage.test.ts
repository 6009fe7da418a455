/** auth_query cannot be asked: what clients hear, and what is held against them and against what was known before. */
import { expect, test } from 'vitest';
import { client as m } from '../support/wire.ts';
import { logIn, REFUSED, refusal, scene, types } from './auth-query-scene.ts';

test('it is no failed login of the address; what the client itself gets wrong is', async () => {
  const { bench } = scene({ auth_failure_limit: 3, server_login_retry: 15 });
  bench.expectServers('connect_failed');
  bench.postgres.accepting = 'refuse';
  for (let i = 0; i < 10; i++) {
    const { asked, answer } = await logIn(bench, 'alice');
    expect(asked).toBe('R');
    expect(refusal(answer)).toBe(REFUSED);
  }
  expect(bench.log.at('info').filter((line) => line === 'login refused')).toHaveLength(10);
  for (let i = 0; i < 3; i++) await logIn(bench, 'local', 'wrong');
  expect((await logIn(bench, 'local', 'wrong')).asked).toMatch(/^E/);
});

test('nor if too many databases of the fallback are asked', async () => {
  const { bench } = scene(
    { auth_failure_limit: 3, max_client_conn: 1000, max_login_clients: 1000 },
    { databases: { '*': 'host=10.0.0.1' } },
  );
  bench.expectClients('eof');
  bench.postgres.onStartup = () => {};
  for (let i = 0; i < 50; i++) bench.connect().send(m.startup({ user: 'x', database: `no${i}` }));
  await bench.settle();
  for (let i = 0; i < 5; i++) {
    const { asked, answer } = await logIn(bench, 'alice', 'alice-secret', { database: 'real' });
    expect(asked).toBe('R');
    expect(refusal(answer)).toBe(REFUSED);
  }
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});

test('what was known before still logs in at servers', async () => {
  const { bench, peer } = scene({ auth_query_cache_ttl: 1, server_login_retry: 1 });
  expect(types((await logIn(bench, 'alice')).answer)).toMatch(/^RS+KZ$/);
  bench.expectServers('connect_failed');
  bench.postgres.accepting = 'refuse';
  for (const session of peer.sessions) session.die('exit');
  await bench.settle();
  bench.advance(5000);
  expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
  const database = bench.config.databases.get('app')!;
  expect(bench.secrets.forServer(database, 'app', 'alice')).toEqual({ kind: 'plain', password: 'alice-secret' });
});
