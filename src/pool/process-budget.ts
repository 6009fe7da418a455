/**
 * The budget of one process: counts server connections per scope (database, user, PostgreSQL), grants leases in the
 * order of asking, and makes pools that hold idle connections give them up when another pool is stopped by a limit. It
 * counts leases, not sockets, and knows nothing outside this process.
 */
import type { Environment } from '../base/environment.ts';
import type { Budget, BudgetScope, Claimant, Lease } from '../server/lease.ts';

/** After this long in the queue a claim is served before the clients of a pool that has what it needs. */
const PATIENCE_MS = 500;

interface Claim {
  readonly claimant: Claimant;
  readonly sinceMs: number;
}

export class ProcessBudget implements Budget {
  readonly #environment: Environment;
  readonly #inUse = new Map<string, number>();
  /** Who can be asked to give back, by scope. */
  readonly #holders = new Map<string, Map<Claimant, number>>();
  readonly #queue: Claim[] = [];
  /** By scope: connections that are being closed for the sake of the queue, whose leases have not come back. */
  readonly #returning = new Map<string, number>();
  /** Scopes in which more is held than a reload allows, with their limits: what comes back there is not used again. */
  readonly #overdrawn = new Map<string, number>();
  #granting = false;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  request(claimant: Claimant): Lease | null {
    // Whoever is queued is stopped by a full scope; what one of those scopes would stop, it stops here too.
    const lease = this.#take(claimant);
    if (lease !== null) return lease;
    this.#queue.push({ claimant, sinceMs: this.#environment.now() });
    const scope = this.#fullScope(claimant);
    // Those who came before have what can be had; without an idle connection the queue is not walked for each newcomer.
    if (scope !== null && this.#longestIdle(scope.key, claimant) !== null) this.#reclaim();
    return null;
  }

  requestSpare(claimant: Claimant): Lease | null {
    return this.#take(claimant);
  }

  withdraw(claimant: Claimant): void {
    const index = this.#queue.findLastIndex((claim) => claim.claimant === claimant);
    if (index >= 0) this.#queue.splice(index, 1);
  }

