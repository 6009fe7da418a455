/** Questions of auth_query: which are asked at all, in what order, by whom they are shared, and what becomes of lost ones. */
import { expect, test } from 'vitest';
import { client as m, server as s } from '../support/wire.ts';
import { known, logIn, REFUSED, refusal, scene, types } from './auth-query-scene.ts';

const IN = /^RS+KZ$/;
/** What the peer's sessions say to a question that they have kept waiting. */
const NO_ROW = [s.parseComplete(), s.bindComplete(), s.complete('SELECT 0'), s.ready()];

test('of clients that have left are not asked: who comes after them is next', async () => {
  const { bench, peer } = scene({ max_client_conn: 1000, max_login_clients: 1000 }, {}, () => 'silence');
  for (let i = 0; i < 300; i++) {
    const stranger = bench.connect();
    stranger.send(m.startup({ user: `made-up-${i}`, database: 'app' }));
    if (i < 2) await bench.settle();
    else stranger.stream.destroy();
  }
  await bench.settle();
  expect(peer.names).toEqual(['made-up-0', 'made-up-1']);
  peer.reply = known;
  const alice = bench.connect();
  alice.send(m.startup({ user: 'alice', database: 'app' }));
  await bench.settle();
  peer.sessions[0]!.send(...NO_ROW);
  await bench.settle();
  expect(peer.names.slice(2)).toEqual(['alice']);
  expect(alice.takeSummary()).toBe('R');
  peer.sessions[1]!.send(...NO_ROW);
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
  expect(peer.names).toHaveLength(3);
});

test('that nobody waits for any more are asked after all if somebody comes back for the answer', async () => {
  const { bench, peer } = scene({ max_client_conn: 1000, max_login_clients: 1000 }, {}, () => 'silence');
  for (const user of ['x', 'y', 'alice']) {
    const client = bench.connect();
    client.send(m.startup({ user, database: 'app' }));
    await bench.settle();
    if (user === 'alice') client.stream.destroy();
  }
  peer.reply = known;
  const alice = bench.connect();
  alice.send(m.startup({ user: 'alice', database: 'app' }));
  await bench.settle();
  for (const session of peer.sessions) session.send(...NO_ROW);
  await bench.settle();
  expect(peer.names).toEqual(['x', 'y', 'alice']);
  expect(alice.takeSummary()).toBe('R');
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});

test('are so many and no more; who comes then hears what a stranger hears', async () => {
  const { bench, peer } = scene({ max_client_conn: 5000, max_login_clients: 5000 }, {}, () => 'silence');
  for (let i = 0; i < 2002; i++) bench.connect().send(m.startup({ user: `made-up-${i}`, database: 'app' }));
  await bench.settle();
  const { asked, answer } = await logIn(bench, 'alice');
  expect(asked).toBe('R');
  expect(refusal(answer)).toBe(REFUSED);
  expect(bench.log.at('warn').join()).toContain('too many users are asked for');
  // Those who leave make room.
  for (const client of bench.clients.slice(2)) client.stream.destroy();
  await bench.settle();
  peer.reply = known;
  bench.expectClients('eof');
  const alice = bench.connect();
  alice.send(m.startup({ user: 'alice', database: 'app' }));
  await bench.settle();
  peer.sessions[0]!.send(...NO_ROW);
  await bench.settle();
  expect(alice.takeSummary()).toBe('R');
  alice.send(m.password('alice-secret'));
  await bench.settle();
  expect(types(alice.take())).toMatch(IN);
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});

const FATAL = s.error({ severity: 'FATAL', code: '57P01', message: 'terminating' });

test.each([
  ['that was dead', 'reset', undefined],
  ['that says that it ends', 'exit', FATAL],
] as const)('lost with a connection %s are asked once more', async (_what, how, words) => {
  const { bench, peer } = scene({ auth_query_cache_ttl: 0 });
  await logIn(bench, 'alice');
  peer.reply = () => 'silence';
  const alice = bench.connect();
  alice.send(m.startup({ user: 'alice', database: 'app' }));
  await bench.settle();
  peer.reply = known;
  peer.sessions[0]!.die(how, words);
  await bench.settle();
  expect(peer.names).toEqual(['alice', 'alice', 'alice']);
  expect(alice.takeSummary()).toBe('R');
  alice.send(m.password('alice-secret'));
  await bench.settle();
  expect(types(alice.take())).toMatch(IN);
});

test('lost twice are given up', async () => {
  const { bench, peer } = scene({ auth_query_cache_ttl: 0 }, {}, () => FATAL);
  expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
  expect(peer.names).toEqual(['alice', 'alice']);
});

test('that were asked longer ago than auth_query_cache_ttl are not shared, and a late answer replaces no newer one', async () => {
  const { bench, peer } = scene({ auth_query_cache_ttl: 5 }, {}, () => 'silence');
  bench.expectClients('eof');
  const ask = async (): Promise<ReturnType<typeof bench.connect>> => {
    const client = bench.connect();
    client.send(m.startup({ user: 'alice', database: 'app' }));
    await bench.settle();
    return client;
  };
  const first = await ask();
  bench.advance(4000);
  await ask();
  expect(peer.names).toHaveLength(1);
  bench.advance(1000);
  peer.reply = () => [['alice', 'new']];
  const third = await ask();
  expect(third.takeSummary()).toBe('R');
  expect(peer.names).toHaveLength(2);
  peer.sessions[0]!.send(s.parseComplete(), s.bindComplete(), s.row('alice', 'old'), s.complete('SELECT 1'), s.ready());
  await bench.settle();
  expect(first.takeSummary()).toBe('R');
  expect(types((await logIn(bench, 'alice', 'new')).answer)).toMatch(IN);
  expect(peer.names).toHaveLength(2);
  for (const client of bench.clients) client.stream.destroy();
  bench.run();
});
