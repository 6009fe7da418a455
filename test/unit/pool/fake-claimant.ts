/** A pool as the budget sees it, reduced to counts: connections that are used, idle, or on their way out. */
import type { Budget, BudgetScope, Claimant, Lease } from '../../../src/server/lease.ts';

export class FakeClaimant implements Claimant {
  readonly scopes: readonly BudgetScope[];
  readonly used: Lease[] = [];
  /** The longest idle first. */
  readonly idle: { lease: Lease; sinceMs: number }[] = [];
  /** Closed, but PostgreSQL has not confirmed it. */
  readonly closing: Lease[] = [];
  waiting = 0;
  /** Whatever it had to wait for comes too late. */
  releasesAtOnce = false;
  readonly name: string;
  /** What was granted, in order, over all claimants. */
  readonly #log: string[];

  constructor(name: string, scopes: readonly BudgetScope[], log: string[]) {
    this.name = name;
    this.scopes = scopes;
    this.#log = log;
  }

  get held(): number {
    return this.used.length + this.idle.length + this.closing.length;
  }

  ask(budget: Budget): void {
    const lease = budget.request(this);
    if (lease === null) {
      this.waiting++;
      return;
    }
    this.used.push(lease);
    this.#log.push(this.name);
  }

  onLease(lease: Lease): void {
    this.waiting--;
    if (this.releasesAtOnce) {
      lease.release();
      return;
    }
    this.used.push(lease);
    this.#log.push(this.name);
  }

  idleSinceMs(): number | null {
    return this.idle[0]?.sinceMs ?? null;
  }

  reclaim(count: number): number {
    const victims = this.idle.splice(0, count);
    this.closing.push(...victims.map(({ lease }) => lease));
    return victims.length;
  }

  /** A used one becomes free, as in `Pool`: back to the budget if that wants it, else idle. */
  free(budget: Budget, nowMs: number): void {
    const lease = this.used.shift();
    if (lease === undefined) return;
    if (budget.wantsBack(this)) {
      this.closing.push(lease);
      return;
    }
    this.idle.push({ lease, sinceMs: nowMs });
    budget.idleAppeared();
  }

  /** An idle one is used again. */
  reuse(): void {
    const last = this.idle.pop();
    if (last !== undefined) this.used.push(last.lease);
  }

  /** PostgreSQL confirms the end of one that was closing. */
  confirm(): void {
    this.closing.shift()?.release();
  }

  giveUp(budget: Budget): void {
    if (this.waiting === 0) return;
    this.waiting--;
    budget.withdraw(this);
  }
}
