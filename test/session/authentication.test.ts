/** Passwords on both sides of the pooler, with peers that were written independently (faults A10, A11, B2–B4). */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { memoryServerTls } from '../support/memory-tls.ts';
import { inPiecesOf } from '../support/memory-transport.ts';
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s, strings } from '../support/wire.ts';
import { ScramPeerClient, ScramPeerServer } from './scram-peer.ts';

const md5 = (...parts: (string | Buffer)[]): string => {
  const digest = createHash('md5');
  for (const part of parts) digest.update(part);
  return digest.digest('hex');
};

async function ask(bench: SessionBench, client: SessionClient, ...messages: readonly Buffer[]) {
  client.send(...messages);
  await bench.settle();
  return client.take();
}

/** Logs in by SCRAM; returns the type bytes that come at the end. */
async function scramLogin(bench: SessionBench, client: SessionClient, password: string): Promise<string> {
  const peer = new ScramPeerClient(password);
  client.sendStartup();
  await bench.settle();
  const [request] = client.take();
  expect(strings(request!.body, 4)).toEqual(['SCRAM-SHA-256', '']);
  const [first] = await ask(bench, client, m.saslInitial('SCRAM-SHA-256', peer.first()));
  expect(first!.body.readInt32BE(0)).toBe(11);
  const answers = await ask(bench, client, m.saslResponse(peer.final(first!.body.toString('utf8', 4))));
  const final = answers.find(({ type, body }) => type === 'R' && body.readInt32BE(0) === 12);
  if (final !== undefined) expect(peer.accepts(final.body.toString('utf8', 4))).toBe(true);
  return answers.map(({ type }) => type).join('');
}

describe('clients', () => {
  test('log in by SCRAM with a plain secret, cut into any pieces', async () => {
    for (const size of [1, 3, 10_000]) {
      const bench = sessionBench({ auth_type: 'scram-sha-256' });
      const client = bench.connect({ segmentation: inPiecesOf(size) });
      expect(await scramLogin(bench, client, 'app-secret')).toMatch(/^RRS+KZ$/);
      expect(client.query('SELECT a')).toContain('Z(I)');
    }
  });

  test('are refused by SCRAM with the wrong password, and when they do not exist, in the same way', async () => {
    for (const secrets of [{ app: 'app-secret' }, {}]) {
      const bench = sessionBench({ auth_type: 'scram-sha-256' }, { secrets });
      expect(await scramLogin(bench, bench.connect(), 'wrong')).toBe('E');
      expect(bench.postgres.streams.size).toBe(0);
    }
  });

  test('log in by MD5, and are refused with a wrong answer', async () => {
    for (const password of ['app-secret', 'wrong']) {
      const bench = sessionBench({ auth_type: 'md5' });
      const client = bench.connect();
      client.sendStartup();
      bench.run();
      const [request] = client.take();
      expect(request!.body.readInt32BE(0)).toBe(5);
      const answer = `md5${md5(md5(password, 'app'), request!.body.subarray(4))}`;
      const types = (await ask(bench, client, m.password(answer))).map(({ type }) => type).join('');
      expect(types).toMatch(password === 'wrong' ? /^E$/ : /^RS+KZ$/);
    }
  });

  test('that send a message of SASL twice, or none of it, are refused', async () => {
    for (const bytes of [
      m.saslResponse(Buffer.from('c=biws')),
      m.saslInitial('SCRAM-SHA-256-PLUS', Buffer.from('p=x,,')),
      m.sync(),
    ]) {
      const bench = sessionBench({ auth_type: 'scram-sha-256' });
      const client = bench.connect();
      client.sendStartup();
      bench.run();
      client.take();
      expect((await ask(bench, client, bytes)).map(({ type }) => type)).toEqual(['E']);
      expect(client.isEnded).toBe(true);
    }
  });
});

/** Has each new session ask for a password; `check` says what follows the pooler's answers. */
function asking(
  bench: SessionBench,
  question: Buffer,
  check: (session: ScriptedSession, step: number) => Buffer | 'in' | 'no',
  server = bench.postgres,
): void {
  server.onStartup = (session) => {
    let step = 0;
    const original = session.stream.onData;
    session.takeOver().send(question);
    session.stream.onData = (chunk) => {
      original(chunk);
      if (session.isLoggedIn || session.isGone) return;
      const next = check(session, step++);
      if (next === 'no') session.refuseLogin('28P01', 'password authentication failed');
      else if (next !== 'in') session.send(next);
      else {
        session.scripted = false;
        session.stream.onData = original;
        session.login();
      }
    };
  };
}

