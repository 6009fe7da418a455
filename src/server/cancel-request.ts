/**
 * One CancelRequest on its way: a connection of its own to the address that the query went to, the server's key, and
 * then waiting for the server to close, for only then is it certain that the signal hits nobody who comes later.
 */
import type { Environment, SocketAddress } from '../base/environment.ts';
import { ServerNegotiation } from '../net/server-negotiation.ts';
import type { TlsPlan } from '../net/server-security.ts';
import { Wire, type WireReader } from '../net/wire.ts';
import { cancelRequest } from '../protocol/client-messages.ts';

/** Where the query went. */
export interface CancelTarget {
  readonly address: SocketAddress;
  /** Process id and secret. */
  readonly key: Buffer;
  /** How the connection is secured; null if it is not. */
  readonly tls: TlsPlan | null;
}

export interface CancelListener {
  /** Whether there is still something to cancel. Asked when the connection stands: not sent is best. */
  isCancelWanted(): boolean;
  /** The request has been sent. */
  onCancelSent(): void;
  onCancelClosed(end: CancelEnd): void;
}

/** How a cancel ended. */
export type CancelEnd =
  /** It was never sent: nothing was left to cancel, or nobody could be reached. */
  | 'unsent'
  /** The server has closed its side after it was sent: whatever it did, it has done. */
  | 'done'
  /** It was sent, and given up: the signal may come at any time. */
  | 'uncertain';

export class CancelRequest implements WireReader {
  readonly startedMs: number;
  readonly #listener: CancelListener;
  readonly #key: Buffer;
  readonly #wire: Wire;
  #end: CancelEnd = 'unsent';

  constructor(environment: Environment, target: CancelTarget, listener: CancelListener) {
    this.startedMs = environment.now();
    this.#listener = listener;
    this.#key = target.key;
    this.#wire = new Wire(this, (handler) => environment.dial(target.address, handler));
    if (target.tls !== null) ServerNegotiation.begin(this.#wire, target.tls);
  }

  /** It took too long. */
  giveUp(): void {
    if (this.#end === 'done') this.#end = 'uncertain';
    this.#wire.destroy();
  }

  onConnected(): void {
    if (!this.#listener.isCancelWanted()) {
      this.#wire.destroy();
      return;
    }
    this.#end = 'done';
    this.#listener.onCancelSent();
    this.#wire.send(cancelRequest(this.#key));
  }

  onBytes(_buffer: Buffer, _start: number, end: number): number {
    return end;
  }

  onDrain(): void {}

  onEnd(): void {
    this.#wire.destroy();
  }

  onClosed(): void {
    this.#listener.onCancelClosed(this.#end);
  }
}
