/**
 * Logging in to one PostgreSQL server, from the startup message to its first ReadyForQuery: a state machine fed with
 * whole messages. It knows nothing of sockets or pools, and believes nothing before the server has proven itself where
 * the method lets it (SCRAM).
 */

import { type ChannelBindingMode, chooseMechanism } from '../auth/channel-binding.ts';
import type { DerivedKeys } from '../auth/derived-keys.ts';
import { ScramClient } from '../auth/scram-client.ts';
import { createNonce, type ScramKeys } from '../auth/scram-messages.ts';
import { md5Response } from '../auth/secret.ts';
import type { Environment } from '../base/environment.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import * as client from '../protocol/client-messages.ts';
import { type ErrorFields, parseErrorFields } from '../protocol/error-fields.ts';
import {
  type AuthenticationRequest,
  parseAuthenticationRequest,
  parseNegotiation,
  parseParameterStatus,
} from '../protocol/login-messages.ts';
import * as type from '../protocol/message-type.ts';
import { OLDEST_MINOR, protocolVersion } from '../protocol/protocol-version.ts';
import { methodProblem, type ServerAuthMethod } from './auth-rules.ts';
import type { ServerSecret } from './server-secret.ts';

export interface ServerCredentials {
  readonly user: string;
  readonly database: string;
  /**
   * What we can answer the server's question with; null if nothing is known. Called when the server has asked, so that
   * one that asks for nothing costs nobody a look-up. Must not reject.
   */
  readonly secret: () => ServerSecret | null | Promise<ServerSecret | null>;
  /** server_require_auth: see `methodProblem`. */
  readonly requireAuth: readonly string[];
  /** Whether SCRAM must be bound to the TLS connection (server_channel_binding). */
  readonly channelBinding: ChannelBindingMode;
  /** Parameters that its session begins with. */
  readonly parameters: readonly (readonly [name: string, value: string])[];
}

/** Why a login failed. */
export type LoginFailure =
  /** The server's own answer. */
  | { readonly kind: 'refused'; readonly fields: ErrorFields }
  /** It may be the protocol's version that the server does not know, nor how to negotiate: an older one may do. */
  | { readonly kind: 'version-refused'; readonly reason: string }
  /** Nothing that the server said: our side cannot or will not go on. `reason` holds nothing secret. */
  | { readonly kind: 'impossible'; readonly reason: string };

export interface LoginListener {
  /** Of the connection, at the time of asking. */
  readonly security: TransportSecurity | null;
  /** Nobody on the way can read it: it is secured, or leaves the machine at no time. */
  readonly isPrivate: boolean;
  sendLogin(bytes: Buffer): void;
  onLoginDone(result: LoginResult): void;
  onLoginFailed(failure: LoginFailure): void;
}

export interface LoginResult {
  /** Everything that the server reported, by its own spelling of the names. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Process id and secret as they came (PostgreSQL's BackendKeyData); null if the server sends none. */
  readonly cancelKey: Buffer | null;
}

/** A real server reports some fifteen. */
const MAX_PARAMETERS = 200;
const MIN_KEY_BYTES = 8;
const MAX_KEY_BYTES = 4 + 256;

/**
 * What a server says that knows nothing of negotiation: an old PostgreSQL the first, PgBouncer before 1.23 the second, and
 * in words that name no version ("bad packet header"). It can mean many other things, but then it comes again.
 */
const VERSION_SQLSTATES: ReadonlySet<string> = new Set(['0A000', '08P01']);

const WORDS_FOR: Readonly<Record<ServerSecret['kind'], string>> = {
  plain: 'password',
  md5: 'MD5 secret',
  scram: 'SCRAM secret, whose user has not logged in by SCRAM here,',
  'pass-through': 'SCRAM secret',
};

export class ServerLogin {
  readonly #credentials: ServerCredentials;
  readonly #environment: Environment;
  readonly #keys: DerivedKeys;
  readonly #listener: LoginListener;
  readonly #parameters = new Map<string, string>();
  #cancelKey: Buffer | null = null;
  #scram: ScramClient | null = null;
  /** The proofs of both sides hold for this TLS connection only. */
  #isBound = false;
  #secret: ServerSecret | null = null;
  #askedMinor = OLDEST_MINOR;
  #negotiated = false;
  /** What the server may send next. SASL's three steps cannot be skipped, or a server could pass without its proof. */
  #expected: 'request' | 'secret' | 'sasl-continue' | 'sasl-final' | 'ok' | 'session' | 'nothing' = 'request';

  constructor(credentials: ServerCredentials, environment: Environment, keys: DerivedKeys, listener: LoginListener) {
    this.#credentials = credentials;
    this.#environment = environment;
    this.#keys = keys;
    this.#listener = listener;
  }

