/** auth_query: who is asked what, when, on which connection, and what a client gets to know of it. */
import { describe, expect, test } from 'vitest';
import { client as m, server as s, strings } from '../support/wire.ts';
import { AUTH_USER, parsedText } from './auth-query-peer.ts';
import { known, logIn, REFUSED, refusal, scene, types, USERS } from './auth-query-scene.ts';

describe('a user that auth_file does not have', () => {
  test('is asked for at PostgreSQL, by the extended protocol, and let in with what is stored there', async () => {
    const { bench, peer } = scene();
    const { client, answer } = await logIn(bench, 'alice');
    expect(types(answer)).toMatch(/^RS+KZ$/);
    expect(client.query('SELECT a')).toContain('Z(I)');
    expect(peer.names).toEqual(['alice']);
    const [session] = peer.sessions;
    expect(session!.startup.get('user')).toBe(AUTH_USER);
    expect(session!.startup.get('database')).toBe('app');
    expect(peer.types()).toBe('QPBES');
    expect(session!.queries).toEqual(['SET search_path TO pg_catalog, pg_temp; SET statement_timeout TO 15000']);
    expect(parsedText(session!.received[1]!)).toBe(
      'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin',
    );
  });

  test('is refused with the wrong password, as one who does not exist is', async () => {
    const { bench } = scene();
    const wrong = await logIn(bench, 'alice', 'wrong');
    const nobody = await logIn(bench, 'nobody', 'wrong');
    expect(refusal(wrong.answer)).toBe(REFUSED);
    expect(nobody.answer).toEqual(wrong.answer);
    expect(nobody.asked).toBe(wrong.asked);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('CVE-2015-6817: one who does not exist never becomes auth_user, whatever it says', async () => {
    const { bench, peer } = scene();
    for (const password of ['auth-secret', 'nobody-secret', 'x']) {
      expect(refusal((await logIn(bench, 'nobody', password)).answer)).toBe(REFUSED);
    }
    // An answer that speaks of somebody else.
    peer.reply = () => [[AUTH_USER, 'auth-secret']];
    expect(refusal((await logIn(bench, 'mallory', 'auth-secret')).answer)).toBe(REFUSED);
    expect(bench.postgres.sessions.map(({ startup }) => startup.get('user'))).toEqual([AUTH_USER]);
  });

  test.each([
    ['without a password (NULL, as after VALID UNTIL: CVE-2025-2291)', [['alice', null]]],
    ['with an empty password', [['alice', '']]],
    [
      'twice',
      [
        ['alice', 'alice-secret'],
        ['alice', 'alice-secret'],
      ],
    ],
    ['with three columns', [['alice', 'alice-secret', 'x']]],
    ['with one column', [['alice']]],
    ['under another name', [['Alice', 'alice-secret']]],
    ['without a name', [[null, 'alice-secret']]],
    ['with a role that may not log in (no row)', []],
    ['with an error', Buffer.concat([s.error({ code: '42501', message: 'permission denied' }), s.ready()])],
  ] as const)('%s, is refused like any other', async (_what, reply) => {
    const { bench, peer } = scene({}, {}, () => reply);
    for (const password of ['alice-secret', 'x']) {
      const { asked, answer } = await logIn(bench, 'alice', password);
      expect(asked).toBe('R');
      expect(refusal(answer)).toBe(REFUSED);
    }
    expect(bench.postgres.sessions).toHaveLength(1);
    expect(JSON.stringify(bench.log.lines)).not.toContain('alice-secret');
    expect(peer.sessions[0]!.isGone).toBe(false);
  });

  test('with an empty password is not let in by an empty one', async () => {
    const { bench } = scene({}, {}, () => [['alice', '']]);
    expect(refusal((await logIn(bench, 'alice', '')).answer)).toBe(REFUSED);
  });
});

describe('a user in auth_file', () => {
  test('counts, and nobody is asked', async () => {
    const { bench, peer } = scene({}, {}, (name) => [[name, 'another-secret']]);
    expect(types((await logIn(bench, 'local')).answer)).toMatch(/^RS+KZ$/);
    expect(refusal((await logIn(bench, 'local', 'another-secret')).answer)).toBe(REFUSED);
    expect(peer.sessions).toHaveLength(0);
  });
});

describe('CVE-2025-12819: of what a client sends nothing but its name gets there', () => {
  test('neither parameters nor options nor statements, and no client is ever linked to the connection', async () => {
    const { bench, peer } = scene({ pool_size: 2, ignore_startup_parameters: 'options' });
    const startup = {
      search_path: 'evil',
      options: '-c search_path=evil -c role=evil',
      application_name: 'evil',
      client_encoding: 'EVIL',
      datestyle: 'evil',
      replication: 'false',
    };
    for (const user of ['alice', "alice'; DROP TABLE x; --", 'alice', '$1', 'bob']) {
      bench.expectClients('server_lost', 'parameter_refused');
      const { client } = await logIn(bench, user, USERS[user] ?? 'x', { startup });
      if (!client.isEnded) client.send(m.query('SELECT evil'));
      await bench.settle();
    }
    const [session] = peer.sessions;
    expect(peer.sessions).toHaveLength(1);
    expect([...session!.startup.keys()]).toEqual(['user', 'database']);
    const bytes = Buffer.concat(session!.received.map(({ body }) => body)).toString();
    expect(bytes).not.toContain('evil');
    expect(peer.types()).toMatch(/^Q(PBES)+$/);
    const texts = session!.received.filter(({ type }) => type === 'P').map(parsedText);
    expect(new Set(texts).size).toBe(1);
    expect(peer.names).toEqual(['alice', "alice'; DROP TABLE x; --", '$1', 'bob']);
  });

  test('nor the parameters of the database’s entry', async () => {
    const { bench, peer } = scene({}, { databases: { app: 'host=10.0.0.1 timezone=Mars datestyle=German' } });
    await logIn(bench, 'alice');
    expect([...peer.sessions[0]!.startup.keys()]).toEqual(['user', 'database']);
  });
});

describe('questions', () => {
  test('for one user are shared by all who wait, and the answer lasts for auth_query_cache_ttl', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 5, max_client_conn: 100 });
    const clients = Array.from({ length: 10 }, () => bench.connect());
    for (const client of clients) client.send(m.startup({ user: 'alice', database: 'app' }));
    await bench.settle();
    expect(clients.map((client) => client.takeSummary())).toEqual(clients.map(() => 'R'));
    expect(peer.names).toEqual(['alice']);
    bench.advance(4900);
    await logIn(bench, 'alice');
    expect(peer.names).toEqual(['alice']);
    bench.advance(200);
    await logIn(bench, 'alice');
    expect(peer.names).toEqual(['alice', 'alice']);
    for (const client of clients) client.stream.destroy();
    bench.run();
  });

  test('CVE-2025-2291: a password that was revoked counts for no longer than that, warm pool or not', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 10 });
    const { client } = await logIn(bench, 'alice');
    expect(client.query('SELECT a')).toContain('Z(I)');
    peer.reply = () => [['alice', null]];
    bench.advance(10_000);
    expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
    expect(bench.pool('app', 'alice').servers.idle.size).toBe(1);
  });

  test('are asked again for a client that was refused, but once a second for a name at most', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 5 });
    for (const name of ['alice', 'nobody']) {
      peer.names.length = 0;
      await logIn(bench, name, 'new-secret');
      await logIn(bench, name, 'new-secret');
      expect(peer.names, name).toEqual([name]);
      bench.advance(1100);
      await logIn(bench, name, 'new-secret');
      peer.reply = (asked) => [[asked, 'new-secret']];
      expect(types((await logIn(bench, name, 'new-secret')).answer)).toMatch(/^RS+KZ$/);
      expect(peer.names, name).toEqual([name, name]);
      peer.reply = known;
    }
  });

  test('for many users run on a few connections, which count in the budget and go when they are idle', async () => {
    const { bench, peer } = scene(
      { max_client_conn: 1000, max_login_clients: 1000 },
      { databases: { app: 'host=10.0.0.1 max_server_connections=3' } },
      (name) => [[name, `${name}-secret`]],
    );
    const clients = Array.from({ length: 200 }, () => bench.connect());
    clients.forEach((client, i) => client.send(m.startup({ user: `u${i}`, database: 'app' })));
    await bench.settle();
    expect(clients.map((client) => client.takeSummary())).toEqual(clients.map(() => 'R'));
    expect(peer.sessions.length).toBeLessThanOrEqual(2);
    expect(bench.budget.inUse('postgres 10.0.0.1:5432')).toBe(peer.sessions.length);
    for (const client of clients) client.stream.destroy();
    bench.advance(61_000);
    await bench.settle();
    expect(bench.budget.inUse('postgres 10.0.0.1:5432')).toBe(0);
    expect(peer.sessions.every(({ isGone }) => isGone)).toBe(true);
  });

  test('make room for clients: one connection in all is enough to log in and work', async () => {
    const { bench } = scene({}, { databases: { app: 'host=10.0.0.1 max_server_connections=1' } });
    const { client, answer } = await logIn(bench, 'alice');
    expect(types(answer)).toMatch(/^RS+KZ$/);
    expect(client.query('SELECT a')).toContain('Z(I)');
    bench.expectServers('evicted');
    bench.advance(6000);
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(/^RS+KZ$/);
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('that are not answered end with the connection, and the client hears nothing special', async () => {
    const { bench, peer } = scene({ server_connect_timeout: 5, server_close_timeout: 1 }, {}, () => 'silence');
    const client = bench.connect();
    client.send(m.startup({ user: 'alice', database: 'app' }));
    await bench.settle();
    expect(client.takeSummary()).toBe('');
    bench.advance(5500);
    await bench.settle();
    expect(client.takeSummary()).toBe('R');
    bench.advance(1500);
    await bench.settle();
    expect(peer.sessions[0]!.isGone).toBe(true);
    expect(bench.budget.inUse('database app')).toBe(0);
    peer.reply = known;
    client.send(m.password('alice-secret'));
    await bench.settle();
    expect(refusal(client.take())).toBe(REFUSED);
  });

  test('while PostgreSQL is down: users of auth_file are asked as ever, others are refused, and it is tried once', async () => {
    const { bench } = scene({ server_login_retry: 15 });
    bench.expectServers('connect_failed');
    bench.postgres.accepting = 'refuse';
    for (let i = 0; i < 5; i++) {
      const { asked, answer } = await logIn(bench, 'alice');
      expect(asked).toBe('R');
      expect(refusal(answer)).toBe(REFUSED);
    }
    expect(bench.environment.dials).toHaveLength(1);
    expect(JSON.stringify(bench.log.lines)).toContain('cannot connect for auth_query');
    bench.postgres.accepting = 'accept';
    bench.advance(15_500);
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(/^RS+KZ$/);
  });

  test('by the connection that PostgreSQL closes are lost, and the next one gets a new connection', async () => {
    const { bench, peer } = scene({ auth_query_cache_ttl: 0 });
    await logIn(bench, 'alice');
    peer.sessions[0]!.die('exit', s.error({ severity: 'FATAL', code: '57P01', message: 'terminating' }));
    await bench.settle();
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(/^RS+KZ$/);
    expect(peer.sessions).toHaveLength(2);
  });

  test.each([
    ['a transaction', Buffer.concat([s.row('alice', 'alice-secret'), s.complete('SELECT 1'), s.ready('T')])],
    ['a second ReadyForQuery', Buffer.concat([s.row('alice', 'x'), s.complete('SELECT 1'), s.ready(), s.ready()])],
    ['a COPY', s.copyOut()],
    ['a row that is cut off', Buffer.from('D\0\0\0\x0a\0\x02\0\0\0\x7f', 'latin1')],
    ['a length that no message has', Buffer.from('D\x7f\xff\xff\xff', 'latin1')],
    ['the end of the world', s.error({ severity: 'FATAL', code: 'XX000', message: 'bye' })],
  ])('that are answered with %s close the connection', async (_what, reply) => {
    const { bench, peer } = scene({}, {}, () => reply);
    expect(refusal((await logIn(bench, 'alice')).answer)).toBe(REFUSED);
    await bench.settle();
    bench.advance(5500);
    expect(bench.budget.inUse('database app')).toBe(0);
    peer.reply = known;
    expect(types((await logIn(bench, 'bob')).answer)).toMatch(/^RS+KZ$/);
  });
});

