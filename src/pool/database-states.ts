/**
 * Which databases the console has paused or disabled, by the names that clients use. It only remembers; what a pause does
 * is the pools' business. A database can be both.
 */
export class DatabaseStates {
  /** PAUSE without a name. It is a state of its own: RESUME without a name ends it, and nothing else. */
  isEverythingPaused = false;
  readonly #paused = new Set<string>();
  readonly #disabled = new Set<string>();

  /** Whether it hands out no server, for either reason. */
  isStopped(name: string): boolean {
    return this.isEverythingPaused || this.#paused.has(name);
  }

  /** Whether it was paused by its own name. */
  isPaused(name: string): boolean {
    return this.#paused.has(name);
  }

  get pausedCount(): number {
    return this.#paused.size;
  }

  isDisabled(name: string): boolean {
    return this.#disabled.has(name);
  }

  setPaused(name: string, isPaused: boolean): void {
    if (isPaused) this.#paused.add(name);
    else this.#paused.delete(name);
  }

  setDisabled(name: string, isDisabled: boolean): void {
    if (isDisabled) this.#disabled.add(name);
    else this.#disabled.delete(name);
  }
}