  /** Asks for protocol 3 in the version `minor`, and takes an older one. */
  start(minor: number): void {
    const { user, database, parameters } = this.#credentials;
    this.#askedMinor = minor;
    this.#listener.sendLogin(client.startupMessage(minor, [['user', user], ['database', database], ...parameters]));
  }

  /** Nothing that is still under way may end this login any more. */
  cancel(): void {
    this.#expected = 'nothing';
  }

  /** `buffer[from, to)` is the body of a message of type `code`. */
  onMessage(code: number, buffer: Buffer, from: number, to: number): void {
    if (this.#expected === 'nothing') return;
    switch (code) {
      case type.ERROR_RESPONSE:
        return this.#onRefusal(parseErrorFields(buffer, from, to));
      case type.NOTICE_RESPONSE:
        return;
      case type.NEGOTIATE_PROTOCOL_VERSION:
        return this.#onNegotiation(buffer, from, to);
      case type.AUTHENTICATION:
        return this.#onAuthentication(parseAuthenticationRequest(buffer, from, to));
      default:
        if (this.#expected === 'session') return this.#onSessionMessage(code, buffer, from, to);
        return this.#impossible(`server sent message type ${code} during authentication`);
    }
  }

  #onRefusal(fields: ErrorFields): void {
    const isFirstAnswer = this.#expected === 'request' && !this.#negotiated;
    if (isFirstAnswer && VERSION_SQLSTATES.has(fields.sqlstate) && this.#askedMinor > OLDEST_MINOR) {
      return this.#fail({ kind: 'version-refused', reason: fields.message });
    }
    this.#fail({ kind: 'refused', fields });
  }

  /** The server speaks an older version. */
  #onNegotiation(buffer: Buffer, from: number, to: number): void {
    if (this.#expected !== 'request') return this.#impossible('server negotiates the protocol after authentication');
    const answer = parseNegotiation(buffer, from, to);
    if (answer === null) return this.#badNegotiation('malformed NegotiateProtocolVersion');
    // PgBouncer 1.24 does this where it has asked for a password by auth_query.
    if (this.#negotiated) return this.#badNegotiation('server negotiates the protocol twice');
    this.#negotiated = true;
    const { version, unknownOptions } = answer;
    if (unknownOptions > 0) return this.#badNegotiation('server names protocol options that it was not sent');
    if (version < protocolVersion(OLDEST_MINOR) || version > protocolVersion(this.#askedMinor)) {
      this.#badNegotiation(`server wants to speak protocol ${version >>> 16}.${version & 0xffff}`);
    }
  }

  /** Who asks for the oldest version is not negotiated with. */
  #badNegotiation(reason: string): void {
    if (this.#askedMinor > OLDEST_MINOR) this.#fail({ kind: 'version-refused', reason });
    else this.#impossible(reason);
  }

  #onAuthentication(request: AuthenticationRequest): void {
    switch (request.kind) {
      case 'ok':
        if (this.#expected !== 'request' && this.#expected !== 'ok') return this.#outOfOrder();
        if (this.#mustBind && !this.#isBound) return this.#unbound();
        if (this.#expected === 'request' && this.#isForbidden('none')) return;
        this.#expected = 'session';
        return;
      case 'cleartext':
        return this.#withSecret('password', () => this.#answerCleartext());
      case 'md5':
        return this.#withSecret('md5', () => this.#answerMd5(request.salt));
      case 'sasl':
        return this.#withSecret('scram-sha-256', () => this.#startScram(request.mechanisms));
      case 'sasl-continue':
        return this.#continueScram(request.data);
      case 'sasl-final': {
        if (this.#expected !== 'sasl-final' || this.#scram === null) return this.#outOfOrder();
        const result = this.#scram.serverFinal(request.data);
        if (!result.ok) return this.#impossible(result.reason);
        this.#expected = 'ok';
        return;
      }
      case 'unsupported':
        return this.#impossible(`server asks for an authentication method that is not supported (${request.code})`);
    }
  }

  /** The server has asked: finds out what we have, at once or later, and answers. */
  #withSecret(method: ServerAuthMethod, answer: () => void): void {
    if (this.#expected !== 'request') return this.#outOfOrder();
    if (method !== 'scram-sha-256' && this.#mustBind) return this.#unbound();
    if (this.#isForbidden(method)) return;
    const found = this.#credentials.secret();
    if (!(found instanceof Promise)) {
      this.#secret = found;
      return answer();
    }
    this.#expected = 'secret';
    void found.then((secret) => {
      // The connection may have been closed, or the server have said something else.
      if (this.#expected !== 'secret') return;
      this.#secret = secret;
      answer();
    });
  }

  #isForbidden(method: ServerAuthMethod): boolean {
    const problem = methodProblem(this.#credentials.requireAuth, method, this.#listener.isPrivate);
    if (problem !== null) this.#impossible(problem);
    return problem !== null;
  }

  #answerCleartext(): void {
    const secret = this.#secret;
    if (secret?.kind !== 'plain') return this.#noPassword('password');
    this.#expected = 'ok';
    this.#listener.sendLogin(client.passwordMessage(secret.password));
  }

  #answerMd5(salt: Buffer): void {
    const secret = this.#secret;
    const { user } = this.#credentials;
    if (secret?.kind !== 'plain' && secret?.kind !== 'md5') return this.#noPassword('MD5');
    let response: string;
    try {
      response = md5Response(user, secret, salt);
    } catch {
      // OpenSSL in FIPS mode.
      return this.#impossible('MD5 is not available on this platform');
    }
    this.#expected = 'ok';
    this.#listener.sendLogin(client.passwordMessage(response));
  }

  #startScram(mechanisms: readonly string[]): void {
    const choice = chooseMechanism(mechanisms, this.#listener.security, this.#credentials.channelBinding);
    if (!choice.ok) return this.#impossible(choice.reason);
    const secret = this.#secret;
    if (secret?.kind !== 'plain' && secret?.kind !== 'pass-through') return this.#noPassword('SCRAM');
    this.#scram = new ScramClient({ nonce: createNonce(this.#environment), binding: choice.binding });
    this.#isBound = choice.binding.flag === 'p';
    this.#expected = 'sasl-continue';
    this.#listener.sendLogin(client.saslInitialResponse(choice.mechanism, this.#scram.clientFirst()));
  }

  #continueScram(data: Buffer): void {
    const scram = this.#scram;
    const secret = this.#secret;
    if (this.#expected !== 'sasl-continue' || scram === null) return this.#outOfOrder();
    const challenge = scram.serverFirst(data);
    if (!challenge.ok) return this.#impossible(challenge.reason);
    this.#expected = 'sasl-final';
    if (secret?.kind === 'pass-through') {
      const { salt, iterations, storedKey, serverKey } = secret.verifier;
      if (!salt.equals(challenge.salt) || iterations !== challenge.iterations) {
        return this.#impossible("the server's SCRAM secret for this user is not the one that clients log in with here");
      }
      return this.#prove(scram, { clientKey: secret.clientKey, storedKey, serverKey });
    }
    if (secret?.kind !== 'plain') return this.#outOfOrder();
    this.#keys.saltedPassword(secret.password, challenge.salt, challenge.iterations).then(
      (salted) => this.#prove(scram, salted),
      () => this.#impossible('the SCRAM key could not be derived'),
    );
  }

  /** The connection may have been closed, or the server have said something else, while the key was derived. */
  #prove(scram: ScramClient, key: Buffer | ScramKeys): void {
    if (this.#expected === 'sasl-final') this.#listener.sendLogin(client.saslResponse(scram.proof(key)));
  }

  #onSessionMessage(code: number, buffer: Buffer, from: number, to: number): void {
    switch (code) {
      case type.PARAMETER_STATUS: {
        const pair = parseParameterStatus(buffer, from, to);
        if (pair === null) return this.#impossible('malformed ParameterStatus');
        this.#parameters.set(pair[0], pair[1]);
        if (this.#parameters.size > MAX_PARAMETERS) this.#impossible('too many parameters');
        return;
      }
      case type.BACKEND_KEY_DATA:
        if (to - from < MIN_KEY_BYTES || to - from > MAX_KEY_BYTES) return this.#impossible('malformed BackendKeyData');
        this.#cancelKey = Buffer.from(buffer.subarray(from, to));
        return;
      case type.READY_FOR_QUERY:
        if (to - from !== 1 || buffer[from] !== type.STATUS_IDLE) return this.#impossible('malformed ReadyForQuery');
        this.#expected = 'nothing';
        return this.#listener.onLoginDone({
          parameters: this.#parameters,
          cancelKey: this.#cancelKey,
        });
      default:
        return this.#impossible(`server sent message type ${code} before it was ready`);
    }
  }

  #noPassword(method: string): void {
    const secret = this.#secret;
    const { user } = this.#credentials;
    this.#impossible(
      secret === null
        ? `server asks for ${method} authentication, but no password is known for user "${user}"`
        : `server asks for ${method} authentication, which a stored ${WORDS_FOR[secret.kind]} cannot answer`,
    );
  }

  get #mustBind(): boolean {
    return this.#credentials.channelBinding === 'require';
  }

  #unbound(): void {
    this.#impossible('server asks for no channel binding, which server_channel_binding requires');
  }

  #outOfOrder(): void {
    this.#impossible('authentication messages out of order');
  }

  #impossible(reason: string): void {
    this.#fail({ kind: 'impossible', reason });
  }

  #fail(failure: LoginFailure): void {
    if (this.#expected === 'nothing') return;
    this.#expected = 'nothing';
    this.#listener.onLoginFailed(failure);
  }
}
