import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AuthenticationStep, Authenticator, type AuthType } from '../../../src/auth/authenticator.ts';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { ScramClient } from '../../../src/auth/scram-client.ts';
import { scramKeys } from '../../../src/auth/scram-messages.ts';
import { md5Hash, md5Response, type Secret } from '../../../src/auth/secret.ts';
import type { FoundSecrets } from '../../../src/auth/secret-source.ts';
import { FakeEnvironment, settled } from './fake-environment.ts';

const USER = 'alice';
const PASSWORD = 'pencil';
const PASSWORD_METHODS = ['plain', 'md5', 'scram-sha-256'] as const;
const ITERATIONS = 16;

type Kind = Secret['kind'];

async function secretOf(kind: Kind, password = PASSWORD, iterations = ITERATIONS): Promise<Secret> {
  if (kind === 'plain') return { kind, password };
  if (kind === 'md5') return { kind, hash: md5Hash(password, USER) };
  const salt = Buffer.from('fedcba9876543210');
  const salted = await new DerivedKeys(new FakeEnvironment()).saltedPassword(password, salt, iterations);
  const { storedKey, serverKey } = scramKeys(salted);
  return { kind, iterations, salt, storedKey, serverKey };
}

interface Bench {
  readonly authenticator: Authenticator;
  readonly steps: AuthenticationStep[];
  readonly environment: FakeEnvironment;
}

interface Setting {
  readonly authType: AuthType;
  readonly secret: FoundSecrets | Promise<FoundSecrets> | Error;
  readonly usualKind?: Kind;
  readonly keys?: DerivedKeys;
  readonly environment?: FakeEnvironment;
  readonly channelBinding?: Buffer | null;
}

function createAuthenticator(setting: Setting): Bench {
  const { authType, secret, usualKind = 'plain', keys, environment, channelBinding = null } = setting;
  const steps: AuthenticationStep[] = [];
  const chance = environment ?? new FakeEnvironment();
  const authenticator = new Authenticator({
    authType,
    userName: USER,
    channelBinding,
    scramIterations: 5000,
    source: {
      usualKind,
      lookup: (userName) => {
        expect(userName).toBe(USER);
        if (secret instanceof Error) throw secret;
        return secret;
      },
    },
    keys: keys ?? new DerivedKeys(chance),
    environment: chance,
    onStep: (step) => steps.push(step),
  });
  return { authenticator, steps, environment: chance };
}

/** A body in memory that is overwritten as soon as it was taken in, as a socket's is. */
function receive({ authenticator }: Bench, body: Buffer): void {
  const view = Buffer.from(body);
  authenticator.receive(view);
  view.fill(0xdb);
}

function passwordMessage(password: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(password), Buffer.alloc(1)]);
}

function saslInitial(data: Buffer | null, mechanism = 'SCRAM-SHA-256'): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data?.length ?? 0xffff_ffff);
  return Buffer.concat([Buffer.from(`${mechanism}\0`), length, data ?? Buffer.alloc(0)]);
}

/** Answers whatever is asked, as a client that believes in `password`; returns the last step. */
async function answerAll(bench: Bench, password = PASSWORD): Promise<AuthenticationStep> {
  const client = new ScramClient({ nonce: 'clientnonce', binding: { flag: 'n' } });
  const keys = new DerivedKeys(new FakeEnvironment());
  bench.authenticator.start();
  for (;;) {
    await settled();
    const step = bench.steps.at(-1)!;
    if (step.outcome !== 'continue') return step;
    const { request } = step;
    if (request.type === 'cleartext') receive(bench, passwordMessage(password));
    else if (request.type === 'md5') {
      receive(bench, passwordMessage(md5Response(USER, { kind: 'plain', password }, request.salt)));
    } else if (request.type === 'sasl') {
      expect(request.mechanisms).toEqual(['SCRAM-SHA-256']);
      receive(bench, saslInitial(client.clientFirst()));
    } else if (request.type === 'saslContinue') {
      const challenge = client.serverFirst(request.data);
      if (!challenge.ok) throw new Error(challenge.reason);
      receive(bench, client.proof(await keys.saltedPassword(password, challenge.salt, challenge.iterations)));
    } else throw new Error(`unexpected ${request.type}`);
  }
}

