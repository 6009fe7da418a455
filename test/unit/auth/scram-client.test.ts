import { pbkdf2Sync } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ScramClient } from '../../../src/auth/scram-client.ts';

// RFC 7677 §3: user "user", password "pencil".
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const SALTED_PASSWORD = pbkdf2Sync('pencil', SALT, 4096, 32, 'sha256');
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO';
const NONCE = `${CLIENT_NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`;
const SERVER_FIRST = `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
const SERVER_FINAL = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=';

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function createClient(): ScramClient {
  return new ScramClient({ nonce: CLIENT_NONCE, userName: 'user', binding: { flag: 'n' } });
}

/** A client that waits for the server's last word. */
function provenClient(): ScramClient {
  const client = createClient();
  expect(client.serverFirst(bytes(SERVER_FIRST)).ok).toBe(true);
  client.proof(SALTED_PASSWORD);
  return client;
}

describe('the exchange of RFC 7677 §3', () => {
  test('succeeds', () => {
    const client = createClient();
    expect(client.clientFirst()).toEqual(bytes('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'));
    expect(client.serverFirst(bytes(SERVER_FIRST))).toEqual({ ok: true, salt: SALT, iterations: 4096 });
    expect(client.proof(SALTED_PASSWORD)).toEqual(
      bytes(`c=biws,r=${NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`),
    );
    expect(client.serverFinal(bytes(SERVER_FINAL))).toEqual({ ok: true });
    expect(client.serverFinal(bytes(SERVER_FINAL)).ok).toBe(false);
  });

  test('a server that answers before it was asked is refused', () => {
    expect(createClient().serverFinal(bytes(SERVER_FINAL)).ok).toBe(false);
    const unproven = createClient();
    unproven.serverFirst(bytes(SERVER_FIRST));
    expect(unproven.serverFinal(bytes(SERVER_FINAL)).ok).toBe(false);
    expect(() => unproven.proof(SALTED_PASSWORD)).toThrow();
    const twice = createClient();
    twice.serverFirst(bytes(SERVER_FIRST));
    expect(twice.serverFirst(bytes(SERVER_FIRST)).ok).toBe(false);
    expect(() => twice.proof(SALTED_PASSWORD)).toThrow();
  });

  test("by default the user's name is left to the startup packet, as libpq does", () => {
    expect(new ScramClient({ nonce: 'abc', binding: { flag: 'n' } }).clientFirst()).toEqual(bytes('n,,n=,r=abc'));
    expect(new ScramClient({ nonce: 'abc', userName: 'a=b,c', binding: { flag: 'n' } }).clientFirst()).toEqual(
      bytes('n,,n=a=3Db=2Cc,r=abc'),
    );
  });
});

describe('server-first-message', () => {
  const salt = 's=W22ZaJ0SNY7soEsUEjb6gQ==';

  test.each([
    [`r=${NONCE},s=QQ==,i=1`, 1, 1],
    [`r=${NONCE},${salt},i=4095`, 16, 4095],
    [`r=${NONCE},${salt},i=1000000`, 16, 1_000_000],
    [`r=${CLIENT_NONCE}${'a'.repeat(1004)},${salt},i=1`, 16, 1],
    [`r=${NONCE},s=${Buffer.alloc(1023).toString('base64')},i=1`, 1023, 1],
  ])('accepted (%#)', (message, saltBytes, iterations) => {
    const challenge = createClient().serverFirst(bytes(message));
    expect(challenge).toMatchObject({ ok: true, iterations });
    expect(challenge.ok && challenge.salt).toHaveLength(saltBytes);
  });

  test.each([
    ['', 'malformed SCRAM message'],
    [`r=${NONCE}`, 'malformed SCRAM message'],
    [`r=${NONCE},${salt}`, 'malformed SCRAM message'],
    [`${salt},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},x=QQ==,i=4096`, 'malformed SCRAM message'],
    [`x=${NONCE},${salt},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},${salt},x=4096`, 'malformed SCRAM message'],
    [`${salt},r=${NONCE},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},i=4096,${salt}`, 'malformed SCRAM message'],
    [`r=${NONCE},r=${NONCE},${salt},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},${salt},i=4096,i=1`, 'malformed SCRAM message'],
    [`m=x,r=${NONCE},${salt},i=4096`, 'malformed SCRAM message'],
    [`r=${NONCE},${salt},i=4096,`, 'malformed SCRAM message'],
    [`r=${CLIENT_NONCE},${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=${NONCE.slice(1)},${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=x${NONCE},${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=,${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=${NONCE}\x7f,${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=${NONCE} ,${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=${NONCE}\0,${salt},i=4096`, 'SCRAM nonce does not match'],
    [`r=${CLIENT_NONCE}${'a'.repeat(1024)},${salt},i=4096`, 'SCRAM nonce too long'],
    [`r=${CLIENT_NONCE}${'a'.repeat(65_536)},${salt},i=4096`, 'SCRAM message too long'],
    [`r=${CLIENT_NONCE}${'a'.repeat(1_048_576)},${salt},i=4096`, 'SCRAM message too long'],
    [`r=${NONCE},s=,i=4096`, 'malformed SCRAM salt'],
    [`r=${NONCE},s=QQ,i=4096`, 'malformed SCRAM salt'],
    [`r=${NONCE},s=QR==,i=4096`, 'malformed SCRAM salt'],
    [`r=${NONCE},s=*,i=4096`, 'malformed SCRAM salt'],
    [`r=${NONCE},s=${Buffer.alloc(1025).toString('base64')},i=4096`, 'SCRAM salt too long'],
    [`r=${NONCE},${salt},i=`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=0`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=-1`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=+1`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=4e3`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=4096x`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i= 4096`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=${'9'.repeat(400)}`, 'malformed SCRAM iteration count'],
    [`r=${NONCE},${salt},i=1000001`, 'SCRAM iteration count too large'],
    [`r=${NONCE},${salt},i=2147483647`, 'SCRAM iteration count too large'],
    [`r=${NONCE},${salt},i=4294967297`, 'SCRAM iteration count too large'],
  ])('refused (%#)', (message, reason) => {
    const client = createClient();
    expect(client.serverFirst(bytes(message))).toEqual({ ok: false, reason });
    expect(() => client.proof(SALTED_PASSWORD)).toThrow();
    expect(client.serverFinal(bytes(SERVER_FINAL)).ok).toBe(false);
  });
});

describe('server-final-message', () => {
  test.each([
    ['', 'malformed SCRAM message'],
    ['v=', 'malformed SCRAM message'],
    ['v=AAAA', 'malformed SCRAM message'],
    [`v=${Buffer.alloc(33).toString('base64')}`, 'malformed SCRAM message'],
    [`v=${Buffer.alloc(32).toString('base64')}`, 'server does not know the secret'],
    [SERVER_FINAL.replace('=', ''), 'malformed SCRAM message'],
    [SERVER_FINAL.slice(0, -1), 'malformed SCRAM message'],
    [SERVER_FINAL.replace('G4=', 'G5='), 'malformed SCRAM message'],
    [SERVER_FINAL.replace('v', 'V'), 'malformed SCRAM message'],
    [SERVER_FINAL.replace('v', 'x'), 'malformed SCRAM message'],
    [`${SERVER_FINAL},x=y`, 'malformed SCRAM message'],
    [`${SERVER_FINAL},${SERVER_FINAL}`, 'malformed SCRAM message'],
    [`x=y,${SERVER_FINAL}`, 'malformed SCRAM message'],
    [`v=${'A'.repeat(1_000_000)}`, 'SCRAM message too long'],
    ['e=invalid-proof', 'server error invalid-proof'],
    ['e=<script>\x1b[31m', 'server error other-error'],
    [`e=${'a'.repeat(4000)}`, 'server error other-error'],
    ['e=', 'server error other-error'],
  ])('refused (%#)', (message, reason) => {
    const client = provenClient();
    expect(client.serverFinal(bytes(message))).toEqual({ ok: false, reason });
    expect(client.serverFinal(bytes(SERVER_FINAL)).ok).toBe(false);
  });

  test('a signature that differs in one bit is refused, wherever', () => {
    for (let bit = 0; bit < 256; bit++) {
      const signature = Buffer.from(SERVER_FINAL.slice(2), 'base64');
      signature[bit >> 3]! ^= 1 << (bit & 7);
      expect(provenClient().serverFinal(bytes(`v=${signature.toString('base64')}`)).ok).toBe(false);
    }
  });
});

test('any bytes end in a failure or a bounded challenge', () => {
  const parts = fc.constantFrom(
    'r',
    's',
    'i',
    'v',
    'e',
    '=',
    ',',
    'r=',
    ',s=',
    ',i=',
    NONCE,
    'QQ==',
    '4096',
    '99999999999',
    '-1',
    '\0',
    '\xff',
  );
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((some) => Buffer.from(some)),
    fc.array(parts, { maxLength: 14 }).map((some) => bytes(some.join(''))),
  );
  fc.assert(
    fc.property(message, message, (first, final) => {
      const challenge = createClient().serverFirst(first);
      if (challenge.ok) {
        expect(challenge.iterations).toBeGreaterThanOrEqual(1);
        expect(challenge.iterations).toBeLessThanOrEqual(1_000_000);
        expect(challenge.salt.length).toBeGreaterThan(0);
      }
      expect(provenClient().serverFinal(final).ok).toBe(false);
    }),
    { numRuns: 500 },
  );
});
