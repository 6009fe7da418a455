import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DnsError } from '../../../src/base/environment.ts';
import type { Logger } from '../../../src/base/logger.ts';
import type { TransportHandler } from '../../../src/base/transport.ts';
import { type Dial, NodeEnvironment } from '../../../src/net/node-environment.ts';
import { Resolver } from '../../../src/net/resolver.ts';
import { DnsServer } from '../../support/dns-server.ts';

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}

const environment = new NodeEnvironment(() => {
  throw new Error('no sockets here');
});

describe('timers', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('fires once, or repeatedly, until cancelled', () => {
    const once = vi.fn<() => void>();
    const often = vi.fn<() => void>();
    const never = vi.fn<() => void>();
    environment.startTimer(10, once);
    const repeating = environment.startTimer(10, often, 'repeat');
    environment.startTimer(10, never).cancel();
    vi.advanceTimersByTime(35);
    repeating.cancel();
    vi.advanceTimersByTime(35);
    expect([once, often, never].map(({ mock }) => mock.calls.length)).toEqual([1, 3, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('waits longer than Node can', () => {
    const month = 30 * 24 * 3600 * 1000; // above 2^31 ms
    const callback = vi.fn<() => void>();
    environment.startTimer(month, callback);
    const forever = environment.startTimer(Number.POSITIVE_INFINITY, callback);
    vi.advanceTimersByTime(month - 1);
    expect(callback).toHaveBeenCalledTimes(0);
    vi.advanceTimersByTime(1);
    expect(callback).toHaveBeenCalledTimes(1);
    forever.cancel();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('repeats what is longer than Node can, until cancelled from its own callback', () => {
    const month = 30 * 24 * 3600 * 1000;
    let calls = 0;
    const timer = environment.startTimer(
      month,
      () => {
        calls++;
        if (calls === 3) timer.cancel();
      },
      'repeat',
    );
    vi.advanceTimersByTime(month * 5);
    expect(calls).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('queryDns', () => {
  let server: DnsServer;

  beforeEach(async () => {
    server = await DnsServer.start();
  });
  afterEach(() => server.stop());

  const ask = (name: string, type: 'A' | 'AAAA', timeoutMs = 5000) =>
    environment.queryDns(name, type, timeoutMs, [server.address]);
  const failure = (name: string, timeoutMs?: number): Promise<DnsError> =>
    ask(name, 'A', timeoutMs).then(
      () => expect.fail('an answer'),
      (error: DnsError) => error,
    );

  it('brings addresses with their TTL', async () => {
    server.table.set('db.test', [
      { type: 'A', value: '10.0.0.2', ttlSeconds: 60 },
      { type: 'A', value: '10.0.0.1', ttlSeconds: 0 },
      { type: 'AAAA', value: 'fd00::1:2', ttlSeconds: 7 },
    ]);
    expect(await ask('db.test', 'A')).toEqual([
      { address: '10.0.0.2', ttlSeconds: 60 },
      { address: '10.0.0.1', ttlSeconds: 0 },
    ]);
    expect(await ask('db.test', 'AAAA')).toEqual([{ address: 'fd00::1:2', ttlSeconds: 7 }]);
  });

  it('asks each time: nothing below us caches', async () => {
    server.table.set('db.test', [{ type: 'A', value: '10.0.0.1', ttlSeconds: 3600 }]);
    await ask('db.test', 'A');
    server.table.set('db.test', [{ type: 'A', value: '10.0.0.2', ttlSeconds: 3600 }]);
    expect(await ask('db.test', 'A')).toEqual([{ address: '10.0.0.2', ttlSeconds: 3600 }]);
  });

  it('adds no search domain and does not keep to the hosts file', async () => {
    server.table.set('localhost', [{ type: 'A', value: '10.0.0.9' }]);
    expect(await ask('localhost', 'A')).toEqual([{ address: '10.0.0.9', ttlSeconds: 30 }]);
    await failure('db');
    expect(server.questions).toEqual(['localhost A', 'db A']);
  });

  it('carries 64 addresses', async () => {
    const addresses = Array.from({ length: 64 }, (_, i) => `10.0.1.${i}`);
    server.table.set(
      'db.test',
      addresses.map((value) => ({ type: 'A', value })),
    );
    expect((await ask('db.test', 'A')).map(({ address }) => address)).toEqual(addresses);
  });

  it('follows a CNAME within the answer', async () => {
    server.table.set('db.test', [
      { type: 'CNAME', value: 'real.test', ttlSeconds: 5 },
      { type: 'A', value: '10.0.0.1', owner: 'real.test', ttlSeconds: 60 },
    ]);
    expect(await ask('db.test', 'A')).toEqual([{ address: '10.0.0.1', ttlSeconds: 5 }]);
  });

  it('tells a name without addresses from servers that cannot say', async () => {
    server.table.set('empty.test', []);
    server.table.set('broken.test', 'servfail');
    server.table.set('refused.test', 'refused');
    server.table.set('loop.test', [{ type: 'CNAME', value: 'loop.test' }]);
    const kinds = ['nowhere.test', 'empty.test', 'loop.test', `${'x'.repeat(64)}.test`, 'broken.test', 'refused.test'];
    const failures = await Promise.all(kinds.map((name) => failure(name)));
    expect(failures.map(({ kind }) => kind)).toEqual([
      'not-found',
      'not-found',
      'not-found',
      'not-found',
      'unreachable',
      'unreachable',
    ]);
    expect(failures[0]?.message).toContain('nowhere.test');
  });

  it('ends at its time when the server hangs, without harm to a question beside it', async () => {
    server.table.set('hung.test', 'silent');
    server.table.set('db.test', [{ type: 'A', value: '10.0.0.1' }]);
    const started = performance.now();
    const hung = failure('hung.test', 50);
    expect(await ask('db.test', 'A')).toHaveLength(1);
    expect(await hung).toMatchObject({ kind: 'unreachable', message: expect.stringContaining('50 ms') });
    expect(performance.now() - started).toBeGreaterThan(48);
    expect(performance.now() - started).toBeLessThan(240); // c-ares by itself takes 290
  });

  it('leaves no timer behind', async () => {
    server.table.set('db.test', [{ type: 'A', value: '10.0.0.1' }]);
    const before = timers();
    await Promise.all([ask('db.test', 'A'), ask('db.test', 'A'), ask('db.test', 'A')]);
    expect(timers()).toBe(before);
  });

  it.each(['127.0.0.1:0', '127.0.0.1:70000', '[::1]:0', 'nonsense'])('refuses the server %s', async (address) => {
    await expect(environment.queryDns('db.test', 'A', 100, [address])).rejects.toMatchObject({ kind: 'unreachable' });
  });

  it('serves the resolver, through a resolv.conf with a port', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'resolver-'));
    const resolvConfPath = join(folder, 'resolv.conf');
    writeFileSync(resolvConfPath, `nameserver ${server.address}\nsearch wrong.test right.test\n`);
    server.table.set('db.right.test', [
      { type: 'AAAA', value: 'fd00::1' },
      { type: 'A', value: '10.0.0.1' },
    ]);
    const logger: Logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
    const options = { mode: 'builtin', maxTtlMs: 15_000, notFoundTtlMs: 15_000, resolvConfPath } as const;
    const resolver = new Resolver(environment, logger, options);
    expect(await new Promise((resolve) => resolver.resolve('db', resolve))).toEqual({
      addresses: ['10.0.0.1', 'fd00::1'],
    });
    expect(server.questions).toEqual(expect.arrayContaining(['db.wrong.test A', 'db.right.test AAAA']));
    resolver.close();
    rmSync(folder, { recursive: true });
  });
});

describe('the rest', () => {
  it('looks names up with the platform', async () => {
    expect(await environment.lookup('127.0.0.1')).toEqual(['127.0.0.1']);
    // A name that cannot be: the platform says so without asking a server.
    await expect(environment.lookup(`${'x'.repeat(64)}.invalid`)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('derives keys by PBKDF2 with HMAC-SHA-256, 32 bytes', async () => {
    const key = await environment.deriveKey('passwd', Buffer.from('salt'), 1); // RFC 7914 §11, the first half
    expect(key.toString('hex')).toBe('55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc');
  });

  it('has two clocks, chance and ticks', async () => {
    const before = environment.now();
    expect(environment.now()).toBeGreaterThanOrEqual(before);
    expect(Math.abs(environment.epochMs() - Date.now())).toBeLessThan(1000);
    expect(environment.randomBytes(32)).toHaveLength(32);
    expect(environment.randomBytes(32)).not.toEqual(environment.randomBytes(32));
    expect(environment.randomNumber()).toBeLessThan(1);
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      environment.nextTick(() => order.push('tick'));
      setImmediate(resolve);
      order.push('now');
    });
    expect(order).toEqual(['now', 'tick']);
  });

  it('reads text, and says by code when there is none', async () => {
    expect(await environment.readTextFile(import.meta.filename)).toContain('says by code');
    await expect(environment.readTextFile('/nowhere')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('dials by the function that it was given', () => {
    const handler: TransportHandler = {
      onTransportConnect: vi.fn(),
      onTransportData: vi.fn(),
      onTransportDrain: vi.fn(),
      onTransportEnd: vi.fn(),
      onTransportClose: vi.fn(),
    };
    const address = { host: '127.0.0.1', port: 1 };
    const dial = vi.fn<Dial>(() => {
      throw new Error('dialed');
    });
    expect(() => new NodeEnvironment(dial).dial(address, handler)).toThrow('dialed');
    expect(dial).toHaveBeenCalledWith(address, handler);
  });
});