function requestTypes(bench: Bench): string[] {
  return bench.steps.map((step) => (step.outcome === 'continue' ? step.request.type : step.outcome));
}

const CLEARTEXT = ['cleartext'];
const MD5 = ['md5'];
const SCRAM = ['sasl', 'saslContinue'];

// What is asked, and whether the right password can succeed: auth_type × what is stored.
const METHODS: [AuthType, Kind, string[], boolean][] = [
  ['plain', 'plain', CLEARTEXT, true],
  ['plain', 'md5', CLEARTEXT, true],
  ['plain', 'scram', CLEARTEXT, true],
  ['md5', 'plain', MD5, true],
  ['md5', 'md5', MD5, true],
  ['md5', 'scram', SCRAM, true],
  ['scram-sha-256', 'plain', SCRAM, true],
  ['scram-sha-256', 'md5', SCRAM, false],
  ['scram-sha-256', 'scram', SCRAM, true],
];

test.each(['plain', 'md5', 'scram-sha-256', 'trust'] as const)(
  'auth_type=%s: whoever cannot be looked up is asked as a stranger is, and refused in the end',
  async (authType) => {
    const unavailable = createAuthenticator({ authType, secret: Promise.resolve('unavailable') });
    const stranger = createAuthenticator({ authType, secret: Promise.resolve(null) });
    expect(await answerAll(unavailable)).toEqual({ outcome: 'refused', reason: 'secret unavailable' });
    expect(await answerAll(stranger)).toEqual({ outcome: 'refused', reason: 'no such user' });
    expect(requestTypes(unavailable)).toEqual(requestTypes(stranger));
  },
);

describe.each(METHODS)('auth_type %s with a %s secret', (authType, kind, asked, possible) => {
  test(`the right password is ${possible ? 'accepted' : 'refused'}`, async () => {
    const secret = await secretOf(kind);
    const bench = createAuthenticator({ authType, secret });
    const end = await answerAll(bench);
    expect(requestTypes(bench).slice(0, -1)).toEqual(asked);
    if (!possible) {
      expect(end).toEqual({ outcome: 'refused', reason: 'no usable secret for this auth_type' });
      return;
    }
    if (end.outcome !== 'accepted') throw new Error('not accepted');
    expect(end.requests.map(({ type }) => type)).toEqual(asked === SCRAM ? ['saslFinal', 'ok'] : ['ok']);
    expect(end.secret).toEqual(secret);
    expect(end.clientKey === null).toBe(kind !== 'scram');
    if (end.clientKey !== null && secret.kind === 'scram') {
      expect(createHash('sha256').update(end.clientKey).digest()).toEqual(secret.storedKey);
    }
  });

  test.each(['wrong', 'penci', 'pencil ', 'Pencil', 'p'.repeat(2000)])(
    'the password %j is refused',
    async (password) => {
      const bench = createAuthenticator({ authType, secret: await secretOf(kind) });
      const end = await answerAll(bench, password);
      expect(requestTypes(bench).slice(0, -1)).toEqual(asked);
      expect(end).toMatchObject({ outcome: 'refused' });
    },
  );

  test('a promise of the secret serves as well', async () => {
    const bench = createAuthenticator({ authType, secret: secretOf(kind) });
    expect((await answerAll(bench)).outcome).toBe(possible ? 'accepted' : 'refused');
    expect(requestTypes(bench).slice(0, -1)).toEqual(asked);
  });
});

