import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeDnsEnvironment, records } from '../../support/fake-dns-environment.ts';
import { ask, plain, ResolverFixture } from '../../support/resolver-fixture.ts';

let fixture: ResolverFixture;
let environment: FakeDnsEnvironment;

beforeEach(() => {
  fixture = new ResolverFixture();
  environment = fixture.environment;
});

function fail(behaviour: 'servfail' | 'silent'): void {
  environment.zone.set('db A', behaviour);
  environment.zone.set('db AAAA', behaviour);
}

describe('the cache', () => {
  it('shares one lookup between all who ask, and answers from memory at once', async () => {
    environment.zone.set('db A', records(10, '10.0.0.1'));
    const resolver = fixture.resolver();
    const first = ask(resolver, 'db');
    const second = ask(resolver, 'DB');
    expect([first, second]).toEqual([[], []]);
    await environment.settle();
    expect([first, second]).toEqual([[['10.0.0.1']], [['10.0.0.1']]]);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]);
    expect(fixture.asked()).toEqual(['db A', 'db AAAA']);
  });

  it.each([
    { ttl: 10, held: 10_000 },
    { ttl: 0, held: 1000 },
    { ttl: -1, held: 1000 },
    { ttl: 4_000_000_000, held: 15_000 },
  ])('holds an answer with a TTL of $ttl s for $held ms', async ({ ttl, held }) => {
    environment.zone.set('db A', records(ttl, '10.0.0.1'));
    environment.zone.set('db AAAA', records(20, 'fd00::1')); // the shortest counts
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    environment.zone.set('db A', records(ttl, '10.0.0.2'));
    await environment.advance(held - 1);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1', 'fd00::1']]);
    await environment.advance(1);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.2', 'fd00::1']);
  });

  it('remembers that a name does not exist, for a while', async () => {
    const resolver = fixture.resolver({ notFoundTtlMs: 3000 });
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['not-found']);
    environment.zone.set('db A', records(30, '10.0.0.1'));
    await environment.advance(2999);
    expect(ask(resolver, 'db')).toEqual([['not-found']]);
    expect(environment.questions).toHaveLength(2);
    await environment.advance(1);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
  });

  it('takes new limits with the next lookup', async () => {
    environment.zone.set('db A', records(3600, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    resolver.configure({ maxTtlMs: 60_000, notFoundTtlMs: 2000 });
    await environment.advance(15_000);
    await fixture.answerFor(resolver, 'db');
    await fixture.answerFor(resolver, 'nowhere');
    await environment.advance(59_999);
    environment.questions.length = 0;
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]);
    expect(environment.questions).toEqual([]);
    expect(await fixture.answerFor(resolver, 'nowhere')).toEqual(['not-found']);
    expect(environment.questions).toHaveLength(2);
  });

  it('is bounded: the least recently used name goes, a watched one stays', async () => {
    const resolver = fixture.resolver({ maxNames: 3 });
    for (const name of ['a', 'b', 'c', 'd']) environment.zone.set(`${name} A`, records(30, '10.0.0.1'));
    resolver.watch('a', () => {});
    for (const name of ['a', 'b', 'c']) await fixture.answerFor(resolver, name);
    expect(ask(resolver, 'b')).toEqual([['10.0.0.1']]);
    await fixture.answerFor(resolver, 'd');
    environment.questions.length = 0;
    for (const name of ['a', 'b', 'd']) expect(ask(resolver, name)).toEqual([['10.0.0.1']]);
    expect(environment.questions).toEqual([]);
    expect(ask(resolver, 'c')).toEqual([]); // forgotten
    resolver.close();
  });

  it('does not drop a name that is being looked up', async () => {
    environment.zone.set('a A', 'silent');
    const resolver = fixture.resolver({ maxNames: 1 });
    for (const name of ['a', 'b', 'a']) ask(resolver, name);
    await environment.settle();
    expect(fixture.asked()).toEqual(['a A', 'a AAAA', 'b A', 'b AAAA']);
  });

  it('forgets a name that nobody has used for ten minutes', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    await environment.advance(600_000);
    await fixture.answerFor(resolver, 'other'); // a new name is when the old ones are looked through
    environment.zone.set('db A', 'servfail');
    environment.zone.set('db AAAA', 'servfail');
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['unreachable']);
  });
});

