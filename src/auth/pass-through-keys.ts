/**
 * ClientKeys that clients have proven to have in a SCRAM exchange (RFC 5802 §3). With one of them we can log in, as that
 * user, at a server that has the very same verifier; a key is given out only together with the verifier that it belongs to,
 * and is forgotten as soon as the user has another one. It knows neither clients nor servers.
 */
import type { ScramSecret, Secret } from './secret.ts';

interface Entry {
  readonly source: string;
  readonly userName: string;
  readonly verifier: ScramSecret;
  readonly clientKey: Buffer;
}

const MAX_ENTRIES = 10_000;

export class PassThroughKeys {
  /** In the order of last proof. */
  readonly #entries = new Map<string, Entry>();

  /** `source` tells users of one name in several places apart. Returns whether this is news. */
  remember(source: string, userName: string, verifier: ScramSecret, clientKey: Buffer): boolean {
    const key = keyOf(source, userName);
    const known = this.#entries.get(key);
    this.#entries.delete(key);
    this.#entries.set(key, { source, userName, verifier, clientKey });
    if (this.#entries.size > MAX_ENTRIES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    return known === undefined || !isSameVerifier(known.verifier, verifier);
  }

  /** The key of this verifier, or null if its user has not proven to have it. */
  find(source: string, userName: string, verifier: ScramSecret): Buffer | null {
    const known = this.#entries.get(keyOf(source, userName));
    return known !== undefined && isSameVerifier(known.verifier, verifier) ? known.clientKey : null;
  }

  /** What the user has now: a key that does not belong to it dies. */
  onSecrets(source: string, userName: string, secrets: readonly Secret[]): void {
    const known = this.#entries.get(keyOf(source, userName));
    if (known !== undefined && !secrets.some((secret) => isVerifier(secret, known.verifier))) {
      this.#entries.delete(keyOf(source, userName));
    }
  }

  /** The same for everybody in `source`. */
  onSourceChanged(source: string, secretsOf: (userName: string) => readonly Secret[]): void {
    for (const { source: origin, userName } of this.#entries.values()) {
      if (origin === source) this.onSecrets(source, userName, secretsOf(userName));
    }
  }
}

/** User names hold no NUL. */
function keyOf(source: string, userName: string): string {
  return `${userName}\0${source}`;
}

function isVerifier(secret: Secret, verifier: ScramSecret): boolean {
  return secret.kind === 'scram' && isSameVerifier(secret, verifier);
}

/** Nothing that a client can influence: what is compared is stored on our side. */
function isSameVerifier(a: ScramSecret, b: ScramSecret): boolean {
  const { salt, storedKey, serverKey, iterations } = a;
  if (iterations !== b.iterations || !salt.equals(b.salt)) return false;
  return storedKey.equals(b.storedKey) && serverKey.equals(b.serverKey);
}
