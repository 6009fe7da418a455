/**
 * Keys derived from passwords, computed once each: PBKDF2 takes milliseconds on one of the four threads that name
 * look-ups need too. It knows neither users' secrets nor who asks; what it keeps cannot be turned back into passwords
 * without the key that it made for itself.
 */
import type { Environment } from '../base/environment.ts';
import { saslprep } from './saslprep.ts';
import { hmacSha256, scramKeys } from './scram-messages.ts';
import type { ScramSecret } from './secret.ts';

export interface DerivedKeysLimits {
  /** Passwords whose keys are remembered; beyond, those of the one that was not used for longest are forgotten. */
  readonly maxPasswords: number;
  /** Derivations at the same time; others wait in the order of their coming. */
  readonly maxConcurrent: number;
}

const DEFAULT_LIMITS: DerivedKeysLimits = { maxPasswords: 10_000, maxConcurrent: 2 };

/** Keys of one password, with different salts: it is the server's choice, and may be a new one each time. */
const MAX_KEYS_PER_PASSWORD = 16;

/** PostgreSQL's SCRAM_DEFAULT_SALT_LEN: salts of ours must look like those of verifiers that it made. */
const SALT_BYTES = 16;

/** Whoever waits for a key. What nobody waits for any more when its turn comes is not derived. */
export interface KeyAsker {
  readonly isGone: boolean;
}

const ALWAYS: KeyAsker = { isGone: false };

interface DerivedKey {
  /** Pending, until it is derived. */
  readonly saltedPassword: Promise<Buffer>;
  readonly askers: KeyAsker[];
}

export class DerivedKeys {
  readonly #environment: Pick<Environment, 'randomBytes' | 'deriveKey'>;
  readonly #limits: DerivedKeysLimits;
  /** Unknown to everybody and new in each process; without it neither map keys nor salts can be computed. */
  readonly #processKey: Buffer;
  /** By password, in the order of last use; then by salt and iterations. */
  readonly #passwords = new Map<string, Map<string, DerivedKey>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(environment: Pick<Environment, 'randomBytes' | 'deriveKey'>, limits: DerivedKeysLimits = DEFAULT_LIMITS) {
    this.#environment = environment;
    this.#limits = limits;
    this.#processKey = environment.randomBytes(32);
  }

  /**
   * RFC 5802's SaltedPassword, 32 bytes, of the password as SASLprep leaves it. The buffer is shared: it is only to be
   * read. Rejects only if the platform cannot derive, or all askers are gone; nothing is remembered then.
   */
  saltedPassword(password: string, salt: Buffer, iterations: number, asker: KeyAsker = ALWAYS): Promise<Buffer> {
    const keys = this.#keysOf(password);
    const name = `${salt.toString('latin1')} ${iterations}`;
    const known = keys.get(name);
    if (known !== undefined) {
      known.askers.push(asker);
      return known.saltedPassword;
    }
    const askers = [asker];
    const saltedPassword = this.#derive(saslprep(password), salt, iterations, askers);
    const key: DerivedKey = { saltedPassword, askers };
    keys.set(name, key);
    if (keys.size > MAX_KEYS_PER_PASSWORD) dropFirst(keys);
    saltedPassword.then(
      () => {
        askers.length = 0;
      },
      () => {
        if (keys.get(name) === key) keys.delete(name);
      },
    );
    return saltedPassword;
  }

  /** The password is wrong, or nobody's any more: its keys die with it, and wrong ones push no right ones out. */
  forget(password: string): void {
    this.#passwords.delete(this.#tagOf(password));
  }

  /** The verifier of a user whose password is stored in plain text. */
  async scramSecret(
    userName: string,
    password: string,
    iterations: number,
    salt: Buffer = this.saltOf(userName),
    asker: KeyAsker = ALWAYS,
  ): Promise<ScramSecret> {
    const { storedKey, serverKey } = scramKeys(await this.saltedPassword(password, salt, iterations, asker));
    return { kind: 'scram', iterations, salt, storedKey, serverKey };
  }

  /**
   * A verifier for a user who has none: it looks like `scramSecret`'s, stays the same as long as the process lives, and
   * nobody can know what would fit to it.
   */
  mockSecret(userName: string, iterations: number): ScramSecret {
    return {
      kind: 'scram',
      iterations,
      salt: this.saltOf(userName),
      storedKey: hmacSha256(this.#processKey, `stored key\0${userName}`),
      serverKey: hmacSha256(this.#processKey, `server key\0${userName}`),
    };
  }

  /**
   * The salt that we show for this user where none is stored: 16 bytes that look random, of the name and not of the
   * password, so that it tells neither who exists nor who shares a password (anybody may ask for it).
   */
  saltOf(userName: string): Buffer {
    return hmacSha256(this.#processKey, `salt\0${userName}`).subarray(0, SALT_BYTES);
  }

  #keysOf(password: string): Map<string, DerivedKey> {
    const tag = this.#tagOf(password);
    const keys = this.#passwords.get(tag) ?? new Map<string, DerivedKey>();
    this.#passwords.delete(tag);
    this.#passwords.set(tag, keys);
    if (this.#passwords.size > this.#limits.maxPasswords) dropFirst(this.#passwords);
    return keys;
  }

  /** What stands for a password in memory. */
  #tagOf(password: string): string {
    return hmacSha256(this.#processKey, `password\0${password}`).toString('latin1');
  }

  async #derive(password: string, salt: Buffer, iterations: number, askers: readonly KeyAsker[]): Promise<Buffer> {
    if (this.#running < this.#limits.maxConcurrent) this.#running++;
    // Whoever finishes hands its place over, so that nobody who comes later can take it in between.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      // A flood that connects, says a password and leaves would keep others waiting for keys that nobody wants.
      if (askers.every(({ isGone }) => isGone)) throw new Error('whoever wanted the key has gone');
      return await this.#environment.deriveKey(password, salt, iterations);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

function dropFirst(map: Map<string, unknown>): void {
  const [first] = map.keys();
  if (first !== undefined) map.delete(first);
}
