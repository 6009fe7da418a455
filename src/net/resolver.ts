/**
 * From a configured host name to literal addresses: cached, looked up once for all who ask, kept fresh while somebody
 * watches, and heard of when they change. It knows neither where names come from (`NameSource`) nor what is dialed.
 *
 * An outage of DNS must not become one of PostgreSQL: while nobody answers, the last good addresses are served
 * (RFC 8767), and only a name server that says "no such name" makes them invalid.
 */
import { isIP } from 'node:net';
import type { DnsError, Environment, Timer } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import { isUnixFolder } from '../base/unix-path.ts';
import { DnsLookup } from './dns-lookup.ts';
import { LibcLookup } from './libc-lookup.ts';
import { asDnsError, type NameAnswer, type NameSource } from './name-source.ts';

export interface ResolverOptions {
  readonly mode: 'builtin' | 'libc';
  /** The longest time for which an answer holds; a TTL below a second counts as one. */
  readonly maxTtlMs: number;
  readonly notFoundTtlMs: number;
  /** null: the system's. */
  readonly resolvConfPath: string | null;
  readonly hostsPath?: string;
  /** How many names are remembered; those that are watched or being looked up do not count as spare. */
  readonly maxNames?: number;
}

/** `error` is shared between callers; its text names the host. */
export type ResolveResult = { readonly addresses: readonly string[] } | { readonly error: DnsError };

const MIN_TTL_MS = 1000;
/** How soon name servers that did not answer, or only for one address family, are asked again. */
const OUTAGE_RETRY_MS = 5000;
/** How long a caller waits for a fresh answer when an old one is at hand (RFC 8767 §5: the client response timer). */
const STALE_AFTER_MS = 1800;
/** For how long a name that nobody uses is remembered: its last good addresses would serve in an outage. */
const IDLE_MS = 600_000;
const DEFAULT_MAX_NAMES = 1000;

interface Watcher {
  readonly onChange: (addresses: readonly string[]) => void;
}

interface Entry {
  readonly name: string;
  /** What callers are told; null until the first lookup has ended. */
  result: ResolveResult | null;
  /** The last good answer; null after "no such name". */
  answer: NameAnswer | null;
  /** The last addresses ever seen: what a change is measured against, also across a "no such name". */
  knownAddresses: readonly string[] | null;
  expiresAt: number;
  usedAt: number;
  lookingUp: boolean;
  /** The last lookup failed, wholly or in part, or is slow: who asks now gets the old answer without a wait. */
  troubled: boolean;
  /** The outage under way has been logged. */
  outageLogged: boolean;
  waiters: ((result: ResolveResult) => void)[];
  readonly watchers: Set<Watcher>;
  refreshTimer: Timer | null;
  staleTimer: Timer | null;
}

export class Resolver {
  readonly #environment: Environment;
  readonly #logger: Logger;
  readonly #source: NameSource;
  readonly #maxNames: number;
  #maxTtlMs: number;
  #notFoundTtlMs: number;
  /** By name in lower case; least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(environment: Environment, logger: Logger, options: ResolverOptions) {
    this.#environment = environment;
    this.#logger = logger;
    this.#source =
      options.mode === 'libc'
        ? new LibcLookup(environment)
        : new DnsLookup(
            environment,
            logger,
            options.hostsPath ?? '/etc/hosts',
            options.resolvConfPath ?? '/etc/resolv.conf',
          );
    this.#maxNames = options.maxNames ?? DEFAULT_MAX_NAMES;
    this.#maxTtlMs = options.maxTtlMs;
    this.#notFoundTtlMs = options.notFoundTtlMs;
  }

  /** What a reload can change; it holds from each name's next lookup on. */
  configure(options: Pick<ResolverOptions, 'maxTtlMs' | 'notFoundTtlMs'>): void {
    this.#maxTtlMs = options.maxTtlMs;
    this.#notFoundTtlMs = options.notFoundTtlMs;
  }

  /** Names that are remembered. */
  get nameCount(): number {
    return this.#entries.size;
  }

