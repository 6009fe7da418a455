import { expect, test } from 'vitest';
import { parseSecret } from '../../../src/auth/secret.ts';
import { SecretCache } from '../../../src/auth/secret-cache.ts';

const secret = parseSecret('x');

test('what was found is told as long as it is young enough for who asks', () => {
  const cache = new SecretCache();
  cache.put('alice', secret, 100);
  cache.put('nobody', null, 100);
  expect(cache.get('alice', 99)).toBe(secret);
  expect(cache.get('alice', 100)).toBeUndefined();
  expect(cache.get('alice')).toBe(secret);
  expect(cache.get('nobody', 99)).toBe(null);
  expect(cache.get('other')).toBeUndefined();
  expect([cache.knownSinceMs('alice'), cache.knownSinceMs('nobody'), cache.knownSinceMs('other')]).toEqual([
    100,
    100,
    null,
  ]);
  cache.put('alice', null, 200);
  expect(cache.get('alice')).toBe(null);
  cache.sweepUnknown(150);
  expect(cache.get('nobody')).toBeUndefined();
  expect(cache.get('alice')).toBe(null);
});

test('names that nobody has push out neither secrets nor more than so many of each other', () => {
  const cache = new SecretCache({ maxSecrets: 2, maxUnknown: 3 });
  cache.put('alice', secret, 1);
  for (let i = 0; i < 10; i++) cache.put(`nobody ${i}`, null, i);
  expect(cache.get('alice')).toBe(secret);
  expect(cache.get('nobody 6')).toBeUndefined();
  expect(cache.get('nobody 7')).toBe(null);
  cache.put('bob', secret, 2);
  cache.put('carol', secret, 3);
  expect(cache.get('alice')).toBeUndefined();
});

test('the usual kind is what most have, and SCRAM as long as there is nothing', () => {
  const cache = new SecretCache();
  expect(cache.usualKind).toBe('scram');
  cache.put('alice', { kind: 'md5', hash: '0'.repeat(32) }, 1);
  expect(cache.usualKind).toBe('md5');
  cache.forget('alice');
  expect(cache.usualKind).toBe('scram');
});
