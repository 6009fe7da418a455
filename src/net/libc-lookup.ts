/**
 * Names by way of the platform's `getaddrinfo`, for what only it knows (mDNS, LDAP, systemd-resolved, gai.conf). It knows
 * no TTL, and the order of its addresses is the platform's own.
 */
import { DnsError, type Environment } from '../base/environment.ts';
import { asDnsError, type NameAnswer, type NameSource } from './name-source.ts';

/** `getaddrinfo` blocks one of libuv's four threads, which key derivation and file reads need too. */
const MAX_IN_FLIGHT = 2;

export class LibcLookup implements NameSource {
  readonly #environment: Environment;
  readonly #queue: (() => void)[] = [];
  #inFlight = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  async find(name: string): Promise<NameAnswer> {
    if (this.#inFlight < MAX_IN_FLIGHT) this.#inFlight++;
    else await new Promise<void>((resolve) => this.#queue.push(resolve)); // the place is handed over
    try {
      const addresses = [...new Set(await this.#environment.lookup(name))];
      if (addresses.length === 0) throw new DnsError('not-found', 'no addresses');
      return { addresses, ttlMs: Number.POSITIVE_INFINITY, foundAs: name, partial: false };
    } catch (error) {
      throw asDnsError(error);
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#inFlight--;
      else next();
    }
  }

  close(): void {
    this.#queue.length = 0;
  }
}
