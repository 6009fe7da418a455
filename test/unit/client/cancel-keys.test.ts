/** Cancel keys: PgBouncer's layout, looked up whole, never the same twice. */
import { describe, expect, test } from 'vitest';
import { CANCEL_KEY_BYTES, CancelKeys } from '../../../src/client/cancel-keys.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

describe('a key', () => {
  test('has 8 bytes: the top bit clear, peer and worker 0, both hop bits set', () => {
    const keys = new CancelKeys<string>(new VirtualEnvironment());
    for (let i = 0; i < 500; i++) {
      const key = keys.create();
      expect(key).toHaveLength(CANCEL_KEY_BYTES);
      expect(key[0]! & 0x80).toBe(0);
      expect([...key.subarray(1, 4)]).toEqual([0, 0, 0]);
      expect(key[7]! & 0x03).toBe(3);
    }
  });

  test('all other bits are random', () => {
    const keys = new CancelKeys<string>(new VirtualEnvironment());
    const ones = Buffer.alloc(8);
    const zeros = Buffer.alloc(8);
    for (let i = 0; i < 200; i++) {
      keys.create().forEach((byte, at) => {
        ones[at]! |= byte;
        zeros[at]! |= ~byte;
      });
    }
    expect([...ones]).toEqual([0x7f, 0, 0, 0, 255, 255, 255, 255]);
    expect([...zeros]).toEqual([255, 255, 255, 255, 255, 255, 255, 0xfc]);
  });

  test('that somebody has is not made again', () => {
    const environment = new VirtualEnvironment();
    const answers = [Buffer.alloc(8, 1), Buffer.alloc(8, 1), Buffer.alloc(8, 2)];
    environment.randomBytes = () => Buffer.from(answers.shift()!);
    const keys = new CancelKeys<string>(environment);
    const first = keys.create();
    keys.add(first, 'alice');
    expect(keys.create()).not.toEqual(first);
    expect(answers).toEqual([]);
  });
});

describe('a look-up', () => {
  const keys = new CancelKeys<string>(new VirtualEnvironment());
  const [alice, bob] = [keys.create(), keys.create()];
  keys.add(alice, 'alice');
  keys.add(bob, 'bob');

  test('finds whose key it is', () => {
    expect([keys.find(alice), keys.find(bob)]).toEqual(['alice', 'bob']);
  });

  test('ignores how many hops the key has travelled', () => {
    for (const hops of [0, 1, 2, 3]) {
      const key = Buffer.from(alice);
      key[7] = (key[7]! & 0xfc) | hops;
      expect(keys.find(key)).toBe('alice');
    }
  });

  test('takes every other bit into account', () => {
    for (let bit = 0; bit < 62; bit++) {
      const key = Buffer.from(alice);
      // Bits 62 and 63 are the two lowest of the last byte.
      key[bit >> 3]! ^= 0x80 >> (bit & 7);
      expect(keys.find(key)).toBeNull();
    }
  });

  test('does not change the key, and takes any length', () => {
    const key = Buffer.from(alice);
    key[7]! &= 0xfc;
    const before = Buffer.from(key);
    keys.find(key);
    expect(key).toEqual(before);
    for (const length of [0, 4, 7, 9, 32, 260]) expect(keys.find(Buffer.alloc(length))).toBeNull();
  });

  test('does not find a key that was removed', () => {
    const key = keys.create();
    keys.add(key, 'carol');
    keys.remove(key);
    expect(keys.find(key)).toBeNull();
  });
});
