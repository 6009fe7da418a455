/**
 * What the clients and servers of one pool share about session parameters: the place of each name that servers report,
 * and one copy of each list of values and of wishes, so that comparing them is comparing pointers. Names enter it by what
 * servers report alone, never by what a client says.
 */
import { foldName, type Wish, Wishes } from './wishes.ts';

/** They say what the server is, or who the session is: a client is told, but nothing is ever set for having been reported. */
const NEVER_SET: ReadonlySet<string> = new Set([
  'server_version',
  'server_encoding',
  'integer_datetimes',
  'in_hot_standby',
  'is_superuser',
  'session_authorization',
]);

/** A real server reports ten. */
const MAX_NAMES = 100;
/** So many lists are remembered, of which none is very long. */
const MAX_LISTS = 500;
const MAX_KEY_LENGTH = 10_000;

/** By place; null, or nothing, where no value is known. Never changed. */
export type Values = readonly (string | null)[];

export class ParameterTable {
  /** PostgreSQL's own spelling, by place. */
  readonly #names: string[] = [];
  readonly #places = new Map<string, number>();
  readonly #values = new Map<string, Values>();
  readonly #wishes = new Map<string, Wishes>();
  readonly #reported = new WeakMap<ReadonlyMap<string, string>, Values>();

  /** How many places there are. */
  get size(): number {
    return this.#names.length;
  }

  /** The place of a parameter that servers report, whatever its case, or -1. */
  find(name: string): number {
    return this.#places.get(name) ?? this.#places.get(foldName(name)) ?? -1;
  }

  /** A server has reported `name`. Returns its place; -1 if it is one that is never set. */
  learn(name: string): number {
    const known = this.find(name);
    const folded = foldName(name);
    if (known >= 0 || NEVER_SET.has(folded) || this.#names.length === MAX_NAMES) return known;
    this.#places.set(name, this.#names.length);
    this.#places.set(folded, this.#names.length);
    return this.#names.push(name) - 1;
  }

  name(place: number): string {
    return this.#names[place]!;
  }

  /** Equal ones are the same array, unless that has been forgotten. `list` may not be changed any more. */
  values(list: (string | null)[]): Values {
    return remember(this.#values, JSON.stringify(list), list);
  }

  /** `values` with another one. */
  with(values: Values, place: number, value: string | null): Values {
    const list = [...values];
    while (list.length < place) list.push(null);
    list[place] = value;
    return this.values(list);
  }

  /** What servers have reported, without what is never set. Logins come in thousands, and ask for the same each time. */
  reported(values: ReadonlyMap<string, string>): Values {
    const known = this.#reported.get(values);
    if (known !== undefined) return known;
    const list = this.#names.map(() => null as string | null);
    for (const [name, value] of values) {
      const place = this.find(name);
      if (place >= 0) list[place] = value;
    }
    const result = this.values(list);
    this.#reported.set(values, result);
    return result;
  }

  /** Equal ones are the same object, unless that has been forgotten. */
  wishes(list: Iterable<Wish>): Wishes {
    const wishes = Wishes.of(list);
    return wishes === Wishes.NONE ? wishes : remember(this.#wishes, wishes.key, wishes);
  }
}

/** Returns what `key` is known for, which is `value` if it is new. The oldest goes when there are too many. */
function remember<Value>(known: Map<string, Value>, key: string, value: Value): Value {
  const found = known.get(key);
  if (found !== undefined || key.length > MAX_KEY_LENGTH) return found ?? value;
  if (known.size === MAX_LISTS) known.delete(known.keys().next().value!);
  known.set(key, value);
  return value;
}