describe('who is unknown', () => {
  test.each(PASSWORD_METHODS)('is asked like the others and refused at the end: %s', async (authType) => {
    for (const usualKind of ['plain', 'md5', 'scram'] as const) {
      const unknown = createAuthenticator({ authType, secret: null, usualKind });
      expect(await answerAll(unknown)).toEqual({ outcome: 'refused', reason: 'no such user' });
      const known = createAuthenticator({ authType, secret: await secretOf(usualKind), usualKind });
      expect((await answerAll(known, 'wrong')).outcome).toBe('refused');
      expect(requestTypes(unknown)).toEqual(requestTypes(known));
    }
  });

  test('is shown a salt that stays the same and looks like that of a user with a plain password', async () => {
    const environment = new FakeEnvironment();
    const keys = new DerivedKeys(environment);
    const challenges: string[] = [];
    for (const secret of [null, null, await secretOf('plain'), await secretOf('md5')]) {
      const bench = createAuthenticator({ authType: 'scram-sha-256', secret, keys, environment });
      await answerAll(bench, 'wrong');
      const step = bench.steps[1]!;
      if (step.outcome !== 'continue' || step.request.type !== 'saslContinue') throw new Error('no challenge');
      challenges.push(step.request.data.toString());
    }
    const parts = challenges.map(
      (challenge) => /^r=clientnonce([A-Za-z0-9+/]{24}),(s=[^,]{24},i=5000)$/.exec(challenge)!,
    );
    expect(new Set(parts.map((part) => part[2])).size).toBe(1);
    expect(new Set(parts.map((part) => part[1])).size).toBe(4);
  });

  test('costs a derivation with auth_type plain, as every wrong password does', async () => {
    for (const secret of [null, await secretOf('plain'), await secretOf('md5'), await secretOf('scram')]) {
      const bench = createAuthenticator({ authType: 'plain', secret });
      await answerAll(bench, 'wrong');
      expect(bench.environment.derivations).toHaveLength(1);
    }
  });
});

test('wrong passwords are not remembered, right ones are: a flood of guesses pushes out nobody', async () => {
  for (const kind of ['plain', 'md5', 'scram', null] as const) {
    const environment = new FakeEnvironment();
    const keys = new DerivedKeys(environment);
    const secret = kind === null ? null : await secretOf(kind);
    for (const password of ['wrong', 'wrong', PASSWORD, PASSWORD]) {
      await answerAll(createAuthenticator({ authType: 'plain', secret, keys, environment }), password);
    }
    const derived = environment.derivations.map(({ password }) => password);
    const right = kind === 'scram' ? [PASSWORD] : kind === null ? [PASSWORD, PASSWORD] : [];
    expect(derived).toEqual(['wrong', 'wrong', ...right]);
  }
});

test('a client that has gone keeps nobody waiting for its key', async () => {
  for (const [authType, kind] of [
    ['plain', 'scram'],
    ['plain', null],
    ['scram-sha-256', 'plain'],
  ] as const) {
    const environment = new FakeEnvironment();
    const keys = new DerivedKeys(environment, { maxPasswords: 10, maxConcurrent: 1 });
    environment.held = [];
    const busy = keys.saltedPassword('another', Buffer.from('salt'), 1);
    const secret = kind === null ? null : await secretOf(kind);
    const bench = createAuthenticator({ authType, secret, keys, environment });
    bench.authenticator.start();
    const clientFirst = new ScramClient({ nonce: 'n', binding: { flag: 'n' } }).clientFirst();
    receive(bench, authType === 'plain' ? passwordMessage('guess') : saslInitial(clientFirst));
    bench.authenticator.abandon();
    await environment.finishDerivation();
    await busy;
    await settled();
    expect(environment.derivations).toHaveLength(1);
  }
});

