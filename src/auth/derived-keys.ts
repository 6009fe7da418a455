/**
 * Keys derived from passwords, computed once each: PBKDF2 takes milliseconds on one of the four threads that name
 * look-ups need too. It knows neither users' secrets nor who asks; what it keeps cannot be turned back into passwords
 * without the key that it made for itself.
 */
import type { Environment } from '../base/environment.ts';
import { saslprep } from './saslprep.ts';
import { hmacSha256, scramKeys, sha256 } from './scram-messages.ts';
import type { ScramSecret } from './secret.ts';

export interface DerivedKeysLimits {
  /** Keys that are remembered; beyond, the one that was not used for longest is forgotten. */
  readonly maxEntries: number;
  /** Derivations at the same time; others wait in the order of their coming. */
  readonly maxConcurrent: number;
}

const DEFAULT_LIMITS: DerivedKeysLimits = { maxEntries: 10_000, maxConcurrent: 2 };

/** PostgreSQL's SCRAM_DEFAULT_SALT_LEN: salts of ours must look like those of verifiers that it made. */
const SALT_BYTES = 16;

export class DerivedKeys {
  readonly #environment: Pick<Environment, 'randomBytes' | 'deriveKey'>;
  readonly #limits: DerivedKeysLimits;
  /** Unknown to everybody and new in each process; without it neither map keys nor salts can be computed. */
  readonly #processKey: Buffer;
  /** In the order of last use. A promise that is pending is what later askers share. */
  readonly #saltedPasswords = new Map<string, Promise<Buffer>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(environment: Pick<Environment, 'randomBytes' | 'deriveKey'>, limits: DerivedKeysLimits = DEFAULT_LIMITS) {
    this.#environment = environment;
    this.#limits = limits;
    this.#processKey = environment.randomBytes(32);
  }

  /**
   * RFC 5802's SaltedPassword, 32 bytes, of the password as SASLprep leaves it. The buffer is shared: it is only to be
   * read. Rejects only if the platform cannot derive; nothing is remembered then.
   */
  saltedPassword(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    const key = this.#keyOf(password, salt, iterations);
    const known = this.#saltedPasswords.get(key);
    if (known !== undefined) {
      this.#saltedPasswords.delete(key);
      this.#saltedPasswords.set(key, known);
      return known;
    }
    const derived = this.#derive(saslprep(password), salt, iterations);
    this.#saltedPasswords.set(key, derived);
    if (this.#saltedPasswords.size > this.#limits.maxEntries) {
      const [oldest] = this.#saltedPasswords.keys();
      if (oldest !== undefined) this.#saltedPasswords.delete(oldest);
    }
    derived.catch(() => {
      if (this.#saltedPasswords.get(key) === derived) this.#saltedPasswords.delete(key);
    });
    return derived;
  }

  /** The verifier of a user whose password is stored in plain text. */
  async scramSecret(
    userName: string,
    password: string,
    iterations: number,
    salt: Buffer = this.saltOf(userName),
  ): Promise<ScramSecret> {
    const { storedKey, serverKey } = scramKeys(await this.saltedPassword(password, salt, iterations));
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

  /** Lengths are fixed (digests) or last, so that no two inputs run together. */
  #keyOf(password: string, salt: Buffer, iterations: number): string {
    const inputs = Buffer.concat([sha256(password), sha256(salt), Buffer.from(iterations.toString())]);
    return hmacSha256(this.#processKey, inputs).toString('base64');
  }

  async #derive(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    if (this.#running < this.#limits.maxConcurrent) this.#running++;
    // Whoever finishes hands its place over, so that nobody who comes later can take it in between.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#environment.deriveKey(password, salt, iterations);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
