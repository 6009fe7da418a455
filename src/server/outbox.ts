/**
 * Gathers what goes to one server while a chunk of its client's is read, when some of it is ours: rewritten and added
 * messages leave together with the client's bytes in one write. One memory for all servers: only one is gathered for at a
 * time. It knows no messages.
 */
import { READ_CHUNK_BYTES, WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { Wire } from '../net/wire.ts';

/** A chunk, and what is added to it. */
const SIZE = READ_CHUNK_BYTES + 16_384;
/** Shorter copies are faster byte by byte than by the engine's memmove. */
const SHORT_COPY_BYTES = 64;

export class Outbox {
  readonly #memory = Buffer.allocUnsafeSlow(SIZE);
  #wire: Wire | null = null;
  #used = 0;

  /** Whether something for `wire` is in it. */
  holds(wire: Wire): boolean {
    return this.#wire === wire;
  }

  /** Adds `buffer[from, to)`, behind everything that was sent or added before. */
  add(wire: Wire, buffer: Buffer, from: number, to: number): WriteResult {
    if (this.#wire !== wire) this.flush();
    this.#wire = wire;
    const length = to - from;
    if (length > SIZE - this.#used) {
      this.flush();
      return wire.sendCopy(buffer, from, to);
    }
    if (length <= SHORT_COPY_BYTES) {
      let at = this.#used;
      for (let i = from; i < to; i++) this.#memory[at++] = buffer[i]!;
    } else {
      buffer.copy(this.#memory, this.#used, from, to);
    }
    this.#used += length;
    return WRITE_GONE;
  }

  /** The beginning of a message: type and length. */
  addHeader(wire: Wire, type: number, length: number): void {
    if (this.#wire !== wire || SIZE - this.#used < 5) this.flush();
    this.#wire = wire;
    const memory = this.#memory;
    const at = this.#used;
    memory[at] = type;
    memory[at + 1] = length >>> 24;
    memory[at + 2] = length >>> 16;
    memory[at + 3] = length >>> 8;
    memory[at + 4] = length;
    this.#used = at + 5;
  }

  /** Sends what was gathered. */
  flush(): WriteResult {
    const wire = this.#wire;
    if (wire === null) return WRITE_GONE;
    this.#wire = null;
    const used = this.#used;
    this.#used = 0;
    return wire.sendCopy(this.#memory, 0, used);
  }
}
