/**
 * What a client has sent of the batch that is under way on one server, from its first Bind on, for the one error after which
 * it may be sent again: a plan whose result has changed is refused at its Bind, before anything has run. As a note it
 * hears what became of that Bind. It judges the bytes of the batch; whether anything else stands in the way is the session's
 * to know, and how it is sent again.
 */
import type { ErrorFields } from '../protocol/error-fields.ts';
import * as type from '../protocol/message-type.ts';
import type { ReplyNote } from './note-queue.ts';
import { isPlanChange, type PreparedStatement } from './prepared-statement.ts';

/** A longer batch is not kept. */
const MAX_BATCH_BYTES = 16_384;
/** Stands for the size of a batch that is too long, or nobody's. */
const NOT_KEPT = Number.MAX_SAFE_INTEGER;
const FIRST_BYTES = 256;
const HEADER_BYTES = 5;
const STATEMENT = 0x53; // S
const EMPTY = Buffer.alloc(0);
/** The batch does not begin in the chunk that is being read. */
const ELSEWHERE = -1;

export class RepeatableBatch implements ReplyNote {
  #memory = EMPTY;
  #size = 0;
  /** What the first Bind runs; null when nothing is kept. */
  #prepared: PreparedStatement | null = null;
  #beginsAt = ELSEWHERE;
  #isRejected = false;

  /**
   * A Bind of `prepared` that begins at `at` of the chunk that is being read is about to be sent, and nothing that runs or
   * reads anything was sent before it in its batch. `keep` follows. Returns the note for it.
   */
  begin(prepared: PreparedStatement, at: number): ReplyNote {
    this.#prepared = prepared;
    this.#beginsAt = at;
    this.#size = 0;
    this.#isRejected = false;
    return this;
  }

  /** What the client has sent from `buffer[from]` up to `to` has been judged. */
  keep(buffer: Buffer, from: number, to: number): void {
    if (this.#prepared === null) return;
    const start = this.#beginsAt === ELSEWHERE ? from : this.#beginsAt;
    this.#beginsAt = ELSEWHERE;
    const size = this.#size + to - start;
    if (size > MAX_BATCH_BYTES) {
      this.#size = NOT_KEPT;
      return;
    }
    if (size > this.#memory.length) this.#enlarge(size);
    buffer.copy(this.#memory, this.#size, start, to);
    this.#size = size;
  }

  /** Whoever has sent it is gone. */
  drop(): void {
    this.#size = NOT_KEPT;
  }

  /** The batch, if its first Bind was refused for its plan, and all of it is here and may be sent again; once. */
  take(): Buffer | null {
    if (!this.#isRejected) return null;
    this.#isRejected = false;
    if (this.#size === NOT_KEPT) return null;
    const bytes = this.#memory.subarray(0, this.#size);
    return isRepeatable(bytes) ? Buffer.from(bytes) : null;
  }

  // ReplyNote, for the first Bind

  answered(): void {
    this.#prepared!.answered();
    this.#prepared = null;
  }

  failed(error: ErrorFields | null): void {
    this.#prepared!.failed(error);
    this.#prepared = null;
    this.#isRejected = error !== null && isPlanChange(error);
  }

  skipped(): void {
    this.#prepared!.skipped();
    this.#prepared = null;
  }

  #enlarge(size: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 ** Math.ceil(Math.log2(size))));
    this.#memory.copy(larger, 0, 0, this.#size);
    this.#memory = larger;
  }
}

/**
 * Whether `batch`, which begins with a Bind, is one whole batch after which the client knows what its rows are like: a
 * Describe stands before the first Execute. Nothing but Bind, Describe and Execute of named statements may be in it.
 */
function isRepeatable(batch: Buffer): boolean {
  if (!fitsAnyResult(batch)) return false;
  let isDescribed = false;
  for (let at = 0; at + HEADER_BYTES <= batch.length; ) {
    const bodyAt = at + HEADER_BYTES;
    const next = at + 1 + batch.readUInt32BE(at + 1);
    if (next > batch.length) return false;
    switch (batch[at]) {
      case type.BIND:
        // The unnamed statement is another one by now, or may be.
        if (batch[batch.indexOf(0, bodyAt) + 1] === 0) return false;
        break;
      case type.DESCRIBE:
        if (batch[bodyAt] === STATEMENT && batch[bodyAt + 1] === 0) return false;
        isDescribed = true;
        break;
      case type.EXECUTE:
        if (!isDescribed) return false;
        break;
      case type.FLUSH:
        break;
      case type.SYNC:
        return isDescribed && next === batch.length;
      default:
        return false;
    }
    at = next;
  }
  return false;
}

/** Whether the Bind that `batch` begins with asks for one format for all columns: the number of columns may be another one. */
function fitsAnyResult(batch: Buffer): boolean {
  if (batch.length < HEADER_BYTES) return false;
  const end = 1 + batch.readUInt32BE(1);
  if (end > batch.length) return false;
  let at = batch.indexOf(0, batch.indexOf(0, HEADER_BYTES) + 1) + 1;
  if (at + 2 > end) return false;
  at += 2 + 2 * batch.readUInt16BE(at);
  if (at + 2 > end) return false;
  let values = batch.readUInt16BE(at);
  for (at += 2; values > 0 && at + 4 <= end; values--) at += 4 + Math.max(0, batch.readInt32BE(at));
  return values === 0 && at + 2 <= end && batch.readUInt16BE(at) <= 1;
}
