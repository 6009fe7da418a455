import { pbkdf2Sync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { FakeEnvironment, settled } from './fake-environment.ts';

const SALT = Buffer.from('0123456789abcdef');

function setUp(limits = { maxPasswords: 10_000, maxConcurrent: 2 }): {
  environment: FakeEnvironment;
  keys: DerivedKeys;
} {
  const environment = new FakeEnvironment();
  return { environment, keys: new DerivedKeys(environment, limits) };
}

describe('saltedPassword', () => {
  test('is PBKDF2 of the prepared password', async () => {
    const { environment, keys } = setUp();
    expect(await keys.saltedPassword('pencil', SALT, 7)).toEqual(pbkdf2Sync('pencil', SALT, 7, 32, 'sha256'));
    expect(await keys.saltedPassword('\u2168', SALT, 7)).toEqual(pbkdf2Sync('IX', SALT, 7, 32, 'sha256'));
    expect(environment.derivations).toHaveLength(2);
  });

  test('is derived once, and again for anything else', async () => {
    const { environment, keys } = setUp();
    const first = await keys.saltedPassword('a', SALT, 1);
    expect(await keys.saltedPassword('a', Buffer.from(SALT), 1)).toBe(first);
    expect(environment.derivations).toHaveLength(1);
    const others = [
      await keys.saltedPassword('b', SALT, 1),
      await keys.saltedPassword('a', Buffer.from('0123456789abcdeg'), 1),
      await keys.saltedPassword('a', SALT, 2),
      // The same bytes in a row, cut elsewhere.
      await keys.saltedPassword('a0', Buffer.from('123456789abcdef'), 1),
      await keys.saltedPassword('a', Buffer.from('0123456789abcdef1'), 1),
    ];
    expect(new Set([first, ...others].map((key) => key.toString('hex'))).size).toBe(6);
    expect(environment.derivations).toHaveLength(6);
  });

  test('is shared by those who ask while it is derived', async () => {
    const { environment, keys } = setUp();
    environment.held = [];
    const askers = [1, 2, 3].map(() => keys.saltedPassword('a', SALT, 1));
    await settled();
    expect(environment.derivations).toHaveLength(1);
    await environment.finishDerivation();
    const derived = await Promise.all(askers);
    expect(new Set(derived).size).toBe(1);
  });

  test('two at a time, the others in the order of their coming', async () => {
    const { environment, keys } = setUp();
    environment.held = [];
    const all = ['a', 'b', 'c', 'd', 'e'].map((password) => keys.saltedPassword(password, SALT, 1));
    await settled();
    expect(environment.derivations.map(({ password }) => password)).toEqual(['a', 'b']);
    await environment.finishDerivation();
    expect(environment.derivations.map(({ password }) => password)).toEqual(['a', 'b', 'c']);
    // Who comes while others wait does not overtake them.
    const late = keys.saltedPassword('f', SALT, 1);
    for (let i = 0; i < 5; i++) await environment.finishDerivation();
    await Promise.all([...all, late]);
    expect(environment.derivations.map(({ password }) => password).join('')).toBe('abcdef');
    expect(environment.mostRunning).toBe(2);
    // All places are free again.
    environment.held = [];
    const next = ['g', 'h', 'i'].map((password) => keys.saltedPassword(password, SALT, 1));
    await settled();
    expect(environment.running).toBe(2);
    for (let i = 0; i < 3; i++) await environment.finishDerivation();
    await Promise.all(next);
  });

  test('forgets what was not used for longest', async () => {
    const { environment, keys } = setUp({ maxPasswords: 2, maxConcurrent: 2 });
    await keys.saltedPassword('a', SALT, 1);
    await keys.saltedPassword('b', SALT, 1);
    await keys.saltedPassword('a', SALT, 1);
    await keys.saltedPassword('c', SALT, 1); // b goes
    await keys.saltedPassword('a', SALT, 1);
    await keys.saltedPassword('c', SALT, 1);
    expect(environment.derivations.map(({ password }) => password)).toEqual(['a', 'b', 'c']);
    await keys.saltedPassword('b', SALT, 1);
    expect(environment.derivations.map(({ password }) => password)).toEqual(['a', 'b', 'c', 'b']);
  });

  test('a failure reaches all who asked, frees its place, and is not remembered', async () => {
    const { environment, keys } = setUp({ maxPasswords: 10, maxConcurrent: 1 });
    environment.failWith = new Error('no memory');
    const askers = await Promise.allSettled([keys.saltedPassword('a', SALT, 1), keys.saltedPassword('a', SALT, 1)]);
    expect(askers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(environment.derivations).toHaveLength(1);
    environment.failWith = null;
    expect(await keys.saltedPassword('a', SALT, 1)).toHaveLength(32);
    expect(await keys.saltedPassword('b', SALT, 1)).toHaveLength(32);
  });
});

describe('what is not needed any more', () => {
  test('a password that is forgotten takes its keys with it, and no others', async () => {
    const { environment, keys } = setUp();
    for (const password of ['a', 'b']) {
      await keys.saltedPassword(password, SALT, 1);
      await keys.saltedPassword(password, SALT, 2);
    }
    keys.forget('a');
    keys.forget('never heard of');
    await keys.saltedPassword('b', SALT, 1);
    await keys.saltedPassword('b', SALT, 2);
    expect(environment.derivations).toHaveLength(4);
    await keys.saltedPassword('a', SALT, 1);
    expect(environment.derivations).toHaveLength(5);
  });

  test('keys of one password are bounded, whatever salts a server comes up with', async () => {
    const { environment, keys } = setUp({ maxPasswords: 1, maxConcurrent: 2 });
    for (let i = 0; i < 17; i++) await keys.saltedPassword('a', Buffer.of(i), 1);
    await keys.saltedPassword('a', Buffer.of(16), 1);
    await keys.saltedPassword('a', Buffer.of(1), 1);
    expect(environment.derivations).toHaveLength(17);
    await keys.saltedPassword('a', Buffer.of(0), 1);
    expect(environment.derivations).toHaveLength(18);
  });

  test('a key whose askers have all gone before its turn is not derived', async () => {
    const { environment, keys } = setUp({ maxPasswords: 10, maxConcurrent: 1 });
    environment.held = [];
    const first = keys.saltedPassword('first', SALT, 1);
    const gone = [{ isGone: false }, { isGone: false }];
    const left = gone.map((asker) => keys.saltedPassword('left', SALT, 1, asker));
    const stays = { isGone: false };
    const shared = [keys.saltedPassword('shared', SALT, 1, gone[0]), keys.saltedPassword('shared', SALT, 1, stays)];
    for (const asker of gone) asker.isGone = true;
    await environment.finishDerivation();
    await environment.finishDerivation();
    await first;
    expect((await Promise.allSettled(left)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await Promise.all(shared)).toHaveLength(2);
    expect(environment.derivations.map(({ password }) => password)).toEqual(['first', 'shared']);
    // It is not remembered as impossible.
    const again = keys.saltedPassword('left', SALT, 1);
    await settled();
    await environment.finishDerivation();
    expect(await again).toHaveLength(32);
  });
});

describe('the salts that we show', () => {
  test('are stable for a name, differ between names and processes, and do not depend on the password', async () => {
    const { environment, keys } = setUp();
    const alice = await keys.scramSecret('alice', 'pencil', 4096);
    expect(alice.salt).toHaveLength(16);
    expect(await keys.scramSecret('alice', 'other', 4096)).toMatchObject({ salt: alice.salt });
    // Two users with one password must not be seen to share it.
    expect((await keys.scramSecret('bob', 'pencil', 4096)).salt).not.toEqual(alice.salt);
    expect(keys.mockSecret('alice', 4096).salt).toEqual(alice.salt);
    expect(new DerivedKeys(environment).saltOf('alice')).not.toEqual(alice.salt);
  });

  test('a verifier is of the password, and costs one derivation', async () => {
    const { environment, keys } = setUp();
    const first = await keys.scramSecret('alice', 'pencil', 4096);
    expect(await keys.scramSecret('alice', 'pencil', 4096)).toEqual(first);
    expect(environment.derivations).toEqual([{ password: 'pencil', salt: first.salt, iterations: 4096 }]);
    const changed = await keys.scramSecret('alice', 'changed', 4096);
    expect(changed.storedKey).not.toEqual(first.storedKey);
    expect(changed.serverKey).not.toEqual(first.serverKey);
  });

  test('a mock has the shape of a verifier, stays the same, and derives nothing', () => {
    const { environment, keys } = setUp();
    const mock = keys.mockSecret('nobody', 4096);
    expect(mock).toMatchObject({ kind: 'scram', iterations: 4096 });
    expect([mock.salt.length, mock.storedKey.length, mock.serverKey.length]).toEqual([16, 32, 32]);
    expect(keys.mockSecret('nobody', 4096)).toEqual(mock);
    expect(mock.storedKey).not.toEqual(mock.serverKey);
    expect(keys.mockSecret('nobody2', 4096).storedKey).not.toEqual(mock.storedKey);
    expect(environment.derivations).toHaveLength(0);
  });
});