describe('empty passwords', () => {
  test.each(['plain', 'md5'] as const)('a stored one (%s) proves nothing', async (kind) => {
    for (const authType of PASSWORD_METHODS) {
      const bench = createAuthenticator({ authType, secret: await secretOf(kind, '') });
      expect((await answerAll(bench, '')).outcome).toBe('refused');
      const other = createAuthenticator({ authType, secret: await secretOf(kind, '') });
      expect((await answerAll(other, 'x')).outcome).toBe('refused');
    }
  });

  test('is not even compared with a verifier of it', async () => {
    const bench = createAuthenticator({ authType: 'plain', secret: await secretOf('scram', '') });
    expect(await answerAll(bench, '')).toEqual({ outcome: 'refused', reason: 'empty password' });
  });

  test('is no answer to MD5', async () => {
    const bench = createAuthenticator({ authType: 'md5', secret: await secretOf('md5') });
    bench.authenticator.start();
    receive(bench, Buffer.alloc(1));
    expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'empty password' });
  });
});

describe('without a password', () => {
  test('any accepts everybody and looks nobody up', () => {
    const bench = createAuthenticator({ authType: 'any', secret: new Error('looked up') });
    bench.authenticator.start();
    expect(bench.steps).toEqual([{ outcome: 'accepted', requests: [{ type: 'ok' }], secret: null, clientKey: null }]);
  });

  test('trust accepts who exists, even without a usable password, and refuses who does not', async () => {
    for (const secret of [await secretOf('plain', ''), await secretOf('md5'), await secretOf('scram')]) {
      const bench = createAuthenticator({ authType: 'trust', secret });
      bench.authenticator.start();
      expect(bench.steps).toEqual([{ outcome: 'accepted', requests: [{ type: 'ok' }], secret, clientKey: null }]);
    }
    const bench = createAuthenticator({ authType: 'trust', secret: null });
    bench.authenticator.start();
    expect(bench.steps).toEqual([{ outcome: 'refused', reason: 'no such user' }]);
  });
});

describe('passwords that are no UTF-8', () => {
  test('are compared as bytes', async () => {
    const stored: Secret = { kind: 'plain', password: 'p\ufffdss' };
    const bench = createAuthenticator({ authType: 'plain', secret: stored });
    bench.authenticator.start();
    receive(bench, passwordMessage(Buffer.from('p\xe4ss', 'latin1')));
    await settled();
    expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'wrong password' });
  });

  test('are not what a verifier of replacement characters was made from', async () => {
    const bench = createAuthenticator({ authType: 'plain', secret: await secretOf('scram', 'p\ufffdss') });
    bench.authenticator.start();
    receive(bench, passwordMessage(Buffer.from('p\xe4ss', 'latin1')));
    await settled();
    expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'wrong password' });
  });

  test('can be those of an MD5 hash', async () => {
    const password = Buffer.from('p\xe4ss', 'latin1');
    const bench = createAuthenticator({ authType: 'plain', secret: { kind: 'md5', hash: md5Hash(password, USER) } });
    bench.authenticator.start();
    receive(bench, passwordMessage(password));
    await settled();
    expect(bench.steps.at(-1)?.outcome).toBe('accepted');
  });
});

