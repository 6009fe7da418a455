/** The budget of one process: never over a limit, in the order of asking, nobody forgotten, idle ones given up for others. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProcessBudget } from '../../../src/pool/process-budget.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';
import { FakeClaimant } from './fake-claimant.ts';

const scope = (key: string, limit: number) => ({ key, limit });

function setUp() {
  const environment = new VirtualEnvironment();
  const log: string[] = [];
  return { environment, log, budget: new ProcessBudget(environment) };
}

describe('limits', () => {
  test('a scope of 0 is no limit, and is counted', () => {
    const { budget, log } = setUp();
    const pool = new FakeClaimant('a', [scope('x', 0)], log);
    for (let i = 0; i < 1000; i++) pool.ask(budget);
    expect([pool.used.length, budget.inUse('x')]).toEqual([1000, 1000]);
  });

  test('each of several scopes holds', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('database', 2), scope('server', 3)], log);
    const b = new FakeClaimant('b', [scope('other', 5), scope('server', 3)], log);
    for (let i = 0; i < 3; i++) a.ask(budget);
    for (let i = 0; i < 3; i++) b.ask(budget);
    expect([a.used.length, a.waiting, b.used.length, b.waiting]).toEqual([2, 1, 1, 2]);
    expect([budget.inUse('database'), budget.inUse('server'), budget.inUse('other')]).toEqual([2, 3, 1]);
  });

  test('a lease that is given back twice is a defect', () => {
    const { budget, log } = setUp();
    const pool = new FakeClaimant('a', [scope('x', 1)], log);
    const lease = budget.request(pool);
    lease!.release();
    expect(() => lease!.release()).toThrow('twice');
    expect(budget.inUse('x')).toBe(0);
  });
});

describe('order', () => {
  test('first come, first served', () => {
    const { budget, log } = setUp();
    const pools = ['a', 'b', 'c', 'd'].map((name) => new FakeClaimant(name, [scope('x', 1)], log));
    for (const pool of pools) pool.ask(budget);
    for (const pool of pools) pool.used[0]!.release();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
  });

  test('who gave up is passed by, its other claims stay', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 1)], log);
    const b = new FakeClaimant('b', [scope('x', 1)], log);
    const c = new FakeClaimant('c', [scope('x', 1)], log);
    a.ask(budget);
    b.ask(budget);
    c.ask(budget);
    b.ask(budget);
    b.giveUp(budget);
    a.used[0]!.release();
    b.used[0]!.release();
    expect(log).toEqual(['a', 'b', 'c']);
    expect(b.waiting).toBe(0);
  });

  test('a claim that is stopped by a limit of its own lets others pass, queued or new', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('user', 1), scope('server', 3)], log);
    const b = new FakeClaimant('b', [scope('else', 5), scope('server', 3)], log);
    a.ask(budget);
    a.ask(budget);
    b.ask(budget);
    b.ask(budget);
    b.ask(budget);
    expect([a.used.length, a.waiting, b.used.length, b.waiting]).toEqual([1, 1, 2, 1]);
    b.used.shift()!.release();
    // The server has room; A is still stopped by its own limit.
    expect([b.used.length, b.waiting]).toEqual([2, 0]);
  });
});

describe('thousands of claims', () => {
  test('that nobody needs any more, each given back as it is granted, do not nest', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 1)], log);
    const b = new FakeClaimant('b', [scope('x', 1)], log);
    const c = new FakeClaimant('c', [scope('x', 1)], log);
    a.ask(budget);
    b.releasesAtOnce = true;
    for (let i = 0; i < 20_000; i++) b.ask(budget);
    c.ask(budget);
    a.used.shift()!.release();
    expect([b.waiting, b.used.length, c.used.length, budget.inUse('x')]).toEqual([0, 0, 1, 1]);
  });
});

describe('idle connections of others', () => {
  test('the longest idle one goes first', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 2)], log);
    const b = new FakeClaimant('b', [scope('x', 2)], log);
    const c = new FakeClaimant('c', [scope('x', 2)], log);
    a.ask(budget);
    b.ask(budget);
    a.free(budget, 20);
    b.free(budget, 10);
    c.ask(budget);
    expect([a.idle.length, b.idle.length, b.closing.length]).toEqual([1, 0, 1]);
    expect(c.used.length).toBe(0);
    b.confirm();
    expect(c.used.length).toBe(1);
  });

  test('as many as there are claims, not more, and not again while they are on their way', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 4)], log);
    const b = new FakeClaimant('b', [scope('x', 4)], log);
    for (let i = 0; i < 4; i++) a.ask(budget);
    for (let i = 0; i < 4; i++) a.free(budget, i);
    b.ask(budget);
    b.ask(budget);
    budget.idleAppeared();
    expect([a.idle.length, a.closing.length]).toEqual([2, 2]);
    a.confirm();
    a.confirm();
    expect([b.used.length, a.idle.length]).toEqual([2, 2]);
  });

  test('one’s own are not closed for oneself', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 1)], log);
    a.ask(budget);
    a.free(budget, 0);
    a.ask(budget);
    expect([a.idle.length, a.closing.length, a.waiting]).toEqual([1, 0, 1]);
  });

  test('that appear while somebody waits are taken at once', () => {
    const { budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 1)], log);
    const b = new FakeClaimant('b', [scope('x', 1)], log);
    a.ask(budget);
    b.ask(budget);
    expect(a.closing.length).toBe(0);
    a.free(budget, 0);
    expect(a.closing.length).toBe(1);
  });
});

describe('wantsBack', () => {
  test('only for a claim of somebody else that has waited long, and once for each', () => {
    const { environment, budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 2)], log);
    const b = new FakeClaimant('b', [scope('x', 2)], log);
    a.ask(budget);
    a.ask(budget);
    b.ask(budget);
    a.ask(budget);
    expect(budget.wantsBack(a)).toBe(false);
    environment.advance(600);
    expect(budget.wantsBack(a)).toBe(true);
    expect(budget.wantsBack(a)).toBe(false);
  });

  test('not for a limit that giving back would not help', () => {
    const { environment, budget, log } = setUp();
    const a = new FakeClaimant('a', [scope('x', 2)], log);
    const b = new FakeClaimant('b', [scope('y', 1)], log);
    a.ask(budget);
    b.ask(budget);
    b.ask(budget);
    environment.advance(600);
    expect(budget.wantsBack(a)).toBe(false);
  });
});

type Action = readonly [what: 'ask' | 'free' | 'reuse' | 'drop' | 'confirm' | 'giveUp' | 'wait', who: number];

const actions = fc.array(
  fc.tuple(
    fc.constantFrom<Action[0]>(
      'ask',
      'ask',
      'ask',
      'free',
      'free',
      'reuse',
      'drop',
      'confirm',
      'confirm',
      'giveUp',
      'wait',
    ),
    fc.nat(5),
  ),
  { maxLength: 120 },
);

/** Six pools over three limited scopes and an unlimited one. */
function sixPools(limits: readonly [number, number, number], log: string[]): FakeClaimant[] {
  return Array.from({ length: 6 }, (_, i) => {
    const database = scope(`database ${i % 3}`, limits[0]);
    const user = scope(`user ${i % 2}`, limits[1]);
    return new FakeClaimant(`${i}`, [database, user, scope('server', limits[2])], log);
  });
}

