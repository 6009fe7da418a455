/**
 * Who waits in a pool: a client session, or the login of one, for a server, a replication session for one of its own, or a
 * client's login for the first server's parameters.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { Listed } from '../base/linked-list.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { StartupSet } from '../server/startup-set.ts';

export interface Waiter extends Listed<Waiter> {
  /** Only a server that was opened with these will do. */
  readonly startup: StartupSet;
  waitingSinceMs: number;
  /** Whether it has been told that it waits (query_wait_notify). */
  waitNotified: boolean;
  /** A server for it alone, idle: it links or prepares it at once. */
  onServer(server: ServerConnection): void;
  /** It waits longer than query_wait_notify. */
  onLongWait(): void;
  /** It gets none. */
  onNoServer(report: ErrorReport, reason: ClientCloseReason): void;
}

export interface DedicatedWaiter extends Listed<DedicatedWaiter> {
  waitingSinceMs: number;
  /** What its server's startup packet is to say besides user and database. */
  readonly startup: ReadonlyMap<string, string>;
  /** A server for it alone, which has just logged in: it links it at once. */
  onServer(server: ServerConnection): void;
  /** It gets none. */
  onNoServer(report: ErrorReport, reason: ClientCloseReason): void;
}

export interface LoginWaiter {
  readonly acceptedAtMs: number;
  /** The parameters that servers of the pool report, in their spelling. */
  onServerParameters(parameters: ReadonlyMap<string, string>): void;
  onNoServer(report: ErrorReport, reason: ClientCloseReason): void;
}

/** Since when the first of `list` waits; infinite without one. */
export function firstSinceMs({ first }: { readonly first: { readonly waitingSinceMs: number } | null }): number {
  return first?.waitingSinceMs ?? Number.POSITIVE_INFINITY;
}
