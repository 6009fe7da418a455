/**
 * How many logins to one PostgreSQL are under way at a time: each costs it a fork and an authentication, and a herd of
 * them slows down those that already work. Who is turned away is called when there is room.
 */
export interface GateVisitor {
  /** There may be room now: ask again, or do nothing. */
  onGateOpen(): void;
}

export class LoginGate {
  #limit: number;
  readonly #waiting = new Set<GateVisitor>();
  #inside = 0;
  #calling = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A limit that is lower lets those go on who are inside. */
  configure(limit: number): void {
    this.#limit = limit;
    this.#call();
  }

  /** Whether one more may go in. Who may not is remembered. */
  enter(visitor: GateVisitor): boolean {
    if (this.#inside >= this.#limit) {
      this.#waiting.add(visitor);
      return false;
    }
    this.#inside++;
    return true;
  }

  /** Calls who is waiting. One who fails at once leaves within the call: that is only counted, and the loop goes on. */
  leave(): void {
    this.#inside--;
    this.#call();
  }

  #call(): void {
    if (this.#calling) return;
    this.#calling = true;
    for (const visitor of this.#waiting) {
      if (this.#inside >= this.#limit) break;
      this.#waiting.delete(visitor);
      visitor.onGateOpen();
    }
    this.#calling = false;
  }
}
