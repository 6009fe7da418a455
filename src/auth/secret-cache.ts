/**
 * What was last found out about users' secrets, and when. It knows neither who asks nor where the answers come from; how
 * old an answer may be is said by whoever reads it. What it holds is bounded, also for names that nobody has.
 */
import type { Secret } from './secret.ts';

export interface SecretCacheLimits {
  readonly maxSecrets: number;
  /** Names without a secret: anybody can make them up. */
  readonly maxUnknown: number;
}

interface Found {
  readonly secret: Secret | null;
  readonly atMs: number;
}

const DEFAULT_LIMITS: SecretCacheLimits = { maxSecrets: 10_000, maxUnknown: 1000 };

export class SecretCache {
  readonly #limits: SecretCacheLimits;
  /** Both in the order of finding. */
  readonly #secrets = new Map<string, Found>();
  readonly #unknown = new Map<string, Found>();
  /** How many of each kind there are: what most users have. */
  readonly #kinds: Record<Secret['kind'], number> = { plain: 0, md5: 0, scram: 0 };

  constructor(limits: SecretCacheLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** SCRAM, as long as nothing else is in the majority: it is what PostgreSQL stores. */
  get usualKind(): Secret['kind'] {
    const { plain, md5, scram } = this.#kinds;
    if (scram >= plain && scram >= md5) return 'scram';
    return md5 > plain ? 'md5' : 'plain';
  }

  put(userName: string, secret: Secret | null, nowMs: number): void {
    this.forget(userName);
    const map = secret === null ? this.#unknown : this.#secrets;
    map.set(userName, { secret, atMs: nowMs });
    if (secret !== null) this.#kinds[secret.kind]++;
    if (map.size <= (secret === null ? this.#limits.maxUnknown : this.#limits.maxSecrets)) return;
    const [oldest] = map.keys();
    if (oldest !== undefined) this.forget(oldest);
  }

  /** When it was found out what is known of this user; null if nothing is. */
  knownSinceMs(userName: string): number | null {
    return (this.#secrets.get(userName) ?? this.#unknown.get(userName))?.atMs ?? null;
  }

  /** What was found later than `sinceMs`: a secret, or null for a user who has none; undefined if nothing was. */
  get(userName: string, sinceMs = Number.NEGATIVE_INFINITY): Secret | null | undefined {
    const found = this.#secrets.get(userName) ?? this.#unknown.get(userName);
    return found !== undefined && found.atMs > sinceMs ? found.secret : undefined;
  }

  forget(userName: string): void {
    const found = this.#secrets.get(userName);
    if (found !== undefined && found.secret !== null) this.#kinds[found.secret.kind]--;
    this.#secrets.delete(userName);
    this.#unknown.delete(userName);
  }

  /** Drops the names without a secret that were found by `untilMs`. */
  sweepUnknown(untilMs: number): void {
    for (const [userName, { atMs }] of this.#unknown) {
      if (atMs > untilMs) return;
      this.#unknown.delete(userName);
    }
  }
}
