/**
 * The memory that plain sockets read into, with room in front for a header that an earlier chunk began. All clients share
 * one (what is forwarded from it is copied at once); each server has its own, from which results leave without a copy.
 */
import { READ_CHUNK_BYTES, READ_HEADROOM } from '../base/transport.ts';

export class ReadBuffer {
  /** Headroom and chunk. */
  memory: Buffer;
  #swapped = false;

  constructor() {
    this.memory = allocate();
  }

  /** The part that the socket reads into. */
  get target(): Buffer {
    return this.memory.subarray(READ_HEADROOM);
  }

  /** From the next read on, fresh memory: whoever still points into the old one keeps it. */
  swap(): void {
    this.memory = allocate();
    this.#swapped = true;
  }

  /** The new target once after a swap, else null: what Node asks after each read (`onread.buffer`). */
  takeSwapped(): Buffer | null {
    if (!this.#swapped) return null;
    this.#swapped = false;
    return this.target;
  }
}

function allocate(): Buffer {
  return Buffer.allocUnsafeSlow(READ_HEADROOM + READ_CHUNK_BYTES);
}
