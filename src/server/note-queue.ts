/**
 * Who wants to know what became of messages to a server, in the order in which they were sent. It knows neither messages
 * nor replies; the ledger says which note's turn it is.
 */
import type { ErrorFields } from '../protocol/error-fields.ts';

export interface ReplyNote {
  /** The server has done it. */
  answered(): void;
  /** The server has tried, and refused. `error` is null where it was too long to be read. */
  failed(error: ErrorFields | null): void;
  /** The server has not looked at it, because something before it had failed. */
  skipped(): void;
}

/** Notes that have been taken out stay in front until there are so many. */
const COMPACT_AT = 64;

export class NoteQueue {
  #notes: ReplyNote[] = [];
  #head = 0;

  push(note: ReplyNote): void {
    this.#notes.push(note);
  }

  /** The first note, which stays. */
  get first(): ReplyNote | null {
    return this.#notes[this.#head] ?? null;
  }

  /** The first note, which leaves. */
  shift(): ReplyNote {
    const note = this.#notes[this.#head]!;
    this.#head++;
    if (this.#head === this.#notes.length) {
      this.#notes.length = 0;
      this.#head = 0;
    } else if (this.#head === COMPACT_AT) {
      this.#notes.splice(0, COMPACT_AT);
      this.#head = 0;
    }
    return note;
  }

  /** The first `count` notes leave, told in the reverse order: each finds what it had changed as it has left it. */
  skip(count: number): void {
    if (count === 0) return;
    const skipped = this.#notes.splice(0, this.#head + count).slice(this.#head);
    this.#head = 0;
    for (const note of skipped.toReversed()) note.skipped();
  }
}
