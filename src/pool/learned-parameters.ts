/**
 * The parameters that servers of a pool report, which clients are told at their login, and the logins that wait for the
 * first server to report them.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { StartupSet } from '../server/startup-set.ts';
import type { LoginWaiter } from './waiter.ts';

export class LearnedParameters {
  readonly waiting = new Set<LoginWaiter>();
  #known: ReadonlyMap<string, string> | null = null;
  /** What was known before it was forgotten: still the best guess of what a server would report without a client's wishes. */
  #former: ReadonlyMap<string, string> | null = null;

  /** In the servers' spelling; null before the first server. */
  get known(): ReadonlyMap<string, string> | null {
    return this.#known;
  }

  /**
   * What a client begins with, if it asks for nothing else: what connect_query has set belongs to it. The server was opened
   * with `startup`, of which it says nothing to others.
   */
  learn(reported: ReadonlyMap<string, string>, startup: StartupSet): void {
    const base = this.#known ?? this.#former;
    const known = base === null || startup === StartupSet.NONE ? reported : merge(base, reported, startup);
    this.#known = known;
    for (const waiter of this.waiting) {
      this.waiting.delete(waiter);
      waiter.onServerParameters(known);
    }
  }

  /** Servers may report something else from now on, and a client is told once: the next ones wait for a new server. */
  forget(): void {
    this.#former = this.#known ?? this.#former;
    this.#known = null;
  }

  /** Who waits will not be told. */
  refuse(report: ErrorReport, reason: ClientCloseReason): void {
    for (const waiter of this.waiting) {
      this.waiting.delete(waiter);
      waiter.onNoServer(report, reason);
    }
  }
}

/** Who the session is decides about more than their own values. */
const IDENTITIES: readonly string[] = ['role', 'session_authorization'];

/** The same object while nothing is new: logins compare by it. */
function merge(
  known: ReadonlyMap<string, string>,
  reported: ReadonlyMap<string, string>,
  startup: StartupSet,
): ReadonlyMap<string, string> {
  if (IDENTITIES.some((name) => startup.has(name))) return known;
  const news = [...reported].filter(([name, value]) => !startup.has(name) && known.get(name) !== value);
  return news.length === 0 ? known : new Map([...known, ...news]);
}
