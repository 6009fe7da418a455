/**
 * The cancel keys of clients. Before protocol 3.2 they have 8 bytes, in PgBouncer's own layout so that its peers
 * understand them: byte 0 random with the top bit clear (libpq reads the process id as signed); 1–2 peer id,
 * little-endian; 3 worker; 4–7 random, but the two low bits of byte 7 are the hops that the key may still travel.
 * A client that has a server of its own from its login on is told that one's process id instead of bytes 0–3, if there
 * are no peers. Since 3.2, and without peers (a PgBouncer drops long keys), they have 32, of which no peer hears: 0–3 are
 * the process id alone, random with the top bit clear as long as there is no real one to be told; 4–5 peer id; 6 worker;
 * 7–31 random.
 */
import type { Environment } from '../base/environment.ts';
import { LONG_KEYS_MINOR } from '../protocol/protocol-version.ts';

export const SHORT_KEY_BYTES = 8;
export const LONG_KEY_BYTES = 32;

/** Peer id and worker; there is but one worker. */
const ROUTING_BYTES = 3;
const SHORT_ROUTING_AT = 1;
const LONG_ROUTING_AT = 4;

const RANDOM_AHEAD_BYTES = 1024;

/** libpq reads it as signed. */
const MAX_PID = 0x7fff_ffff;

/** Keys are issued with both bits set, and looked up so, whatever a peer has counted down. */
const HOPS_MASK = 0x03;

export class CancelKeys<Client> {
  readonly #environment: Environment;
  readonly #peerId: number;
  readonly #clients = new Map<string, Client>();
  /** Unpredictable bytes that were drawn ahead: one system call for many keys. Each is used once. */
  #random: Buffer = Buffer.alloc(0);

  /** `peerId`: this pooler's own; 0 if it has no peers. */
  constructor(environment: Environment, peerId: number) {
    this.#environment = environment;
    this.#peerId = peerId;
  }

  /**
   * A key that nobody has, for `add`. `minor` is the version of protocol 3 that its client speaks, `pid` the process that
   * answers it alone, 0 if there is none: a short key then has no room for its routing, which one process needs not.
   */
  create(minor: number, pid = 0): Buffer {
    for (;;) {
      const isLong = minor >= LONG_KEYS_MINOR && this.#peerId === 0;
      const key = this.#draw(isLong ? LONG_KEY_BYTES : SHORT_KEY_BYTES);
      key[0] = key[0]! & 0x7f;
      const routingAt = isLong ? LONG_ROUTING_AT : SHORT_ROUTING_AT;
      key.fill(0, routingAt, routingAt + ROUTING_BYTES);
      key.writeUInt16LE(this.#peerId, routingAt);
      if (pid > 0 && pid <= MAX_PID && this.#peerId === 0) key.writeUInt32BE(pid);
      setHops(key);
      if (!this.#clients.has(textOf(key))) return key;
    }
  }

  #draw(size: number): Buffer {
    if (this.#random.length < size) this.#random = this.#environment.randomBytes(RANDOM_AHEAD_BYTES);
    const key = Buffer.from(this.#random.subarray(0, size));
    this.#random = this.#random.subarray(size);
    return key;
  }

  add(key: Buffer, client: Client): void {
    this.#clients.set(textOf(key), client);
  }

  remove(key: Buffer): void {
    this.#clients.delete(textOf(key));
  }

  /**
   * Whose key it is, by the whole of it. `key` may have any length: one that was never issued is nobody's. How long this
   * takes says nothing of how much of a key was right: a hash of all its bytes, seeded anew in each process, is what
   * finds it.
   */
  find(key: Buffer): Client | null {
    const issued = Buffer.from(key);
    setHops(issued);
    return this.#clients.get(textOf(issued)) ?? null;
  }
}

/** Only a short key counts hops. */
function setHops(key: Buffer): void {
  if (key.length === SHORT_KEY_BYTES) key[7] = key[7]! | HOPS_MASK;
}

function textOf(key: Buffer): string {
  return key.toString('latin1');
}
