/**
 * The parameters that servers of a pool report, which clients are told at their login, and the logins that wait for the
 * first server to report them.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { StartupSet } from '../server/startup-set.ts';
import type { LoginWaiter } from './waiter.ts';

export class LearnedParameters {
  /** In the servers' spelling; null before the first server. */
  known: ReadonlyMap<string, string> | null = null;
  readonly waiting = new Set<LoginWaiter>();

  /**
   * What a client begins with, if it asks for nothing else: what connect_query has set belongs to it. The server was opened
   * with `startup`, of which it says nothing to others.
   */
  learn(reported: ReadonlyMap<string, string>, startup: StartupSet): void {
    this.known = this.known === null || startup === StartupSet.NONE ? reported : merge(this.known, reported, startup);
    for (const waiter of this.waiting) {
      this.waiting.delete(waiter);
      waiter.onServerParameters(reported);
    }
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
