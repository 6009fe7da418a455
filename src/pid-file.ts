/**
 * The file that says under which process id the pooler runs: taken at start, given back at the end. It is there as a
 * whole or not at all; one that a dead process has left is replaced.
 */
import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { StartError } from './start-error.ts';

export class PidFile {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Throws the system's error, or one that names the process that has it. */
  static take(path: string): PidFile {
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, `${process.pid}\n`, { mode: 0o644 });
    try {
      // Another one may be starting at the same moment: each link succeeds for one only.
      while (!link(draft, path)) removeStale(path);
    } finally {
      unlinkSync(draft);
    }
    return new PidFile(path);
  }

  /** Only if it is still ours; whoever has become another user may not be able to, and leaves a stale one. */
  release(): void {
    try {
      if (pidIn(this.#path) === process.pid) unlinkSync(this.#path);
    } catch {
      // The next one replaces it.
    }
  }
}

function link(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

function removeStale(path: string): void {
  const pid = pidIn(path);
  // Our own number is one of an earlier container, whose processes had the same ones.
  if (pid !== null && pid !== process.pid && isAlive(pid)) {
    throw new StartError(`pidfile ${path}: another tsbouncer is running with process id ${pid}`);
  }
  rmSync(path, { force: true });
}

/** Null if there is none, or no number in it. */
function pidIn(path: string): number | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is somebody else's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
