/**
 * What a client wants of parameters that servers do not report, in the order of its startup packet. Two that were made
 * by the same table (`ParameterTable.wishes`) and are equal are the same object, so that the data path compares them by
 * identity.
 */

export interface Wish {
  /** As the client wrote it. */
  readonly name: string;
  readonly value: string;
}

export class Wishes implements Iterable<Wish> {
  static readonly NONE: Wishes = new Wishes(new Map(), true);

  /** Whether the values mean anything; else any of the names may be set, to whatever. */
  readonly areKnown: boolean;
  /** By the name in lower case, for PostgreSQL compares names so. */
  readonly #byName: ReadonlyMap<string, Wish>;

  private constructor(byName: ReadonlyMap<string, Wish>, areKnown: boolean) {
    this.#byName = byName;
    this.areKnown = areKnown;
  }

  /** Of a name given twice the last value counts, and at the place of the last. */
  static of(wishes: Iterable<Wish>): Wishes {
    const byName = new Map<string, Wish>();
    for (const wish of wishes) {
      const key = foldName(wish.name);
      byName.delete(key);
      byName.set(key, wish);
    }
    return byName.size === 0 ? Wishes.NONE : new Wishes(byName, true);
  }

  /** The names of both, equal to nothing: what may be set on a server when nobody can say what is. */
  static either(some: Wishes, others: Wishes): Wishes {
    return new Wishes(new Map([...some.#byName, ...others.#byName]), false);
  }

  /** The same for equal ones only. */
  get key(): string {
    return [...this].map(({ name, value }) => `${foldName(name)}\0${value}`).join('\0');
  }

  /** The wish of that name, whatever its case; null if there is none. */
  get(name: string): string | null {
    return this.#byName.get(foldName(name))?.value ?? null;
  }

  [Symbol.iterator](): IterableIterator<Wish> {
    return this.#byName.values();
  }
}

/** As PostgreSQL's guc_name_compare: A to Z only. */
export function foldName(name: string): string {
  return /[A-Z]/.test(name) ? name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()) : name;
}