// faults.md A10 and A11.
describe('malformed messages', () => {
  const clientFirst = new ScramClient({ nonce: 'clientnonce', binding: { flag: 'n' } }).clientFirst();

  test.each([
    [saslInitial(clientFirst, 'SCRAM-SHA-256-PLUS'), 'unknown SASL mechanism'],
    [saslInitial(clientFirst, 'scram-sha-256'), 'unknown SASL mechanism'],
    [saslInitial(clientFirst, ''), 'unknown SASL mechanism'],
    [saslInitial(Buffer.alloc(0)), 'malformed SCRAM message'],
    [saslInitial(Buffer.from('p=tls-unique,,n=,r=x')), 'channel binding is not supported'],
    [saslInitial(Buffer.from('n,a=root,n=,r=x')), 'authorization identity is not supported'],
    [saslInitial(Buffer.from('n,,m=x,n=,r=x')), 'mandatory SCRAM extension is not supported'],
    [saslInitial(Buffer.from('n,,n=')), 'malformed SCRAM message'],
    [Buffer.from('SCRAM-SHA-256'), 'malformed password message'],
    [Buffer.alloc(0), 'malformed password message'],
    [clientFirst, 'malformed password message'],
    [passwordMessage(PASSWORD), 'malformed password message'],
  ])('SASLInitialResponse (%#)', async (body, reason) => {
    for (const secret of [null, await secretOf('scram')]) {
      const bench = createAuthenticator({ authType: 'scram-sha-256', secret });
      bench.authenticator.start();
      receive(bench, body);
      await settled();
      expect(bench.steps).toHaveLength(2);
      expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason });
    }
  });

  test.each([
    [Buffer.alloc(0), 'malformed password message'],
    [Buffer.from(PASSWORD), 'malformed password message'],
    [Buffer.from(`${PASSWORD}\0x\0`), 'malformed password message'],
    [Buffer.from(`${PASSWORD}\0\0`), 'malformed password message'],
    [passwordMessage('x'.repeat(70_000)), 'malformed password message'],
    [Buffer.alloc(1), 'empty password'],
  ])('PasswordMessage (%#)', async (body, reason) => {
    for (const authType of ['plain', 'md5'] as const) {
      const bench = createAuthenticator({ authType, secret: { kind: 'plain', password: PASSWORD } });
      bench.authenticator.start();
      receive(bench, body);
      await settled();
      expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason });
    }
  });

  test('no initial response: an empty challenge, then the exchange', async () => {
    const bench = createAuthenticator({ authType: 'scram-sha-256', secret: await secretOf('scram') });
    bench.authenticator.start();
    receive(bench, saslInitial(null));
    expect(bench.steps[1]).toEqual({ outcome: 'continue', request: { type: 'saslContinue', data: Buffer.alloc(0) } });
    receive(bench, clientFirst);
    expect(requestTypes(bench)).toEqual(['sasl', 'saslContinue', 'saslContinue']);
    receive(bench, saslInitial(clientFirst));
    expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'malformed SCRAM message' });
  });

  test('what is waited with is in memory of its own', async () => {
    for (const first of [saslInitial(clientFirst), saslInitial(null)]) {
      const bench = createAuthenticator({ authType: 'scram-sha-256', secret: await secretOf('plain') });
      bench.authenticator.start();
      receive(bench, first);
      if (requestTypes(bench).length === 2) receive(bench, clientFirst);
      await settled();
      const step = bench.steps.at(-1);
      if (step?.outcome !== 'continue' || step.request.type !== 'saslContinue') throw new Error('no challenge');
      expect(step.request.data.toString()).toMatch(/^r=clientnonce/);
    }
  });

  test('the MD5 hash itself is no password, and a used answer fits no other challenge', async () => {
    const secret = { kind: 'md5', hash: md5Hash(PASSWORD, USER) } as const;
    const environment = new FakeEnvironment();
    const first = createAuthenticator({ authType: 'md5', secret, environment });
    await answerAll(first);
    const [asked] = first.steps;
    if (asked?.outcome !== 'continue' || asked.request.type !== 'md5') throw new Error('not asked for MD5');
    const { salt } = asked.request;
    for (const answer of [md5Response(USER, secret, salt), `md5${secret.hash}`, secret.hash, PASSWORD]) {
      const bench = createAuthenticator({ authType: 'md5', secret, environment });
      bench.authenticator.start();
      receive(bench, passwordMessage(answer));
      expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'wrong password' });
    }
    for (const answer of [`md5${secret.hash}`, secret.hash]) {
      const bench = createAuthenticator({ authType: 'plain', secret });
      expect((await answerAll(bench, answer)).outcome).toBe('refused');
    }
  });

  test('a verifier of more iterations than we compute is not computed', async () => {
    const secret: Secret = {
      kind: 'scram',
      iterations: 0x7fff_ffff,
      salt: Buffer.alloc(16),
      storedKey: Buffer.alloc(32),
      serverKey: Buffer.alloc(32),
    };
    const bench = createAuthenticator({ authType: 'plain', secret });
    expect(await answerAll(bench)).toEqual({ outcome: 'refused', reason: 'no usable secret for this auth_type' });
    expect(bench.environment.derivations).toMatchObject([{ iterations: 5000 }]);
  });

  test.each(['plain', 'md5', null] as const)('with %s as secret, SCRAM has scram_iterations', async (kind) => {
    const secret = kind === null ? null : await secretOf(kind);
    const bench = createAuthenticator({ authType: 'scram-sha-256', secret });
    await answerAll(bench);
    const challenges = bench.steps.flatMap((step) =>
      step.outcome === 'continue' && step.request.type === 'saslContinue' ? [step.request.data.toString()] : [],
    );
    expect(challenges).toEqual([expect.stringMatching(/,i=5000$/)]);
  });
});

