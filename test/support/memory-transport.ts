/**
 * Sockets in memory, in pairs, that behave as `net/plain-transport.ts` does over a kernel: bytes arrive in a later step,
 * in memory that is used again and overwritten; a finite buffer takes what fits and keeps a pointer to the rest; FIN and
 * RST are seen by who reads. It is stricter than a kernel: memory that was lent and changed is an error.
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
} from '../../src/base/transport.ts';
import type { TransportSecurity } from '../../src/base/transport-security.ts';
import type { VirtualEnvironment } from './virtual-environment.ts';

/** How many of `available` bytes the next chunk holds; `offset` is where it begins in the whole stream. */
export type Segmentation = (offset: number, available: number) => number;

const allAtOnce: Segmentation = (_offset, available) => available;

export function inPiecesOf(bytes: number): Segmentation {
  return (_offset, available) => Math.min(bytes, available);
}

/** Chunks end at these offsets of the stream (ascending), and wherever the bytes end. */
export function cutAt(...offsets: readonly number[]): Segmentation {
  return (offset, available) => {
    const cut = offsets.find((place) => place > offset);
    return cut === undefined ? available : Math.min(cut - offset, available);
  };
}

/** The memory that one or more transports read into. */
export class SharedMemory {
  memory: Buffer = Buffer.alloc(READ_HEADROOM + READ_CHUNK_BYTES, 0xdb);
}

export interface MemoryTransportOptions {
  readonly address: string;
  readonly port: number;
  /** What the peer can send before this side has read it. */
  readonly receiveCapacity?: number;
  readonly segmentation?: Segmentation;
  /** Null: each chunk has memory of its own, as with `StreamTransport`. */
  readonly memory?: SharedMemory | null;
}

interface PendingWrite {
  view: Buffer;
  /** What it was when it was written. */
  copy: Buffer;
}

const DEFAULT_CAPACITY = 262_144;
const POISON = 0xdb;

export class MemoryTransport implements Transport {
  handler: TransportHandler;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly reusesReadBuffer: boolean;
  /** As if a handshake had ended; tests set it. */
  security: TransportSecurity | null = null;
  segmentation: Segmentation;
  receiveCapacity: number;
  /** What was ever written to it, for tests that count. */
  bytesWritten = 0;
  writes = 0;
  readonly #environment: VirtualEnvironment;
  readonly #shared: SharedMemory | null;
  #peer: MemoryTransport | null = null;

  #connected = false;
  #refusal: Error | null = null;
  #paused = false;
  #destroyed = false;
  #closeReported = false;
  #lent = false;
  #stepPosted = false;
  /** A chunk was cut on purpose: the rest comes when everybody has done what the first piece made them do. */
  #waitsForQuiet = false;

  // What has come from the peer and was not read.
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #readOffset = 0;
  #peerEnded = false;
  #endReported = false;
  #failure: Error | null = null;

  // What was written and has not left.
  #pending: PendingWrite[] = [];
  #ended = false;
  #finSent = false;
  #brokenPipe: Error | null = null;

  constructor(
    environment: VirtualEnvironment,
    handler: TransportHandler,
    local: MemoryTransportOptions,
    remote: { readonly address: string; readonly port: number },
  ) {
    this.#environment = environment;
    this.handler = handler;
    this.localAddress = local.address;
    this.localPort = local.port;
    this.remoteAddress = remote.address;
    this.remotePort = remote.port;
    this.segmentation = local.segmentation ?? allAtOnce;
    this.receiveCapacity = local.receiveCapacity ?? DEFAULT_CAPACITY;
    this.#shared = local.memory ?? null;
    this.reusesReadBuffer = this.#shared !== null;
  }

  /** Both are connected; the dialing one hears of it in a step of its own. */
  static connect(dialing: MemoryTransport, accepted: MemoryTransport): void {
    dialing.#peer = accepted;
    accepted.#peer = dialing;
    accepted.#connected = true;
    dialing.#wake();
    accepted.#wake();
  }

  /** Nobody is there. */
  refuse(code = 'ECONNREFUSED'): void {
    this.#refusal = Object.assign(new Error(`connect ${code} ${this.remoteAddress}:${this.remotePort}`), { code });
    this.#wake();
  }

  get isClosed(): boolean {
    return this.#destroyed;
  }

  /** Bytes that were read so far: where in the stream the next chunk begins. */
  get readOffset(): number {
    return this.#readOffset;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get unsentBytes(): number {
    return this.#pending.reduce((sum, { view }) => sum + view.length, 0);
  }

  /** Bytes that have come and were not read. */
  get unreadBytes(): number {
    return this.#receivedBytes;
  }

