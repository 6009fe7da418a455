/**
 * The session parameters of one server: what it reported, and what was set on it that it does not report. It is read by
 * the one comparison on the data path, and knows no client.
 */
import type { ParameterTable, Values } from './parameter-table.ts';
import { Wishes } from './wishes.ts';

/** Stands for a value that nobody knows. No value of a parameter can hold a NUL. */
export const UNKNOWN_VALUE = '\0';

export class ServerParameters {
  readonly table: ParameterTable;
  /** Null is what it has never reported, and nobody has set. */
  values: Values = [];
  /** What of its clients' wishes is set. */
  wishes: Wishes = Wishes.NONE;
  /** What it reported at its login, which is what RESET returns to. */
  #initial: Values = [];
  /** Whether it has ever reported the parameter. By place. */
  readonly #isReported: boolean[] = [];

  constructor(table: ParameterTable) {
    this.table = table;
  }

  /** The values that it begins with. */
  begin(reported: ReadonlyMap<string, string>): void {
    for (const name of reported.keys()) {
      const place = this.table.learn(name);
      if (place >= 0) this.#isReported[place] = true;
    }
    this.values = this.table.reported(reported);
    this.#initial = this.values;
  }

  /** A ParameterStatus has come. Returns the place; -1 if it is one that is never set. */
  report(name: string, value: string): number {
    const place = this.table.learn(name);
    if (place < 0) return place;
    this.values = this.table.with(this.values, place, value);
    this.#isReported[place] = true;
    return place;
  }

  /** What it reported at its login, as it is now. */
  current(atLogin: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    const now = new Map(atLogin);
    this.values.forEach((value, place) => {
      if (value !== null && this.reports(place)) now.set(this.table.name(place), value);
    });
    return now;
  }

  /** Whether what happens to the parameter is known from the server itself. */
  reports(place: number): boolean {
    return this.#isReported[place] === true;
  }

  /** What RESET would make of it; null if it was not reported at the login. */
  initial(place: number): string | null {
    return this.#initial[place] ?? null;
  }

  /** Others of the pool report `place`, this one does not: it has been set to `value` (null is RESET). */
  believe(place: number, value: string | null): void {
    this.values = this.table.with(this.values, place, value);
  }

  /** The client has run RESET ALL or DISCARD ALL (`all`), or a RESET of something. */
  onReset(what: 'all' | 'some'): void {
    const isAll = what === 'all';
    if (this.wishes !== Wishes.NONE) this.wishes = isAll ? Wishes.NONE : Wishes.either(this.wishes, Wishes.NONE);
    this.values.forEach((value, place) => {
      if (value !== null && !this.reports(place)) this.believe(place, isAll ? null : UNKNOWN_VALUE);
    });
  }
}
