/**
 * Which address the next connection of a database entry goes to: its hosts in turn (or one of them until it fails), and
 * every address of a name in turn. It opens nothing and remembers no failures but the last.
 */
import type { SocketAddress } from '../base/environment.ts';
import type { Resolver } from '../net/resolver.ts';

export type AddressesOrReason = { readonly addresses: readonly SocketAddress[] } | { readonly reason: string };

export interface HostFinderOptions {
  readonly hosts: readonly string[];
  readonly port: number;
  readonly policy: 'round-robin' | 'disable';
}

export class HostFinder {
  readonly #resolver: Resolver;
  #options: HostFinderOptions;
  #nextHost = 0;
  #nextAddress = 0;

  constructor(resolver: Resolver, options: HostFinderOptions) {
    this.#resolver = resolver;
    this.#options = options;
  }

  /** Holds from the next connection on. Whoever watches a host goes on watching it. */
  configure(options: HostFinderOptions): void {
    this.#options = options;
  }

  /** The hosts in the order in which the next connection should try them. */
  order(): readonly string[] {
    const { hosts, policy } = this.#options;
    const first = this.#nextHost % hosts.length;
    if (policy === 'round-robin') this.#nextHost = (first + 1) % hosts.length;
    return [...hosts.slice(first), ...hosts.slice(0, first)];
  }

  /** A connection to `host` failed: with `disable` the next one is the one to stay with. */
  failed(host: string): void {
    const { hosts, policy } = this.#options;
    if (policy !== 'disable' || hosts[this.#nextHost % hosts.length] !== host) return;
    this.#nextHost = (this.#nextHost + 1) % hosts.length;
  }

  /** The addresses of `host`, beginning with another one each time. Calls back at once if they are known. */
  addresses(host: string, callback: (result: AddressesOrReason) => void): void {
    this.#resolver.resolve(host, (result) => {
      if ('error' in result) {
        callback({ reason: result.error.message });
        return;
      }
      const all = result.addresses.map((address) => ({ host: address, port: this.#options.port }));
      const first = this.#nextAddress % Math.max(1, all.length);
      this.#nextAddress = first + 1;
      callback({ addresses: [...all.slice(first), ...all.slice(0, first)] });
    });
  }

  /** Hears of a changed set of addresses of `host`. Returns how to stop. */
  watch(host: string, onChange: (addresses: readonly string[]) => void): () => void {
    return this.#resolver.watch(host, onChange);
  }
}