/** A server that asks for the password in clear text. */
function inTheClear(bench: SessionBench, host = '10.0.0.1'): void {
  asking(
    bench,
    s.authentication(3),
    (session) => (strings(session.received[0]!.body)[0] === 'secret' ? 'in' : 'no'),
    bench.postgresAt(host),
  );
}

async function connect(settings: BenchSettings, setup: BenchSetup, prepare: (bench: SessionBench) => void) {
  const bench = sessionBench(settings, setup);
  bench.expectServers('login_failed');
  prepare(bench);
  const client = bench.connect();
  client.sendStartup();
  await bench.settle();
  return { bench, client, answer: client.takeSummary() };
}

function askScram(
  bench: SessionBench,
  password: string,
  spoil: (final: Buffer) => Buffer | 'in' = (final) => final,
): void {
  const peer = new ScramPeerServer(password);
  asking(bench, s.authentication(10, Buffer.from('SCRAM-SHA-1\0SCRAM-SHA-256\0\0')), (session, step) => {
    const { body } = session.received[step]!;
    if (step === 0) return s.authentication(11, peer.first(body.toString('utf8', body.indexOf(0) + 5)));
    const final = peer.final(body.toString());
    if (final === null) return 'no';
    const spoiled = spoil(final);
    if (spoiled === 'in') return 'in';
    queueMicrotask(() => {
      if (!session.isGone) {
        session.scripted = false;
        session.login();
      }
    });
    return s.authentication(12, spoiled);
  });
}

describe('servers', () => {
  const withPassword: BenchSetup = { databases: { app: { host: '10.0.0.1', user: 'app', password: 'secret' } } };

  test('that ask for it in the clear get it', async () => {
    const { answer } = await connect({ server_require_auth: 'password' }, withPassword, (bench) =>
      asking(bench, s.authentication(3), (session) =>
        strings(session.received[0]!.body)[0] === 'secret' ? 'in' : 'no',
      ),
    );
    expect(answer).toContain('Z(I)');
  });

  test('that ask for it in the clear do not get it, unless they are on a Unix socket or have TLS', async () => {
    const plain = await connect({}, withPassword, inTheClear);
    expect(plain.answer).toBe('E(08006)');
    expect(plain.bench.server().received).toEqual([]);
    const secured = await connect({}, { ...withPassword, serverSecurity: memoryServerTls('required') }, (bench) => {
      bench.postgres.sslAnswer = Buffer.from('S');
      inTheClear(bench);
    });
    expect(secured.answer).toContain('Z(I)');
    const folder = '/run/postgresql';
    const onUnix = { databases: { app: { host: folder, user: 'app', password: 'secret' } } };
    expect((await connect({}, onUnix, (bench) => inTheClear(bench, folder))).answer).toContain('Z(I)');
    const forbidden = await connect({ server_require_auth: '!password' }, onUnix, (bench) => inTheClear(bench, folder));
    expect(forbidden.answer).toBe('E(08006)');
  });

  test('that ask by MD5 get the digest', async () => {
    const expected = `md5${md5(md5('secret', 'app'), 'salt')}`;
    const { answer } = await connect({}, withPassword, (bench) =>
      asking(bench, s.authentication(5, Buffer.from('salt')), (session) =>
        strings(session.received[0]!.body)[0] === expected ? 'in' : 'no',
      ),
    );
    expect(answer).toContain('Z(I)');
  });

  test('that ask by SCRAM get the proof, and prove themselves', async () => {
    const { answer } = await connect({}, withPassword, (bench) => askScram(bench, 'secret'));
    expect(answer).toContain('Z(I)');
  });

  test('with another password refuse, and the client hears the server’s words', async () => {
    const { answer } = await connect({}, withPassword, (bench) => askScram(bench, 'another'));
    expect(answer).toBe('E(28P01)');
  });

  test.each([
    ['with a wrong signature', (final: Buffer) => Buffer.from(final.toString().replace(/=./, '=A'))],
    ['with an error in its place', () => Buffer.from('e=other-error')],
    ['without any signature', () => 'in' as const],
  ])('that end SCRAM %s are not believed', async (_what, spoil) => {
    const { bench, answer } = await connect({}, withPassword, (target) => askScram(target, 'secret', spoil));
    expect(answer).toMatch(/^E\(08006\)$/);
    expect(bench.pool().servers.idle.size).toBe(0);
  });

  test('that ask for a password which nobody knows: an error that names no secret, no hot loop', async () => {
    for (const question of [
      s.authentication(3),
      s.authentication(5, Buffer.from('salt')),
      s.authentication(10, Buffer.from('SCRAM-SHA-256\0\0')),
    ]) {
      const setup = { databases: { app: { host: '10.0.0.1', user: 'other' } }, secrets: { app: 'x' } };
      const { bench, client, answer } = await connect(
        { server_require_auth: 'password,md5,scram-sha-256' },
        setup,
        (target) => asking(target, question, () => 'no'),
      );
      expect(answer).toBe('E(08006)');
      expect(Buffer.concat(client.chunks).toString()).toContain('no password is known');
      bench.advance(5000);
      expect(bench.postgres.sessions).toHaveLength(1);
    }
  });

  test('that change the method in the middle are not followed', async () => {
    const { answer } = await connect({}, withPassword, (bench) =>
      asking(bench, s.authentication(3), () => s.authentication(5, Buffer.from('salt'))),
    );
    expect(answer).toBe('E(08006)');
  });
});

