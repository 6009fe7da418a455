import { beforeEach, describe, expect, it } from 'vitest';
import { DnsError } from '../../../src/base/environment.ts';
import type { FakeDnsEnvironment } from '../../support/fake-dns-environment.ts';
import { ask, ResolverFixture } from '../../support/resolver-fixture.ts';

let fixture: ResolverFixture;
let environment: FakeDnsEnvironment;

beforeEach(() => {
  fixture = new ResolverFixture();
  environment = fixture.environment;
});

describe('mode libc', () => {
  it('asks the platform, two names at a time, and keeps its order', async () => {
    environment.lookupMs = 100;
    for (const name of ['a', 'b', 'c', 'd', 'e']) environment.platform.set(name, ['fd00::1', '10.0.0.1', 'fd00::1']);
    const resolver = fixture.resolver({ mode: 'libc' });
    const told = ['a', 'b', 'c', 'd', 'e', 'a'].map((name) => ask(resolver, name));
    await environment.advance(200);
    expect(told.filter((answers) => answers.length > 0)).toHaveLength(5);
    await environment.advance(100);
    expect(told).toEqual(told.map(() => [['fd00::1', '10.0.0.1']]));
    expect(environment.mostLookupsInFlight).toBe(2);
    expect(environment.lookups).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(environment.questions).toEqual([]);
    expect(environment.fileReads).toEqual([]);
  });

  it('holds an answer for the longest time, since the platform tells none', async () => {
    environment.platform.set('db', ['10.0.0.1']);
    const resolver = fixture.resolver({ mode: 'libc' });
    await fixture.answerFor(resolver, 'db');
    await environment.advance(14_999);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]);
    await environment.advance(1);
    expect(ask(resolver, 'db')).toEqual([]);
  });

  it('gives its place back after a failure, and keeps the last good answer', async () => {
    environment.platform.set('db', ['10.0.0.1']);
    const resolver = fixture.resolver({ mode: 'libc' });
    await fixture.answerFor(resolver, 'db');
    environment.platform.set('db', new DnsError('unreachable', 'getaddrinfo EAI_AGAIN db'));
    environment.platform.set('empty', []);
    for (const name of ['x', 'y', 'z', 'empty']) expect(await fixture.answerFor(resolver, name)).toEqual(['not-found']);
    await environment.advance(15_000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
    expect(fixture.log).toEqual(['warn: name servers do not answer: using the last known addresses']);
  });

  it('starts no queued lookup after close', async () => {
    environment.lookupMs = 100;
    const resolver = fixture.resolver({ mode: 'libc' });
    for (const name of ['a', 'b', 'c']) ask(resolver, name);
    await environment.settle();
    resolver.close();
    await environment.advance(1000);
    expect(environment.lookups).toEqual(['a', 'b']);
  });
});
