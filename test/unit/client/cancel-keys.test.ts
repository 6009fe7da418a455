/** Cancel keys: PgBouncer's layout before protocol 3.2, longer ones since; looked up whole, never the same twice. */
import { describe, expect, test } from 'vitest';
import { CancelKeys } from '../../../src/client/cancel-keys.ts';
import { LONG_KEY_BYTES, SHORT_KEY_BYTES } from '../../../src/protocol/cancel-key.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

/** Which bits of 200 keys were ever 1, and which ever 0. */
function bitsOf(minor: number): { readonly ones: number[]; readonly zeros: number[] } {
  const keys = new CancelKeys<string>(new VirtualEnvironment(), 0);
  const ones: number[] = [];
  const zeros: number[] = [];
  for (let i = 0; i < 200; i++) {
    keys.create(minor).forEach((byte, at) => {
      ones[at] = (ones[at] ?? 0) | byte;
      zeros[at] = (zeros[at] ?? 0) | (~byte & 0xff);
    });
  }
  return { ones, zeros };
}

describe('a key', () => {
  test.each([0, 1])(
    'before 3.2 (3.%i) has 8 bytes: the top bit clear, peer and worker 0, both hop bits set',
    (minor) => {
      const keys = new CancelKeys<string>(new VirtualEnvironment(), 0);
      for (let i = 0; i < 500; i++) {
        const key = keys.create(minor);
        expect(key).toHaveLength(SHORT_KEY_BYTES);
        expect(key[0]! & 0x80).toBe(0);
        expect([...key.subarray(1, 4)]).toEqual([0, 0, 0]);
        expect(key[7]! & 0x03).toBe(3);
      }
    },
  );

  test('before 3.2 all other bits are random', () => {
    const { ones, zeros } = bitsOf(0);
    expect(ones).toEqual([0x7f, 0, 0, 0, 255, 255, 255, 255]);
    expect(zeros).toEqual([255, 255, 255, 255, 255, 255, 255, 0xfc]);
  });

  test('of 3.2 has 32 bytes: a process id with its top bit clear, peer and worker 0, and all other bits random', () => {
    const { ones, zeros } = bitsOf(2);
    expect(LONG_KEY_BYTES).toBe(32);
    expect(ones).toEqual([0x7f, 255, 255, 255, 0, 0, 0, ...Array.from({ length: 25 }, () => 255)]);
    expect(zeros).toEqual(Array.from({ length: 32 }, () => 255));
  });

  test.each([0, 2])('that somebody has is not made again (3.%i)', (minor) => {
    const environment = new VirtualEnvironment();
    const length = minor === 0 ? 8 : 32;
    const answers = [Buffer.alloc(length, 1), Buffer.alloc(length, 1), Buffer.alloc(length, 2)];
    environment.randomBytes = () => Buffer.from(answers.shift()!);
    const keys = new CancelKeys<string>(environment, 0);
    const first = keys.create(minor);
    keys.add(first, 'alice');
    expect(keys.create(minor)).not.toEqual(first);
    expect(answers).toEqual([]);
  });

  test('has the number of its pooler, which no process id covers', () => {
    const keys = new CancelKeys<string>(new VirtualEnvironment(), 0x3fff);
    for (const key of [keys.create(0), keys.create(2), keys.create(0, 4711)]) {
      expect(key).toHaveLength(SHORT_KEY_BYTES);
      expect([...key.subarray(1, 4)]).toEqual([0xff, 0x3f, 0]);
    }
  });

  test('never has bytes of another one, however short and long ones follow each other', () => {
    const keys = new CancelKeys<string>(new VirtualEnvironment(), 0);
    const tails = Array.from({ length: 1000 }, (_, i) =>
      keys
        .create(i % 3)
        .toString('hex')
        .slice(-8),
    );
    expect(new Set(tails).size).toBe(1000);
  });
});

describe('a look-up', () => {
  const keys = new CancelKeys<string>(new VirtualEnvironment(), 0);
  const [alice, bob, carol] = [keys.create(0), keys.create(0), keys.create(2)];
  keys.add(alice, 'alice');
  keys.add(bob, 'bob');
  keys.add(carol, 'carol');

  test('finds whose key it is', () => {
    expect([keys.find(alice), keys.find(bob), keys.find(carol)]).toEqual(['alice', 'bob', 'carol']);
  });

  test('ignores how many hops a short key has travelled', () => {
    for (const hops of [0, 1, 2, 3]) {
      const key = Buffer.from(alice);
      key[7] = (key[7]! & 0xfc) | hops;
      expect(keys.find(key)).toBe('alice');
    }
  });

  test.each([
    // Bits 62 and 63 are the two lowest of the last byte of a short key.
    ['short', alice, 62],
    ['long', carol, 256],
  ])('takes every other bit of a %s key into account', (_what, own, bits) => {
    for (let bit = 0; bit < bits; bit++) {
      const key = Buffer.from(own);
      key[bit >> 3]! ^= 0x80 >> (bit & 7);
      expect(keys.find(key)).toBeNull();
    }
  });

  test('of a key that is too short or too long finds nobody', () => {
    for (let length = 0; length < carol.length; length++) expect(keys.find(carol.subarray(0, length))).toBeNull();
    for (const more of [1, 4, 228, 9000]) expect(keys.find(Buffer.concat([carol, Buffer.alloc(more)]))).toBeNull();
    expect(keys.find(alice.subarray(0, 7))).toBeNull();
    expect(keys.find(Buffer.concat([alice, Buffer.alloc(24)]))).toBeNull();
  });

  test('does not change the key, and takes any length', () => {
    const key = Buffer.from(alice);
    key[7]! &= 0xfc;
    const before = Buffer.from(key);
    keys.find(key);
    expect(key).toEqual(before);
    for (const length of [0, 4, 7, 9, 32, 260]) expect(keys.find(Buffer.alloc(length))).toBeNull();
  });

  test.each([0, 2])('does not find a key that was removed (3.%i)', (minor) => {
    const key = keys.create(minor);
    keys.add(key, 'dave');
    expect(keys.find(key)).toBe('dave');
    keys.remove(key);
    expect(keys.find(key)).toBeNull();
  });
});
