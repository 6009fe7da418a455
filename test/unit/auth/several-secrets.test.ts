/** A user with several secrets, each of which is enough: while a password is changed. */
import { describe, expect, test } from 'vitest';
import { type AuthenticationStep, Authenticator, type AuthType } from '../../../src/auth/authenticator.ts';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { ScramClient } from '../../../src/auth/scram-client.ts';
import { scramKeys } from '../../../src/auth/scram-messages.ts';
import { md5Hash, md5Response, type ScramSecret, type Secret } from '../../../src/auth/secret.ts';
import { FakeEnvironment, settled } from './fake-environment.ts';

const USER = 'alice';
const ITERATIONS = 4096;

async function verifier(password: string, salt = 'fedcba9876543210', iterations = ITERATIONS): Promise<ScramSecret> {
  const bytes = Buffer.from(salt);
  const keys = new DerivedKeys(new FakeEnvironment());
  const { storedKey, serverKey } = scramKeys(await keys.saltedPassword(password, bytes, iterations));
  return { kind: 'scram', iterations, salt: bytes, storedKey, serverKey };
}

const plain = (password: string): Secret => ({ kind: 'plain', password });
const md5 = (password: string): Secret => ({ kind: 'md5', hash: md5Hash(password, USER) });

/** Logs in with `password`, whatever is asked; returns what was asked first and the last step. */
async function logIn(authType: AuthType, secrets: readonly Secret[], password: string) {
  const environment = new FakeEnvironment();
  const steps: AuthenticationStep[] = [];
  const authenticator = new Authenticator({
    authType,
    userName: USER,
    scramIterations: 5000,
    source: { usualKind: 'plain', lookup: () => secrets },
    channelBinding: null,
    keys: new DerivedKeys(environment),
    environment,
    onStep: (step) => steps.push(step),
  });
  const client = new ScramClient({ nonce: 'clientnonce', binding: { flag: 'n' } });
  const keys = new DerivedKeys(new FakeEnvironment());
  authenticator.start();
  for (;;) {
    await settled();
    const step = steps.at(-1)!;
    const [first] = steps;
    const asked = first?.outcome === 'continue' ? first.request.type : 'nothing';
    if (step.outcome !== 'continue') return { asked, step };
    const { request } = step;
    if (request.type === 'cleartext') authenticator.receive(Buffer.from(`${password}\0`));
    else if (request.type === 'md5') {
      authenticator.receive(Buffer.from(`${md5Response(USER, { kind: 'plain', password }, request.salt)}\0`));
    } else if (request.type === 'sasl') {
      const data = client.clientFirst();
      const length = Buffer.alloc(4);
      length.writeUInt32BE(data.length);
      authenticator.receive(Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), length, data]));
    } else if (request.type === 'saslContinue') {
      const challenge = client.serverFirst(request.data);
      if (!challenge.ok) throw new Error(challenge.reason);
      const salted = await keys.saltedPassword(password, challenge.salt, challenge.iterations);
      authenticator.receive(client.proof(salted));
    } else throw new Error(`unexpected ${request.type}`);
  }
}

const COMBINATIONS: [string, (passwords: readonly [string, string]) => Promise<Secret[]>][] = [
  ['two passwords', async ([a, b]) => [plain(a), plain(b)]],
  ['a password and a verifier', async ([a, b]) => [plain(a), await verifier(b)]],
  ['a verifier and a password', async ([a, b]) => [await verifier(a), plain(b)]],
  ['two verifiers of one salt', async ([a, b]) => [await verifier(a), await verifier(b)]],
];

describe.each(['plain', 'md5', 'scram-sha-256'] as const)('auth_type %s', (authType) => {
  test.each(COMBINATIONS)('%s: each of them is enough, nothing else is', async (_what, make) => {
    const secrets = await make(['old', 'new']);
    for (const [i, password] of ['old', 'new'].entries()) {
      const { step } = await logIn(authType, secrets, password);
      if (step.outcome !== 'accepted') throw new Error(`${password}: ${step.outcome}`);
      expect(step.secret).toBe(secrets[i]);
      expect(step.clientKey === null).toBe(secrets[i]!.kind !== 'scram');
      // The client believes it: the server's signature was of the right one.
      expect(step.requests.at(-1)).toEqual({ type: 'ok' });
    }
    for (const password of ['wrong', 'oldnew', 'new ']) {
      expect((await logIn(authType, secrets, password)).step).toEqual({ outcome: 'refused', reason: 'wrong password' });
    }
  });
});

test('an MD5 secret among verifiers is of use where the password comes in clear text', async () => {
  const secrets = [await verifier('old'), md5('new')];
  expect((await logIn('plain', secrets, 'new')).step.outcome).toBe('accepted');
  const bySasl = await logIn('md5', secrets, 'new');
  expect(bySasl.asked).toBe('sasl');
  expect(bySasl.step.outcome).toBe('refused');
  expect((await logIn('md5', [md5('old'), plain('new')], 'old')).step.outcome).toBe('accepted');
});

test('empty secrets prove nothing, however many there are', async () => {
  for (const authType of ['plain', 'md5', 'scram-sha-256'] as const) {
    for (const password of ['', 'x']) {
      expect((await logIn(authType, [plain(''), md5('')], password)).step.outcome).toBe('refused');
    }
  }
});
