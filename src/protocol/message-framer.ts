/**
 * Cuts a byte stream into messages without holding them: it looks at each header, asks its handler for a verdict, and
 * hands neighbouring forwarded messages on as one view of the chunk. A message's body is gathered only when the handler
 * says FETCH. It knows neither what a message means nor where its bytes go.
 *
 * PostgreSQL, "Message Flow": one type byte, then a length of four bytes that counts itself but not the type.
 */
import { COPY_DATA } from './message-type.ts';

export const FORWARD = 0; // its bytes are part of a run, however many there are
export const SKIP = 1; //    its bytes are dropped
export const FETCH = 2; //   it is brought whole, then `onFetched` decides (FORWARD, SKIP or STOP)
export const HOLD = 3; //    stop in front of it (`onHeld` follows): the caller keeps the rest until it is told to go on
export const MORE = 4; //    the handler wants to see more of the body first (only while it is shorter than what it wants)
export const FLUSH = 5; //   as FORWARD; when the message is complete, the run is handed over and `onFlushed` called
export const STOP = 6; //    nothing of this stream is of interest any more
export const DROP = 7; //    as SKIP; but everything before it has been handed over when `onDropped` is called
export const SPLICE = 8; //  its beginning is replaced by `onSpliced`, the rest is forwarded
export type Verdict =
  | typeof FORWARD
  | typeof SKIP
  | typeof FETCH
  | typeof HOLD
  | typeof MORE
  | typeof FLUSH
  | typeof STOP
  | typeof DROP
  | typeof SPLICE;

