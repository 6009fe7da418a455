/**
 * Who has failed to log in how often within the last minute, by address: so that whoever guesses passwords waits longer
 * and longer for fewer and fewer answers, while everybody else notices nothing. It knows neither users nor what was wrong.
 *
 * Behind one address may be many people (a NAT, a proxy, an application's host): a few failures cost nothing.
 */
import type { Settings } from '../config/settings.ts';

const WINDOW_MS = 60_000;

/** Failures in a minute whose answers are not delayed: somebody mistypes. */
const FREE_FAILURES = 5;

/** Beyond, the address that has begun its minute first is forgotten. */
const MAX_ADDRESSES = 10_000;

/** Hextets of an IPv6 address that one customer has for himself. */
const NETWORK_HEXTETS = 4;
const HEXTETS = 8;

interface Failures {
  readonly sinceMs: number;
  count: number;
}

export class FailedLogins {
  #settings: Pick<Settings, 'authFailureDelayMs' | 'authFailureLimit'>;
  /** In the order in which their minutes have begun. */
  readonly #networks = new Map<string, Failures>();

  constructor(settings: Pick<Settings, 'authFailureDelayMs' | 'authFailureLimit'>) {
    this.#settings = settings;
  }

  configure(settings: Pick<Settings, 'authFailureDelayMs' | 'authFailureLimit'>): void {
    this.#settings = settings;
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#networks.size;
  }

  /** A login from `address` has failed. Returns for how many milliseconds its answer is to wait. */
  add(address: string, nowMs: number): number {
    const network = networkOf(address);
    if (network === null) return 0;
    let failures = this.#current(network, nowMs);
    if (failures === null) {
      failures = { sinceMs: nowMs, count: 0 };
      // Behind all others, also where an old minute was its own.
      this.#networks.delete(network);
      this.#networks.set(network, failures);
      this.#dropFirst(nowMs);
    }
    failures.count++;
    return failures.count > FREE_FAILURES ? this.#settings.authFailureDelayMs : 0;
  }

  /** Whether `address` has failed so often that it is not even asked (auth_failure_limit). */
  isBarred(address: string, nowMs: number): boolean {
    const { authFailureLimit } = this.#settings;
    if (authFailureLimit === 0) return false;
    const network = networkOf(address);
    return network !== null && (this.#current(network, nowMs)?.count ?? 0) >= authFailureLimit;
  }

  #current(network: string, nowMs: number): Failures | null {
    const failures = this.#networks.get(network);
    return failures === undefined || nowMs - failures.sinceMs >= WINDOW_MS ? null : failures;
  }

  /** Those whose minute is over go, and, where there are too many, the first. */
  #dropFirst(nowMs: number): void {
    for (const [network, { sinceMs }] of this.#networks) {
      if (nowMs - sinceMs < WINDOW_MS && this.#networks.size <= MAX_ADDRESSES) return;
      this.#networks.delete(network);
    }
  }
}

/**
 * What counts as one place: an IPv4 address, the /64 of an IPv6 one, both in the spelling of the system. Null for what
 * is neither, as the peer of a Unix socket.
 */
export function networkOf(address: string): string | null {
  if (!address.includes(':')) return address.includes('.') ? address : null;
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const first = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':');
    while (first.length + last.length < HEXTETS) first.push('0');
    first.push(...last);
  }
  return first.slice(0, NETWORK_HEXTETS).join(':');
}
