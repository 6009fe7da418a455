/**
 * By which method a connection has to log in: the one of `auth_type`, or with `hba` that of the first rule that matches. It
 * settles what a certificate or the operating system already proves; passwords are the authenticator's.
 */
import type { PeerIdentity } from '../base/transport-security.ts';
import type { AuthType } from './authenticator.ts';
import type { HbaConnection, HbaRules } from './hba-rules.ts';
import type { IdentMaps } from './ident-maps.ts';

/** What `auth_type` may be. */
export type PolicyType = AuthType | 'cert' | 'hba';

export interface LoginAttempt extends HbaConnection {
  /** Who the client's certificate says it is; null without one that was verified. */
  readonly certificate: PeerIdentity | null;
  /** Who is at the other end of a Unix socket, where only one user can be; else null. */
  readonly systemUser: string | null;
}

export type AuthDecision =
  | {
      readonly outcome: 'ask';
      readonly method: AuthType;
      /** Of the HBA rule that decided, for the log. */
      readonly line: number | null;
    }
  /** The client hears the same as for a wrong password; the log is told why. */
  | { readonly outcome: 'refuse'; readonly cause: string; readonly line: number | null };

export interface AuthPolicyOptions {
  readonly authType: PolicyType;
  /** With `hba`; else without rules. */
  readonly rules: HbaRules;
  readonly maps: IdentMaps;
}

export class AuthPolicy {
  readonly #options: AuthPolicyOptions;

  constructor(options: AuthPolicyOptions) {
    this.#options = options;
  }

  decide(attempt: LoginAttempt): AuthDecision {
    const { authType, rules } = this.#options;
    if (authType === 'cert') return this.#byCertificate(attempt, null, null);
    if (authType !== 'hba') return ask(authType, null);
    const rule = rules.match(attempt);
    if (rule === null) return refuse('no line of auth_hba_file is for this connection', null);
    const { method, line, map } = rule;
    switch (method) {
      case 'reject':
        return refuse('rejected by auth_hba_file', line);
      case 'cert':
        return this.#byCertificate(attempt, map, line);
      case 'peer':
        return this.#byPeer(attempt, map, line);
      case 'trust':
      case 'plain':
      case 'md5':
      case 'scram-sha-256':
        return ask(method, line);
    }
  }

  /** The name in the certificate must be the user, or be mapped to it. The user must exist all the same, as with `trust`. */
  #byCertificate({ certificate, user, kind }: LoginAttempt, map: string | null, line: number | null): AuthDecision {
    if (kind !== 'tls') return refuse('a certificate needs TLS', line);
    if (certificate === null) return refuse('the client has shown no certificate', line);
    const { commonName } = certificate;
    if (commonName === null || commonName === '') return refuse('the certificate names nobody', line);
    if (!this.#options.maps.allows(map, commonName, user)) return refuse('the certificate is for another user', line);
    return ask('trust', line);
  }

  #byPeer({ systemUser, user, kind }: LoginAttempt, map: string | null, line: number | null): AuthDecision {
    if (kind !== 'unix' || systemUser === null) return refuse('who is at the other end cannot be known', line);
    if (!this.#options.maps.allows(map, systemUser, user)) return refuse('the system user may not be this user', line);
    return ask('trust', line);
  }
}

function ask(method: AuthType, line: number | null): AuthDecision {
  return { outcome: 'ask', method, line };
}

function refuse(cause: string, line: number | null): AuthDecision {
  return { outcome: 'refuse', cause, line };
}
