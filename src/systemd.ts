/**
 * What systemd is told, and what it hands over. Node has no datagram sockets of Unix, so the program systemd-notify does
 * the telling (the unit needs NotifyAccess=all). Without systemd nothing happens; without the program that is said once.
 */
import { execFile } from 'node:child_process';
import type { Environment, Timer } from './base/environment.ts';
import type { Logger } from './base/logger.ts';

type Variables = Readonly<Record<string, string | undefined>>;

const FIRST_DESCRIPTOR = 3;

/** The sockets to listen on that this process was started with (sd_listen_fds(3)). */
export function inheritedSockets({ LISTEN_PID, LISTEN_FDS }: Variables): readonly number[] {
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== process.pid || !Number.isInteger(count) || count <= 0) return [];
  return Array.from({ length: count }, (_, at) => FIRST_DESCRIPTOR + at);
}

export class Systemd {
  readonly #variables: Variables;
  readonly #environment: Pick<Environment, 'startTimer'>;
  readonly #log: Logger;
  /** Messages go out in their order, one at a time. */
  #last: Promise<void> = Promise.resolve();
  #isSilent: boolean;
  #watchdog: Timer | null = null;

  constructor(variables: Variables, environment: Pick<Environment, 'startTimer'>, log: Logger) {
    this.#variables = variables;
    this.#environment = environment;
    this.#log = log;
    this.#isSilent = (variables['NOTIFY_SOCKET'] ?? '') === '';
  }

  /** It runs. From now on the watchdog, if there is one, hears of it twice in its time. */
  ready(status: string): Promise<void> {
    const { WATCHDOG_USEC, WATCHDOG_PID } = this.#variables;
    const isForUs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    const everyMs = Number(WATCHDOG_USEC) / 2000;
    if (everyMs > 0 && isForUs && !this.#isSilent) {
      this.#watchdog ??= this.#environment.startTimer(everyMs, () => void this.#tell('WATCHDOG=1'), 'repeat');
    }
    return this.#tell('READY=1', `STATUS=${status}`);
  }

  /** `ready` ends it. */
  reloading(): Promise<void> {
    // Node's high-resolution time is the system's CLOCK_MONOTONIC, in nanoseconds.
    return this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(status: string): Promise<void> {
    return this.#tell('STOPPING=1', `STATUS=${status}`);
  }

  close(): void {
    this.#watchdog?.cancel();
  }

  /** Resolves when it has been said, or could not be. */
  #tell(...assignments: readonly string[]): Promise<void> {
    if (this.#isSilent) return Promise.resolve();
    this.#last = this.#last.then(
      () =>
        new Promise((resolve) => {
          execFile('systemd-notify', assignments, (error) => {
            if (error !== null) this.#giveUp(error.message);
            resolve();
          });
        }),
    );
    return this.#last;
  }

  #giveUp(problem: string): void {
    if (this.#isSilent) return;
    this.#isSilent = true;
    this.#log.warn({}, `systemd cannot be told how we are: ${problem.trim()}`);
  }
}
