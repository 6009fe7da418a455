import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isUsable, md5Hash, md5Response, parseSecret } from '../../../src/auth/secret.ts';

const KEY_A = Buffer.alloc(32, 1).toString('base64');
const KEY_B = Buffer.alloc(32, 2).toString('base64');
const SALT = Buffer.from('0123456789abcdef');
const VERIFIER = `SCRAM-SHA-256$4096:${SALT.toString('base64')}$${KEY_A}:${KEY_B}`;

describe('parseSecret', () => {
  test('reads a verifier', () => {
    expect(parseSecret(VERIFIER)).toEqual({
      kind: 'scram',
      iterations: 4096,
      salt: SALT,
      storedKey: Buffer.alloc(32, 1),
      serverKey: Buffer.alloc(32, 2),
    });
  });

  test('reads an MD5 hash', () => {
    const hash = 'acbd18db4cc2f85cedef654fccc4a4d8';
    expect(parseSecret(`md5${hash}`)).toEqual({ kind: 'md5', hash });
  });

  const plain: [text: string, why: string][] = [
    ['', 'nothing'],
    ['pencil', 'a word'],
    ['md5', 'only the name of the method'],
    [`md5${'a'.repeat(31)}`, 'a hash that is too short'],
    [`md5${'a'.repeat(33)}`, 'a hash that is too long'],
    [`md5${'A'.repeat(32)}`, 'upper case'],
    [`MD5${'a'.repeat(32)}`, 'upper case in front'],
    [`md5${'g'.repeat(32)}`, 'no hexadecimal digits'],
    [`md5${'a'.repeat(32)}\n`, 'a line break'],
    [`\nmd5${'a'.repeat(32)}`, 'a line break in front'],
    [VERIFIER.toLowerCase(), 'lower case'],
    [VERIFIER.replace('4096', '0'), 'no iterations'],
    [VERIFIER.replace('4096', '-1'), 'negative iterations'],
    [VERIFIER.replace('4096', '+1'), 'a sign'],
    [VERIFIER.replace('4096', '4e3'), 'an exponent'],
    [VERIFIER.replace('4096', '0x10'), 'hexadecimal iterations'],
    [VERIFIER.replace('4096', ' 4096'), 'a space'],
    [VERIFIER.replace('4096', '2147483648'), 'more iterations than an int holds'],
    [VERIFIER.replace('4096', '9'.repeat(400)), 'far too many iterations'],
    [VERIFIER.replace(SALT.toString('base64'), ''), 'no salt'],
    [VERIFIER.replace(SALT.toString('base64'), 'QR=='), 'a salt with stray bits'],
    [VERIFIER.replace(SALT.toString('base64'), 'QQ'), 'a salt without padding'],
    [VERIFIER.replace(SALT.toString('base64'), Buffer.alloc(900).toString('base64')), 'a salt that is too long'],
    [VERIFIER.replace(KEY_A, Buffer.alloc(31).toString('base64')), 'a key that is too short'],
    [VERIFIER.replace(KEY_A, Buffer.alloc(33).toString('base64')), 'a key that is too long'],
    [VERIFIER.replace(KEY_B, Buffer.alloc(4096).toString('base64')), 'a huge key (CVE-2019-10164)'],
    [VERIFIER.replace(KEY_B, `${KEY_B.slice(0, 43)}A`), 'a key without padding'],
    [VERIFIER.replace(`:${KEY_B}`, ''), 'no ServerKey'],
    [`${VERIFIER}:x`, 'a tail'],
    [`${VERIFIER}\n`, 'a line break'],
    [VERIFIER.replace('$4096', () => '$$4096'), 'a doubled separator'],
    [`SCRAM-SHA-256$1:${'$'.repeat(100)}`, 'only separators'],
  ];

  test.each(plain.map(([text, why]) => [why, text] as const))('a plain password: %s', (_why, text) => {
    expect(parseSecret(text)).toEqual({ kind: 'plain', password: text });
  });

  test('any string is some secret, and a verifier is written as it was read', () => {
    const nearMiss = fc.array(fc.constantFrom('SCRAM-SHA-256', '$', ':', '4096', KEY_A, KEY_B, 'md5', '=', 'a'), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          nearMiss.map((parts) => parts.join('')),
        ),
        (text) => {
          const secret = parseSecret(text);
          if (secret.kind === 'plain') expect(secret.password).toBe(text);
          else if (secret.kind === 'md5') expect(`md5${secret.hash}`).toBe(text);
          else {
            const { iterations, salt, storedKey, serverKey } = secret;
            const keys = `${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
            expect(`SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${keys}`).toBe(text);
            expect(iterations).toBeGreaterThan(0);
          }
        },
      ),
    );
  });

  test('takes no time over a long text that looks like a verifier', () => {
    const before = process.cpuUsage();
    for (const text of [`SCRAM-SHA-256$1:${'A'.repeat(10_000_000)}`, `md5${'a'.repeat(10_000_000)}`]) {
      expect(parseSecret(text).kind).toBe('plain');
    }
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(500);
  });
});

describe('MD5', () => {
  // PostgreSQL 15: SET password_encryption = 'md5'; CREATE ROLE alice PASSWORD 'pencil'; SELECT rolpassword …
  test('the hash that PostgreSQL stores', () => {
    expect(md5Hash('pencil', 'alice')).toBe('ee69efad287c7423caf0b3229d71f567');
    expect(md5Hash(Buffer.from('pencil'), 'alice')).toBe(md5Hash('pencil', 'alice'));
    expect(md5Hash('pässword', 'jürgen')).toBe('aec2521b86bc3632d58e5239e0d1c2a3');
  });

  test('the answer to a challenge, from a password and from its hash', () => {
    const salt = Buffer.from([0x01, 0x80, 0xff, 0x00]);
    const hash = md5Hash('pencil', 'alice');
    // printf 'md5'; printf '%s\x01\x80\xff\x00' <hash> | md5sum
    const answer = 'md56e4b37bab74fdfd32c47d85d49850023';
    expect(md5Response('alice', { kind: 'plain', password: 'pencil' }, salt)).toBe(answer);
    expect(md5Response('alice', { kind: 'md5', hash }, salt)).toBe(answer);
    expect(md5Response('bob', { kind: 'plain', password: 'pencil' }, salt)).not.toBe(answer);
  });
});

describe('isUsable', () => {
  test('an empty password is none, hashed or not', () => {
    expect(isUsable({ kind: 'plain', password: '' }, 'alice')).toBe(false);
    expect(isUsable({ kind: 'md5', hash: md5Hash('', 'alice') }, 'alice')).toBe(false);
    expect(isUsable({ kind: 'md5', hash: md5Hash('', 'bob') }, 'alice')).toBe(true);
    expect(isUsable({ kind: 'plain', password: ' ' }, 'alice')).toBe(true);
    expect(isUsable(parseSecret(VERIFIER), 'alice')).toBe(true);
  });
});
