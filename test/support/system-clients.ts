/**
 * Programs of the system that talk to PostgreSQL, and the languages whose drivers do. Where one is missing, the tests
 * that need it are left out and say so; with REQUIRE_SYSTEM_CLIENTS=1 that is a failure.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { it, onTestFinished, type TestFunction } from 'vitest';

/** Debian's file of the JDBC driver. */
export const JDBC = '/usr/share/java/postgresql.jar';

interface Program {
  readonly file: string;
  /** A command that succeeds only where all is installed that the tests need of it. */
  readonly probe: readonly [string, ...string[]];
}

/** Languages by their whole path: the first one in the PATH may be another, which knows nothing of Debian's packages. */
const PROGRAMS = {
  psql: { file: 'psql', probe: ['psql', '--version'] },
  pg_basebackup: { file: 'pg_basebackup', probe: ['pg_basebackup', '--version'] },
  pg_receivewal: { file: 'pg_receivewal', probe: ['pg_receivewal', '--version'] },
  pg_recvlogical: { file: 'pg_recvlogical', probe: ['pg_recvlogical', '--version'] },
  pgbouncer: { file: '/usr/sbin/pgbouncer', probe: ['/usr/sbin/pgbouncer', '--version'] },
  pgbench: { file: 'pgbench', probe: ['pgbench', '--version'] },
  psycopg: { file: '/usr/bin/python3', probe: ['/usr/bin/python3', '-c', 'import psycopg'] },
  asyncpg: { file: '/usr/bin/python3', probe: ['/usr/bin/python3', '-c', 'import asyncpg'] },
  JDBC: { file: '/usr/bin/java', probe: ['/usr/bin/javap', '-cp', JDBC, 'org.postgresql.Driver'] },
  'DBD::Pg': { file: '/usr/bin/perl', probe: ['/usr/bin/perl', '-MDBD::Pg', '-e', '1'] },
  PDO: {
    file: '/usr/bin/php',
    probe: ['/usr/bin/php', '-r', 'exit(extension_loaded("pgsql") && extension_loaded("pdo_pgsql") ? 0 : 1);'],
  },
} as const satisfies Record<string, Program>;

export type SystemClient = keyof typeof PROGRAMS;

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

function isInstalled(program: SystemClient): boolean {
  const [file, ...argv] = PROGRAMS[program].probe;
  try {
    execFileSync(file, argv, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A test that needs `program`. */
export function itWith(program: SystemClient): (name: string, test: TestFunction, timeoutMs?: number) => void {
  if (isInstalled(program)) return it;
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

/** A program that runs until it ends by itself, or the present test does. */
export class SystemProcess {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<Outcome>;
  #wishes: (() => void)[] = [];
  #isOver = false;

  constructor(program: SystemClient, argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const child = spawn(PROGRAMS[program].file, argv, { env: { ...ENVIRONMENT, ...env }, stdio: 'pipe' });
    this.process = child;
    onTestFinished(() => void child.kill('SIGKILL'));
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
      child.on('close', (code) => {
        this.#isOver = true;
        this.#wake();
        resolve({ stdout: this.stdout, stderr: this.stderr, code });
      });
    });
  }

  write(text: string): void {
    this.process.stdin?.write(text);
  }

  /** Resolves when standard output has `text` in it; rejects if the program has ended without it. */
  async says(text: string): Promise<void> {
    await this.#until(text, () => this.stdout);
  }

  /** The same of standard error. */
  async complains(text: string): Promise<void> {
    await this.#until(text, () => this.stderr);
  }

  interrupt(): void {
    this.process.kill('SIGINT');
  }

  /** Closes its standard input, and waits for its end. */
  end(): Promise<Outcome> {
    this.process.stdin?.end();
    return this.#ended;
  }

  async #until(text: string, said: () => string): Promise<void> {
    while (!said().includes(text)) {
      if (this.#isOver) throw new Error(`it ended without saying ${text}: ${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => this.#wishes.push(resolve));
    }
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
