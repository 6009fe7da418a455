/**
 * One connection as sessions see it: a transport, the bytes that its reader could not use yet, and the brakes. It cuts
 * no messages and knows no protocol; whoever reads from it says how far it got.
 */

import { type Transport, type TransportHandler, WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { TransportSecurity } from '../base/transport-security.ts';

export interface WireReader {
  /**
   * Takes in `buffer[start, end)` and returns up to where it was used. What is left must be an incomplete header (at most
   * READ_HEADROOM bytes), unless the reader has called `hold()`. The bytes die when this returns, unless `own`.
   */
  onBytes(buffer: Buffer, start: number, end: number, own: boolean): number;
  /** The socket is connected (only a dialed one says so), or it is secured now. */
  onConnected(): void;
  /** All that was sent has left. */
  onDrain(): void;
  /** The peer sends no more. The wire still takes bytes. */
  onEnd(): void;
  /** The connection is gone; nothing follows. */
  onClosed(error: Error | null): void;
}

/** The most that is read on into memory of ours while the reader holds. A stopped socket would hide FIN and RST. */
const MAX_HELD_BYTES = 65_536;

// Why reading is stopped.
const BY_PEER = 1;
const BY_FULL_HOLD = 2;
const BY_OWN_REPLIES = 4;
const BY_SUSPENSION = 8;

const EMPTY = Buffer.alloc(0);

export class Wire implements TransportHandler {
  reader: WireReader;
  bytesReceived = 0;
  bytesSent = 0;
  #transport: Transport;
  /** What the reader has not used, in memory of our own. */
  #kept = EMPTY;
  #holding = false;
  #stopped = 0;
  #closed = false;
  #feeding = false;
  #releasedWhileFeeding = false;

  /** `connect` makes the transport, which reports to this wire. */
  constructor(reader: WireReader, connect: (handler: TransportHandler) => Transport) {
    this.reader = reader;
    this.#transport = connect(this);
  }

  get remoteAddress(): string {
    return this.#transport.remoteAddress;
  }

  get remotePort(): number {
    return this.#transport.remotePort;
  }

  get localAddress(): string {
    return this.#transport.localAddress;
  }

  get localPort(): number {
    return this.#transport.localPort;
  }

  /** See `Transport`. */
  get security(): TransportSecurity | null {
    return this.#transport.security;
  }

  /**
   * Secures the connection: `over` makes a transport in place of the plain one. The reader hears `onConnected` when the
   * handshake has ended, and the bytes that follow; until then nothing may be sent. What came before is its own to judge:
   * no byte of it reaches the new transport unless the reader passes it on.
   */
  secure(over: (plain: Transport, handler: TransportHandler) => Transport): void {
    this.#transport = over(this.#transport, this);
    if (this.#stopped !== 0) this.#transport.pause();
  }

  /** Bytes that were sent and have not left. */
  get unsentBytes(): number {
    return this.#transport.unsentBytes;
  }

  /** Bytes that the reader left over: a cut header, or what it holds. */
  get keptBytes(): number {
    return this.#kept.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends bytes in memory that nobody overwrites. */
  send(bytes: Buffer): WriteResult {
    this.bytesSent += bytes.length;
    return this.#transport.write(bytes);
  }

  /** Sends an answer of the reader's own. Who does not take it is not read from until it has. */
  reply(bytes: Buffer): void {
    if (this.send(bytes) !== WRITE_GONE) this.#stop(BY_OWN_REPLIES);
  }

  /**
   * Sends bytes out of a chunk without copying them, if they can leave at once. WRITE_LENT: the chunk's memory must stay
   * as it is until the drain.
   */
  sendView(buffer: Buffer, from: number, to: number): WriteResult {
    this.bytesSent += to - from;
    // Behind other bytes they would wait for sure, and keep the chunk for long.
    if (this.#transport.unsentBytes > 0) return this.#transport.writeCopy(buffer, from, to);
    return this.#transport.write(buffer.subarray(from, to));
  }

  /** Sends bytes out of a chunk that is overwritten soon. */
  sendCopy(buffer: Buffer, from: number, to: number): WriteResult {
    this.bytesSent += to - from;
    return this.#transport.writeCopy(buffer, from, to);
  }

  /** Called by the reader: keep everything from here on until `release`. */
  hold(): void {
    this.#holding = true;
  }

  get holding(): boolean {
    return this.#holding;
  }

  /** Gives the reader what was held, as if it arrived now. */
  release(): void {
    if (!this.#holding || this.#closed) return;
    this.#holding = false;
    if (this.#feeding) {
      this.#releasedWhileFeeding = true;
      return;
    }
    const held = this.#kept;
    this.#kept = EMPTY;
    if (held.length > 0) this.#feed(held, 0, held.length, true);
    if (!this.#holding && (this.#stopped & BY_FULL_HOLD) !== 0) this.#go(BY_FULL_HOLD);
  }

  /** Stops reading: what this wire's bytes go to is full. */
  pause(): void {
    this.#stop(BY_PEER);
  }

  resume(): void {
    this.#go(BY_PEER);
  }

  /** Stops reading until `endSuspension`, whatever else resumes. */
  suspend(): void {
    this.#stop(BY_SUSPENSION);
  }

  endSuspension(): void {
    this.#go(BY_SUSPENSION);
  }

  get paused(): boolean {
    return (this.#stopped & BY_PEER) !== 0;
  }

  /** See `Transport`. */
  lend(): void {
    this.#transport.lend();
  }

  endLoan(): void {
    this.#transport.endLoan();
  }

  swapReadBuffer(): void {
    this.#transport.swapReadBuffer();
  }

  /** FIN after what is queued. */
  end(): void {
    this.#transport.end();
  }

  destroy(): void {
    this.#transport.destroy();
  }

  onTransportConnect(): void {
    this.reader.onConnected();
  }

  onTransportData(buffer: Buffer, start: number, end: number): void {
    this.bytesReceived += end - start;
    if (this.#holding) {
      this.#keepMore(buffer, start, end);
      return;
    }
    const carried = this.#kept;
    if (carried.length === 0) {
      this.#feed(buffer, start, end, !this.#transport.reusesReadBuffer);
      return;
    }
    this.#kept = EMPTY;
    if (carried.length <= start) {
      carried.copy(buffer, start - carried.length);
      this.#feed(buffer, start - carried.length, end, false);
      return;
    }
    const joined = Buffer.concat([carried, buffer.subarray(start, end)]);
    this.#feed(joined, 0, joined.length, true);
  }

  onTransportDrain(): void {
    this.#go(BY_OWN_REPLIES);
    this.reader.onDrain();
  }

  onTransportEnd(): void {
    this.reader.onEnd();
  }

  onTransportClose(error: Error | null): void {
    this.#closed = true;
    this.#kept = EMPTY;
    this.reader.onClosed(error);
  }

  #feed(buffer: Buffer, start: number, end: number, own: boolean): void {
    let at = start;
    do {
      this.#feeding = true;
      this.#releasedWhileFeeding = false;
      at = this.reader.onBytes(buffer, at, end, own);
      this.#feeding = false;
      if (at === end || this.#closed) return;
    } while (this.#releasedWhileFeeding);
    this.#kept = Buffer.from(buffer.subarray(at, end));
    if (this.#holding && this.#kept.length >= MAX_HELD_BYTES) this.#stop(BY_FULL_HOLD);
  }

  #keepMore(buffer: Buffer, start: number, end: number): void {
    this.#kept = Buffer.concat([this.#kept, buffer.subarray(start, end)]);
    if (this.#kept.length >= MAX_HELD_BYTES) this.#stop(BY_FULL_HOLD);
  }

  #stop(reason: number): void {
    if (this.#stopped === 0) this.#transport.pause();
    this.#stopped |= reason;
  }

  #go(reason: number): void {
    if ((this.#stopped & reason) === 0) return;
    this.#stopped &= ~reason;
    if (this.#stopped === 0 && !this.#closed) this.#transport.resume();
  }
}
