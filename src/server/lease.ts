/**
 * The right to have one server connection. A lease is held from the start of connect until PostgreSQL has surely given
 * the backend's slot back. This file only says what a budget is; `pool/process-budget.ts` counts within one process.
 */

export interface Lease {
  /** Gives the right back. Once only. */
  release(): void;
}

/** One of the limits that a connection counts against. */
export interface BudgetScope {
  /** What is counted together, such as `database app` or `postgres db.example:5432`. */
  readonly key: string;
  /** 0 is no limit. */
  readonly limit: number;
}

/** Who asks for leases: a pool. */
export interface Claimant {
  readonly scopes: readonly BudgetScope[];
  /** A lease that had to be waited for. Whoever needs it no more releases it. */
  onLease(lease: Lease): void;
  /** How long its longest idle connection has been idle, or null without one: what could be reclaimed. */
  idleSinceMs(): number | null;
  /** Closes up to `count` idle connections, the longest idle first; their leases come back when they are gone. Returns how many. */
  reclaim(count: number): number;
}

export interface Budget {
  /** A lease now, or null and `onLease` later, in the order of asking. */
  request(claimant: Claimant): Lease | null;
  /** A lease now, or null and nothing later: nobody gives up anything for it. */
  requestSpare(claimant: Claimant): Lease | null;
  /** Gives up one request that has not been answered. */
  withdraw(claimant: Claimant): void;
  /** Whether somebody who has waited for long needs what `claimant` is about to give to a waiter of its own. */
  wantsBack(claimant: Claimant): boolean;
  /** A connection has become idle that nobody of its pool needs: it may be what another pool waits for. */
  idleAppeared(): void;
  /** A reload has changed the scopes of `claimants`, which are all there are. */
  reconsider(claimants: Iterable<Claimant>): void;
}
