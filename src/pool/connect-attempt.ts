/**
 * One attempt to get one server connection: the lease for it, and the addresses that are left to try. It ends with the
 * first address that answers, whatever the answer is, unless whoever looks at it wants another try there; only what
 * cannot be reached leads on to the next.
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
  /** The present try is at the address of the one before. */
  isRetry = false;
  readonly #finder: HostFinder;
  readonly #listener: AttemptListener;
  readonly #hosts: string[];
  #addresses: SocketAddress[] = [];
  #host: string | null = null;
  #retry: SocketAddress | null = null;
  #stopped = false;

  constructor(lease: Lease, finder: HostFinder, listener: AttemptListener) {
    this.lease = lease;
    this.#finder = finder;
    this.#listener = listener;
    this.#hosts = [...finder.order()];
  }

  /** The next try is at `address` once more. */
  retry(address: SocketAddress): void {
    this.#retry = address;
  }

  /** Goes to the next address. */
  next(): void {
    if (this.#stopped) return;
    this.isRetry = this.#retry !== null;
    const address = this.#retry ?? this.#addresses.shift();
    this.#retry = null;
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