  wantsBack(claimant: Claimant): boolean {
    if (this.#overdrawn.size > 0 && this.#paysBack(claimant)) return true;
    if (this.#queue.length === 0) return false;
    const patienceEnd = this.#environment.now() - PATIENCE_MS;
    for (const { claim, scope } of this.#unhelped()) {
      if (claim.claimant === claimant || claim.sinceMs > patienceEnd) continue;
      if (!claimant.scopes.some(({ key }) => key === scope.key)) continue;
      this.#expectBack(scope.key, 1);
      return true;
    }
    return false;
  }

  /** Leases that are held in a scope. */
  inUse(scopeKey: string): number {
    return this.#inUse.get(scopeKey) ?? 0;
  }

  /**
   * The scopes of `claimants` have changed: whoever waits may be served now, and where more is held than is allowed idle
   * connections are closed. The others go as they come back (`wantsBack`).
   */
  reconsider(claimants: Iterable<Claimant>): void {
    this.#overdrawn.clear();
    for (const { scopes } of claimants) {
      for (const { key, limit } of limited(scopes)) if (this.inUse(key) > limit) this.#overdrawn.set(key, limit);
    }
    for (const [key, limit] of this.#overdrawn) this.#reclaimFrom(key, limit);
    this.#grant();
  }

  #take(claimant: Claimant): Lease | null {
    if (this.#fullScope(claimant) !== null) return null;
    // A reload may give the claimant other ones; this lease stays where it was counted.
    const { scopes } = claimant;
    this.#count(claimant, scopes, 1);
    let held = true;
    return {
      release: () => {
        if (!held) throw new Error('a lease was released twice');
        held = false;
        this.#count(claimant, scopes, -1);
        for (const { key } of scopes) this.#expectBack(key, -1);
        this.#grant();
      },
    };
  }

  #fullScope(claimant: Claimant): BudgetScope | null {
    return limited(claimant.scopes).find((scope) => this.inUse(scope.key) >= scope.limit) ?? null;
  }

  #count(claimant: Claimant, scopes: readonly BudgetScope[], change: 1 | -1): void {
    for (const { key } of scopes) {
      const total = this.inUse(key) + change;
      if (total === 0) this.#inUse.delete(key);
      else this.#inUse.set(key, total);
      if (total <= (this.#overdrawn.get(key) ?? -1)) this.#overdrawn.delete(key);
      const holders = this.#holders.get(key) ?? new Map<Claimant, number>();
      this.#holders.set(key, holders);
      const held = (holders.get(claimant) ?? 0) + change;
      if (held === 0) holders.delete(claimant);
      else holders.set(claimant, held);
      if (holders.size === 0) this.#holders.delete(key);
    }
  }

  /**
   * Serves the queue in order; a claim that is stopped by a limit of its own lets others pass. Who is granted something
   * may give it back at once: that is only counted, and the loop that is under way goes on with it.
   */
  #grant(): void {
    if (this.#granting) return;
    this.#granting = true;
    for (let i = 0; i < this.#queue.length; ) {
      const claim = this.#queue[i]!;
      const lease = this.#take(claim.claimant);
      if (lease === null) {
        i++;
        continue;
      }
      this.#queue.splice(i, 1);
      claim.claimant.onLease(lease);
      // The claimant may have asked, released or withdrawn meanwhile.
      i = 0;
    }
    this.#granting = false;
    this.#reclaim();
  }

  /** Closes idle connections of other pools, one for each claim that is stopped by a limit. */
  #reclaim(): void {
    for (const { claim, scope } of this.#unhelped()) {
      const victim = this.#longestIdle(scope.key, claim.claimant);
      if (victim !== null && victim.reclaim(1) > 0) this.#expectBack(scope.key, 1);
    }
  }

  /** Whether a connection of `claimant` that comes back has to go, so that a scope returns to its limit. */
  #paysBack({ scopes }: Claimant): boolean {
    for (const { key } of scopes) {
      const limit = this.#overdrawn.get(key);
      if (limit === undefined || this.inUse(key) - (this.#returning.get(key) ?? 0) <= limit) continue;
      this.#expectBack(key, 1);
      return true;
    }
    return false;
  }

  #reclaimFrom(scopeKey: string, limit: number): void {
    while (this.inUse(scopeKey) - (this.#returning.get(scopeKey) ?? 0) > limit) {
      const victim = this.#longestIdle(scopeKey, null);
      if (victim === null || victim.reclaim(1) === 0) return;
      this.#expectBack(scopeKey, 1);
    }
  }

  /** The claims for which nothing is on its way back yet, each with the scope that stops it. */
  #unhelped(): { claim: Claim; scope: BudgetScope }[] {
    const expected = new Map(this.#returning);
    const unhelped: { claim: Claim; scope: BudgetScope }[] = [];
    for (const claim of this.#queue) {
      const scope = this.#fullScope(claim.claimant);
      if (scope === null) continue;
      const coming = expected.get(scope.key) ?? 0;
      if (coming > 0) expected.set(scope.key, coming - 1);
      else unhelped.push({ claim, scope });
    }
    return unhelped;
  }

  #expectBack(scopeKey: string, change: 1 | -1): void {
    const returning = (this.#returning.get(scopeKey) ?? 0) + change;
    if (returning > 0) this.#returning.set(scopeKey, returning);
    else this.#returning.delete(scopeKey);
  }

  #longestIdle(scopeKey: string, claimant: Claimant | null): Claimant | null {
    let victim: Claimant | null = null;
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const holder of this.#holders.get(scopeKey)?.keys() ?? []) {
      const sinceMs = holder === claimant ? null : holder.idleSinceMs();
      if (sinceMs === null || sinceMs >= oldestMs) continue;
      victim = holder;
      oldestMs = sinceMs;
    }
    return victim;
  }

  idleAppeared(): void {
    if (this.#queue.length > 0) this.#reclaim();
  }
}

function limited(scopes: readonly BudgetScope[]): readonly BudgetScope[] {
  return scopes.filter((scope) => scope.limit > 0);
}
