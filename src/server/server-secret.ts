/** What we can prove to a server with. It knows neither where it came from nor how it is proven. */
import type { ScramSecret, Secret } from '../auth/secret.ts';

/** What a client has proven to have: enough for the server that has the very same verifier, and for no other. */
interface PassThroughSecret {
  readonly kind: 'pass-through';
  readonly verifier: ScramSecret;
  readonly clientKey: Buffer;
}

/** A verifier alone proves nothing; it is here so that an error can say what is missing. */
export type ServerSecret = Secret | PassThroughSecret;
