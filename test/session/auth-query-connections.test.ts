/** The connections of auth_query: how they are secured, how long they last, and what the console and a reload do to them. */
import { describe, expect, test } from 'vitest';
import { HELLO, memoryServerTls } from '../support/memory-tls.ts';
import { client as m, server as s } from '../support/wire.ts';
import { AUTH_USER, AuthQueryPeer, parsedText } from './auth-query-peer.ts';
import { known, logIn, REFUSED, refusal, scene, types } from './auth-query-scene.ts';

const IN = /^RS+KZ$/;
const YES = Buffer.from('S');
const NO = Buffer.from('N');

/** The sslmodes, as `TlsContexts` makes plans of them. */
const MODES = {
  disable: () => memoryServerTls('plain'),
  allow: () => memoryServerTls('plain', 'required'),
  prefer: () => memoryServerTls('optional', 'plain'),
  require: () => memoryServerTls('required'),
  direct: () => memoryServerTls('direct'),
} as const;

describe.each([
  ['disable', YES, HELLO, 'plain'],
  ['allow', YES, HELLO, 'plain'],
  ['prefer', YES, HELLO, 'TLS'],
  ['prefer', NO, HELLO, 'plain'],
  ['prefer', 'close', HELLO, 'plain'],
  ['prefer', YES, Buffer.from('junk'), 'plain'],
  ['prefer', Buffer.concat([YES, s.ready()]), HELLO, 'none'],
  ['require', YES, HELLO, 'TLS'],
  ['require', NO, HELLO, 'none'],
  ['require', 'close', HELLO, 'none'],
  ['require', YES, Buffer.from('junk'), 'none'],
  ['require', Buffer.concat([YES, s.authentication(0), s.ready()]), HELLO, 'none'],
  ['direct', YES, HELLO, 'TLS'],
  ['direct', YES, Buffer.from('junk'), 'none'],
] as const)('server_tls_sslmode=%s, a server that answers %j, and then %j', (mode, answer, hello, result) => {
  test(`: ${result}`, async () => {
    const { bench, peer } = scene({}, { serverSecurity: MODES[mode]() });
    bench.expectServers('connect_failed');
    bench.postgres.sslAnswer = answer;
    bench.postgres.hello = hello;
    const { answer: end } = await logIn(bench, 'alice');
    expect(peer.sessions.map(({ isSecured }) => (isSecured ? 'TLS' : 'plain'))).toEqual(
      result === 'none' ? [] : [result],
    );
    if (result === 'none') expect(refusal(end)).toBe(REFUSED);
    else expect(types(end)).toMatch(IN);
    expect(bench.budget.inUse('database app')).toBe(result === 'none' ? 0 : 2);
  });
});

test('PostgreSQL’s rules that want TLS, or none, are followed as far as the mode allows', async () => {
  for (const [mode, isSecured, isIn] of [
    ['allow', true, true],
    ['prefer', false, true],
    ['require', false, false],
    ['disable', true, false],
  ] as const) {
    const { bench, peer } = scene({}, { serverSecurity: MODES[mode]() });
    bench.expectServers('login_failed');
    bench.postgres.sslAnswer = YES;
    const { onStartup } = bench.postgres;
    bench.postgres.onStartup = (session) => {
      if (session.isSecured === isSecured) onStartup?.(session);
      else session.refuseLogin('28000', 'no pg_hba.conf entry');
    };
    const { answer } = await logIn(bench, 'alice');
    expect(types(answer), mode).toMatch(isIn ? IN : /^E$/);
    expect(peer.names, mode).toEqual(isIn ? ['alice'] : []);
  }
});

describe('a connection', () => {
  test('ends after a minute, however much it is used: what has moved is asked where it is', async () => {
    const { bench, peer } = scene(
      { auth_query_cache_ttl: 0, dns_max_ttl: 1 },
      { databases: { app: 'host=db.example port=5432' } },
    );
    const { environment } = bench;
    bench.expectServers('config_changed', 'address_changed');
    environment.names.set('db.example', ['10.0.0.1']);
    const elsewhere = bench.postgresAt('10.0.0.2');
    elsewhere.onStartup = bench.postgres.onStartup;
    for (let i = 0; i < 5; i++) {
      expect(types((await logIn(bench, 'alice')).answer)).toMatch(IN);
      bench.advance(11_000);
      await bench.settle();
    }
    expect(peer.sessions).toHaveLength(1);
    environment.names.set('db.example', ['10.0.0.2']);
    bench.advance(11_000);
    await bench.settle();
    expect(peer.sessions[0]!.isGone).toBe(true);
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(IN);
    expect(elsewhere.sessions.filter(({ startup }) => startup.get('user') === AUTH_USER)).toHaveLength(1);
  });
});

test('an answer is as old as its question: one that was long on its way is not remembered for longer', async () => {
  const { bench, peer } = scene({ auth_query_cache_ttl: 5 }, {}, () => 'silence');
  const client = bench.connect();
  client.send(m.startup({ user: 'alice', database: 'app' }));
  await bench.settle();
  bench.advance(4000);
  peer.sessions[0]!.send(s.parseComplete(), s.bindComplete(), s.row('alice', 'old'), s.complete('SELECT 1'), s.ready());
  await bench.settle();
  expect(client.takeSummary()).toBe('R');
  client.send(m.password('old'));
  await bench.settle();
  expect(client.takeSummary()).toContain('Z(I)');
  bench.advance(1500);
  peer.reply = () => [['alice', 'new']];
  expect(types((await logIn(bench, 'alice', 'new')).answer)).toMatch(IN);
  expect(refusal((await logIn(bench, 'alice', 'old')).answer)).toBe(REFUSED);
});

