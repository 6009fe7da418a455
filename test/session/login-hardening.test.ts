/** What the login gives away to strangers, and what it costs us that they try: nothing, and little. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, type WireMessage } from '../support/wire.ts';
import { ScramPeerClient } from './scram-peer.ts';

const AUTH_TYPES = ['plain', 'md5', 'scram-sha-256'] as const;
type AuthType = (typeof AUTH_TYPES)[number];

/** The janitor's pace. */
const ROUND = 1000;

const md5 = (...parts: (string | Buffer)[]): string =>
  parts.reduce<ReturnType<typeof createHash>>((digest, part) => digest.update(part), createHash('md5')).digest('hex');

const verifier = (password: string): string => {
  const peer = new ScramPeerClient(password);
  const salt = Buffer.from('0123456789abcdef').toString('base64');
  peer.final(`r=x,s=${salt},i=4096`);
  return `SCRAM-SHA-256$4096:${salt}$${peer.verifierKeys}`;
};

const SECRETS = {
  app: 'app-secret',
  hashed: `md5${md5('hashed-secret', 'hashed')}`,
  verified: verifier('verified-secret'),
  empty: '',
};

/** Everything that a client is told before and at the end, with what is random in it made equal. */
interface Conversation {
  readonly told: string;
  readonly salts: readonly string[];
}

/** Answers all questions as a client that believes in `password`. */
async function converse(bench: SessionBench, user: string, database: string, password: string): Promise<Conversation> {
  const client = bench.connect();
  client.sendStartup({ user, database });
  const peer = new ScramPeerClient(password);
  const told: string[] = [];
  const salts: string[] = [];
  for (;;) {
    await bench.settle();
    const messages = client.take();
    told.push(...messages.map((message) => masked(message, salts)));
    const [question] = messages;
    if (question?.type !== 'R') return { told: told.join(' '), salts };
    const answer = answerTo(question, user, password, peer);
    if (answer === null) return { told: told.join(' '), salts };
    client.send(answer);
  }
}

function answerTo({ body }: WireMessage, user: string, password: string, peer: ScramPeerClient): Buffer | null {
  switch (body.readInt32BE(0)) {
    case 3:
      return m.password(password);
    case 5:
      return m.password(`md5${md5(md5(password, user), body.subarray(4))}`);
    case 10:
      return m.saslInitial('SCRAM-SHA-256', peer.first());
    case 11:
      return m.saslResponse(peer.final(body.toString('utf8', 4)));
    default:
      return null;
  }
}

function masked({ type, body }: WireMessage, salts: string[]): string {
  if (type === 'E') return `E${body.toString('latin1')}`;
  if (type !== 'R') return type;
  const code = body.readInt32BE(0);
  if (code === 5) return `R5:${body.length}`;
  if (code === 11) {
    const text = body.toString('latin1', 4);
    const [, , salt = ''] = /^r=([^,]*),s=([^,]*),/.exec(text) ?? [];
    salts.push(salt);
    return `R11:${text.replace(/r=[^,]*/, (nonce) => `r=${nonce.length}`).replace(/s=[^,]*/, `s=${salt.length}`)}`;
  }
  return `R${body.toString('latin1')}`;
}

describe.each(AUTH_TYPES)('with auth_type %s, before a password is proven', (authType: AuthType) => {
  const bench = () => sessionBench({ auth_type: authType }, { secrets: SECRETS });

  test('an unknown user, an unknown database and a wrong password are told the same, byte for byte', async () => {
    const target = bench();
    const failures = [
      await converse(target, 'app', 'app', 'wrong'),
      await converse(target, 'app', 'none', 'wrong'),
      await converse(target, 'nobody', 'app', 'wrong'),
      await converse(target, 'nobody', 'none', 'app-secret'),
      await converse(target, 'empty', 'app', 'wrong'),
      await converse(target, 'hashed', 'app', 'wrong'),
      await converse(target, 'hashed', 'none', 'wrong'),
      // With md5 a verifier is asked for by SCRAM, as in PostgreSQL.
      ...(authType === 'md5' ? [] : [await converse(target, 'verified', 'none', 'wrong')]),
    ];
    expect(new Set(failures.map(({ told }) => told)).size).toBe(1);
    expect(failures[0]!.told).toMatch(/E.*C28P01/);
    expect(target.postgres.streams.size).toBe(0);
  });

  test('and after it is proven, the truth', async () => {
    const target = bench();
    const { told } = await converse(target, 'app', 'none', 'app-secret');
    expect(told).toMatch(/E.*C3D000/);
  });

  test('names as long as they may be are told the same as others', async () => {
    const target = bench();
    const long = await converse(target, 'u'.repeat(127), 'd'.repeat(63), 'wrong');
    expect(long.told).toBe((await converse(target, 'app', 'app', 'wrong')).told);
  });
});

