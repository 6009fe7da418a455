import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FailedLogins, networkOf } from '../../../src/client/failed-logins.ts';

const HERE = '192.0.2.1';
const THERE = '192.0.2.2';

const failedLogins = (authFailureDelayMs = 1000, authFailureLimit = 0) =>
  new FailedLogins({ authFailureDelayMs, authFailureLimit });

const failures = (logins: FailedLogins, count: number, address = HERE, nowMs = 0): number[] =>
  Array.from({ length: count }, () => logins.add(address, nowMs));

describe('the delay', () => {
  test('begins with the sixth failure of an address in a minute, and touches no other', () => {
    const logins = failedLogins();
    expect(failures(logins, 8)).toEqual([0, 0, 0, 0, 0, 1000, 1000, 1000]);
    expect(logins.add(THERE, 0)).toBe(0);
    expect(logins.add(HERE, 59_999)).toBe(1000);
    expect(logins.add(HERE, 60_000)).toBe(0);
  });

  test('may be none', () => {
    expect(new Set(failures(failedLogins(0), 20))).toEqual(new Set([0]));
  });

  test('is none for who has no address', () => {
    expect(new Set(failures(failedLogins(), 20, ''))).toEqual(new Set([0]));
  });
});

describe('the limit', () => {
  test('bars an address that has reached it until its minute is over, and no other', () => {
    const logins = failedLogins(0, 3);
    failures(logins, 2);
    expect(logins.isBarred(HERE, 0)).toBe(false);
    failures(logins, 1);
    expect(logins.isBarred(HERE, 0)).toBe(true);
    expect(logins.isBarred(THERE, 0)).toBe(false);
    expect(logins.isBarred(HERE, 59_999)).toBe(true);
    expect(logins.isBarred(HERE, 60_000)).toBe(false);
  });

  test('0 bars nobody', () => {
    const logins = failedLogins(0, 0);
    failures(logins, 1000);
    expect(logins.isBarred(HERE, 0)).toBe(false);
  });
});

describe('memory', () => {
  test('is bounded, and the oldest goes first', () => {
    const logins = failedLogins(1000, 1);
    for (let i = 0; i < 50_000; i++) logins.add(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, i / 1000);
    expect(logins.size).toBe(10_000);
    expect(logins.isBarred('10.0.0.0', 50)).toBe(false);
    expect(logins.isBarred('10.0.195.79', 50)).toBe(true);
  });

  test('is given back when the minutes are over', () => {
    const logins = failedLogins();
    for (let i = 0; i < 100; i++) logins.add(`10.0.0.${i}`, i);
    logins.add(HERE, 60_050);
    expect(logins.size).toBe(100 - 51 + 1);
    logins.add(THERE, 200_000);
    expect(logins.size).toBe(1);
  });
});

describe('what counts as one place', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['2001:db8::', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
    ['fe80::1:2%eth0', 'fe80:0:0:0'],
    ['', null],
    ['/run/socket', null],
  ])('%s: %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  test('any text is some place or none', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(':', '::', '.', 'a', '1', '%', 'ffff')), (parts) => {
        networkOf(parts.join(''));
      }),
    );
  });
});
