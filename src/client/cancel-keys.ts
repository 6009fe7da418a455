/**
 * The cancel keys of clients, in PgBouncer's own layout so that its peers understand them (protocol 3.0: 8 bytes):
 * byte 0 random with the top bit clear (libpq reads the process id as signed); 1–2 peer id, little-endian; 3 worker;
 * 4–7 random, but the two low bits of byte 7 are the hops that the key may still travel.
 */
import type { Environment } from '../base/environment.ts';

export const CANCEL_KEY_BYTES = 8;

const KEYS_AHEAD = 128;

/** Keys are issued with both bits set, and looked up so, whatever a peer has counted down. */
const HOPS_MASK = 0x03;

export class CancelKeys<Client> {
  readonly #environment: Environment;
  readonly #clients = new Map<string, Client>();
  /** Unpredictable bytes that were drawn ahead: one system call for many keys. Each is used once. */
  #random: Buffer = Buffer.alloc(0);

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** A key that nobody has, for `add`. */
  create(): Buffer {
    for (;;) {
      const key = this.#draw();
      key[0] = key[0]! & 0x7f;
      key.fill(0, 1, 4);
      key[7] = key[7]! | HOPS_MASK;
      if (!this.#clients.has(textOf(key))) return key;
    }
  }

  #draw(): Buffer {
    if (this.#random.length === 0) this.#random = this.#environment.randomBytes(CANCEL_KEY_BYTES * KEYS_AHEAD);
    const key = Buffer.from(this.#random.subarray(0, CANCEL_KEY_BYTES));
    this.#random = this.#random.subarray(CANCEL_KEY_BYTES);
    return key;
  }

  add(key: Buffer, client: Client): void {
    this.#clients.set(textOf(key), client);
  }

  remove(key: Buffer): void {
    this.#clients.delete(textOf(key));
  }

  /** Whose key it is, by the whole of it. `key` may have any length. */
  find(key: Buffer): Client | null {
    if (key.length !== CANCEL_KEY_BYTES) return null;
    const issued = Buffer.from(key);
    issued[7] = issued[7]! | HOPS_MASK;
    return this.#clients.get(textOf(issued)) ?? null;
  }
}

function textOf(key: Buffer): string {
  return key.toString('latin1');
}
