/**
 * A secured connection over one that was plain until now. It runs on Node's TLS streams; what it knows beyond them is
 * when bytes that the stream still counts have in truth left. Contexts and policies are somebody else's.
 */
import { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  type Transport,
  type TransportHandler,
  WRITE_GONE,
  WRITE_LENT,
  WRITE_QUEUED,
  type WriteResult,
} from '../base/transport.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import { PlainTransport } from './plain-transport.ts';
import { StreamTransport } from './stream-transport.ts';
import { TlsError } from './tls-error.ts';

/** A plain connection that has been taken apart, for Node's TLS to build on. */
export interface PlainSocket {
  readonly socket: Socket;
  /** Bytes that the kernel has not taken; null where that cannot be seen. */
  readonly queuedBytes: (() => number) | null;
}

/** Takes the socket out of `plain`, which is used no more. Null if it has closed. */
export function takeSocket(plain: Transport): PlainSocket | null {
  if (plain instanceof StreamTransport) return { socket: plain.detach(), queuedBytes: null };
  if (!(plain instanceof PlainTransport)) throw new TypeError('this transport has no socket');
  const handle = plain.detach();
  if (handle === null) return null;
  // `handle` is an option of the constructor that Node's types leave out: it must not stand in the call itself.
  const options = { handle, allowHalfOpen: true };
  return { socket: new Socket(options), queuedBytes: () => handle.writeQueueSize };
}

export interface TlsTransportOptions {
  readonly plain: PlainSocket;
  /** Over `plain`, its handshake not begun; made with `highWaterMark: 1`, see `StreamTransport`. */
  readonly socket: TLSSocket;
  /** What it says when the handshake has ended, and all of Node's own checks have passed. */
  readonly secureEvent: 'secure' | 'secureConnect';
  /** Looks at the connection then. A TlsError refuses it. */
  readonly examine: (socket: TLSSocket) => TransportSecurity | TlsError;
}

export class TlsTransport implements Transport {
  handler: TransportHandler;
  readonly reusesReadBuffer = false;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #socket: TLSSocket;
  readonly #plain: PlainSocket;
  #security: TransportSecurity | null = null;
  /** The handler was promised a drain. */
  #waiting = false;
  #error: Error | null = null;

  /** `before`: the plain transport, which knows the addresses. */
  constructor(before: Transport, options: TlsTransportOptions, handler: TransportHandler) {
    const { socket, secureEvent } = options;
    this.handler = handler;
    this.remoteAddress = before.remoteAddress;
    this.remotePort = before.remotePort;
    this.localAddress = options.plain.socket.localAddress ?? '';
    this.localPort = options.plain.socket.localPort ?? 0;
    this.#socket = socket;
    this.#plain = options.plain;
    // Errors of the socket below come up through the one above; unheard, they would end the process.
    options.plain.socket.on('error', () => {});
    socket.once(secureEvent, () => this.#onSecured(options.examine(socket)));
    socket.on('data', (chunk: Buffer) => this.handler.onTransportData(chunk, 0, chunk.length));
    socket.on('drain', () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    // What goes wrong after the handshake on an accepted connection is said here only, and nothing follows from it.
    socket.on('_tlsError', (error: Error) => {
      this.#error ??= error;
      socket.destroy();
    });
    socket.on('close', () => this.#onClose());
  }

  get security(): TransportSecurity | null {
    return this.#security;
  }

  get unsentBytes(): number {
    return this.#waiting ? this.#socket.writableLength : 0;
  }

  /**
   * Node counts bytes as unsent until the loop comes round again. But those that were written to an empty stream are
   * encrypted when `write` returns, and gone if the kernel has taken all that came out: nothing points into the view.
   */
  write(view: Buffer): WriteResult {
    const socket = this.#socket;
    if (view.length === 0 || !socket.writable) return WRITE_GONE;
    const isBehind = socket.writableLength > 0;
    socket.write(view);
    if (socket.writableLength === 0) return WRITE_GONE;
    if (isBehind) {
      this.#waiting = true;
      return WRITE_LENT;
    }
    if (this.#plain.queuedBytes?.() === 0) return WRITE_GONE;
    this.#waiting = true;
    return WRITE_QUEUED;
  }

  writeCopy(buffer: Buffer, from: number, to: number): WriteResult {
    const isBehind = this.#socket.writableLength > 0;
    const view = buffer.subarray(from, to);
    const result = this.write(isBehind ? Buffer.from(view) : view);
    return result === WRITE_LENT ? WRITE_QUEUED : result;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Each chunk has memory of its own, so there is nothing to lend or to swap. */
  lend(): void {}
  endLoan(): void {}
  swapReadBuffer(): void {}

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    // The socket below: Node knows no RST for one of TLS, which closes with it.
    this.#plain.socket.resetAndDestroy();
  }

  #onSecured(found: TransportSecurity | TlsError): void {
    if (this.#socket.destroyed) return;
    if (found instanceof TlsError) {
      this.#error = found;
      this.#socket.destroy();
      return;
    }
    this.#security = found;
    this.handler.onTransportConnect();
  }

  #onDrain(): void {
    if (!this.#waiting || this.#socket.writableLength > 0) return;
    this.#waiting = false;
    this.handler.onTransportDrain();
  }

  #onEnd(): void {
    // Half a handshake is nobody's to answer.
    if (this.#security === null) this.#socket.destroy();
    else this.handler.onTransportEnd();
  }

  #onClose(): void {
    const error = this.#error;
    const isDone = this.#security !== null || error instanceof TlsError;
    this.handler.onTransportClose(isDone ? error : TlsError.ofHandshake(error));
  }
}
