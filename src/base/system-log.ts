/**
 * The system's log, by the program `logger` as a child: Node has no datagram sockets of Unix. Lines that it does not take
 * are lost; that there is no such program is said once.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export interface SystemLogOptions {
  /** What lines begin with. */
  readonly ident: string;
  readonly facility: string;
}

/** More than that waits for nobody. */
const MAX_WAITING_BYTES = 1_048_576;

export class SystemLog {
  readonly #child: ChildProcess;

  constructor({ ident, facility }: SystemLogOptions, onProblem: (problem: string) => void) {
    // -i with a number: lines are ours, not the child's.
    const args = ['-t', ident, '-p', `${facility}.info`, `--id=${process.pid}`];
    this.#child = spawn('logger', args, { stdio: ['pipe', 'ignore', 'ignore'] });
    this.#child.on('error', (error) => onProblem(error.message));
    this.#child.stdin?.on('error', () => {});
    this.#child.unref();
  }

  write(line: string): void {
    const { stdin } = this.#child;
    if (stdin?.writable === true && stdin.writableLength < MAX_WAITING_BYTES) stdin.write(line);
  }

  close(): void {
    this.#child.stdin?.end();
  }
}
