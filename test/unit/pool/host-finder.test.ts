/** Which host and which address the next connection goes to. */
import { describe, expect, test } from 'vitest';
import { DnsError } from '../../../src/base/environment.ts';
import type { ResolveResult, Resolver } from '../../../src/net/resolver.ts';
import { type AddressesOrReason, HostFinder } from '../../../src/pool/host-finder.ts';

const NAMES: ReadonlyMap<string, ResolveResult> = new Map<string, ResolveResult>([
  ['one', { addresses: ['10.0.0.1'] }],
  ['three', { addresses: ['10.0.0.1', '10.0.0.2', '10.0.0.3'] }],
  ['none', { error: new DnsError('not-found', 'no such name: none') }],
]);

const resolver: Pick<Resolver, 'resolve' | 'watch'> = {
  resolve: (host, callback) => callback(NAMES.get(host)!),
  watch: () => () => {},
};

function finder(hosts: readonly string[], policy: 'round-robin' | 'disable' = 'round-robin'): HostFinder {
  return new HostFinder(resolver as Resolver, { hosts, port: 5432, policy });
}

function addressesOf(host: string, of: HostFinder): AddressesOrReason {
  let result: AddressesOrReason = { reason: 'was not called back' };
  of.addresses(host, (answer) => (result = answer));
  return result;
}

describe('hosts', () => {
  test('in turn, each time all of them', () => {
    const hosts = finder(['a', 'b', 'c']);
    expect([hosts.order(), hosts.order(), hosts.order(), hosts.order()]).toEqual([
      ['a', 'b', 'c'],
      ['b', 'c', 'a'],
      ['c', 'a', 'b'],
      ['a', 'b', 'c'],
    ]);
  });

  test('with `disable` the same one until it fails; a failure of another one changes nothing', () => {
    const hosts = finder(['a', 'b', 'c'], 'disable');
    expect([hosts.order()[0], hosts.order()[0]]).toEqual(['a', 'a']);
    hosts.failed('b');
    expect(hosts.order()[0]).toBe('a');
    hosts.failed('a');
    expect(hosts.order()).toEqual(['b', 'c', 'a']);
    hosts.failed('b');
    hosts.failed('c');
    expect(hosts.order()[0]).toBe('a');
  });
});

describe('addresses', () => {
  test('in turn, with the port', () => {
    const hosts = finder(['three']);
    const first = (): unknown => {
      const result = addressesOf('three', hosts);
      return 'addresses' in result ? result.addresses.map(({ host, port }) => `${host}:${port}`) : result;
    };
    expect(first()).toEqual(['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432']);
    expect(first()).toEqual(['10.0.0.2:5432', '10.0.0.3:5432', '10.0.0.1:5432']);
    expect(first()).toEqual(['10.0.0.3:5432', '10.0.0.1:5432', '10.0.0.2:5432']);
    expect(first()).toEqual(['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432']);
  });

  test('of a name that has none: the reason', () => {
    expect(addressesOf('none', finder(['none']))).toEqual({ reason: 'no such name: none' });
    expect(addressesOf('one', finder(['one']))).toEqual({ addresses: [{ host: '10.0.0.1', port: 5432 }] });
  });
});