  /** What is remembered of each name: addresses (none if there is no such name), and for how many ms they hold. */
  get hosts(): readonly { readonly name: string; readonly ttlMs: number; readonly addresses: readonly string[] }[] {
    const nowMs = this.#environment.now();
    return [...this.#entries.values()].map(({ name, result, expiresAt }) => ({
      name,
      ttlMs: Math.max(0, expiresAt - nowMs),
      addresses: result !== null && 'addresses' in result ? result.addresses : [],
    }));
  }

  /** Names that are being looked up. */
  get lookupCount(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.lookingUp) count++;
    return count;
  }

  /**
   * Calls `callback` once: before it returns when the answer is at hand (a literal address, `[::1]` included, or a name
   * in the cache), later otherwise, and never after `close()`.
   */
  resolve(host: string, callback: (result: ResolveResult) => void): void {
    if (this.#closed) return;
    const literal = literalAddress(host);
    if (literal !== null) {
      callback({ addresses: [literal] });
      return;
    }
    const entry = this.#use(host);
    const { result } = entry;
    const fresh = this.#environment.now() < entry.expiresAt;
    const stale = !fresh && result !== null && 'addresses' in result;
    if (result !== null && (fresh || (stale && entry.troubled))) {
      if (!fresh) this.#lookUp(entry);
      callback(result);
      return;
    }
    entry.waiters.push(callback);
    if (stale) {
      entry.staleTimer ??= this.#environment.startTimer(STALE_AFTER_MS, () => this.#serveStale(entry, result));
    }
    this.#lookUp(entry);
  }

  /**
   * Keeps `host` fresh until the returned function is called, and reports each set of addresses that differs from the
   * one before it; the first one ever known and a mere change of order are no news, nor is a name that ceases to exist
   * (its servers may well live on). Watch before the first `resolve()`, or a change between the two goes unheard.
   */
  watch(host: string, onChange: (addresses: readonly string[]) => void): () => void {
    if (this.#closed || literalAddress(host) !== null) return () => {};
    const entry = this.#use(host);
    const watcher: Watcher = { onChange };
    entry.watchers.add(watcher);
    if (this.#environment.now() < entry.expiresAt) this.#scheduleRefresh(entry);
    else this.#lookUp(entry);
    return () => {
      entry.watchers.delete(watcher);
      if (entry.watchers.size === 0) this.#cancelRefresh(entry);
    };
  }

  /** Forgets everything. No callback is called any more, nor a timer left; answers on their way are ignored. */
  close(): void {
    this.#closed = true;
    this.#source.close();
    for (const entry of this.#entries.values()) {
      entry.watchers.clear();
      entry.staleTimer?.cancel();
      this.#cancelRefresh(entry);
    }
    this.#entries.clear();
  }

  #use(host: string): Entry {
    const name = host.toLowerCase();
    const now = this.#environment.now();
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      this.#makeRoom(now);
      entry = newEntry(name);
    } else this.#entries.delete(name); // to the end: the map's order is that of use
    entry.usedAt = now;
    this.#entries.set(name, entry);
    return entry;
  }

  /** Drops names that nobody has used for long, and as many more as it takes to stay within the bound. */
  #makeRoom(now: number): void {
    for (const entry of this.#entries.values()) {
      if (this.#entries.size < this.#maxNames && now - entry.usedAt < IDLE_MS) return;
      if (entry.watchers.size === 0 && !entry.lookingUp) this.#entries.delete(entry.name);
    }
  }

  #lookUp(entry: Entry): void {
    if (entry.lookingUp) return;
    entry.lookingUp = true;
    this.#cancelRefresh(entry);
    void this.#ask(entry);
  }

  /** Never rejects: the source's refusal is an outcome, and callbacks are guarded one by one. */
  async #ask(entry: Entry): Promise<void> {
    let outcome: NameAnswer | DnsError;
    try {
      outcome = await this.#source.find(entry.name, entry.answer);
    } catch (error) {
      outcome = asDnsError(error);
    }
    if (this.#closed) return;
    entry.lookingUp = false;
    entry.staleTimer?.cancel();
    entry.staleTimer = null;
    if ('addresses' in outcome) this.#accept(entry, outcome);
    else this.#fail(entry, outcome);
  }

  #accept(entry: Entry, answer: NameAnswer): void {
    const before = entry.knownAddresses;
    entry.answer = answer;
    entry.knownAddresses = answer.addresses;
    entry.result = { addresses: answer.addresses };
    entry.troubled = answer.partial;
    if (entry.outageLogged) this.#logger.info({ host: entry.name }, 'name servers answer again');
    entry.outageLogged = false;
    this.#setExpiry(entry, Math.min(answer.ttlMs, this.#maxTtlMs, answer.partial ? OUTAGE_RETRY_MS : Infinity));

    // Who watches hears first: old servers are marked before a waiter dials a new one.
    if (before !== null && !sameSet(before, answer.addresses)) this.#announce(entry, before, answer.addresses);
    this.#answerWaiters(entry, entry.result);
  }

  #fail(entry: Entry, error: DnsError): void {
    if (error.kind === 'not-found') {
      entry.answer = null;
      entry.result = { error };
      entry.troubled = false;
      entry.outageLogged = false;
      this.#setExpiry(entry, this.#notFoundTtlMs);
    } else {
      if (entry.answer === null) entry.result = { error };
      else if (!entry.outageLogged) {
        entry.outageLogged = true;
        this.#logger.warn(
          { host: entry.name, error: error.message, addresses: entry.answer.addresses },
          'name servers do not answer: using the last known addresses',
        );
      }
      entry.troubled = true;
      this.#setExpiry(entry, Math.min(OUTAGE_RETRY_MS, this.#maxTtlMs));
    }
    this.#answerWaiters(entry, entry.result ?? { error });
  }

  #setExpiry(entry: Entry, ttlMs: number): void {
    entry.expiresAt = this.#environment.now() + Math.max(ttlMs, MIN_TTL_MS);
    this.#scheduleRefresh(entry);
  }

  #scheduleRefresh(entry: Entry): void {
    this.#cancelRefresh(entry);
    if (entry.watchers.size === 0) return;
    const delayMs = entry.expiresAt - this.#environment.now();
    entry.refreshTimer = this.#environment.startTimer(delayMs, () => this.#lookUp(entry));
  }

  #cancelRefresh(entry: Entry): void {
    entry.refreshTimer?.cancel();
    entry.refreshTimer = null;
  }

  #serveStale(entry: Entry, result: ResolveResult): void {
    entry.staleTimer = null;
    entry.troubled = true;
    this.#answerWaiters(entry, result);
  }

  #announce(entry: Entry, before: readonly string[], addresses: readonly string[]): void {
    this.#logger.info({ host: entry.name, addresses, before }, 'the addresses of a host have changed');
    for (const watcher of Array.from(entry.watchers)) {
      if (entry.watchers.has(watcher)) this.#guarded(() => watcher.onChange(addresses));
    }
  }

  #answerWaiters(entry: Entry, result: ResolveResult): void {
    const { waiters } = entry;
    entry.waiters = [];
    for (const waiter of waiters) {
      if (this.#closed) return;
      this.#guarded(() => waiter(result));
    }
  }

  /** One caller's bug must neither keep the others waiting nor end as an unhandled rejection. */
  #guarded(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#logger.error({ error: error instanceof Error ? error.stack : error }, 'a caller of the resolver failed');
    }
  }
}

function newEntry(name: string): Entry {
  return {
    name,
    result: null,
    answer: null,
    knownAddresses: null,
    expiresAt: Number.NEGATIVE_INFINITY,
    usedAt: 0,
    lookingUp: false,
    troubled: false,
    outageLogged: false,
    waiters: [],
    watchers: new Set(),
    refreshTimer: null,
    staleTimer: null,
  };
}

/** `host` itself if it is an address or a Unix socket's folder, without the brackets in which a URL has one; null for a name. */
function literalAddress(host: string): string | null {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return isIP(bare) === 0 && !isUnixFolder(bare) ? null : bare;
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((address) => other.includes(address));
}
