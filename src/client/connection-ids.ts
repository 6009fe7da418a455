/**
 * Numbers by which people call connections: given when somebody first asks, unique for the life of the process, never
 * given twice. It keeps no connection alive.
 */
export class ConnectionIds {
  readonly #ids = new WeakMap<object, number>();
  #last = 0;

  of(connection: object): number {
    const known = this.#ids.get(connection);
    if (known !== undefined) return known;
    this.#last++;
    this.#ids.set(connection, this.#last);
    return this.#last;
  }
}
