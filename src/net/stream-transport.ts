/**
 * Any socket of Node's, by its public stream interface: chunks come as `'data'` in memory of their own. It is what TLS
 * needs, and what plain sockets fall back to where `SocketBinding` does not work.
 */
import type { Socket } from 'node:net';
import {
  type Transport,
  type TransportHandler,
  WRITE_GONE,
  WRITE_LENT,
  WRITE_QUEUED,
  type WriteResult,
} from '../base/transport.ts';

const NOBODY: TransportHandler = {
  onTransportConnect() {},
  onTransportData() {},
  onTransportDrain() {},
  onTransportEnd() {},
  onTransportClose() {},
};

export class StreamTransport implements Transport {
  handler: TransportHandler;
  readonly reusesReadBuffer = false;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly security = null;
  readonly #socket: Socket;
  #waiting = false;
  #error: Error | null = null;

  /** `socket` was made with `allowHalfOpen` and `highWaterMark: 1`, so that each write that has to wait ends in a 'drain'. */
  constructor(socket: Socket, handler: TransportHandler, remote: { readonly host: string; readonly port: number }) {
    this.#socket = socket;
    this.handler = handler;
    this.remoteAddress = remote.host;
    this.remotePort = remote.port;
    socket.on('connect', () => this.handler.onTransportConnect());
    socket.on('data', (chunk: Buffer) => this.handler.onTransportData(chunk, 0, chunk.length));
    socket.on('drain', () => {
      if (!this.#waiting || socket.writableLength > 0) return;
      this.#waiting = false;
      this.handler.onTransportDrain();
    });
    socket.on('end', () => this.handler.onTransportEnd());
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('close', () => this.handler.onTransportClose(this.#error));
  }

  get localAddress(): string {
    return this.#socket.localAddress ?? '';
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  write(view: Buffer): WriteResult {
    if (view.length === 0 || !this.#socket.writable) return WRITE_GONE;
    this.#socket.write(view);
    if (this.#socket.writableLength === 0) return WRITE_GONE;
    this.#waiting = true;
    return WRITE_LENT;
  }

  writeCopy(buffer: Buffer, from: number, to: number): WriteResult {
    const result = this.write(Buffer.from(buffer.subarray(from, to)));
    return result === WRITE_LENT ? WRITE_QUEUED : result;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Gives the socket away: this transport is over, and says nothing more. */
  detach(): Socket {
    this.handler = NOBODY;
    return this.#socket.pause();
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
    this.#socket.resetAndDestroy();
  }
}
