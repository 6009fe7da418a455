/**
 * The parameters that servers of a pool report, which clients are told at their login, and the logins that wait for the
 * first server to report them.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { LoginWaiter } from './waiter.ts';

export class LearnedParameters {
  /** In the servers' spelling; null before the first server. */
  known: ReadonlyMap<string, string> | null = null;
  readonly waiting = new Set<LoginWaiter>();

  /** What a client begins with, if it asks for nothing else: what connect_query has set belongs to it. */
  learn(reported: ReadonlyMap<string, string>): void {
    this.known = reported;
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
