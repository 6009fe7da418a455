/**
 * Memory for bytes that die with their callback and have to be written: one piece for all sockets. A write that leaves
 * at once frees it at once; one that does not takes the memory with it.
 */

/** Copies longer than this go through the engine's memmove; shorter ones are faster byte by byte. */
const SHORT_COPY_BYTES = 96;
/** Views that are kept, by length: most client messages are this short, and making a view costs as much as the copy. */
const CACHED_VIEWS = 1024;

export class Scratch {
  readonly #size: number;
  #memory: Buffer;
  #views: (Buffer | undefined)[] = [];

  constructor(size: number) {
    this.#size = size;
    this.#memory = Buffer.allocUnsafeSlow(size);
  }

  /** A copy of `buffer[from, to)`, valid until the next call unless `giveAway` comes first. */
  copyOf(buffer: Buffer, from: number, to: number): Buffer {
    const length = to - from;
    if (length > this.#size) return Buffer.from(buffer.subarray(from, to));
    const memory = this.#memory;
    if (length <= SHORT_COPY_BYTES) {
      for (let i = 0; i < length; i++) memory[i] = buffer[from + i]!;
    } else {
      buffer.copy(memory, 0, from, to);
    }
    if (length >= CACHED_VIEWS) return memory.subarray(0, length);
    return (this.#views[length] ??= memory.subarray(0, length));
  }

  /** Somebody still points into the last copy: the next one goes elsewhere. */
  giveAway(): void {
    this.#memory = Buffer.allocUnsafeSlow(this.#size);
    this.#views = [];
  }
}
