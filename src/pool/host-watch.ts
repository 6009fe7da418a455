/** Watches the addresses of a pool's hosts, which a reload may exchange for others. What a change means is not its business. */
import type { HostFinder } from './host-finder.ts';

export class HostWatch {
  readonly #finder: Pick<HostFinder, 'watch'>;
  readonly #onChange: (host: string, addresses: readonly string[]) => void;
  #stops: readonly (() => void)[] = [];

  constructor(finder: Pick<HostFinder, 'watch'>, onChange: (host: string, addresses: readonly string[]) => void) {
    this.#finder = finder;
    this.#onChange = onChange;
  }

  /** These from now on, and no others. */
  watch(hosts: readonly string[]): void {
    this.stop();
    this.#stops = hosts.map((host) => this.#finder.watch(host, (addresses) => this.#onChange(host, addresses)));
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    this.#stops = [];
  }
}