describe('an outage of DNS', () => {
  it('keeps the last good answer, says so once, and says when it is over', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    fail('servfail');
    for (let round = 0; round < 5; round++) {
      await environment.advance(6000);
      expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
    }
    expect(fixture.log).toEqual(['warn: name servers do not answer: using the last known addresses']);
    environment.zone.set('db A', records(1, '10.0.0.1'));
    await environment.advance(6000);
    await fixture.answerFor(resolver, 'db');
    expect(fixture.log.slice(1)).toEqual(['info: name servers answer again']);
    fail('servfail');
    await environment.advance(6000);
    await fixture.answerFor(resolver, 'db');
    expect(fixture.log.slice(2)).toEqual(['warn: name servers do not answer: using the last known addresses']);
  });

  it('asks again every five seconds, not with every caller', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    fail('servfail');
    await environment.advance(1000);
    await fixture.answerFor(resolver, 'db');
    environment.questions.length = 0;
    await environment.advance(4999);
    await fixture.answerFor(resolver, 'db');
    expect(environment.questions).toHaveLength(0);
    await environment.advance(1);
    await fixture.answerFor(resolver, 'db');
    expect(environment.questions).not.toHaveLength(0);
  });

  it('makes a caller wait 1.8 s for silent servers, and the next ones not at all', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    fail('silent');
    await environment.advance(1000);
    const first = ask(resolver, 'db');
    const second = ask(resolver, 'db');
    await environment.advance(1799);
    expect([first, second]).toEqual([[], []]);
    await environment.advance(1);
    expect([first, second]).toEqual([[['10.0.0.1']], [['10.0.0.1']]]);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]); // the same lookup is still out
    await environment.advance(60_000);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]); // a new one begins
    await environment.advance(60_000);
    expect(environment.timers).toBe(0);
  });

  it('reports an error when there never was an answer, and remembers it for five seconds', async () => {
    fail('servfail');
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['unreachable']);
    environment.zone.set('db A', records(30, '10.0.0.1'));
    expect(ask(resolver, 'db')).toEqual([['unreachable']]);
    await environment.advance(5000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
    expect(fixture.log).toEqual([]);
  });

  it('does not bring back addresses of a name that had ceased to exist', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver({ notFoundTtlMs: 1000 });
    await fixture.answerFor(resolver, 'db');
    environment.zone.clear();
    await environment.advance(1000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['not-found']);
    fail('servfail');
    await environment.advance(1000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['unreachable']);
  });

  it('makes nobody wait once it is known, however the name servers fail', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    fail('servfail');
    await environment.advance(1000);
    await fixture.answerFor(resolver, 'db');
    fail('silent');
    await environment.advance(5000);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]);
  });

  it('makes nobody wait for name servers that always drop questions for AAAA, but the first caller', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    environment.zone.set('db AAAA', 'silent');
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db', 10_000)).toEqual(['10.0.0.1']);
    await environment.advance(5000);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1']]);
  });

  it('keeps the addresses of the one family that cannot be asked, and asks again soon', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    environment.zone.set('db AAAA', records(1, 'fd00::1'));
    const resolver = fixture.resolver();
    const changes: string[][] = [];
    resolver.watch('db', (addresses) => changes.push([...addresses]));
    await environment.settle();
    environment.zone.set('db A', 'servfail');
    environment.zone.set('db AAAA', records(3600, 'fd00::1'));
    await environment.advance(1000);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.1', 'fd00::1']]);
    environment.zone.set('db A', records(1, '10.0.0.2'));
    await environment.advance(5000);
    expect(changes).toEqual([['10.0.0.2', 'fd00::1']]);
    resolver.close();
  });
});