test('with trust, an unknown user is told the same whatever the database', async () => {
  const bench = sessionBench({}, { secrets: SECRETS });
  const unknown = await converse(bench, 'nobody', 'app', '');
  expect(unknown.told).toMatch(/C28P01/);
  expect((await converse(bench, 'nobody', 'none', '')).told).toBe(unknown.told);
});

async function saltsOf(seed: number, ...users: readonly string[]): Promise<string[]> {
  const bench = sessionBench({ auth_type: 'scram-sha-256' }, { secrets: SECRETS, seed });
  const salts: string[] = [];
  for (const user of users) salts.push(...(await converse(bench, user, 'app', 'wrong')).salts);
  return salts;
}

test('the salt of a user who does not exist stays the same, is its own, and is another in another process', async () => {
  const [first, again, other, real] = await saltsOf(1, 'nobody', 'nobody', 'somebody', 'app');
  expect(again).toBe(first);
  expect(new Set([first, other, real]).size).toBe(3);
  expect(await saltsOf(2, 'nobody')).not.toEqual([first]);
});

/** A client that has been refused if it got its answer. */
async function guess(bench: SessionBench, password = 'wrong'): Promise<SessionClient> {
  const client = bench.connect();
  client.sendStartup();
  await bench.settle();
  client.take();
  client.send(m.password(password));
  await bench.settle();
  return client;
}

const plainBench = (settings: BenchSettings, setup: BenchSetup = {}) =>
  sessionBench({ auth_type: 'plain', ...settings }, setup);

describe('auth_failure_delay', () => {
  test('lets five mistakes of an address pass, then each further one waits for its answer', async () => {
    const bench = plainBench({ auth_failure_delay: 3 });
    for (let i = 0; i < 5; i++) expect((await guess(bench)).takeSummary()).toBe('E(28P01)');
    const sixth = await guess(bench);
    expect(sixth.takeSummary()).toBe('');
    // Who knows the password does not wait, although it comes from the same address.
    const right = await guess(bench, 'app-secret');
    expect(right.takeSummary().slice(-4)).toBe('Z(I)');
    bench.advance(2999);
    expect(sixth.takeSummary()).toBe('');
    bench.advance(1);
    expect(sixth.takeSummary()).toBe('E(28P01)');
    expect(sixth.isEnded).toBe(true);
    // A minute later all is forgotten.
    bench.advance(60_000);
    expect((await guess(bench)).takeSummary()).toBe('E(28P01)');
  });

  test('takes no slot from others: who waits for a refusal goes first', async () => {
    const bench = plainBench({ auth_failure_delay: 30, max_login_clients: 2 });
    for (let i = 0; i < 5; i++) await guess(bench);
    const guessing = [await guess(bench), await guess(bench)];
    expect(guessing.map(({ isEnded }) => isEnded)).toEqual([false, false]);
    expect((await guess(bench, 'app-secret')).takeSummary().slice(-4)).toBe('Z(I)');
    expect(guessing.map(({ isEnded }) => isEnded)).toEqual([true, false]);
  });

  test('ends with the client, with a shutdown, and at client_login_timeout', async () => {
    const bench = plainBench({ auth_failure_delay: 30, client_login_timeout: 10 });
    for (let i = 0; i < 5; i++) await guess(bench);
    const [leaving, slow] = [await guess(bench), await guess(bench)];
    leaving.crash();
    expect(bench.registry.logins.size).toBe(1);
    bench.advance(10_000 + ROUND);
    expect(slow.takeSummary()).toBe('E(57014)');
    const last = await guess(bench);
    bench.drain();
    expect(last.takeSummary()).toBe('E(57P01)');
    expect(bench.environment.timers.filter((text) => text.includes('refuseLater'))).toEqual([]);
  });

  test('counts only what was wrong about a password or a name', async () => {
    const bench = plainBench({ auth_failure_delay: 30 });
    for (let i = 0; i < 20; i++) {
      const client = bench.connect();
      client.sendStartup(i % 2 === 0 ? {} : { user: '' });
      bench.run();
      client.exchange(m.query('SELECT 1'));
    }
    expect((await guess(bench)).takeSummary()).toBe('E(28P01)');
  });
});

