/**
 * The cancel keys of clients: who has which. A client that has a server of its own from its login on is told that one's
 * process id in its key, if there are no peers, whose numbers need the place. With peers all keys are short, for a
 * PgBouncer drops long ones.
 */
import type { Environment } from '../base/environment.ts';
import { LONG_KEY_BYTES, SHORT_KEY_BYTES, setHops, setRoute } from '../protocol/cancel-key.ts';
import { LONG_KEYS_MINOR } from '../protocol/protocol-version.ts';

const RANDOM_AHEAD_BYTES = 1024;

/** libpq reads it as signed. */
const MAX_PID = 0x7fff_ffff;

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
      setRoute(key, this.#peerId);
      if (pid > 0 && pid <= MAX_PID && this.#peerId === 0) key.writeUInt32BE(pid);
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

function textOf(key: Buffer): string {
  return key.toString('latin1');
}
