/**
 * How the servers of a pool spell parameter values that clients write in other ways (`ISO` → `ISO, MDY`), as far as one
 * has been seen to: with it a later client is told at login what a direct one would be told.
 */

import { foldName } from '../server/wishes.ts';

/** So many that no client can make it grow for ever. */
const MAX_VALUES = 1000;

export class CanonicalValues {
  readonly #values = new Map<string, string>();

  /** The server's spelling of `value`, or `value` itself while none is known. Names have no case. */
  of(name: string, value: string): string {
    return this.#values.get(keyOf(name, value)) ?? value;
  }

  learn(name: string, value: string, reported: string): void {
    if (this.#values.size < MAX_VALUES) this.#values.set(keyOf(name, value), reported);
  }
}

function keyOf(name: string, value: string): string {
  return `${foldName(name)}\0${value}`;
}
