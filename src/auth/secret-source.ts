/** Where secrets come from, as the authenticator sees it. It knows neither files nor queries. */
import type { Secret } from './secret.ts';

/** `unavailable`: it could not be found out, which has been logged. Nothing that the client says is right then. */
export type FoundSecrets = Secret | readonly Secret[] | 'unavailable' | null;

/** Whoever wants to know. What nobody wants to know any more is not asked. */
export interface SecretAsker {
  readonly isGone: boolean;
}

export interface SecretSource {
  /**
   * What is stored for this user: a secret, several of which each is enough (while a password is changed), or null or
   * none: there is no such user, or none who may log in. A source that has to ask somebody (auth_query) answers with a
   * promise.
   */
  lookup(userName: string, asker: SecretAsker): FoundSecrets | Promise<FoundSecrets>;
  /**
   * The kind that most of its secrets have. `auth_type=md5` asks for SCRAM where the secret is a verifier; a user who
   * does not exist is asked for this kind, so that the question does not tell.
   */
  readonly usualKind: Secret['kind'];
}
