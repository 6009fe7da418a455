/**
 * What the operating system and Node say about this process, without anything that takes time in proportion to the
 * number of connections. Knows no names of metrics.
 */
import { statSync } from 'node:fs';
import type { Environment } from '../base/environment.ts';
import type { ProcessSnapshot } from '../pool/snapshot.ts';
import type { EventLoopLag } from './event-loop-lag.ts';

export class ProcessValues {
  readonly #eventLoopLag: EventLoopLag;
  readonly #maxDescriptors: number | null;
  /** Fixed once: taken anew it would wander with the wall clock, and a changed start time reads as a restart. */
  readonly #startedAtEpochMs: number;

  /** `maxDescriptors`: null or infinite where there is no limit. */
  constructor(environment: Environment, eventLoopLag: EventLoopLag, maxDescriptors: number | null) {
    this.#eventLoopLag = eventLoopLag;
    this.#maxDescriptors = maxDescriptors === Number.POSITIVE_INFINITY ? null : maxDescriptors;
    this.#startedAtEpochMs = environment.epochMs() - process.uptime() * 1000;
  }

  read(): ProcessSnapshot {
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    return {
      startedAtEpochMs: this.#startedAtEpochMs,
      cpuMs: (user + system) / 1000,
      residentBytes: rss,
      heapTotalBytes: heapTotal,
      heapUsedBytes: heapUsed,
      externalBytes: external,
      descriptors: countDescriptors(),
      maxDescriptors: this.#maxDescriptors,
      eventLoopLag: this.#eventLoopLag.snapshot(),
    };
  }
}

/** Linux 6.2 and later give their number as the folder's size; before it was 0, and to list them takes milliseconds. */
function countDescriptors(): number | null {
  try {
    return statSync('/proc/self/fd').size || null;
  } catch {
    return null;
  }
}
