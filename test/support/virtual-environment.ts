/**
 * An Environment in which nothing happens by itself: time stands still until a test moves it, chance comes from a seed,
 * and every byte, timer and connection is a step in one queue. Two runs of a test are the same run.
 */
import { pbkdf2Sync } from 'node:crypto';
import {
  type DnsAnswer,
  DnsError,
  type Environment,
  type SocketAddress,
  type Timer,
} from '../../src/base/environment.ts';
import type { Transport, TransportHandler } from '../../src/base/transport.ts';
import { SeededRandom } from './seeded-random.ts';

/** Whoever answers at an address. It makes the dialing side's transport. */
export type Dialer = (address: SocketAddress, handler: TransportHandler) => Transport;

interface VirtualTimer extends Timer {
  dueMs: number;
  readonly everyMs: number | null;
  readonly callback: () => void;
  readonly startedAt: Error;
}

export interface VirtualEnvironmentOptions {
  readonly seed?: number;
  /** Take the steps in an order that chance decides (each connection's own order stays). */
  readonly shuffled?: boolean;
}

/** A test that needs more does not end. */
const MAX_STEPS = 2_000_000;
/** So often nobody asks for the time in one step, unless in a circle. */
const MAX_CLOCK_READS = 200_000;
const START_MS = 1_000_000;

export class VirtualEnvironment implements Environment {
  readonly random: SeededRandom;
  /** Called after each step: where invariants are looked at. */
  onStep: (() => void) | null = null;
  /** Who listens, by `host:port`. */
  readonly dialers = new Map<string, Dialer>();
  /** Addresses by name; what is not here does not exist. */
  readonly names = new Map<string, readonly string[]>();
  /** What can be read, by path. */
  readonly files = new Map<string, { readonly text: string; readonly version: number }>();
  /** Programs that were run. */
  readonly commands: (readonly string[])[] = [];
  /** What they write. */
  onCommand: (words: readonly string[]) => Promise<string> = () => Promise.reject(new Error('no such program'));
  /** Name look-ups that were made. */
  lookups = 0;
  dials: SocketAddress[] = [];
  steps = 0;

  readonly #shuffled: boolean;
  #nowMs = START_MS;
  #clockReads = 0;
  #ticks: (() => void)[] = [];
  #queue: (() => void)[] = [];
  #whenQuiet: (() => void)[] = [];
  readonly #timers = new Set<VirtualTimer>();
  #running = false;

  constructor({ seed = 1, shuffled = false }: VirtualEnvironmentOptions = {}) {
    this.random = new SeededRandom(seed);
    this.#shuffled = shuffled;
  }

  // Environment

  now(): number {
    if (++this.#clockReads > MAX_CLOCK_READS) throw new Error('the code under test goes round in a circle');
    return this.#nowMs;
  }

  epochMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer {
    const timer: VirtualTimer = {
      dueMs: this.#nowMs + Math.max(0, delayMs),
      everyMs: repeat === 'repeat' ? delayMs : null,
      callback,
      startedAt: new Error('started here'),
      cancel: () => {
        this.#timers.delete(timer);
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  nextTick(callback: () => void): void {
    this.#ticks.push(callback);
  }

  randomBytes(size: number): Buffer {
    return this.random.bytes(size);
  }

  randomNumber(): number {
    return this.random.next();
  }

  /** The real key, at once: what takes long in the world takes no time here. */
  async deriveKey(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    return pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  }

  async queryDns(name: string, type: 'A' | 'AAAA'): Promise<DnsAnswer[]> {
    const addresses = (await this.lookup(name)).filter((address) => address.includes(':') === (type === 'AAAA'));
    if (addresses.length === 0) throw new DnsError('not-found', `no address for ${name}`);
    return addresses.map((address) => ({ address, ttlSeconds: 60 }));
  }

  async lookup(name: string): Promise<string[]> {
    this.lookups++;
    const addresses = this.names.get(name.replace(/\.$/, ''));
    if (addresses === undefined) throw new DnsError('not-found', `no address for ${name}`);
    return [...addresses];
  }

  async readTextFile(path: string): Promise<string> {
    if (path.endsWith('resolv.conf')) return 'nameserver 192.0.2.53\n';
    if (path.endsWith('hosts')) return '';
    const file = this.files.get(path);
    if (file === undefined) throw new Error(`no such file: ${path}`);
    return file.text;
  }

  async fileVersion(path: string): Promise<string> {
    const file = this.files.get(path);
    if (file === undefined) throw new Error(`no such file: ${path}`);
    return String(file.version);
  }

  async runCommand(words: readonly string[]): Promise<string> {
    this.commands.push(words);
    return this.onCommand(words);
  }

  dial(address: SocketAddress, handler: TransportHandler): Transport {
    this.dials.push(address);
    const dialer = this.dialers.get(`${address.host}:${address.port}`);
    if (dialer === undefined) throw new Error(`nothing is known of ${address.host}:${address.port}`);
    return dialer(address, handler);
  }

  // For tests

  /** Does `step` later, after everything that was posted before. */
  post(step: () => void): void {
    this.#queue.push(step);
  }

  /** Does `step` when nothing else is left to do at this time. */
  postWhenQuiet(step: () => void): void {
    this.#whenQuiet.push(step);
  }

  /** Takes steps until nothing is left to do at this time. */
  run(): void {
    if (this.#running) throw new Error('run() was called from within a step');
    this.#running = true;
    try {
      for (let step = this.#nextStep(); step !== undefined; step = this.#nextStep()) {
        if (++this.steps > MAX_STEPS) throw new Error('the test does not come to an end');
        this.#take(step);
      }
    } finally {
      this.#running = false;
    }
  }

  /** Moves the clock, firing timers in their order. */
  advance(ms: number): void {
    this.run();
    const untilMs = this.#nowMs + ms;
    for (let timer = this.#nextTimer(untilMs); timer !== null; timer = this.#nextTimer(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      if (timer.everyMs === null) this.#timers.delete(timer);
      else timer.dueMs = this.#nowMs + Math.max(1, timer.everyMs);
      const { callback } = timer;
      this.post(callback);
      this.run();
    }
    this.#nowMs = untilMs;
  }

  /** The process was stopped for `ms`: the clock jumps, and what should have happened happens late. */
  sleepThrough(ms: number): void {
    this.#nowMs += ms;
  }

  /** As `run`, and lets promises say what they have to say, until neither they nor the queue want anything. */
  async settle(): Promise<void> {
    let quiet = 0;
    while (quiet < 3) {
      const { steps } = this;
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.run();
      quiet = steps === this.steps ? quiet + 1 : 0;
    }
  }

  /** Timers that run, by where they were started. */
  get timers(): string[] {
    return [...this.#timers].map(({ startedAt }) => startedAt.stack ?? '');
  }

  #nextStep(): (() => void) | undefined {
    const tick = this.#ticks.shift();
    if (tick !== undefined) return tick;
    if (this.#queue.length > 0) {
      return this.#shuffled ? this.#queue.splice(this.random.below(this.#queue.length), 1)[0] : this.#queue.shift();
    }
    return this.#whenQuiet.shift();
  }

  #take(step: () => void): void {
    this.#clockReads = 0;
    step();
    this.onStep?.();
  }

  #nextTimer(untilMs: number): VirtualTimer | null {
    let next: VirtualTimer | null = null;
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (next === null || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}