describe('waiting', () => {
  test('nothing is reported once the client is gone', async () => {
    for (const authType of PASSWORD_METHODS) {
      const found: ((secret: Secret) => void)[] = [];
      const bench = createAuthenticator({ authType, secret: new Promise<Secret>((resolve) => found.push(resolve)) });
      bench.authenticator.start();
      await settled();
      bench.authenticator.abandon();
      found[0]?.({ kind: 'plain', password: PASSWORD });
      await settled();
      receive(bench, passwordMessage(PASSWORD));
      bench.authenticator.start();
      await settled();
      expect(bench.steps).toEqual([]);
    }
  });

  test('a client that leaves during a derivation is not accepted', async () => {
    const bench = createAuthenticator({ authType: 'plain', secret: await secretOf('scram') });
    bench.environment.held = [];
    bench.authenticator.start();
    receive(bench, passwordMessage(PASSWORD));
    await settled();
    bench.authenticator.abandon();
    await bench.environment.finishDerivation();
    expect(requestTypes(bench)).toEqual(['cleartext']);
  });

  test('a message that comes while we wait is out of order', async () => {
    const bench = createAuthenticator({ authType: 'plain', secret: await secretOf('scram') });
    bench.environment.held = [];
    bench.authenticator.start();
    receive(bench, passwordMessage(PASSWORD));
    receive(bench, passwordMessage(PASSWORD));
    expect(bench.steps.at(-1)).toEqual({ outcome: 'refused', reason: 'password message out of order' });
    await bench.environment.finishDerivation();
    expect(requestTypes(bench)).toEqual(['cleartext', 'refused']);
  });

  test('what fails is told as a failure', async () => {
    const error = new Error('server is down');
    for (const fails of [() => error, () => Promise.reject(error)]) {
      const bench = createAuthenticator({ authType: 'scram-sha-256', secret: fails() });
      bench.authenticator.start();
      await settled();
      expect(bench.steps).toEqual([{ outcome: 'failed', error }]);
    }
    const bench = createAuthenticator({ authType: 'scram-sha-256', secret: { kind: 'plain', password: PASSWORD } });
    bench.environment.failWith = error;
    expect(await answerAll(bench)).toEqual({ outcome: 'failed', error });
  });

  test('to start twice is a mistake of the caller', async () => {
    for (const secret of [null, Promise.resolve(null)]) {
      const bench = createAuthenticator({ authType: 'plain', secret });
      bench.authenticator.start();
      await settled();
      expect(() => bench.authenticator.start()).toThrow();
      expect(requestTypes(bench)).toEqual(['cleartext']);
    }
  });
});

