/**
 * Secrets stay secret: after logins of every kind, right and wrong, on both sides, everything that the pooler has said
 * to anybody but the one whose secret it is is searched for them, in every form that they can have.
 */
import { createHash, pbkdf2Sync } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { SHOW_TABLES } from '../../src/admin/show-tables.ts';
import { takeSnapshot } from '../../src/client/client-snapshot.ts';
import { configFromObject } from '../../src/config/load-config.ts';
import { PrometheusMetrics } from '../../src/metrics/prometheus-metrics.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';
import { handMadeSnapshot } from '../unit/metrics/hand-made-snapshot.ts';
import { AUTH_USER, AuthQueryPeer } from './auth-query-peer.ts';
import { ScramPeerClient } from './scram-peer.ts';

const USER_SECRET = 'kR7#users-own-password';
const TYPED_SECRET = 'kR7#what-somebody-typed';
const SERVER_SECRET = 'kR7#the-servers-password';
const SECRETS = [USER_SECRET, TYPED_SECRET, SERVER_SECRET];

const digest = (name: string, text: string): Buffer => createHash(name).update(text).digest();
const SALT = Buffer.from('0123456789abcdef');

/** What a secret looks like where it is encoded, hashed, or turned into keys. */
function formsOf(secret: string): string[] {
  const salted = pbkdf2Sync(secret, SALT, 4096, 32, 'sha256');
  const keys = verifierOf(secret).split('$')[2]!.split(':');
  const bytes = [Buffer.from(secret), digest('md5', `${secret}app`), digest('sha256', secret), salted];
  return [
    secret,
    ...keys,
    ...bytes.flatMap((some) => [some.toString('base64').replace(/=+$/, ''), some.toString('hex')]),
  ];
}

function verifierOf(secret: string): string {
  const peer = new ScramPeerClient(secret);
  peer.final(`r=x,s=${SALT.toString('base64')},i=4096`);
  return `SCRAM-SHA-256$4096:${SALT.toString('base64')}$${peer.verifierKeys}`;
}

const STORED = {
  plain: USER_SECRET,
  md5: `md5${digest('md5', `${USER_SECRET}app`).toString('hex')}`,
  scram: verifierOf(USER_SECRET),
};

/** Everything that is shown to somebody: log, errors to clients, snapshot (console, metrics), the page of metrics. */
async function outputsOf(bench: SessionBench): Promise<string> {
  const { config, budget, router, registry, environment } = bench;
  const snapshot = takeSnapshot({
    state: 'ready',
    version: '',
    config,
    nowMs: environment.now(),
    states: router.states,
    pools: router.pools,
    dropped: router.dropped,
    budget,
    registry,
    users: 1,
    dns: { names: 0, lookups: 0 },
    process: handMadeSnapshot.process,
  });
  const page = await new PrometheusMetrics(environment).render(snapshot);
  const told = bench.clients.map(({ chunks }) => Buffer.concat(chunks).toString('latin1'));
  return [
    JSON.stringify(bench.log.lines),
    inspect(bench.log.lines, { depth: 9 }),
    JSON.stringify(snapshot),
    page,
    ...told,
  ].join('\n');
}

function expectNoSecret(output: string): void {
  const found = SECRETS.flatMap(formsOf).filter((form) => output.includes(form));
  expect(found).toEqual([]);
}

/** A client that answers whatever it is asked with what it knows. */
function logIn(bench: SessionBench, password: string): Promise<string> {
  return logInAs(bench, bench.connect(), { user: 'app', database: 'app', password });
}

async function logInAs(
  bench: SessionBench,
  client: SessionClient,
  { user, database, password }: { readonly user: string; readonly database: string; readonly password: string },
): Promise<string> {
  const peer = new ScramPeerClient(password);
  client.send(m.startup({ user, database }));
  for (;;) {
    await bench.settle();
    const messages = client.take();
    const [question] = messages;
    const code = question?.type === 'R' ? question.body.readInt32BE(0) : -1;
    if (code === 3) client.send(m.password(password));
    else if (code === 5) {
      const inner = digest('md5', `${password}${user}`).toString('hex');
      const salted = createHash('md5').update(inner).update(question!.body.subarray(4)).digest('hex');
      client.send(m.password(`md5${salted}`));
    } else if (code === 10) client.send(m.saslInitial('SCRAM-SHA-256', peer.first()));
    else if (code === 11) client.send(m.saslResponse(peer.final(question!.body.toString('utf8', 4))));
    else return messages.map(({ type }) => type).join('');
  }
}

