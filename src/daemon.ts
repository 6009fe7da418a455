/**
 * Runs the program in the background: Node cannot fork itself, so it starts itself again, without a terminal, and waits
 * until that process runs or says why it does not. It knows neither configuration nor pooler.
 */
import { spawn } from 'node:child_process';

/** Set for the process in the background, so that it does not do the same. */
const MARK = '_TSBOUNCER_BACKGROUND';

interface Report {
  /** Null: it runs. */
  readonly problem: string | null;
}

export function isInBackground(): boolean {
  return process.env[MARK] === '1' && process.send !== undefined;
}

/** For the process in the background: `problem` is what the one before it prints. */
export function reportFromBackground(problem: string | null): Promise<void> {
  return new Promise((resolve) => {
    // When it has been sent, or the other one has not waited for it.
    process.send?.({ problem } satisfies Report, () => {
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}

/** Starts `program` with `args` again; resolves with what it reports. Its log is its own: it has no standard output. */
export function runInBackground(program: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, [MARK]: '1' },
    });
    const settle = (problem: string | null): void => {
      child.removeAllListeners();
      if (child.connected) child.disconnect();
      child.unref();
      resolve(problem);
    };
    child.once('message', (message) => settle(isReport(message) ? message.problem : null));
    child.once('error', (error) => settle(error.message));
    child.once('exit', (code, signal) =>
      settle(`the process in the background ended (${signal ?? `exit code ${code}`})`),
    );
  });
}

function isReport(message: unknown): message is Report {
  return typeof message === 'object' && message !== null && 'problem' in message;
}