  write(view: Buffer): WriteResult {
    if (this.#destroyed || view.length === 0) return WRITE_GONE;
    if (!this.#connected) throw new Error('written to before it was connected');
    this.bytesWritten += view.length;
    this.writes++;
    if (this.#finSent || this.#failure !== null || this.#brokenPipe !== null) return this.#breakPipe();
    const taken = this.#pending.length === 0 ? this.#handOver(view) : 0;
    if (taken === view.length) return WRITE_GONE;
    const rest = view.subarray(taken);
    this.#pending.push({ view: rest, copy: Buffer.from(rest) });
    return WRITE_LENT;
  }

  writeCopy(buffer: Buffer, from: number, to: number): WriteResult {
    const result = this.write(Buffer.from(buffer.subarray(from, to)));
    return result === WRITE_LENT ? WRITE_QUEUED : result;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  lend(): void {
    this.#lent = true;
  }

  endLoan(): void {
    this.#lent = false;
    this.#wake();
  }

  swapReadBuffer(): void {
    this.#lent = false;
    if (this.#shared !== null) this.#shared.memory = Buffer.alloc(READ_HEADROOM + READ_CHUNK_BYTES, POISON);
    this.#wake();
  }

  end(): void {
    if (this.#destroyed || this.#ended) return;
    this.#ended = true;
    this.#sendFin();
  }

  destroy(): void {
    if (this.#destroyed) return;
    const unread = this.#receivedBytes > 0;
    this.#drop();
    if (unread) this.#tellPeer('reset');
    else if (!this.#finSent) this.#tellPeer('fin');
    this.#finSent = true;
  }

  reset(): void {
    if (this.#destroyed) return;
    this.#drop();
    this.#tellPeer('reset');
  }

  #drop(): void {
    this.#destroyed = true;
    this.#pending = [];
    this.#received = [];
    this.#receivedBytes = 0;
    this.#wake();
  }

  // The wire

  /** As much of `view` as fits into the peer's buffer goes there. Returns how much. */
  #handOver(view: Buffer): number {
    const peer = this.#peer!;
    if (peer.#destroyed) {
      // The kernel takes it, and the other one answers with a RST.
      this.#onReset();
      return view.length;
    }
    const taken = Math.min(view.length, Math.max(0, peer.receiveCapacity - peer.#receivedBytes));
    if (taken > 0) {
      peer.#received.push(Buffer.from(view.subarray(0, taken)));
      peer.#receivedBytes += taken;
      peer.#wake();
    }
    return taken;
  }

  #sendFin(): void {
    if (!this.#ended || this.#finSent || this.#pending.length > 0 || !this.#connected) return;
    this.#finSent = true;
    this.#tellPeer('fin');
    this.#wake();
  }

  #tellPeer(what: 'fin' | 'reset' | 'room'): void {
    const peer = this.#peer;
    if (peer === null) return;
    if (what === 'fin') peer.#onFin();
    else if (what === 'reset') peer.#onReset();
    else peer.#wake();
  }

  #onFin(): void {
    this.#peerEnded = true;
    this.#wake();
  }

  #onReset(): void {
    this.#failure ??= Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    // Whoever waits to write hears of it although nothing is read.
    if (this.#pending.length > 0) this.#brokenPipe ??= this.#failure;
    this.#wake();
  }

  #breakPipe(): WriteResult {
    this.#brokenPipe ??= Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    this.#wake();
    return WRITE_GONE;
  }

  // Steps: one event each, so that those of other connections come in between

  #wake(): void {
    if (this.#stepPosted || this.#closeReported) return;
    this.#stepPosted = true;
    this.#environment.post(() => this.#step());
  }

  #step(): void {
    this.#stepPosted = false;
    if (this.#closeReported) return;
    if (this.#destroyed) return this.#reportClose(null);
    if (!this.#connected) return this.#connectNow();
    if (this.#brokenPipe !== null) return this.#reportClose(this.#brokenPipe);
    const reads = !this.#paused && !this.#waitsForQuiet;
    if (reads && this.#receivedBytes > 0) return this.#deliver();
    if (reads && this.#failure !== null) return this.#reportClose(this.#failure);
    if (this.#pending.length > 0 && this.#flush()) return;
    if (reads && this.#peerEnded && !this.#endReported) {
      this.#endReported = true;
      this.handler.onTransportEnd();
      this.#wake();
      return;
    }
    if (this.#endReported && this.#finSent) this.#reportClose(null);
  }

  #connectNow(): void {
    if (this.#refusal !== null) return this.#reportClose(this.#refusal);
    if (this.#peer === null) return;
    this.#connected = true;
    this.handler.onTransportConnect();
    this.#wake();
  }

  #deliver(): void {
    if (this.#lent) throw new Error('bytes were read into memory that is lent');
    const all = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received);
    const most = Math.min(all.length, READ_CHUNK_BYTES);
    const size = Math.max(1, Math.min(most, this.segmentation(this.#readOffset, most)));
    this.#received = size < all.length ? [all.subarray(size)] : [];
    this.#receivedBytes -= size;
    this.#readOffset += size;
    this.#tellPeer('room');
    if (size < most) {
      this.#waitsForQuiet = true;
      this.#environment.postWhenQuiet(() => {
        this.#waitsForQuiet = false;
        this.#wake();
      });
    }
    this.#hand(all.subarray(0, size));
    this.#wake();
  }

  #hand(bytes: Buffer): void {
    if (this.#shared === null) {
      this.handler.onTransportData(Buffer.from(bytes), 0, bytes.length);
      return;
    }
    const { memory } = this.#shared;
    bytes.copy(memory, READ_HEADROOM);
    this.handler.onTransportData(memory, READ_HEADROOM, READ_HEADROOM + bytes.length);
    if (!this.#lent && this.#shared.memory === memory) memory.fill(POISON, 0, READ_HEADROOM + bytes.length);
  }

  /** Writes what waits, as far as it goes. Returns whether all has left and the handler was told. */
  #flush(): boolean {
    for (let write = this.#pending[0]; write !== undefined; write = this.#pending[0]) {
      if (!write.view.equals(write.copy)) throw new Error('memory that a transport points into was overwritten');
      const taken = this.#handOver(write.view);
      if (taken < write.view.length) {
        write.view = write.view.subarray(taken);
        write.copy = write.copy.subarray(taken);
        return false;
      }
      this.#pending.shift();
    }
    this.#sendFin();
    this.#wake();
    this.handler.onTransportDrain();
    return true;
  }

  #reportClose(error: Error | null): void {
    this.#closeReported = true;
    if (!this.#destroyed) {
      this.#destroyed = true;
      this.#pending = [];
      this.#received = [];
      this.#receivedBytes = 0;
      if (error === null || this.#failure === null) this.#tellPeer('fin');
    }
    this.handler.onTransportClose(error);
  }
}