/** The stored verifier of a password, with the salt of `ScramPeerServer` or another one. */
function verifierOf(password: string, salt = 'W22ZaJ0SNY7soEsUEjb6gQ=='): string {
  const peer = new ScramPeerClient(password);
  peer.first();
  peer.final(`r=x,s=${salt},i=4096`);
  return `SCRAM-SHA-256$4096:${salt}$${peer.verifierKeys}`;
}

const OTHER_SALT = 'QSXCR+Q6sek8bf92AAAAAA==';

/** A client that has logged in by a stored verifier, and a server with one of the same password. */
async function withVerifier(stored: string) {
  const settings = { auth_type: 'scram-sha-256', pool_mode: 'transaction', server_lifetime: 0 };
  const bench = sessionBench(settings, { users: { app: { password: stored } }, secrets: {} });
  bench.expectServers('login_failed', 'lifetime');
  bench.expectClients('server_unavailable');
  askScram(bench, 'secret');
  const client = bench.connect();
  return { bench, client, types: await scramLogin(bench, client, 'secret') };
}

describe('a verifier that clients have proven to have the key of', () => {
  test('opens a server that has the very same', async () => {
    const { client, types } = await withVerifier(verifierOf('secret'));
    expect(types).toMatch(/^RRS+KZ$/);
    expect(client.query('SELECT a')).toContain('Z(I)');
  });

  test('opens none that has another one of the same password, nor is a proof shown to it', async () => {
    const { bench, types } = await withVerifier(verifierOf('secret', OTHER_SALT));
    expect(types).toBe('E');
    expect(bench.server().received).toHaveLength(1);
  });

  test.each([
    ['another verifier', { app: { password: verifierOf('other') } }],
    ['another salt', { app: { password: verifierOf('secret', OTHER_SALT) } }],
    ['no secret at all', {}],
  ])('opens nothing more when its user has %s', async (_what, users) => {
    const { bench, client } = await withVerifier(verifierOf('secret'));
    const other = bench.connect();
    expect(await scramLogin(bench, other, 'secret')).toMatch(/^RRS+KZ$/);
    expect(client.query('SELECT a')).toContain('Z(I)');
    bench.reload({}, { users });
    const opened = bench.postgres.sessions.length;
    client.send(m.query('SELECT b'));
    await bench.settle();
    expect(client.takeSummary()).toBe('E(08006)');
    // It is not taken up again when the old secret is back: it must be proven anew.
    bench.reload({}, { users: { app: { password: verifierOf('secret') } } });
    other.send(m.query('SELECT c'));
    await bench.settle();
    expect(other.takeSummary()).toBe('E(08006)');
    expect(bench.postgres.sessions.slice(opened).map(({ received }) => received)).toEqual([[], []]);
    expect(await scramLogin(bench, bench.connect(), 'secret')).toMatch(/^RRS+KZ$/);
  });
});
