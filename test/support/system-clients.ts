/**
 * PostgreSQL's programs of the system. Where they are missing, the tests that need them are left out and say so; with
 * REQUIRE_SYSTEM_CLIENTS=1 that is a failure.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { it, type TestFunction } from 'vitest';

export type SystemClient = 'psql' | 'pgbench' | 'pg_basebackup' | 'pg_receivewal' | 'pg_recvlogical';

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** Null if a signal ended it. */
  readonly code: number | null;
}

/** Neither a user's start-up file nor the environment decides what a program does. */
const ENVIRONMENT = {
  PATH: process.env['PATH'],
  LC_ALL: 'C',
  PGAPPNAME: 'test',
  PGCONNECT_TIMEOUT: '10',
  HOME: '/nonexistent',
};

/** The program's version, or null if it is not there. */
function systemClientVersion(program: SystemClient): string | null {
  try {
    return execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

/** A test that needs `program`. */
export function itWith(program: SystemClient): (name: string, test: TestFunction) => void {
  if (systemClientVersion(program) !== null) return it;
  if (process.env['REQUIRE_SYSTEM_CLIENTS'] === '1') {
    return (name) =>
      it(name, () => {
        throw new Error(`${program} is not installed, and REQUIRE_SYSTEM_CLIENTS=1`);
      });
  }
  return (name) =>
    it(name, ({ skip }) => {
      process.stderr.write(`LEFT OUT, for want of ${program}: ${name}\n`);
      skip(`${program} is not installed`);
    });
}

export class SystemProcess {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<Outcome>;
  #wishes: (() => void)[] = [];

  constructor(program: SystemClient, argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const child = spawn(program, argv, { env: { ...ENVIRONMENT, ...env }, stdio: 'pipe' });
    this.process = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#wake();
    });
    this.#ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ stdout: this.stdout, stderr: this.stderr, code }));
    });
  }

  write(text: string): void {
    this.process.stdin?.write(text);
  }

  /** Resolves when standard output has `text` in it. */
  async says(text: string): Promise<void> {
    while (!this.stdout.includes(text)) await new Promise<void>((resolve) => this.#wishes.push(resolve));
  }

  interrupt(): void {
    this.process.kill('SIGINT');
  }

  /** Closes its standard input, and waits for its end. */
  end(): Promise<Outcome> {
    this.process.stdin?.end();
    return this.#ended;
  }

  #wake(): void {
    for (const wake of this.#wishes.splice(0)) wake();
  }
}

/** Runs it to its end, with `input` on its standard input. */
export function runSystemClient(program: SystemClient, argv: readonly string[], input = ''): Promise<Outcome> {
  const started = new SystemProcess(program, argv);
  started.write(input);
  return started.end();
}