function perform(
  budget: ProcessBudget,
  pools: readonly FakeClaimant[],
  environment: VirtualEnvironment,
  [what, who]: Action,
): void {
  const pool = pools[who]!;
  switch (what) {
    case 'ask':
      return pool.ask(budget);
    case 'free':
      return pool.free(budget, environment.now());
    case 'reuse':
      return pool.reuse();
    case 'drop':
      return pool.used.shift()?.release();
    case 'confirm':
      return pool.confirm();
    case 'giveUp':
      return pool.giveUp(budget);
    case 'wait':
      environment.advance(300);
  }
}

function checkAll(budget: ProcessBudget, pools: readonly FakeClaimant[]): void {
  const held = new Map<string, number>();
  for (const pool of pools) for (const { key } of pool.scopes) held.set(key, (held.get(key) ?? 0) + pool.held);
  const isFull = ({ key, limit }: { key: string; limit: number }) => limit > 0 && held.get(key)! >= limit;
  for (const pool of pools) {
    for (const { key, limit } of pool.scopes) {
      expect(budget.inUse(key)).toBe(held.get(key));
      if (limit > 0) expect(held.get(key)).toBeLessThanOrEqual(limit);
    }
    const full = pool.scopes.filter(isFull);
    // No lost wake-up: who waits is stopped by something.
    if (pool.waiting > 0) expect(full.length, `pool ${pool.name} waits for nothing`).toBeGreaterThan(0);
  }
}

/** Somebody waits for a scope in which a connection of somebody else is idle, and none is on its way back. */
function expectNobodyHoardsIdle(pools: readonly FakeClaimant[]): void {
  const held = (key: string) => pools.filter((pool) => pool.scopes.some((scope) => scope.key === key));
  for (const pool of pools) {
    const full = pool.scopes.filter(
      ({ key, limit }) => limit > 0 && held(key).reduce((sum, { held: count }) => sum + count, 0) >= limit,
    );
    if (pool.waiting === 0 || full.length !== 1) continue;
    const others = held(full[0]!.key).filter((other) => other !== pool);
    const idle = others.some((other) => other.idle.length > 0);
    const closing = held(full[0]!.key).some((other) => other.closing.length > 0);
    expect(idle && !closing, `pool ${pool.name} waits while another is idle`).toBe(false);
  }
}

describe('by chance', () => {
  const limits = fc.tuple(fc.nat(4), fc.nat(4), fc.nat(6));

  test('counts are exact, limits hold, nobody waits for nothing', () => {
    fc.assert(
      fc.property(limits, actions, (bounds, list) => {
        const { environment, budget, log } = setUp();
        const pools = sixPools(bounds, log);
        for (const action of list) {
          perform(budget, pools, environment, action);
          checkAll(budget, pools);
          expectNobodyHoardsIdle(pools);
        }
        // Everything goes back; then nobody waits, and nothing is counted.
        for (let i = 0; i < 1000 && pools.some(({ held, waiting }) => held + waiting > 0); i++) {
          for (const pool of pools) {
            pool.used.shift()?.release();
            pool.idle.shift()?.lease.release();
            pool.confirm();
          }
        }
        for (const pool of pools) expect([pool.held, pool.waiting]).toEqual([0, 0]);
        for (const { key } of pools.flatMap(({ scopes }) => scopes)) expect(budget.inUse(key)).toBe(0);
      }),
      { numRuns: 500, seed: 11 },
    );
  });

  test('claims on one scope are granted in the order of asking', () => {
    fc.assert(
      fc.property(fc.nat(3), fc.array(fc.nat(4), { minLength: 1, maxLength: 40 }), (limit, asking) => {
        const { budget, log } = setUp();
        const pools = Array.from({ length: 5 }, (_, i) => new FakeClaimant(`${i}`, [scope('x', limit + 1)], log));
        for (const who of asking) pools[who]!.ask(budget);
        while (pools.some(({ waiting }) => waiting > 0))
          pools
            .find(({ used }) => used.length > 0)!
            .used.shift()!
            .release();
        expect(log).toEqual(asking.map(String));
      }),
      { numRuns: 300, seed: 12 },
    );
  });
});
