/**
 * An Environment with a virtual clock, name servers made of tables, and files made of strings: for tests of the resolver.
 * Nothing in it waits for real time; `advance` runs timers in their order and lets promises settle in between.
 */
import { setImmediate } from 'node:timers/promises';
import { type DnsAnswer, DnsError, type Environment, type Timer } from '../../src/base/environment.ts';
import type { Transport } from '../../src/base/transport.ts';

/** What a name server does with a question. `silent` ends at the question's timeout. */
type DnsBehaviour = readonly DnsAnswer[] | 'not-found' | 'servfail' | 'silent';

interface Question {
  readonly name: string;
  readonly type: 'A' | 'AAAA';
  readonly server: string;
  readonly atMs: number;
}

interface Scheduled {
  readonly atMs: number;
  readonly callback: () => void;
  readonly repeatMs: number | null;
  /** A timer of the code under test, not one of the fake's own. */
  readonly theirs: boolean;
}

export function records(ttlSeconds: number, ...addresses: string[]): DnsAnswer[] {
  return addresses.map((address) => ({ address, ttlSeconds }));
}

export class FakeDnsEnvironment implements Environment {
  readonly files = new Map<string, string>();
  readonly questions: Question[] = [];
  readonly fileReads: string[] = [];
  readonly lookups: string[] = [];
  /** `db.test A` or `db.test A 10.0.0.53` → behaviour; the one with a server wins. Others do not exist. */
  readonly zone = new Map<string, DnsBehaviour>();
  /** What `lookup` does, and how long it takes. */
  readonly platform = new Map<string, readonly string[] | DnsError>();
  lookupMs = 0;
  lookupsInFlight = 0;
  mostLookupsInFlight = 0;
  #nowMs = 1000;
  #scheduled = new Set<Scheduled>();

  /** Timers of the code under test that are still running. */
  get timers(): number {
    return [...this.#scheduled].filter(({ theirs }) => theirs).length;
  }

  /** Moves the clock, running what falls due. */
  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    await setImmediate();
    for (let due = this.#nextDue(until); due !== null; due = this.#nextDue(until)) {
      this.#scheduled.delete(due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      if (due.repeatMs !== null) this.#scheduled.add({ ...due, atMs: this.#nowMs + due.repeatMs });
      due.callback();
      await setImmediate();
    }
    this.#nowMs = until;
  }

  /** Lets promises that wait for nothing settle. */
  settle(): Promise<void> {
    return this.advance(0);
  }

  now(): number {
    return this.#nowMs;
  }

  epochMs(): number {
    return this.#nowMs;
  }

  startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer {
    return this.#schedule(delayMs, callback, true, repeat === 'repeat' ? delayMs : null);
  }

  async queryDns(
    name: string,
    type: 'A' | 'AAAA',
    timeoutMs: number,
    servers?: readonly string[],
  ): Promise<DnsAnswer[]> {
    const server = servers?.join() ?? 'default';
    this.questions.push({ name, type, server, atMs: this.#nowMs });
    const behaviour = this.zone.get(`${name} ${type} ${server}`) ?? this.zone.get(`${name} ${type}`) ?? 'not-found';
    if (behaviour === 'silent') {
      await new Promise<void>((resolve) => this.#schedule(timeoutMs, resolve, false, null));
      throw new DnsError('unreachable', `query${type} ETIMEOUT ${name}`);
    }
    if (behaviour === 'servfail') throw new DnsError('unreachable', `query${type} ESERVFAIL ${name}`);
    if (behaviour === 'not-found') throw new DnsError('not-found', `query${type} ENOTFOUND ${name}`);
    return [...behaviour];
  }

  async lookup(name: string): Promise<string[]> {
    this.lookups.push(name);
    this.lookupsInFlight++;
    this.mostLookupsInFlight = Math.max(this.mostLookupsInFlight, this.lookupsInFlight);
    await new Promise<void>((resolve) => this.#schedule(this.lookupMs, resolve, false, null));
    this.lookupsInFlight--;
    const outcome = this.platform.get(name) ?? new DnsError('not-found', `getaddrinfo ENOTFOUND ${name}`);
    if (outcome instanceof DnsError) throw outcome;
    return [...outcome];
  }

  fileVersion(): Promise<string> {
    return Promise.reject(new Error('not here'));
  }

  runCommand(): Promise<string> {
    return Promise.reject(new Error('not here'));
  }

  async readTextFile(path: string): Promise<string> {
    this.fileReads.push(path);
    const text = this.files.get(path);
    if (text === undefined) throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' });
    return text;
  }

  nextTick(callback: () => void): void {
    process.nextTick(callback);
  }

  randomBytes(size: number): Buffer {
    return Buffer.alloc(size);
  }

  randomNumber(): number {
    return 0;
  }

  deriveKey(): Promise<Buffer> {
    return Promise.reject(new Error('no keys here'));
  }

  dial(): Transport {
    throw new Error('no sockets here');
  }

  #schedule(delayMs: number, callback: () => void, theirs: boolean, repeatMs: number | null): Timer {
    const scheduled = { atMs: this.#nowMs + Math.max(delayMs, 0), callback, theirs, repeatMs };
    this.#scheduled.add(scheduled);
    return { cancel: () => this.#scheduled.delete(scheduled) };
  }

  #nextDue(until: number): Scheduled | null {
    let first: Scheduled | null = null;
    for (const scheduled of this.#scheduled) {
      if (scheduled.atMs <= until && (first === null || scheduled.atMs < first.atMs)) first = scheduled;
    }
    return first;
  }
}
