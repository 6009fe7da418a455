/**
 * One attempt to get one server connection: the lease for it, and the addresses that are left to try. It ends with the
 * first address that answers, whatever the answer is, unless whoever looks at it wants another try there; only what
 * cannot be reached leads on to the next.
 */
import type { SocketAddress } from '../base/environment.ts';
import type { TlsAttempt } from '../net/server-security.ts';
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
  /** The present try is at the address of the one before, in the oldest version of the protocol. */
  asksForOldProtocol = false;
  /** The present try is at the address of one before, with TLS where that had none, or the other way round. */
  tlsAttempt: TlsAttempt = 'first';
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

  /** The next try is at `address` once more, and what is said of it stays until there is another address. */
  retry(address: SocketAddress, how: 'old-protocol' | 'other-tls'): void {
    this.#retry = address;
    if (how === 'old-protocol') this.asksForOldProtocol = true;
    else this.tlsAttempt = 'second';
  }

  /** Goes to the next address. */
  next(): void {
    if (this.#stopped) return;
    if (this.#retry === null) {
      this.asksForOldProtocol = false;
      this.tlsAttempt = 'first';
    }
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
