import { describe, expect, it } from 'vitest';
import { EventLoopLag } from '../../../src/metrics/event-loop-lag.ts';
import { ManualEnvironment } from './manual-environment.ts';

function tick(environment: ManualEnvironment, afterMs: number): void {
  environment.nowMs += afterMs;
  environment.fire(100);
}

describe('the lag of the event loop', () => {
  it('is by how much a timer came late', () => {
    const environment = new ManualEnvironment();
    const lag = new EventLoopLag(environment);
    lag.start();
    for (const afterMs of [100, 100.5, 101, 103, 130, 99, 100_100]) tick(environment, afterMs);
    const { boundsMs, counts, sumMs } = lag.snapshot();
    const filled = counts.map((count, index) => [boundsMs[index] ?? 'above', count] as const).filter(([, n]) => n > 0);
    expect(filled).toEqual([
      [1, 4], // 0, 0.5, exactly 1, and the one that came early
      [5, 1],
      [50, 1],
      ['above', 1],
    ]);
    expect(sumMs).toBeCloseTo(0.5 + 1 + 3 + 30 + 100_000);
  });

  it('counts one bucket more than there are bounds', () => {
    const { boundsMs, counts } = new EventLoopLag(new ManualEnvironment()).snapshot();
    expect(counts).toHaveLength(boundsMs.length + 1);
    expect(boundsMs).toEqual([...boundsMs].sort((a, b) => a - b));
  });

  it('hands out what does not change any more', () => {
    const environment = new ManualEnvironment();
    const lag = new EventLoopLag(environment);
    lag.start();
    const before = lag.snapshot();
    tick(environment, 100);
    expect(before.counts.every((count) => count === 0)).toBe(true);
  });

  it('takes no timer before its start and leaves none behind', () => {
    const environment = new ManualEnvironment();
    const lag = new EventLoopLag(environment);
    expect(environment.timers.size).toBe(0);
    lag.start();
    expect(environment.timers.size).toBe(1);
    lag.stop();
    lag.stop();
    expect(environment.timers.size).toBe(0);
  });
});