describe('auth_failure_limit', () => {
  test('refuses an address that has failed so often, until the minute is over; sessions and cancels go on', async () => {
    const bench = plainBench({ auth_failure_limit: 3 });
    const alice = await guess(bench, 'app-secret');
    alice.acceptLogin(alice.take());
    for (let i = 0; i < 3; i++) expect((await guess(bench)).takeSummary()).toBe('E(28P01)');
    const barred = bench.connect();
    barred.sendStartup();
    bench.run();
    const [error] = barred.take();
    expect(errorFields(error!).get('C')).toBe('53300');
    expect(errorFields(error!).get('M')).toContain('auth_failure_limit');
    expect(alice.query('SELECT a')).toContain('Z(I)');
    alice.query('BEGIN');
    bench.connect().send(m.cancel(alice.key));
    bench.run();
    expect(bench.log.lines.filter(({ message }) => message.includes('auth_failure_limit'))).toHaveLength(1);
    bench.advance(60_000);
    expect((await guess(bench, 'app-secret')).takeSummary().slice(-4)).toBe('Z(I)');
  });
});

describe('max_login_clients', () => {
  test('half handshakes make room for newcomers, oldest first, once they have kept us waiting for a second', async () => {
    const bench = plainBench({ max_login_clients: 3 });
    const half = [1, 2, 3].map(() => bench.connect());
    for (const client of half) client.sendStartup();
    bench.run();
    for (const client of half) expect(client.takeSummary()).toBe('R');
    bench.advance(999);
    expect(bench.connect().takeSummary()).toBe('E(53300)');
    bench.advance(1);
    expect((await guess(bench, 'app-secret')).takeSummary().slice(-4)).toBe('Z(I)');
    expect(half.map((client) => client.takeSummary())).toEqual(['E(53300)', '', '']);
  });

  test('a byte now and then is no answer', async () => {
    const bench = plainBench({ max_login_clients: 2 });
    const slow = [bench.connect(), bench.connect()];
    const startup = m.startup({ user: 'app', database: 'app' });
    for (let i = 0; i < 3; i++) {
      for (const client of slow) client.exchange(startup.subarray(i, i + 1));
      bench.advance(400);
    }
    expect((await guess(bench, 'app-secret')).takeSummary().slice(-4)).toBe('Z(I)');
  });

  test('whom we keep waiting is not sent away', async () => {
    const bench = plainBench({ max_login_clients: 1 });
    // Its key is never derived.
    bench.environment.deriveKey = () => new Promise(() => {});
    const waiting = await guess(bench);
    bench.advance(5000);
    expect(bench.connect().takeSummary()).toBe('E(53300)');
    expect(waiting.isEnded).toBe(false);
    waiting.crash();
  });
});

test('client_login_timeout is absolute, whatever step of SCRAM a byte a second is spent on', async () => {
  const bench = sessionBench({ auth_type: 'scram-sha-256', client_login_timeout: 20 });
  const client = bench.connect();
  const peer = new ScramPeerClient('app-secret');
  client.sendStartup();
  await bench.settle();
  client.take();
  const drip = async (bytes: Buffer, seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      client.send(bytes.subarray(i, i + 1));
      bench.advance(1000);
    }
    client.send(bytes.subarray(seconds));
    await bench.settle();
  };
  await drip(m.saslInitial('SCRAM-SHA-256', peer.first()), 10);
  const [challenge] = client.take();
  await drip(m.saslResponse(peer.final(challenge!.body.toString('utf8', 4))), 10 + ROUND / 1000);
  expect(client.takeSummary()).toBe('E(57014)');
  expect(client.isEnded).toBe(true);
});
