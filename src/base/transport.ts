/**
 * The pipe of bytes below everything: one socket, or in tests a pair of memory pipes. It knows nothing of messages.
 *
 * Whose memory a chunk is in decides what may be done with it. A transport that reads into a buffer that it uses again
 * (`reusesReadBuffer`) delivers chunks which die when `onTransportData` returns.
 */
import type { TransportSecurity } from './transport-security.ts';

/** Bytes that every delivered chunk leaves free in front of `start`, so that a carried header can be put there. */
export const READ_HEADROOM = 64;

/** The most that one chunk carries. */
export const READ_CHUNK_BYTES = 65_536;

/** What stands for an address at both ends of a Unix socket, as in PgBouncer's log and console. */
export const UNIX_ADDRESS = 'unix';

/** What became of bytes that were written. */
export const WRITE_GONE = 0; //   the kernel has them all
export const WRITE_QUEUED = 1; // some wait, in memory that the transport owns
export const WRITE_LENT = 2; //   some wait, and the transport points into the caller's memory until it drains
export type WriteResult = typeof WRITE_GONE | typeof WRITE_QUEUED | typeof WRITE_LENT;

export interface TransportHandler {
  /** The socket is connected (only for dialed ones), or, on one that is being secured, the handshake has ended. */
  onTransportConnect(): void;
  /** `buffer[start, end)` has arrived; `start` is at least READ_HEADROOM where the transport reuses its buffer. */
  onTransportData(buffer: Buffer, start: number, end: number): void;
  /** Everything that was written has left. */
  onTransportDrain(): void;
  /** The peer has sent its FIN. */
  onTransportEnd(): void;
  /** The socket is gone; nothing follows. `error` is what the system said, null after an orderly close. */
  onTransportClose(error: Error | null): void;
}

export interface Transport {
  handler: TransportHandler;
  /** Chunks die with the callback; the next one may overwrite them. */
  readonly reusesReadBuffer: boolean;
  /** Bytes accepted by `write…` that have not left yet. */
  readonly unsentBytes: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Null on a plain connection, and until the handshake of a secured one has ended. */
  readonly security: TransportSecurity | null;
  /** Writes a view. On WRITE_LENT the memory must not change before the drain. */
  write(view: Buffer): WriteResult;
  /** Writes bytes whose memory is used again at once: what cannot leave now is copied. */
  writeCopy(buffer: Buffer, from: number, to: number): WriteResult;
  pause(): void;
  resume(): void;
  /** Somebody points into the last chunk's memory: nothing may be read into it before `endLoan`, or ever after a swap. */
  lend(): void;
  endLoan(): void;
  /** Reads go to fresh memory from now on: the old buffer belongs to whoever points into it. Only during a callback with data. */
  swapReadBuffer(): void;
  /** FIN after what is queued; reading goes on. */
  end(): void;
  /** Closes at once, dropping what is queued. Safe to call again. */
  destroy(): void;
  /** Closes at once with a RST, where the system can. */
  reset(): void;
}
