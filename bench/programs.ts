/** Finds the programs that are not ours, and what else of this machine belongs in a result. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { delimiter, join } from 'node:path';
import type { ChildProcesses } from './child-processes.ts';
import { SetupError } from './setup-error.ts';

const TIMEOUT_MS = 10_000;

export interface PgBouncer {
  readonly path: string;
  /** As in `1.18.0`. */
  readonly version: string;
}

export function findProgram(name: string): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** `PGBOUNCER` names one; else it is the one on the PATH, or null. Throws if the one that was named does not work. */
export async function findPgBouncer(children: ChildProcesses): Promise<PgBouncer | null> {
  const named = process.env['PGBOUNCER'];
  const path = named === undefined || named === '' ? findProgram('pgbouncer') : named;
  if (path === null) return null;
  const { output } = await children.run(path, ['--version'], { timeoutMs: TIMEOUT_MS });
  const version = /PgBouncer (\d+\.\d+\S*)/i.exec(output)?.[1];
  if (version === undefined) {
    throw new SetupError(`${path} does not say that it is PgBouncer: ${output.split('\n')[0]}`);
  }
  return { path, version };
}

/** The commit that `folder` is at, and whether the sources differ from it. */
export async function describeSources(children: ChildProcesses, folder: string): Promise<string> {
  try {
    const git = async (...args: string[]): Promise<string> => {
      const { code, output } = await children.run('git', args, { timeoutMs: TIMEOUT_MS, cwd: folder });
      if (code !== 0) throw new Error(output);
      return output.trim();
    };
    const commit = await git('rev-parse', '--short', 'HEAD');
    return (await git('status', '--porcelain', 'src')) === '' ? commit : `${commit}+changes`;
  } catch {
    return 'unknown'; // not a checkout
  }
}

export function describeMachine(): { cpu: string; cores: number; kernel: string; loadAverage: number } {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    kernel: `${readFileSync('/proc/sys/kernel/ostype', 'utf8').trim()} ${release()}`,
    loadAverage: loadavg()[0] ?? 0,
  };
}
