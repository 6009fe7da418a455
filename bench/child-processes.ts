/** Every process that a run has started, so that none of them outlives it. It does not know what they are. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { type RunUser, spawnAs } from '../src/embedded-postgres-install.ts';
import { SetupError } from './setup-error.ts';

const SHOWN_LOG_LINES = 5;

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

export class ChildProcesses {
  readonly #running = new Set<ChildProcess>();
  #isOver = false;

  /** Starts a process whose words go to `logPath`. It fails with a word of why if the program cannot be started. */
  start(file: string, args: readonly string[], options: StartOptions): Promise<ChildProcess> {
    const log = openSync(options.logPath, 'a');
    try {
      const stdio: SpawnOptions['stdio'] = ['ignore', log, log, ...(options.ipc === true ? (['ipc'] as const) : [])];
      return started(this.#spawn(options.user ?? null, file, args, { stdio }), file);
    } finally {
      closeSync(log);
    }
  }

  /** Runs a program to its end; kills it, and rejects, after `timeoutMs`. */
  async run(file: string, args: readonly string[], options: RunOptions): Promise<Outcome> {
    const { env = {}, cwd = '/', timeoutMs } = options;
    const child = this.#spawn(null, file, args, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd });
    await started(child, file);
    let output = '';
    const collect = (text: string): void => {
      output += text;
    };
    child.stdout?.setEncoding('utf8').on('data', collect);
    child.stderr?.setEncoding('utf8').on('data', collect);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    clearTimeout(timer);
    if (isLate) throw new Error(`${file} did not end within ${timeoutMs / 1000} s: ${lastLines(output)}`);
    return { code, output };
  }

  /** Nobody here keeps anything on disk, so there is no order to end them in. Resolves when it is gone. */
  async end(child: ChildProcess): Promise<void> {
    if (!this.#running.has(child)) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  /** Ends all of them, and lets none be started any more. */
  killAll(): void {
    this.#isOver = true;
    for (const child of this.#running) child.kill('SIGKILL');
  }

  #spawn(user: RunUser, file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    if (this.#isOver) throw new Error('the run is over');
    const child = spawnAs(user, file, args, options);
    this.#running.add(child);
    child.on('exit', () => this.#running.delete(child));
    child.on('error', () => this.#running.delete(child)); // it never ran
    return child;
  }
}

interface StartOptions {
  readonly logPath: string;
  readonly user?: RunUser;
  readonly ipc?: boolean;
}

interface RunOptions {
  readonly timeoutMs: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

function started(child: ChildProcess, file: string): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new SetupError(`${file} cannot be started: ${error.message}`)));
    child.once('spawn', () => resolve(child));
  });
}

/** What a program complained of last, else what it said last, in one line. */
export function lastWords(logPath: string): string {
  return lastLines(readFileSync(logPath, 'utf8'));
}

export function lastLines(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const complaints = lines.filter((line) => /error|fatal|panic/i.test(line));
  const shown = complaints.length > 0 ? complaints : lines;
  return shown.slice(-SHOWN_LOG_LINES).join(' | ') || 'it said nothing';
}
