import { describe, expect, it } from 'vitest';
import { nearestName } from '../../../src/config/nearest-name.ts';

const NAMES = ['host', 'port', 'user', 'pool_mode', 'pool_size', 'server_idle_timeout', 'client_idle_timeout'];

describe('nearestName', () => {
  it.each([
    ['pool_mod', 'pool_mode'], // missing
    ['pool__mode', 'pool_mode'], // added
    ['pool-mode', 'pool_mode'], // wrong
    ['pool_moed', 'pool_mode'], // swapped
    ['POOL_MODE', 'pool_mode'],
    ['prot', 'port'],
    ['hots', 'host'],
    ['servr_idel_timeout', 'server_idle_timeout'],
  ])('finds what %s was meant to be', (word, name) => expect(nearestName(word, NAMES)).toBe(name));

  it.each(['', 'x', 'ab', 'constructor', 'tls', 'pool', 'a'.repeat(100_000)])('finds nothing near %s', (word) => {
    expect(nearestName(word, NAMES)).toBeNull();
  });

  it('counts a swap as one slip', () => {
    expect(nearestName('ba', ['ab'])).toBe('ab');
    expect(nearestName('bad', ['cab'])).toBeNull();
  });
});