describe('watch', () => {
  let changes: string[][];
  const note = (addresses: readonly string[]) => {
    changes.push([...addresses]);
  };

  beforeEach(() => {
    changes = [];
    environment.zone.set('db A', records(5, '10.0.0.1', '10.0.0.2'));
  });

  it('looks the name up again when its TTL has passed, and reports another set of addresses once', async () => {
    const resolver = fixture.resolver();
    resolver.watch('db', note);
    await environment.advance(20_000);
    expect(environment.questions.filter(({ type }) => type === 'A').map(({ atMs }) => atMs)).toEqual([
      1000, 6000, 11_000, 16_000, 21_000,
    ]);
    expect(changes).toEqual([]);
    environment.zone.set('db A', records(5, '10.0.0.2', '10.0.0.1')); // another order is no change
    await environment.advance(5000);
    expect(changes).toEqual([]);
    environment.zone.set('db A', records(5, '10.0.0.2', '10.0.0.3'));
    await environment.advance(20_000);
    expect(changes).toEqual([['10.0.0.2', '10.0.0.3']]);
    environment.zone.set('db A', records(5, '10.0.0.2'));
    await environment.advance(5000);
    environment.zone.set('db A', records(5, '10.0.0.2', '10.0.0.4'));
    await environment.advance(5000);
    expect(changes).toEqual([['10.0.0.2', '10.0.0.3'], ['10.0.0.2'], ['10.0.0.2', '10.0.0.4']]);
    expect(fixture.log).toEqual(Array(3).fill('info: the addresses of a host have changed'));
    resolver.close();
  });

  it('needs no timer for literals, and none when the last watcher has gone', async () => {
    const resolver = fixture.resolver();
    resolver.watch('10.0.0.1', note)();
    resolver.watch('[::1]', note);
    expect(environment.timers).toBe(0);
    const unwatchOne = resolver.watch('db', note);
    const unwatchOther = resolver.watch('db', note);
    await environment.settle();
    expect(environment.timers).toBe(1);
    unwatchOne();
    unwatchOne();
    expect(environment.timers).toBe(1);
    unwatchOther();
    expect(environment.timers).toBe(0);
    environment.questions.length = 0;
    await environment.advance(60_000);
    expect(environment.questions).toEqual([]);
  });

  it('leaves no timer when the watcher goes during a lookup', async () => {
    environment.zone.set('db A', 'silent');
    const resolver = fixture.resolver();
    const unwatch = resolver.watch('db', note);
    await environment.advance(100);
    unwatch();
    await environment.advance(60_000);
    expect(environment.timers).toBe(0);
  });

  it('takes over a name that is already known, from its own expiry on', async () => {
    const resolver = fixture.resolver();
    await fixture.answerFor(resolver, 'db');
    await environment.advance(3000);
    resolver.watch('db', note);
    environment.zone.set('db A', records(5, '10.0.0.3'));
    await environment.advance(1999);
    expect(changes).toEqual([]);
    await environment.advance(1);
    expect(changes).toEqual([['10.0.0.3']]);
    resolver.close();
  });

  it('is no news that a name ceases to exist, but that it comes back elsewhere', async () => {
    const resolver = fixture.resolver();
    resolver.watch('db', note);
    await environment.settle();
    environment.zone.delete('db A');
    await environment.advance(10_000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['not-found']);
    expect(changes).toEqual([]);
    environment.zone.set('db A', records(5, '10.0.0.9'));
    await environment.advance(15_000);
    expect(changes).toEqual([['10.0.0.9']]);
    resolver.close();
  });

  it('tells watchers before waiters, so that old servers are marked before a new one is dialed', async () => {
    environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.53\noptions timeout:1 attempts:1\n');
    const resolver = fixture.resolver();
    const heard: string[] = [];
    resolver.watch('db', () => heard.push('watcher'));
    await environment.settle();
    environment.zone.set('db A', records(5, '10.0.0.3'));
    environment.zone.set('db AAAA', 'silent'); // the lookup takes a second
    await environment.advance(5000);
    resolver.resolve('db', (result) => heard.push(`waiter: ${plain(result).join()}`));
    await environment.advance(1000);
    expect(heard).toEqual(['watcher', 'waiter: 10.0.0.3']);
    resolver.close();
  });

  it('may be begun and ended within a callback: it holds from the next change on', async () => {
    const resolver = fixture.resolver();
    const heard: string[] = [];
    resolver.watch('db', () => {
      heard.push('first');
      unwatchSecond();
      resolver.watch('db', () => heard.push('third'));
    });
    const unwatchSecond = resolver.watch('db', () => heard.push('second'));
    await environment.settle();
    environment.zone.set('db A', records(5, '10.0.0.3'));
    await environment.advance(5000);
    expect(heard).toEqual(['first']);
    environment.zone.set('db A', records(5, '10.0.0.4'));
    await environment.advance(5000);
    expect(heard).toEqual(['first', 'first', 'third']);
    resolver.close();
  });

  it('survives a caller that throws, and tells the others', async () => {
    const resolver = fixture.resolver();
    const told: string[][] = [];
    resolver.resolve('db', () => {
      throw new Error('bug');
    });
    resolver.resolve('db', (result) => told.push(plain(result)));
    resolver.watch('db', () => {
      throw new Error('bug');
    });
    resolver.watch('db', note);
    await environment.settle();
    expect(told).toHaveLength(1);
    environment.zone.set('db A', records(5, '10.0.0.3'));
    await environment.advance(5000);
    expect(changes).toEqual([['10.0.0.3']]);
    expect(fixture.log.filter((line) => line.startsWith('error'))).toHaveLength(2);
    resolver.close();
  });
});

