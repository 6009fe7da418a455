import { describe, expect, test } from 'vitest';
import { PassThroughKeys } from '../../../src/auth/pass-through-keys.ts';
import type { ScramSecret } from '../../../src/auth/secret.ts';

const verifier = (fill: number, changes: Partial<ScramSecret> = {}): ScramSecret => ({
  kind: 'scram',
  iterations: 4096,
  salt: Buffer.alloc(16, fill),
  storedKey: Buffer.alloc(32, fill),
  serverKey: Buffer.alloc(32, fill),
  ...changes,
});
const KEY = Buffer.alloc(32, 9);

describe('a key', () => {
  test('is given out with its verifier only', () => {
    const keys = new PassThroughKeys();
    expect(keys.remember('', 'alice', verifier(1), KEY)).toBe(true);
    expect(keys.remember('', 'alice', verifier(1), KEY)).toBe(false);
    expect(keys.find('', 'alice', verifier(1))).toEqual(KEY);
    for (const other of [
      verifier(2),
      verifier(1, { iterations: 4097 }),
      verifier(1, { salt: Buffer.alloc(16, 2) }),
      verifier(1, { storedKey: Buffer.alloc(32, 2) }),
      verifier(1, { serverKey: Buffer.alloc(32, 2) }),
    ]) {
      expect(keys.find('', 'alice', other)).toBe(null);
    }
    expect(keys.find('', 'bob', verifier(1))).toBe(null);
    expect(keys.find('elsewhere', 'alice', verifier(1))).toBe(null);
  });

  test.each([
    ['another verifier', [verifier(2)]],
    ['a password', [{ kind: 'plain', password: 'x' } as const]],
    ['nothing', []],
  ])('dies when its user has %s', (_what, secrets) => {
    const keys = new PassThroughKeys();
    keys.remember('', 'alice', verifier(1), KEY);
    keys.onSecrets('', 'alice', [verifier(2), verifier(1)]);
    expect(keys.find('', 'alice', verifier(1))).toEqual(KEY);
    keys.onSecrets('', 'alice', secrets);
    expect(keys.find('', 'alice', verifier(1))).toBe(null);
  });

  test('dies with a file that has changed, and only there', () => {
    const keys = new PassThroughKeys();
    keys.remember('', 'alice', verifier(1), KEY);
    keys.remember('', 'bob', verifier(2), KEY);
    keys.remember('elsewhere', 'alice', verifier(1), KEY);
    keys.onSourceChanged('', (userName) => (userName === 'bob' ? [verifier(2)] : []));
    expect(keys.find('', 'alice', verifier(1))).toBe(null);
    expect(keys.find('', 'bob', verifier(2))).toEqual(KEY);
    expect(keys.find('elsewhere', 'alice', verifier(1))).toEqual(KEY);
  });

  test('that nobody has proven for long makes room for others', () => {
    const keys = new PassThroughKeys();
    for (let i = 0; i <= 10_000; i++) keys.remember('', `user ${i}`, verifier(1), KEY);
    expect(keys.find('', 'user 0', verifier(1))).toBe(null);
    expect(keys.find('', 'user 1', verifier(1))).toEqual(KEY);
  });
});