/** With somebody at the console. */
async function sceneWithBoss() {
  const made = scene({ admin_users: 'local', auth_query_cache_ttl: 0 });
  made.bench.expectServers('paused', 'config_changed', 'database_removed');
  const { client } = await logIn(made.bench, 'local', 'local-secret', { database: 'pgbouncer' });
  return { ...made, boss: client };
}

describe('the console', () => {
  test.each(['PAUSE', 'PAUSE app'])('%s ends them, and who would ask waits for RESUME', async (pause) => {
    const { bench, peer, boss } = await sceneWithBoss();
    await logIn(bench, 'alice');
    expect(boss.query(pause)).toBe('C(PAUSE) Z(I)');
    expect(bench.postgres.backends).toBe(0);
    const client = bench.connect();
    client.send(m.startup({ user: 'alice', database: 'app' }));
    bench.advance(5000);
    await bench.settle();
    expect(client.takeSummary()).toBe('');
    expect(bench.postgres.backends).toBe(0);
    expect(boss.query(pause.replace('PAUSE', 'RESUME'))).toBe('C(RESUME) Z(I)');
    bench.advance(1000);
    await bench.settle();
    expect(client.takeSummary()).toBe('R');
    expect(peer.sessions).toHaveLength(2);
    client.stream.destroy();
    bench.run();
  });

  test('PAUSE waits for an answer that is still to come', async () => {
    const { bench, peer, boss } = await sceneWithBoss();
    peer.reply = () => 'silence';
    const client = bench.connect();
    client.send(m.startup({ user: 'alice', database: 'app' }));
    await bench.settle();
    expect(boss.query('PAUSE')).toBe('');
    peer.sessions[0]!.send(s.parseComplete(), s.bindComplete(), s.complete('SELECT 0'), s.ready());
    bench.advance(1000);
    await bench.settle();
    expect(boss.takeSummary()).toBe('C(PAUSE) Z(I)');
    expect(client.takeSummary()).toBe('R');
    client.stream.destroy();
    bench.run();
  });

  test.each(['RECONNECT', 'RECONNECT app'])('%s replaces them', async (reconnect) => {
    const { bench, peer, boss } = await sceneWithBoss();
    await logIn(bench, 'alice');
    expect(boss.query(reconnect)).toBe('C(RECONNECT) Z(I)');
    expect(peer.sessions[0]!.isGone).toBe(true);
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(IN);
    expect(peer.sessions).toHaveLength(2);
  });
});

describe('a reload', () => {
  test('changes who is asked what, and forgets what was answered before', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 3600 });
    await logIn(bench, 'alice');
    peer.reply = (name) => [[name, 'by the other query']];
    bench.reload({ auth_query: 'SELECT name, secret FROM pooler.secrets($1)' });
    expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
    expect(types((await logIn(bench, 'alice', 'by the other query')).answer)).toMatch(IN);
    expect(peer.sessions).toHaveLength(2);
    const asked = peer.sessions[1]!.received.filter(({ type }) => type === 'P').map(parsedText);
    expect(new Set(asked)).toEqual(new Set(['SELECT name, secret FROM pooler.secrets($1)']));
  });

  test('turns it on, and off, for one database', async () => {
    const { bench, peer } = scene({ auth_user: '' });
    const app = { host: '10.0.0.1', port: 5432 };
    expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
    bench.reload({}, { databases: { app: { ...app, auth_user: AUTH_USER } } });
    const { client, answer } = await logIn(bench, 'alice');
    expect(types(answer)).toMatch(IN);
    expect(client.query('SELECT a')).toContain('Z(I)');
    const servers = bench.postgres.sessions.length;
    bench.reload({}, { databases: { app } });
    expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
    // Who is in stays, on the server that it had: who may come in is not what a server is.
    expect(client.query('SELECT b')).toContain('Z(I)');
    expect(bench.postgres.sessions).toHaveLength(servers);
    expect(peer.names).toEqual(['alice']);
  });

  test('answers those who have asked before it, by the query that they came for', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 0 }, {}, () => 'silence');
    const clients = ['alice', 'bob', 'carol'].map((user) => {
      const client = bench.connect();
      client.send(m.startup({ user, database: 'app' }));
      return client;
    });
    await bench.settle();
    bench.reload({});
    peer.reply = known;
    // The first two are being asked for; the third waits for one of their connections.
    for (const session of peer.sessions) {
      session.send(s.parseComplete(), s.bindComplete(), s.complete('SELECT 0'), s.ready());
    }
    await bench.settle();
    expect(clients.map((client) => client.takeSummary())).toEqual(['R', 'R', 'R']);
    expect(peer.sessions).toHaveLength(2);
    bench.advance(1000);
    expect(peer.sessions.every(({ isGone }) => isGone)).toBe(true);
    for (const client of clients) client.stream.destroy();
    bench.run();
  });
});

test('a server of an earlier time, that refuses the newest protocol, is asked by the old one over TLS as well', async () => {
  const { bench } = scene({}, { serverSecurity: MODES.require() });
  bench.expectServers('login_failed');
  bench.postgres.sslAnswer = YES;
  const peer = new AuthQueryPeer(bench, known);
  const { onStartup } = bench.postgres;
  bench.postgres.onStartup = (session) => {
    if (session.minor === 0) onStartup?.(session);
    else session.refuseLogin('0A000', 'unsupported frontend protocol');
  };
  expect(types((await logIn(bench, 'alice')).answer)).toMatch(IN);
  expect(peer.sessions.map(({ isSecured }) => isSecured)).toEqual([true]);
});