describe('close', () => {
  it('cancels every timer and calls nobody, whatever comes late', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    const changes: unknown[] = [];
    const unwatch = resolver.watch('db', (addresses) => changes.push(addresses));
    await environment.settle();
    environment.zone.set('db A', 'silent');
    environment.zone.set('db AAAA', 'silent');
    await environment.advance(1000);
    const waiting = ask(resolver, 'db');
    const other = ask(resolver, 'other');
    expect(environment.timers).toBe(1); // how long the caller waits
    resolver.close();
    resolver.close();
    expect(environment.timers).toBe(0);
    environment.questions.length = 0;
    environment.fileReads.length = 0;
    await environment.advance(60_000);
    expect([waiting, other, changes, fixture.log]).toEqual([[], [], [], []]);
    expect(environment.questions).toEqual([]); // the lookup under way asks no further server
    unwatch();
    expect(ask(resolver, '10.0.0.1')).toEqual([]);
    resolver.watch('db', () => {});
    await environment.advance(60_000);
    expect(environment.questions).toEqual([]);
    expect(environment.fileReads).toEqual([]);
    expect(environment.timers).toBe(0);
  });

  it('may come from a callback: the others hear nothing', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    resolver.resolve('db', () => resolver.close());
    const other = ask(resolver, 'db');
    await environment.settle();
    expect(other).toEqual([]);
    expect(environment.timers).toBe(0);
  });

  it('may come from a watcher: the others hear nothing, and no timer is left', async () => {
    environment.zone.set('db A', records(1, '10.0.0.1'));
    const resolver = fixture.resolver();
    const heard: string[] = [];
    resolver.watch('db', () => {
      heard.push('first');
      resolver.close();
    });
    resolver.watch('db', () => heard.push('second'));
    await environment.settle();
    environment.zone.set('db A', records(1, '10.0.0.2'));
    await environment.advance(1000);
    expect(environment.timers).toBe(0);
    expect(heard).toEqual(['first']);
  });
});
