import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EventLoopLag } from '../../../src/metrics/event-loop-lag.ts';
import { ProcessValues } from '../../../src/metrics/process-values.ts';
import { NodeEnvironment } from '../../../src/net/node-environment.ts';

const environment = new NodeEnvironment(() => {
  throw new Error('nothing is dialed');
});
const lag = new EventLoopLag(environment);

/** Linux before 6.2 and other systems do not. */
const countsDescriptors = existsSync('/proc/self/fd') && statSync('/proc/self/fd').size > 0;

describe('the values of the process', () => {
  it('are those that the system gives', () => {
    const { residentBytes, heapUsedBytes, heapTotalBytes, externalBytes, cpuMs } = new ProcessValues(
      environment,
      lag,
      1024,
    ).read();
    const { user, system } = process.cpuUsage();
    expect(Math.abs(residentBytes / process.memoryUsage.rss() - 1)).toBeLessThan(0.3);
    expect(heapUsedBytes).toBeGreaterThan(1e6);
    expect(heapTotalBytes).toBeGreaterThan(heapUsedBytes * 0.5);
    expect(externalBytes).toBeGreaterThan(0);
    expect(cpuMs * 1000).toBeLessThanOrEqual(user + system);
    expect(cpuMs * 1000).toBeGreaterThan((user + system) / 2);
  });

  it('have a start that stays where it is', async () => {
    const values = new ProcessValues(environment, lag, 1024);
    const { startedAtEpochMs } = values.read();
    expect(Math.abs(startedAtEpochMs + process.uptime() * 1000 - Date.now())).toBeLessThan(1000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(values.read().startedAtEpochMs).toBe(startedAtEpochMs);
  });

  it('have the lag of the event loop with them', () => {
    expect(new ProcessValues(environment, lag, 1024).read().eventLoopLag).toEqual(lag.snapshot());
  });

  it('count descriptors where the system does', () => {
    const values = new ProcessValues(environment, lag, 1024);
    const before = values.read().descriptors;
    const opened = Array.from({ length: 10 }, () => openSync(import.meta.filename, 'r'));
    const after = values.read().descriptors;
    for (const descriptor of opened) closeSync(descriptor);
    if (countsDescriptors) expect(after).toBeGreaterThanOrEqual(before! + 10);
    else expect(after).toBeNull();
  });

  it('know a limit of descriptors only if there is one', () => {
    const limits = [1024, null, Number.POSITIVE_INFINITY];
    const shown = limits.map((limit) => new ProcessValues(environment, lag, limit).read().maxDescriptors);
    expect(shown).toEqual([1024, null, null]);
  });
});
