import { isIP } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpAddress } from '../../../src/base/ip-address.ts';

describe('an IP address', () => {
  it.each([
    ['0.0.0.0', '00000000'],
    ['192.168.10.255', 'c0a80aff'],
    ['::', '0'.repeat(32)],
    ['::1', `${'0'.repeat(31)}1`],
    ['1::', `0001${'0'.repeat(28)}`],
    ['fe80::1%eth0', 'fe800000000000000000000000000001'],
    ['2001:DB8:0:1:2:3:4:5', '20010db8000000010002000300040005'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['::ffff:10.1.2.3', '0a010203'],
    ['::ffff:a01:203', '0a010203'],
  ])('%s is read', (text, hex) => {
    expect(parseIpAddress(text)?.toString('hex')).toBe(hex);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.4%lo',
    '1.2.3.4 ',
    'host',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '::1.2.3.4:5',
    'g::',
  ])('"%s" is none', (text) => {
    expect(parseIpAddress(text)).toBeNull();
  });

  it('is one when Node says so', () => {
    const part = fc.oneof(fc.stringMatching(/^[0-9a-f]{0,5}$/), fc.constantFrom('', '0', '255', '1.2.3.4', '%x'));
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.array(part, { maxLength: 9 }).map((parts) => parts.join(':')),
    );
    fc.assert(
      fc.property(text, (address) => {
        expect(parseIpAddress(address) !== null).toBe(isIP(address) !== 0);
      }),
      { numRuns: 2000 },
    );
  });
});