describe('any order of messages', () => {
  const RIGHT = passwordMessage(PASSWORD);
  const other = new ScramClient({ nonce: 'other', binding: { flag: 'n' } });
  const junk = [
    RIGHT,
    passwordMessage('wrong'),
    Buffer.alloc(0),
    Buffer.alloc(1),
    saslInitial(null),
    saslInitial(other.clientFirst()),
    saslInitial(other.clientFirst(), 'PLAIN'),
    other.clientFirst(),
    Buffer.from('c=biws,r=other,p=AAAA'),
    passwordMessage(`md5${md5Hash(PASSWORD, USER)}`),
  ];
  type Action = Buffer | 'start' | 'wait' | 'abandon';
  const action: fc.Arbitrary<Action> = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...junk) },
    { weight: 2, arbitrary: fc.constant<Action>('wait') },
    { weight: 1, arbitrary: fc.constantFrom<Action>('start', 'abandon') },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((bytes): Action => Buffer.from(bytes)) },
  );

  async function perform(bench: Bench, actions: readonly Action[]): Promise<void> {
    let started = false;
    for (const action of actions) {
      if (action === 'wait') await settled();
      else if (action === 'abandon') bench.authenticator.abandon();
      else if (action !== 'start') receive(bench, action);
      else if (!started) {
        started = true;
        bench.authenticator.start();
      }
    }
    await settled();
    const ends = bench.steps.filter((step) => step.outcome !== 'continue');
    expect(ends.length).toBeLessThanOrEqual(1);
    if (ends.length === 1) expect(bench.steps.at(-1)).toBe(ends[0]);
  }

  const kinds = fc.constantFrom<Kind | null>('plain', 'md5', 'scram', null);

  test('proves nothing, where the proof depends on a challenge', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<AuthType>('md5', 'scram-sha-256'),
        kinds,
        fc.boolean(),
        fc.array(action, { maxLength: 8 }),
        async (authType, kind, late, actions) => {
          const secret = kind === null ? null : await secretOf(kind);
          const bench = createAuthenticator({ authType, secret: late ? Promise.resolve(secret) : secret });
          await perform(bench, ['start', ...actions]);
          expect(requestTypes(bench)).not.toContain('accepted');
        },
      ),
      { numRuns: 500 },
    );
  });

  test('proves only what comes when it was asked for, once, with the right password', async () => {
    await fc.assert(
      fc.asyncProperty(kinds, fc.array(action, { maxLength: 6 }), async (kind, actions) => {
        const bench = createAuthenticator({ authType: 'plain', secret: kind === null ? null : await secretOf(kind) });
        await perform(bench, actions);
        // `perform` leaves out a second start.
        const performed = actions.filter((action, i) => action !== 'start' || actions.indexOf('start') === i);
        const meaningful = performed.filter((action) => action !== 'wait');
        // The second message is only waited for when the first one was answered.
        const next = performed[performed.indexOf(RIGHT) + 1];
        const acceptable = kind !== null && meaningful[0] === 'start' && meaningful[1] === RIGHT;
        const undisturbed = next === undefined || next === 'wait';
        if (requestTypes(bench).includes('accepted')) expect(acceptable && undisturbed).toBe(true);
        else expect(acceptable && undisturbed).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  test('leads nowhere after a refusal, not even with the right answers', async () => {
    for (const authType of PASSWORD_METHODS) {
      const bench = createAuthenticator({ authType, secret: await secretOf('plain') });
      await answerAll(bench, 'wrong');
      const steps = bench.steps.length;
      for (const message of [
        RIGHT,
        saslInitial(new ScramClient({ nonce: 'n', binding: { flag: 'n' } }).clientFirst()),
        ...junk,
      ]) {
        receive(bench, message);
        await settled();
      }
      expect(bench.steps).toHaveLength(steps);
    }
  });
});

test('no reason of a refusal holds a secret or what the client said', async () => {
  for (const authType of PASSWORD_METHODS) {
    for (const kind of ['plain', 'md5', 'scram'] as const) {
      const bench = createAuthenticator({ authType, secret: await secretOf(kind, 'stored-secret') });
      const end = await answerAll(bench, 'typed-secret');
      expect(end.outcome).toBe('refused');
      expect(JSON.stringify(end)).not.toMatch(/stored-secret|typed-secret|alice/);
    }
  }
});
