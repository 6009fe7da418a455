import { describe, expect, it } from 'vitest';
import { Network } from '../../../src/auth/network.ts';
import { parseIpAddress } from '../../../src/base/ip-address.ts';

const address = (text: string): Buffer => parseIpAddress(text)!;

describe('a network', () => {
  it.each([
    ['10.0.0.0/8', '10.255.0.1', '11.0.0.0'],
    ['10.1.2.3/32', '10.1.2.3', '10.1.2.2'],
    ['10.1.2.128/25', '10.1.2.200', '10.1.2.127'],
    ['0.0.0.0/0', '203.0.113.9', '::1'],
    ['::/0', '2001:db8::1', '1.2.3.4'],
    ['fe80::/10', 'febf::1', 'fec0::1'],
    ['::1/128', '::1', '::2'],
    ['::ffff:10.0.0.0/104', '10.9.9.9', '11.9.9.9'],
  ])('%s holds %s and not %s', (cidr, inside, outside) => {
    const network = Network.fromCidr(cidr)!;
    expect([network.contains(address(inside)), network.contains(address(outside))]).toEqual([true, false]);
  });

  it.each([
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8x',
    '::/129',
    '::ffff:1.2.3.4/90',
    'x/8',
    '/8',
  ])('%s is none', (cidr) => {
    expect(Network.fromCidr(cidr)).toBeNull();
  });

  it('may be an address and a mask of the same family', () => {
    const network = Network.fromMask('172.16.0.0', '255.240.0.0')!;
    expect(network.contains(address('172.31.255.255'))).toBe(true);
    expect(network.contains(address('172.32.0.0'))).toBe(false);
    expect(Network.fromMask('172.16.0.0', 'ffff::')).toBeNull();
    expect(Network.fromMask('172.16.0.0', 'trust')).toBeNull();
  });

  it('does not mind bits of the base that the mask leaves out', () => {
    expect(Network.fromCidr('10.1.2.3/8')!.contains(address('10.200.0.1'))).toBe(true);
  });
});
