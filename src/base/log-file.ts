/**
 * Where lines of the log go: a file, or standard output. A line that cannot be written at once is lost and counted,
 * whatever the reason: the log never stops the pooling. It knows nothing of what a line says.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';

const STANDARD_OUTPUT = 1;
const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
/** Who logs may read it, and the group. */
const MODE = 0o640;

export class LogFile {
  readonly #descriptor: number;
  /** What did not fit of the last line. */
  #rest: Buffer | null = null;
  #lost = 0;
  /** The last write has failed. */
  #isStuck = false;

  /** `path` null: standard output. Throws the system's error if the file cannot be opened. */
  constructor(path: string | null) {
    this.#descriptor =
      path === null ? standardOutput() : openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, MODE);
  }

  write(line: string): void {
    if (this.#rest !== null && !this.#put(this.#rest)) this.#lost++;
    else this.#put(Buffer.from(line));
  }

  /** Lines lost since it was last asked; 0 while none can be written. */
  takeLost(): number {
    if (this.#isStuck || this.#rest !== null) return 0;
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  close(): void {
    if (this.#descriptor === STANDARD_OUTPUT) return;
    closeSync(this.#descriptor);
  }

  /** Whether all of it was written. What does not fit of a line that was begun is kept. */
  #put(bytes: Buffer): boolean {
    const isRest = bytes === this.#rest;
    try {
      const written = writeSync(this.#descriptor, bytes);
      this.#rest = written < bytes.length ? bytes.subarray(written) : null;
      this.#isStuck = false;
    } catch {
      // A full pipe or disk, or nobody who reads.
      this.#isStuck = true;
      if (!isRest) this.#lost++;
      return false;
    }
    return this.#rest === null;
  }
}

/** A pipe that nobody reads must not stop us, but whether it does is a property that others share with us: ours is opened anew. */
function standardOutput(): number {
  try {
    if (!fstatSync(STANDARD_OUTPUT).isFIFO()) return STANDARD_OUTPUT;
    return openSync('/proc/self/fd/1', O_WRONLY | O_APPEND | O_NONBLOCK);
  } catch {
    return STANDARD_OUTPUT;
  }
}
