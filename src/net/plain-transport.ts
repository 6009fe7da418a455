/**
 * A TCP or Unix socket without TLS, as fast as Node can be made to move bytes: it reads into memory that is given and writes to
 * the handle directly. It knows nothing of messages.
 */
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
import type { ReadBuffer } from './read-buffer.ts';
import { Scratch } from './scratch.ts';
import {
  END_OF_FILE,
  type Endpoint,
  type HandleOwner,
  type SocketBinding,
  type SocketHandle,
  systemError,
  WAITING,
  WRITTEN,
} from './socket-binding.ts';

const scratch = new Scratch(READ_CHUNK_BYTES);
/** What a dead chunk is overwritten with in tests, so that nobody can go on using it unnoticed. */
const POISON = 0xdb;

export interface PlainTransportOptions {
  readonly binding: SocketBinding;
  readonly readBuffer: ReadBuffer;
  /** Overwrite each chunk after its callback (tests). */
  readonly poison: boolean;
}

export class PlainTransport implements Transport, HandleOwner {
  handler: TransportHandler;
  readonly reusesReadBuffer = true;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly security = null;
  readonly #options: PlainTransportOptions;
  /** Null while it connects, and after it was closed. */
  #handle: SocketHandle | null = null;
  #waitingWrites = 0;
  #lent = false;
  #reading = false;
  #paused = false;
  #finSent: 'no' | 'asked' | 'yes' = 'no';
  #finSeen = false;
  #closed = false;
  #error: Error | null = null;
  /** Gives up connecting. */
  #stopConnecting: (() => void) | null = null;

  constructor(
    options: PlainTransportOptions,
    handler: TransportHandler,
    remote: { readonly host: string; readonly port: number },
  ) {
    this.#options = options;
    this.handler = handler;
    this.remoteAddress = remote.host;
    this.remotePort = remote.port;
  }

  /** It is being dialed: `stop` gives that up, and `closedBeforeConnect` follows. */
  connecting(stop: () => void): void {
    this.#stopConnecting = stop;
  }

  closedBeforeConnect(error: Error | null): void {
    this.#closed = true;
    this.handler.onTransportClose(error);
  }

  /** The connection stands; reading begins. */
  attach(handle: SocketHandle): void {
    this.#stopConnecting = null;
    this.#handle = handle;
    const { binding, readBuffer } = this.#options;
    const status = binding.start(handle, readBuffer.target, this);
    if (status !== 0) this.#fail(systemError('read', status));
    else if (this.#paused) handle.readStop();
  }

  get localAddress(): string {
    return this.#localEndpoint.address ?? '';
  }

  get localPort(): number {
    return this.#localEndpoint.port ?? 0;
  }

  get unsentBytes(): number {
    return this.#waitingWrites === 0 ? 0 : (this.#handle?.writeQueueSize ?? 0);
  }

  write(view: Buffer): WriteResult {
    const handle = this.#handle;
    if (handle === null || view.length === 0) return WRITE_GONE;
    const result = this.#options.binding.write(handle, view, this);
    if (result === WRITTEN) return WRITE_GONE;
    if (result === WAITING) {
      this.#waitingWrites++;
      return WRITE_LENT;
    }
    this.#fail(systemError('write', result));
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
    this.#paused = true;
    this.#handle?.readStop();
  }

  resume(): void {
    this.#paused = false;
    // After the end of the stream there is nothing to read, and libuv would say so again.
    if (!this.#finSeen) this.#handle?.readStart();
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
    // During a read the new memory is returned by `onRead`. At other times the handle must be told, at the price of a
    // small listener that its wrapper keeps for as long as the socket lives.
    if (!this.#reading) this.#handle?.useUserBuffer(readBuffer.takeSwapped()!);
  }

  end(): void {
    if (this.#finSent !== 'no' || this.#handle === null) return;
    this.#finSent = 'asked';
    this.#options.binding.shutdown(this.#handle, this);
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    const handle = this.#handle;
    this.#handle = null;
    if (handle !== null) handle.close(() => this.#gone(handle));
    else this.#stopConnecting?.();
  }

  reset(): void {
    const handle = this.#handle;
    if (handle === null) {
      this.destroy();
      return;
    }
    this.#closed = true;
    this.#handle = null;
    if (handle.reset?.(() => this.#gone(handle)) !== 0) handle.close(() => this.#gone(handle));
  }

  /** The close follows in a later turn: no handler is entered from within an operation. */
  #fail(error: Error): void {
    this.#error ??= error;
    this.destroy();
  }

  /** Gives the handle away: this transport is over, and says nothing more. Null if it has closed, or not connected yet. */
  detach(): SocketHandle | null {
    const handle = this.#handle;
    if (handle === null) return null;
    handle.readStop();
    handle.owner = undefined;
    this.#handle = null;
    this.#closed = true;
    return handle;
  }

  onRead(bytes: number): Uint8Array | undefined {
    if (bytes <= 0) {
      this.#onReadEnd(bytes);
      return undefined;
    }
    if (this.#lent) throw new Error('bytes were read into memory that is lent');
    const { readBuffer, poison } = this.#options;
    const { memory } = readBuffer;
    this.#reading = true;
    this.handler.onTransportData(memory, READ_HEADROOM, READ_HEADROOM + bytes);
    this.#reading = false;
    // Memory that is lent, or was swapped away, is somebody else's now.
    if (poison && !this.#lent && readBuffer.memory === memory) memory.fill(POISON, 0, READ_HEADROOM + bytes);
    return readBuffer.takeSwapped() ?? undefined;
  }

  onWriteDone(status: number): void {
    this.#waitingWrites--;
    if (this.#closed) return;
    if (status < 0) this.#fail(systemError('write', status));
    else if (this.#waitingWrites === 0) this.handler.onTransportDrain();
  }

  onShutdownDone(): void {
    this.#finSent = 'yes';
    if (this.#finSeen) this.destroy();
  }

  #onReadEnd(status: number): void {
    if (status === 0 || this.#closed) return;
    if (status !== END_OF_FILE) {
      this.#fail(systemError('read', status));
      return;
    }
    this.#finSeen = true;
    this.handler.onTransportEnd();
    if (this.#finSent === 'yes') this.destroy();
  }

  #gone(handle: SocketHandle): void {
    handle.owner = undefined;
    this.handler.onTransportClose(this.#error);
  }

  get #localEndpoint(): Endpoint {
    const endpoint: Endpoint = {};
    this.#handle?.getsockname?.(endpoint);
    return endpoint;
  }
}
