/**
 * One attempt to get one server connection: the lease for it, and the addresses that are left to try. It ends with the
 * first address that answers, whatever the answer is; only what cannot be reached leads on to the next.
 */
import type { SocketAddress } from '../base/environment.ts';
import type { Lease } from '../server/lease.ts';
import type { HostFinder } from './host-finder.ts';

export interface AttemptListener {
  /** To be tried: one of the addresses of `host`. */
  onAddress(attempt: ConnectAttempt, address: SocketAddress, host: string): void;
  /** Nothing is left; `attempt.reason` is why. */
  onAttemptFailed(attempt: ConnectAttempt): void;
}

export class ConnectAttempt {
  readonly lease: Lease;
  /** Why the last address failed. */
  reason = 'no address';
  readonly #finder: HostFinder;
  readonly #listener: AttemptListener;
  readonly #hosts: string[];
  #addresses: SocketAddress[] = [];
  #host: string | null = null;
  #stopped = false;

  constructor(lease: Lease, finder: HostFinder, listener: AttemptListener) {
    this.lease = lease;
    this.#finder = finder;
    this.#listener = listener;
    this.#hosts = [...finder.order()];
  }

  /** Goes to the next address. */
  next(): void {
    if (this.#stopped) return;
    const address = this.#addresses.shift();
    if (address !== undefined && this.#host !== null) {
      this.#listener.onAddress(this, address, this.#host);
      return;
    }
    if (this.#host !== null) this.#finder.failed(this.#host);
    const host = this.#hosts.shift();
    if (host === undefined) {
      this.#listener.onAttemptFailed(this);
      return;
    }
    this.#host = host;
    this.#finder.addresses(host, (result) => {
      if ('reason' in result) this.reason = result.reason;
      else this.#addresses = [...result.addresses];
      this.next();
    });
  }

  /** What was tried last did not work, and nothing more is tried. */
  giveUp(): void {
    this.stop();
    if (this.#host !== null) this.#finder.failed(this.#host);
  }

  stop(): void {
    this.#stopped = true;
  }
}
