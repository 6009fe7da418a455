/**
 * What one server owes: the replies to everything that was sent to it, in order, and for whom they are. It is the one
 * place that knows what a message means. It sees types only, never bytes, and knows neither clients nor sockets.
 *
 * The rules are PostgreSQL's (`postgres.c`, "Extended Query", "COPY Operations"):
 *  - after an error in the extended protocol the server drops everything, Queries too, until the next Sync;
 *  - an error inside a simple Query or a FunctionCall does not: its ReadyForQuery follows;
 *  - a Query or a FunctionCall ends an open batch just as a Sync does;
 *  - a Parse or Close that the pooler answers by itself is answered in its place, and not at all after an error;
 *  - a server in COPY IN answers no Sync and no Flush until CopyDone or CopyFail; one that refused the COPY, or failed
 *    it on bad data, answers each. So after CopyInResponse no Sync is sent to it, and before it none that could be
 *    read either way (`docs/architecture.md`, "COPY").
 */
import type { ErrorFields } from '../protocol/error-fields.ts';
import { FORWARD, HOLD, SKIP, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { NoteQueue, type ReplyNote } from './note-queue.ts';
import type { Destination } from './reply-entry.ts';
import * as reply from './reply-entry.ts';

/** Nothing owed the reply: the server is out of step, and no byte of it may be believed any more. */
export const NOT_OWED = -1;

/** Above this many owed replies the client has to wait: memory stays bounded whatever is pipelined. */
export const MAX_OWED = 65_536;

export class ReplyLedger {
  #ring = new Int32Array(8);
  #head = 0;
  #entries = 0;
  #owed = 0;
  #readyOwed = 0;
  /** Queries and Executes that are not answered: each may turn out to be a COPY. */
  #openersOwed = 0;
  #batchOpen = false;
  /** A Bind, Describe or Execute was sent since the last Sync, Query or FunctionCall. */
  #batchReads = false;
  #skippingToSync = false;
  #copyIn = false;
  #copyBoth = false;
  #copyDataSinceMark = false;
  #substitutes = 0;
  #substitutesGone = 0;
  readonly #notes = new NoteQueue();
  /** Types of the replies of ours that are due now, in order. */
  #due: number[] = [];
  #endedQuery = false;
  /** Since the last command was complete. */
  #showsRows = false;
  #batch = 0;

  /** How many SUBSTITUTE entries were ever recorded. */
  get substitutes(): number {
    return this.#substitutes;
  }

  /** How many of them have left: answered, or dropped because the server skipped what they were for. */
  get substitutesGone(): number {
    return this.#substitutesGone;
  }

  /** Replies (or series of them) that have not been seen to their end. */
  get owed(): number {
    return this.#owed;
  }

  /** ReadyForQuery messages that are still to come. */
  get readyOwed(): number {
    return this.#readyOwed;
  }

  /** An extended message was sent since the last Sync, Query or FunctionCall, so the session is not at a boundary. */
  get batchOpen(): boolean {
    return this.#batchOpen;
  }

  /** Nothing is on its way but what prepares or closes: what is sent now is the first of its batch that runs or reads anything. */
  get standsBeforeBatch(): boolean {
    return this.#readyOwed === 0 && !this.#batchReads;
  }

  /** The server drops everything but a Sync, and none was sent yet. */
  get skippingToSync(): boolean {
    return this.#skippingToSync;
  }

  /** The server reads CopyData. */
  get copyIn(): boolean {
    return this.#copyIn;
  }

  /** CopyBothResponse was seen: a replication stream, which ends only with the connection here. */
  get copyBoth(): boolean {
    return this.#copyBoth;
  }

  /** Counts batches: what ends one (a Sync, Query or FunctionCall) has been recorded so many times. */
  get batch(): number {
    return this.#batch;
  }

  /** For whom the next reply is; TO_CLIENT if none is owed. */
  get nextDestination(): Destination {
    return this.#entries === 0 ? reply.TO_CLIENT : reply.destinationOf(this.#ring[this.#head]!);
  }

  /** Who waits for what becomes of the message that is answered next; null for nobody. */
  get nextNote(): ReplyNote | null {
    return this.#entries > 0 && (this.#ring[this.#head]! & reply.NOTED) !== 0 ? this.#notes.first : null;
  }

  /** What is answered next is a simple Query. */
  get nextIsQuery(): boolean {
    return this.#entries > 0 && (this.#ring[this.#head]! & reply.KIND_MASK) === reply.QUERY;
  }

  /** The command that is being answered has sent a row or, in a simple Query, said what its rows are like. */
  get showsRows(): boolean {
    return this.#showsRows;
  }

  /** Replies of our own are due: they go to the client behind the message that is being judged. */
  get hasDue(): boolean {
    return this.#due.length > 0;
  }

  /** The last ReadyForQuery ended a simple Query (which has dropped the unnamed statement). */
  get endedQuery(): boolean {
    return this.#endedQuery;
  }

  /** Nothing is owed and nothing is open: the session stands between two requests. */
  get idle(): boolean {
    return this.#owed === 0 && !this.#batchOpen && !this.#copyIn;
  }

  /**
   * A message of type `code` is about to be sent on behalf of a client (or, with `destination`, of ours). FORWARD: it is
   * recorded. SKIP: the server must not see it. HOLD: it cannot be decided yet; ask again after the next reply.
   * `note` hears what became of it.
   */
  admit(code: number, destination: Destination = reply.TO_CLIENT, note: ReplyNote | null = null): Verdict {
    switch (code) {
      case type.QUERY:
        return this.#record(reply.QUERY, destination, note);
      case type.PARSE:
        return this.#record(reply.PARSE, destination, note);
      case type.BIND:
        return this.#record(reply.BIND, destination, note);
      case type.DESCRIBE:
        return this.#record(reply.DESCRIBE, destination, note);
      case type.EXECUTE:
        return this.#record(reply.EXECUTE, destination, note);
      case type.CLOSE:
        return this.#record(reply.CLOSE, destination, note);
      case type.FUNCTION_CALL:
        return this.#record(reply.FUNCTION, destination);
      case type.SYNC:
        if (this.#copyIn) return SKIP;
        if (this.syncIsAmbiguous) return HOLD;
        return this.#record(reply.SYNC, destination);
      case type.FLUSH:
        return this.#copyIn || !this.#batchOpen ? SKIP : FORWARD;
      case type.COPY_DATA:
        this.#copyDataSinceMark = true;
        return FORWARD;
      case type.COPY_DONE:
      case type.COPY_FAIL:
        this.#endCopyData();
        return FORWARD;
      default:
        throw new Error(`message type ${code} is not for servers`);
    }
  }

  /**
   * A Parse or Close of the client's that the server is not asked: PostgreSQL would say yes. The answer is due when
   * everything before it has been answered (`takeDue`), perhaps at once, and is dropped if an error comes first.
   */
  answerOurselves(code: typeof type.PARSE | typeof type.CLOSE, note: ReplyNote): void {
    this.#record(code === type.PARSE ? reply.OWN_PARSE : reply.OWN_CLOSE, reply.TO_CLIENT, note);
    this.#collectDue();
  }

  /**
   * An error has come that the client will not hear of. If nothing more is owed than the ReadyForQuery of its batch, that is
   * nobody's from now on; returns whether it is so.
   */
  withdrawReady(): boolean {
    const ready = reply.SYNC | (reply.TO_CLIENT << reply.DESTINATION_SHIFT) | reply.ONE;
    if (this.#batchOpen || this.#entries !== 1 || this.#ring[this.#head] !== ready) return false;
    this.#ring[this.#head] = reply.SYNC | (reply.TO_NOBODY << reply.DESTINATION_SHIFT) | reply.ONE;
    return true;
  }

  /** The types of our own replies that are due, in order. */
  takeDue(): readonly number[] {
    const due = this.#due;
    this.#due = [];
    return due;
  }

  /** A Sync now would be ignored by a server in COPY IN, and answered by one that refused the COPY. */
  get syncIsAmbiguous(): boolean {
    return this.#copyDataSinceMark && this.#openersOwed > 0 && !this.#copyIn;
  }

  /**
   * A reply of type `code` has arrived (`error`: what an ErrorResponse says, if it was read). Says for whom it is, or
   * NOT_OWED. Not for N, S and A, which nobody asks for.
   */
  reply(code: number, error: ErrorFields | null = null): Destination | typeof NOT_OWED {
    if (this.#entries === 0) return NOT_OWED;
    const entry = this.#ring[this.#head]!;
    const kind = entry & reply.KIND_MASK;
    const destination = reply.destinationOf(entry);
    switch (code) {
      case type.DATA_ROW:
        this.#showsRows = true;
        return kind === reply.EXECUTE || kind === reply.QUERY ? destination : NOT_OWED;
      case type.COPY_DATA:
      case type.COPY_DONE:
      case type.COPY_OUT_RESPONSE:
        return kind === reply.EXECUTE || kind === reply.QUERY ? destination : NOT_OWED;
      case type.ROW_DESCRIPTION:
        if (kind === reply.DESCRIBE) {
          this.#pop();
          return destination;
        }
        this.#showsRows = true;
        if (kind !== reply.QUERY && kind !== reply.EXECUTE) return NOT_OWED;
        return destination;
      case type.COMMAND_COMPLETE:
      case type.EMPTY_QUERY_RESPONSE:
        this.#showsRows = false;
        if (kind === reply.EXECUTE) this.#pop();
        else if (kind !== reply.QUERY) return NOT_OWED;
        this.#copyBoth = false;
        return destination;
      case type.READY_FOR_QUERY:
        if (kind < reply.READY_KINDS) return NOT_OWED;
        this.#endedQuery = kind === reply.QUERY;
        this.#pop();
        return destination;
      case type.PARSE_COMPLETE:
        return this.#completes(reply.PARSE, kind, destination);
      case type.BIND_COMPLETE:
        return this.#completes(reply.BIND, kind, destination);
      case type.CLOSE_COMPLETE:
        return this.#completes(reply.CLOSE, kind, destination);
      case type.PORTAL_SUSPENDED:
        this.#showsRows = false;
        return this.#completes(reply.EXECUTE, kind, destination);
      case type.NO_DATA:
        return this.#completes(reply.DESCRIBE, kind, destination);
      case type.PARAMETER_DESCRIPTION:
        return kind === reply.DESCRIBE ? destination : NOT_OWED;
      case type.FUNCTION_CALL_RESPONSE:
        return kind === reply.FUNCTION ? destination : NOT_OWED;
      case type.COPY_IN_RESPONSE:
      case type.COPY_BOTH_RESPONSE:
        if (kind !== reply.EXECUTE && kind !== reply.QUERY) return NOT_OWED;
        this.#beginCopyIn(kind, code === type.COPY_BOTH_RESPONSE);
        return destination;
      case type.ERROR_RESPONSE:
        this.#copyIn = false;
        this.#copyBoth = false;
        this.#showsRows = false;
        if (kind < reply.READY_KINDS) this.#dropToSync(error);
        return destination;
      default:
        return NOT_OWED;
    }
  }

  #record(kind: number, destination: Destination, note: ReplyNote | null = null): Verdict {
    if (this.#skippingToSync) {
      // The server will not even look at it.
      if (kind !== reply.SYNC) {
        note?.skipped();
        return FORWARD;
      }
      this.#skippingToSync = false;
    }
    this.#push(kind, destination, note);
    if (kind >= reply.READY_KINDS) {
      this.#readyOwed++;
      this.#batch++;
      this.#batchOpen = false;
      this.#batchReads = false;
    } else {
      this.#batchOpen = true;
      if (kind >= reply.BIND && kind <= reply.EXECUTE) this.#batchReads = true;
    }
    if (kind === reply.QUERY || kind === reply.EXECUTE) this.#openersOwed++;
    return FORWARD;
  }

  #push(kind: number, destination: Destination, note: ReplyNote | null = null): void {
    const ring = this.#ring;
    const entry = kind | (destination << reply.DESTINATION_SHIFT) | (note === null ? 0 : reply.NOTED);
    if (note !== null) this.#notes.push(note);
    this.#owed++;
    if (destination === reply.SUBSTITUTE) this.#substitutes++;
    if (this.#entries > 0) {
      const last = (this.#head + this.#entries - 1) & (ring.length - 1);
      const value = ring[last]!;
      if ((value & reply.ENTRY_MASK) === entry && value >> 8 < reply.MAX_COUNT) {
        ring[last] = value + reply.ONE;
        return;
      }
    }
    if (this.#entries === ring.length) this.#enlarge();
    this.#ring[(this.#head + this.#entries) & (this.#ring.length - 1)] = entry | reply.ONE;
    this.#entries++;
  }

  #enlarge(): void {
    const old = this.#ring;
    const larger = new Int32Array(old.length * 2);
    for (let i = 0; i < this.#entries; i++) larger[i] = old[(this.#head + i) & (old.length - 1)]!;
    this.#ring = larger;
    this.#head = 0;
  }

  /** The first owed reply is complete. */
  #pop(): void {
    const ring = this.#ring;
    const entry = ring[this.#head]!;
    const kind = entry & reply.KIND_MASK;
    this.#owed--;
    if (kind >= reply.READY_KINDS) this.#readyOwed--;
    if (kind === reply.QUERY || kind === reply.EXECUTE) this.#openersOwed--;
    if (this.#openersOwed === 0) this.#copyDataSinceMark = false;
    if (reply.isSubstitute(entry)) this.#substitutesGone++;
    if ((entry & reply.NOTED) !== 0) this.#notes.shift().answered();
    if (entry >> 8 > 1) {
      ring[this.#head] = entry - reply.ONE;
      return;
    }
    this.#dropEntry();
    this.#collectDue();
  }

  /** What has reached the head and is not the server's to answer. */
  #collectDue(): void {
    while (this.#entries > 0) {
      const entry = this.#ring[this.#head]!;
      const kind = entry & reply.KIND_MASK;
      // Marks that have reached the head belong to a COPY that never was.
      if (kind === reply.COPY_MARK) {
        this.#dropMarks();
        continue;
      }
      if (kind !== reply.OWN_PARSE && kind !== reply.OWN_CLOSE) return;
      for (let count = entry >> 8; count > 0; count--) {
        this.#owed--;
        this.#due.push(kind === reply.OWN_PARSE ? type.PARSE_COMPLETE : type.CLOSE_COMPLETE);
        this.#notes.shift().answered();
      }
      this.#dropEntry();
    }
  }

  #dropEntry(): void {
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#entries--;
  }

  #dropMarks(): void {
    this.#owed -= this.#ring[this.#head]! >> 8;
    this.#dropEntry();
  }

  #completes(expected: number, kind: number, destination: Destination): Destination | typeof NOT_OWED {
    if (kind !== expected) return NOT_OWED;
    this.#pop();
    return destination;
  }

  #endCopyData(): void {
    this.#copyDataSinceMark = false;
    if (this.#copyIn) this.#copyIn = false;
    // Without anything that could be a COPY, the server ignores it.
    else if (this.#openersOwed > 0 && !this.#skippingToSync) this.#push(reply.COPY_MARK, reply.TO_CLIENT);
  }

  /** The first entry is a COPY that the server has accepted: it ignores the Syncs that were sent up to the end of the data. */
  #beginCopyIn(kind: number, both: boolean): void {
    this.#copyBoth = both;
    this.#copyIn = true;
    const entries: number[] = [];
    let inData = true;
    for (let i = 0; i < this.#entries; i++) {
      const entry = this.#ring[(this.#head + i) & (this.#ring.length - 1)]!;
      const count = entry >> 8;
      if (inData && i > 0 && (entry & reply.KIND_MASK) === reply.SYNC) {
        this.#owed -= count;
        this.#readyOwed -= count;
        continue;
      }
      if (inData && (entry & reply.KIND_MASK) === reply.COPY_MARK) {
        inData = false;
        this.#copyIn = false;
        this.#owed--;
        if (count > 1) entries.push(entry - reply.ONE);
        continue;
      }
      entries.push(entry);
    }
    this.#ring.set(entries);
    this.#head = 0;
    this.#entries = entries.length;
    // The Sync that seemed to end the batch did not.
    if (kind === reply.EXECUTE && this.#readyOwed === 0) {
      this.#batchOpen = true;
      this.#batchReads = true;
    }
  }

  /** The first entry failed: of what follows it, the server looks at nothing before the next Sync. */
  #dropToSync(error: ErrorFields | null): void {
    const failed = (this.#ring[this.#head]! & reply.NOTED) === 0 ? null : this.#notes.shift();
    let skipped = failed === null ? 0 : -1;
    while (this.#entries > 0) {
      const entry = this.#ring[this.#head]!;
      const kind = entry & reply.KIND_MASK;
      const count = entry >> 8;
      if (kind === reply.SYNC) {
        this.#notes.skip(skipped);
        failed?.failed(error);
        if (this.#openersOwed === 0) this.#copyDataSinceMark = false;
        return;
      }
      if ((entry & reply.NOTED) !== 0) skipped += count;
      this.#owed -= count;
      if (kind >= reply.READY_KINDS) this.#readyOwed -= count;
      if (kind === reply.QUERY || kind === reply.EXECUTE) this.#openersOwed -= count;
      if (reply.isSubstitute(entry)) this.#substitutesGone += count;
      this.#dropEntry();
    }
    this.#notes.skip(skipped);
    failed?.failed(error);
    this.#skippingToSync = true;
    this.#batchOpen = true;
    this.#copyDataSinceMark = false;
  }
}
