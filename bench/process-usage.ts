/** What a process has used, as Linux tells in /proc: CPU of all its threads, and memory. It knows no other system. */
import { readFileSync } from 'node:fs';

/** USER_HZ is 100 on every platform that Node runs on: the times of /proc have steps of 10 ms. */
const TICK_MS = 10;

export interface CpuTime {
  readonly userMs: number;
  readonly systemMs: number;
}

export interface MemoryUse {
  readonly residentKb: number;
  /** The most that it has been since the process began. */
  readonly peakKb: number;
}

/** Threads that have ended are counted, too. Throws if there is no such process. */
export function cpuTimeOf(pid: number): CpuTime {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is a name in parentheses that may hold anything; utime and stime are the 14th and the 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { userMs: Number(fields[11]) * TICK_MS, systemMs: Number(fields[12]) * TICK_MS };
}

export function memoryOf(pid: number): MemoryUse {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kb = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN);
  return { residentKb: kb('VmRSS'), peakKb: kb('VmHWM') };
}

/** How many descriptors a process started by us may open: Node has raised its soft limit to the hard one at start. */
export function descriptorLimit(): number {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return line === undefined || line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line);
}
