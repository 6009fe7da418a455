/** An Environment whose clock and timers a test moves by hand. It has no network, no names and no chance. */
import type { Environment, Timer } from '../../../src/base/environment.ts';

interface ManualTimer extends Timer {
  readonly delayMs: number;
  readonly callback: () => void;
  readonly isRepeating: boolean;
}

export class ManualEnvironment implements Environment {
  nowMs = 1_000;
  readonly timers = new Set<ManualTimer>();

  now(): number {
    return this.nowMs;
  }

  epochMs(): number {
    return 1_700_000_000_000;
  }

  startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer {
    const timer: ManualTimer = {
      delayMs,
      callback,
      isRepeating: repeat === 'repeat',
      cancel: () => this.timers.delete(timer),
    };
    this.timers.add(timer);
    return timer;
  }

  /** Calls those that were started with this delay; not those that they start. */
  fire(delayMs: number): void {
    const due = [...this.timers].filter((timer) => timer.delayMs === delayMs);
    for (const timer of due) {
      if (!timer.isRepeating) this.timers.delete(timer);
      timer.callback();
    }
  }

  nextTick(): never {
    throw new Error('not here');
  }

  randomBytes(size: number): Buffer {
    return Buffer.alloc(size, 7);
  }

  randomNumber(): number {
    return 0.5;
  }

  deriveKey(): never {
    throw new Error('not here');
  }

  queryDns(): never {
    throw new Error('not here');
  }

  lookup(): never {
    throw new Error('not here');
  }

  readTextFile(): never {
    throw new Error('not here');
  }

  fileVersion(): never {
    throw new Error('not here');
  }

  runCommand(): never {
    throw new Error('not here');
  }

  dial(): never {
    throw new Error('not here');
  }
}