describe('where it runs', () => {
  const databases = {
    app: 'host=10.0.0.1',
    other: 'host=10.0.0.1 dbname=real auth_user=auth2',
    third: { host: '10.0.0.1', auth_query: 'SELECT * FROM x.y($1)', auth_dbname: 'app' },
  };

  test('in the client’s database, as its auth_user, with its query', async () => {
    const { bench, peer } = scene({}, { databases, secrets: { auth: 'x', auth2: 'y' } });
    const asked: string[] = [];
    bench.postgres.onStartup = (session) => {
      asked.push(`${session.startup.get('user')}@${session.startup.get('database')}`);
      session.refuseLogin('28P01');
    };
    for (const database of Object.keys(databases)) await logIn(bench, 'alice', 'x', { database });
    expect(asked).toEqual(['auth@app', 'auth2@real', 'auth@app']);
    expect(peer.names).toEqual([]);
  });

  test('in auth_dbname, if there is one', async () => {
    const { bench, peer } = scene({ auth_dbname: 'other' }, { databases: { ...databases, other: 'host=10.0.0.1' } });
    expect(types((await logIn(bench, 'alice')).answer)).toMatch(/^RS+KZ$/);
    expect(peer.sessions.map(({ startup }) => startup.get('database'))).toEqual(['other']);
  });

  test('for a database that does not exist somewhere else, and only who proves itself is told that', async () => {
    for (const settings of [{ auth_dbname: 'app' }, {}] as const) {
      const { bench, peer } = scene(settings);
      const here = await logIn(bench, 'alice', 'wrong');
      const there = await logIn(bench, 'alice', 'wrong', { database: 'nowhere' });
      expect(there.answer).toEqual(here.answer);
      expect(there.asked).toBe(here.asked);
      expect(peer.names).toContain('alice');
      expect(refusal((await logIn(bench, 'nobody', 'x', { database: 'nowhere' })).answer)).toBe(REFUSED);
      const { answer } = await logIn(bench, 'alice', 'alice-secret', { database: 'nowhere' });
      expect(refusal(answer)).toMatch(/^3D000 /);
    }
  });

  test('for the console nowhere, unless auth_dbname says so: not any PostgreSQL decides who may be admin', async () => {
    const { bench, peer } = scene();
    expect(refusal((await logIn(bench, 'alice', 'alice-secret', { database: 'pgbouncer' })).answer)).toBe(REFUSED);
    expect(peer.names).toEqual([]);
  });

  test('a fallback database that PostgreSQL does not have: no difference, and only so many are tried', async () => {
    const { bench } = scene({ max_client_conn: 1000, max_login_clients: 500 }, { databases: { '*': 'host=10.0.0.1' } });
    bench.postgres.onStartup = (session) => session.refuseLogin('3D000', 'database does not exist');
    const answer = await logIn(bench, 'alice', 'alice-secret', { database: 'nowhere' });
    expect(answer.asked).toBe('R');
    expect(refusal(answer.answer)).toBe(REFUSED);
    for (let i = 0; i < 200; i++) await logIn(bench, 'alice', 'x', { database: `no${i}` });
    expect(bench.secrets.queries.lanes.length).toBeLessThanOrEqual(50);
    bench.advance(61_000);
    expect(bench.secrets.queries.lanes).toHaveLength(0);
  });
});

describe('a new configuration', () => {
  test('is asked by new connections; the old ones end', async () => {
    const { bench, peer } = scene();
    await logIn(bench, 'alice');
    bench.secrets.reload(bench.config);
    bench.advance(1000);
    await bench.settle();
    expect(peer.sessions[0]!.isGone).toBe(true);
    await logIn(bench, 'alice');
    expect(peer.sessions).toHaveLength(2);
    expect(peer.names).toEqual(['alice', 'alice']);
  });
});

test('logs name no secret, and errors that PostgreSQL gives stay with us', async () => {
  const { bench } = scene({}, {}, () =>
    Buffer.concat([s.error({ code: '42883', message: 'function get_auth(text) does not exist' }), s.ready()]),
  );
  const { answer } = await logIn(bench, 'alice');
  expect(strings(answer[0]!.body).join(' ')).not.toContain('get_auth');
  const log = JSON.stringify(bench.log.lines);
  expect(log).toContain('name its schema in auth_query');
  expect(log).not.toMatch(/alice-secret|auth-secret/);
});