export interface MessageHandler {
  /**
   * A header was read. The body begins at `buffer[bodyAt]` and is present as far as `end`. Bytes of earlier messages may
   * still be waiting as a run, so whatever must come after them belongs in `onFetched` or `onFlushed`.
   */
  onHeader(type: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict;
  /** Forwarded bytes. They are in the chunk's memory, or (`own`) in memory that nobody will overwrite. */
  onRun(buffer: Buffer, from: number, to: number, own: boolean): void;
  /**
   * The message that FETCH asked for; everything before it has been handed over. The answer is FORWARD, SKIP, STOP, or
   * HOLD: then it is kept, and asked about again by `retry`.
   */
  onFetched(type: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict;
  /** The message that FLUSH asked for and everything before it has been handed over. */
  onFlushed(type: number): void;
  /**
   * The message that SPLICE asked for, as far as it is here (`end`); everything before it has been handed over. Returns up
   * to where its bytes are replaced: those behind it are forwarded.
   */
  onSpliced(type: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): number;
  /** The message that HOLD asked for stays; everything before it has been handed over. */
  onHeld(type: number): void;
  /** The message that DROP said is not forwarded; everything before it has been handed over. */
  onDropped(type: number): void;
  /** A length that no message can have. The stream is lost: nothing is ever resynchronised by scanning. */
  onMalformed(type: number, length: number): void;
}

export const HEADER_BYTES = 5;

const FETCH_FIRST_BYTES = 1024;

export class MessageFramer {
  readonly #handler: MessageHandler;
  /** The largest length field that is accepted. */
  #maxLength: number;
  readonly #rowType: number;
  /** Body bytes of the current message that have not arrived. */
  #remaining = 0;
  /** What happens to the rest of the current message: FORWARD, SKIP or FETCH. */
  #disposition: Verdict = FORWARD;
  #fetched: Buffer | null = null;
  #fetchedBytes = 0;
  /** A fetched message is kept until `retry`. */
  #fetchedIsHeld = false;
  /** The type of a message that FLUSH began and that is not complete. */
  #flushType = 0;
  #stopped = false;

  /**
   * `rowType` names a second type, besides CopyData, of which long series come and whose verdict cannot change within a
   * chunk: DataRow in what a server sends. (The same byte means Describe in what a client sends.)
   */
  constructor(handler: MessageHandler, maxLength: number, rowType: number = COPY_DATA) {
    this.#handler = handler;
    this.#maxLength = maxLength;
    this.#rowType = rowType;
  }

  /** The longest that a message may say it is, from the next one on. */
  set maxLength(bytes: number) {
    this.#maxLength = bytes;
  }

  /** Whether a message is partly through: its header was decided, its body is not complete. */
  get midMessage(): boolean {
    return this.#remaining > 0;
  }

  /** Whether a message is partly forwarded, so that what it goes to could not understand anything else now. */
  get midForward(): boolean {
    return this.#remaining > 0 && (this.#disposition === FORWARD || this.#disposition === FLUSH);
  }

  /** Drops the rest of a message that is partly forwarded. */
  skipRest(): void {
    if (this.midForward) this.#disposition = SKIP;
  }

  /** Ignores all further input. May be called by the handler during `feed`. */
  stop(): void {
    this.#stopped = true;
    this.#fetched = null;
  }

  /**
   * Takes in `buffer[start, end)`. Returns up to where it was consumed; the rest (an incomplete header, or everything
   * from a held message on) must be given again, followed by what came after it.
   */
  feed(buffer: Buffer, start: number, end: number): number {
    if (this.#stopped) return end;
    let at = start;
    let runStart = start;
    if (this.#remaining > 0) {
      const isRun = this.midForward;
      at = this.#continue(buffer, start, end);
      if (this.#stopped) return end;
      runStart = isRun ? start : at;
      if (this.#remaining > 0) {
        if (runStart < at) this.#handler.onRun(buffer, runStart, at, false);
        return end;
      }
      if (this.#disposition === FLUSH) {
        this.#handler.onRun(buffer, runStart, at, false);
        runStart = at;
        this.#handler.onFlushed(this.#flushType);
        if (this.#stopped) return end;
      }
      if (this.#fetchedIsHeld) return at;
    }
    while (end - at >= HEADER_BYTES) {
      const type = buffer[at]!;
      const length = lengthAt(buffer, at);
      if (length < 4 || length > this.#maxLength) {
        if (runStart < at) this.#handler.onRun(buffer, runStart, at, false);
        this.#handler.onMalformed(type, length);
        this.stop();
        return end;
      }
      const bodyLength = length - 4;
      let next = at + 1 + length;
      const verdict = this.#handler.onHeader(type, bodyLength, buffer, at + HEADER_BYTES, end);
      if (verdict === FORWARD) {
        if (next <= end && (type === COPY_DATA || type === this.#rowType)) {
          next = this.#sameTypeEnd(type, buffer, next, end);
        }
        if (next > end) {
          this.#remaining = next - end;
          this.#disposition = FORWARD;
          next = end;
        }
        at = next;
        continue;
      }
      if (verdict === FLUSH) {
        if (next > end) {
          this.#remaining = next - end;
          this.#disposition = FLUSH;
          this.#flushType = type;
          at = end;
          break;
        }
        at = next;
        this.#handler.onRun(buffer, runStart, at, false);
        runStart = at;
        this.#handler.onFlushed(type);
        if (this.#stopped) return end;
        continue;
      }
      if (runStart < at) this.#handler.onRun(buffer, runStart, at, false);
      if (this.#stopped) return end;
      switch (verdict) {
        case HOLD:
          this.#handler.onHeld(type);
          return this.#stopped ? end : at;
        case MORE:
          return at;
        case STOP:
          this.stop();
          return end;
        case DROP:
          this.#handler.onDropped(type);
          if (this.#stopped) return end;
          this.#remaining = Math.max(0, next - end);
          this.#disposition = SKIP;
          at = Math.min(next, end);
          runStart = at;
          break;
        case SKIP:
          this.#remaining = Math.max(0, next - end);
          this.#disposition = SKIP;
          at = Math.min(next, end);
          runStart = at;
          break;
        case FETCH: {
          if (next > end) {
            this.#startFetch(buffer, at, end, next - end);
            return end;
          }
          const decision = this.#decideFetched(type, buffer, at + HEADER_BYTES, next);
          if (this.#stopped) return end;
          // It is still in the chunk, and will be found there again.
          if (decision === HOLD) return at;
          runStart = decision === FORWARD ? at : next;
          at = next;
          break;
        }
        case SPLICE:
          runStart = this.#handler.onSpliced(type, bodyLength, buffer, at + HEADER_BYTES, end);
          if (this.#stopped) return end;
          this.#remaining = Math.max(0, next - end);
          this.#disposition = FORWARD;
          at = Math.min(next, end);
          break;
      }
    }
    if (runStart < at) this.#handler.onRun(buffer, runStart, at, false);
    return this.#stopped ? end : at;
  }

  /** Goes on with the message that an earlier chunk began. Returns where it (or the chunk) ends. */
  #continue(buffer: Buffer, start: number, end: number): number {
    const take = Math.min(this.#remaining, end - start);
    this.#remaining -= take;
    if (this.#disposition === FETCH) {
      const fetched = this.#grow(take);
      buffer.copy(fetched, this.#fetchedBytes, start, start + take);
      this.#fetchedBytes += take;
      if (this.#remaining === 0) this.#finishFetch(fetched);
    }
    return start + take;
  }

  #startFetch(buffer: Buffer, at: number, end: number, remaining: number): void {
    this.#remaining = remaining;
    this.#disposition = FETCH;
    this.#fetchedBytes = 0;
    this.#fetched = null;
    const fetched = this.#grow(end - at);
    buffer.copy(fetched, 0, at, end);
    this.#fetchedBytes = end - at;
  }

  /** Memory follows the bytes that arrived, never the length that a header claims. */
  #grow(extra: number): Buffer {
    const needed = this.#fetchedBytes + extra;
    const old = this.#fetched;
    if (old !== null && old.length >= needed) return old;
    const larger = Buffer.allocUnsafeSlow(Math.max(FETCH_FIRST_BYTES, needed, 2 * this.#fetchedBytes));
    if (old !== null) old.copy(larger, 0, 0, this.#fetchedBytes);
    this.#fetched = larger;
    return larger;
  }

  #finishFetch(message: Buffer): void {
    const length = this.#fetchedBytes;
    const verdict = this.#decideFetched(message[0]!, message, HEADER_BYTES, length);
    this.#fetchedIsHeld = verdict === HOLD && !this.#stopped;
    if (this.#fetchedIsHeld) return;
    this.#fetched = null;
    this.#fetchedBytes = 0;
    if (verdict === FORWARD && !this.#stopped) this.#handler.onRun(message, 0, length, true);
  }

  /** Asks about a fetched message that was held. Returns false if it still is: nothing may be fed before it goes. */
  retry(): boolean {
    if (this.#fetchedIsHeld && this.#fetched !== null) this.#finishFetch(this.#fetched);
    return !this.#fetchedIsHeld;
  }

  #decideFetched(type: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    const verdict = this.#handler.onFetched(type, buffer, bodyAt, bodyEnd);
    if (verdict === STOP) this.stop();
    else if (verdict === HOLD) this.#handler.onHeld(type);
    return verdict;
  }

  /** Where the unbroken series of complete messages of one type ends that begins at `at`. */
  #sameTypeEnd(type: number, buffer: Buffer, at: number, end: number): number {
    while (end - at >= HEADER_BYTES && buffer[at] === type) {
      const length = lengthAt(buffer, at);
      if (length < 4 || length > this.#maxLength || length >= end - at) break;
      at += 1 + length;
    }
    return at;
  }
}

function lengthAt(buffer: Buffer, at: number): number {
  return ((buffer[at + 1]! << 24) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 8) | buffer[at + 4]!) >>> 0;
}