describe.each(['trust', 'plain', 'md5', 'scram-sha-256'])('with auth_type %s', (auth_type) => {
  test.each(Object.entries(STORED))('and a %s secret, no output holds one', async (_kind, stored) => {
    const bench = sessionBench(
      { auth_type, log_level: 'debug' },
      { secrets: { app: stored }, databases: { app: { host: '10.0.0.1', password: SERVER_SECRET } } },
    );
    for (const password of [USER_SECRET, TYPED_SECRET]) await logIn(bench, password);
    expectNoSecret(await outputsOf(bench));
  });
});

test.each(Object.entries(STORED))(
  'a %s secret that PostgreSQL keeps is in no output, nor in any table of the console',
  async (_kind, stored) => {
    const bench = sessionBench(
      { auth_type: 'md5', log_level: 'debug', auth_user: AUTH_USER, admin_users: 'boss' },
      {
        secrets: { [AUTH_USER]: TYPED_SECRET, boss: 'boss-secret' },
        users: { app: { password: [USER_SECRET, TYPED_SECRET] } },
        databases: {
          app: { host: '10.0.0.1', password: SERVER_SECRET },
          other: { host: '10.0.0.1', password_command: ['token', SERVER_SECRET] },
        },
      },
    );
    bench.expectServers('login_failed', 'config_changed');
    const peer = new AuthQueryPeer(bench, () => [['app', stored]]);
    for (const users of [{ app: { password: [USER_SECRET, TYPED_SECRET] } }, {}]) {
      bench.reload({}, { users });
      for (const password of [USER_SECRET, TYPED_SECRET, 'wrong']) await logIn(bench, password);
    }
    expect(peer.names).toContain('app');
    // An answer that is nobody's, too.
    peer.reply = () => [[stored, stored, stored]];
    bench.advance(5000);
    await logIn(bench, USER_SECRET);
    const boss = bench.connect();
    const password = 'boss-secret';
    expect(await logInAs(bench, boss, { user: 'boss', database: 'pgbouncer', password })).toMatch(/Z$/);
    for (const { name } of SHOW_TABLES) boss.query(`SHOW ${name}`);
    expect(Buffer.concat(boss.chunks).toString()).toContain('auth_query');
    expectNoSecret(await outputsOf(bench));
  },
);

test.each([
  ['the password', s.authentication(3)],
  ['MD5', s.authentication(5, Buffer.from('salt'))],
  ['SCRAM', s.authentication(10, Buffer.from('SCRAM-SHA-256\0\0'))],
  ['what we do not have', s.authentication(7)],
])('a server that asks for %s and refuses it leaves none in any output', async (_what, question) => {
  const bench = sessionBench(
    { log_level: 'debug' },
    { secrets: { app: USER_SECRET }, databases: { app: { host: '10.0.0.1', user: 'app', password: SERVER_SECRET } } },
  );
  bench.expectServers('login_failed');
  bench.postgres.onStartup = (session) => {
    const original = session.stream.onData;
    session.takeOver().send(question);
    session.stream.onData = (chunk) => {
      original(chunk);
      if (!session.isGone) session.refuseLogin('28P01', 'password authentication failed for user "app"');
    };
  };
  expect(await logIn(bench, USER_SECRET)).toBe('E');
  expectNoSecret(await outputsOf(bench));
});

test('an error of the configuration does not repeat one', () => {
  for (const databases of [
    { app: { host: '10.0.0.1', password: SERVER_SECRET, port: 'none' } },
    { app: { host: '10.0.0.1', password: { [SERVER_SECRET]: SERVER_SECRET } } },
    { app: `host=10.0.0.1 password='${SERVER_SECRET}' port=none` },
    { app: `host=10.0.0.1 password='${SERVER_SECRET}` },
  ]) {
    let said = 'nothing';
    try {
      configFromObject({ databases });
    } catch (error) {
      said = inspect(error, { depth: 9 });
    }
    expect(said).not.toBe('nothing');
    expect(said.replaceAll(/^\s+at .*$/gm, '')).not.toContain(SERVER_SECRET);
  }
});

test('the search finds what it looks for', () => {
  for (const form of formsOf(USER_SECRET)) expect(() => expectNoSecret(`{"x":"${form}"}`)).toThrow();
});
