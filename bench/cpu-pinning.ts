/**
 * Gives the pooler a CPU of its own, and everybody else the others. Waking a process on another CPU costs more than the
 * rest of a small transaction, so a scheduler that changes its mind between two measurements makes all the difference.
 */
import { readFileSync } from 'node:fs';
import type { ChildProcesses } from './child-processes.ts';
import { SetupError } from './setup-error.ts';

const TASKSET = 'taskset';
const TIMEOUT_MS = 10_000;

/** What to put before the command of a pooler. */
export type CommandPrefix = readonly string[];

/** Moves this process, and so every child that is started after it, off the last CPU. Throws if there is only one. */
export async function reserveCpu(children: ChildProcesses): Promise<CommandPrefix> {
  const allowed = allowedCpus();
  const reserved = allowed.pop();
  if (reserved === undefined || allowed.length === 0) throw new SetupError('--pin needs at least two CPUs');
  const args = ['-a', '-p', '-c', allowed.join(','), String(process.pid)];
  const { code, output } = await children.run(TASKSET, args, { timeoutMs: TIMEOUT_MS });
  if (code !== 0) throw new SetupError(`taskset: ${output.trim()}`);
  return [TASKSET, '-c', String(reserved)];
}

function allowedCpus(): number[] {
  const text = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return text.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}
