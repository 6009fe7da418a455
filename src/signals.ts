/** What signals mean to the process, as to PgBouncer. It knows what is to be done, and not how. */
import type { Pooler } from './pooler.ts';
import type { Systemd } from './systemd.ts';

export interface SignalHandlers {
  readonly pooler: Pooler;
  readonly systemd: Systemd;
  /** What else has to end in order; then the process does. */
  readonly onEnd: () => Promise<void>;
}

/** A second signal to end ends at once. */
export function handleSignals({ pooler, systemd, onEnd }: SignalHandlers): void {
  let leaving = false;
  const leave = (signal: string, how: () => Promise<void>): void => {
    // First the line, then what clients see of it.
    pooler.log.info({ signal }, leaving ? 'ending at once' : 'shutting down');
    const done = leaving ? pooler.close({ timeoutMs: 0 }) : how();
    leaving = true;
    void systemd.stopping('shutting down');
    void done.then(onEnd).then(() => process.exit(0));
  };
  process.on('SIGTERM', () => leave('SIGTERM', () => pooler.terminate()));
  process.on('SIGINT', () => leave('SIGINT', () => pooler.waitForServers()));
  process.on('SIGQUIT', () => {
    // Immediately: the sockets go with the process.
    void onEnd().then(() => process.exit(0));
  });
  // One line for what changes something: they may come by the thousand.
  process.on('SIGHUP', () => {
    if (pooler.requestReload()) pooler.log.info({ signal: 'SIGHUP' }, 're-reading config');
  });
  process.on('SIGUSR1', () => {
    if (!pooler.isPaused) pooler.log.info({ signal: 'SIGUSR1' }, 'pausing all activity');
    pooler.pause();
  });
  process.on('SIGUSR2', () => {
    if (pooler.isPaused) pooler.log.info({ signal: 'SIGUSR2' }, 'continuing from PAUSE');
    pooler.resume();
  });
}

/** The console can end it, too. Not while it starts: what ends it then is an error. */
export function exitWith(pooler: Pooler, onEnd: () => Promise<void>): void {
  void pooler.closed.then(onEnd).then(() => process.exit(0));
}
