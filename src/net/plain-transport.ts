/**
 * A TCP socket without TLS, as fast as Node can be made to move bytes: it reads into memory that is given (`onread`) and
 * writes to the handle directly. It knows nothing of messages.
 */
import type { OnReadOpts, Socket } from 'node:net';
import {
  READ_CHUNK_BYTES,
  READ_HEADROOM,
  type Transport,
  type TransportHandler,
  WRITE_GONE,
  WRITE_LENT,
  WRITE_QUEUED,
  type WriteResult,
} from '../base/transport.ts';
import { type DirectWriter, type SocketHandle, WAITING, WRITTEN, type WriteOwner } from './direct-writer.ts';
import type { ReadBuffer } from './read-buffer.ts';
import { Scratch } from './scratch.ts';

const scratch = new Scratch(READ_CHUNK_BYTES);
/** What a dead chunk is overwritten with in tests, so that nobody can go on using it unnoticed. */
const POISON = 0xdb;

interface PlainSocket extends Socket {
  readonly _handle: SocketHandle | null;
  transport: PlainTransport | undefined;
}

export interface PlainTransportOptions {
  readonly writer: DirectWriter;
  readonly readBuffer: ReadBuffer;
  /** Overwrite each chunk after its callback (tests). */
  readonly poison: boolean;
}

export class PlainTransport implements Transport, WriteOwner {
  handler: TransportHandler;
  readonly reusesReadBuffer = true;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #socket: PlainSocket;
  readonly #options: PlainTransportOptions;
  #waitingWrites = 0;
  #lent = false;
  #reading = false;
  #error: Error | null = null;

  /**
   * `socket` was made with `allowHalfOpen` and `onread: PlainTransport.onread(…)`. `remote` is said by the caller,
   * because a socket that is still connecting does not know it.
   */
  constructor(
    socket: Socket,
    options: PlainTransportOptions,
    handler: TransportHandler,
    remote: { readonly host: string; readonly port: number },
  ) {
    this.#socket = socket as PlainSocket;
    this.#socket.transport = this;
    this.#options = options;
    this.handler = handler;
    this.remoteAddress = remote.host;
    this.remotePort = remote.port;
    if (socket.connecting) socket.on('connect', onConnect);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /** The `onread` option for a socket whose memory is `readBuffer`; with `swappable`, a swap takes effect after a read. */
  static onread(readBuffer: ReadBuffer, swappable: boolean): OnReadOpts {
    if (!swappable) return { buffer: readBuffer.target, callback: onRead };
    let first = true;
    const buffer = (): Uint8Array => {
      if (!first) return readBuffer.takeSwapped() as Uint8Array; // Node keeps the old one when it gets null
      first = false;
      return readBuffer.target;
    };
    return { buffer, callback: onRead };
  }

  get localAddress(): string {
    return this.#socket.localAddress ?? '';
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  get unsentBytes(): number {
    return this.#waitingWrites === 0 ? 0 : (this.#socket._handle?.writeQueueSize ?? 0);
  }

  write(view: Buffer): WriteResult {
    const handle = this.#socket._handle;
    if (handle === null || view.length === 0) return WRITE_GONE;
    const result = this.#options.writer.write(handle, view, this);
    if (result === WRITTEN) return WRITE_GONE;
    if (result === WAITING) {
      this.#waitingWrites++;
      return WRITE_LENT;
    }
    this.#fail(result);
    return WRITE_GONE;
  }

  writeCopy(buffer: Buffer, from: number, to: number): WriteResult {
    if (this.#waitingWrites > 0) {
      const result = this.write(Buffer.from(buffer.subarray(from, to)));
      return result === WRITE_LENT ? WRITE_QUEUED : result;
    }
    const result = this.write(scratch.copyOf(buffer, from, to));
    if (result !== WRITE_LENT) return result;
    scratch.giveAway();
    return WRITE_QUEUED;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  lend(): void {
    this.#lent = true;
  }

  endLoan(): void {
    this.#lent = false;
  }

  swapReadBuffer(): void {
    this.#lent = false;
    const { readBuffer } = this.#options;
    readBuffer.swap();
    // During a read Node asks for the new memory when the callback returns. At other times the handle must be told, at
    // the price of a small listener that libuv's wrapper keeps for as long as the socket lives.
    if (!this.#reading) this.#socket._handle?.useUserBuffer(readBuffer.takeSwapped()!);
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  onWriteDone(status: number): void {
    this.#waitingWrites--;
    if (this.#socket.destroyed) return;
    if (status < 0) this.#fail(status);
    else if (this.#waitingWrites === 0) this.handler.onTransportDrain();
  }

  /** `bytes` have been read into the given memory. */
  read(bytes: number): void {
    if (this.#lent) throw new Error('bytes were read into memory that is lent');
    const { readBuffer, poison } = this.#options;
    const { memory } = readBuffer;
    this.#reading = true;
    this.handler.onTransportData(memory, READ_HEADROOM, READ_HEADROOM + bytes);
    this.#reading = false;
    // Memory that is lent, or was swapped away, is somebody else's now.
    if (poison && !this.#lent && readBuffer.memory === memory) memory.fill(POISON, 0, READ_HEADROOM + bytes);
  }

  connected(): void {
    this.handler.onTransportConnect();
  }

  ended(): void {
    this.handler.onTransportEnd();
  }

  failed(error: Error): void {
    this.#error ??= error;
  }

  closed(): void {
    this.#socket.transport = undefined;
    this.handler.onTransportClose(this.#error);
  }

  #fail(errno: number): void {
    // The socket emits it as 'error' and then 'close', in a later tick: no handler is entered from within a write.
    this.#socket.destroy(new Error(`write failed (errno ${-errno})`));
  }
}

function onRead(this: PlainSocket, bytes: number): boolean {
  this.transport?.read(bytes);
  return true;
}

function onConnect(this: PlainSocket): void {
  this.transport?.connected();
}

function onEnd(this: PlainSocket): void {
  this.transport?.ended();
}

function onError(this: PlainSocket, error: Error): void {
  this.transport?.failed(error);
}

function onClose(this: PlainSocket): void {
  this.transport?.closed();
}
