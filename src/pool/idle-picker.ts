/**
 * Which idle server of a pool is the next to be used, and which has to pass server_check_query before. It knows nobody
 * who waits.
 */
import type { Settings } from '../config/settings.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerLists } from './server-lists.ts';

/** A check that has not been answered for so long is not waited for: others are tried, or a new one opened. */
const PROMPT_CHECK_MS = 1000;

export class IdlePicker {
  #settings: Settings;
  readonly #servers: ServerLists;
  readonly #onPassed: (server: ServerConnection) => void;
  /** The time of the last tick: exact enough for how long a server was idle. */
  #tickMs: number;

  /** `onPassed` hears of a server that may be idle again; one that has not passed is closed. */
  constructor(settings: Settings, servers: ServerLists, nowMs: number, onPassed: (server: ServerConnection) => void) {
    this.#settings = settings;
    this.#servers = servers;
    this.#tickMs = nowMs;
    this.#onPassed = onPassed;
  }

  configure(settings: Settings): void {
    this.#settings = settings;
  }

  tick(nowMs: number): void {
    this.#tickMs = nowMs;
  }

  /** Checks under way whose answer can be expected. */
  get promptChecks(): number {
    let count = 0;
    for (const server of this.#servers.in('testing')) {
      if (this.#tickMs - server.times.stateSinceMs < PROMPT_CHECK_MS) count++;
    }
    return count;
  }

  /**
   * The next idle server that was opened with the set `key`, left in its list for its user to take; null if there is none
   * that can be used at once. One that is due for a check gets it in passing.
   */
  next(key: string): ServerConnection | null {
    const { idle } = this.#servers;
    const { serverRoundRobin } = this.#settings;
    let server = serverRoundRobin ? idle.first : idle.last;
    while (server !== null && server.startup.key !== key) server = serverRoundRobin ? server.next : server.previous;
    if (server === null || this.#isTrusted(server)) return server;
    this.#check(server);
    // Behind the last one used all have been idle for longer; in turn, the next may have been used.
    if (!serverRoundRobin) return null;
    for (const other of idle) if (other.startup.key === key && this.#isTrusted(other)) return other;
    return null;
  }

  /** The one that has been idle for longest of those that were opened with another set than `key`. */
  longestOther(key: string): ServerConnection | null {
    for (const server of this.#servers.idle) if (server.startup.key !== key) return server;
    return null;
  }

  #isTrusted(server: ServerConnection): boolean {
    const { serverCheckDelayMs, serverCheckQuery } = this.#settings;
    if (serverCheckQuery === '') return true;
    if (serverCheckDelayMs === 0) return server.isFresh;
    return this.#tickMs - server.times.stateSinceMs < serverCheckDelayMs;
  }

  #check(server: ServerConnection): void {
    const { serverCheckQuery } = this.#settings;
    server.run('testing', serverCheckQuery === '<empty>' ? '' : serverCheckQuery, (error) => {
      server.isFresh = error === null && server.status === STATUS_IDLE;
      if (server.isFresh) this.#onPassed(server);
      else server.close('check_failed');
    });
  }
}
