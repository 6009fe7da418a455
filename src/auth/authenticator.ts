/**
 * How one client proves who it is: what to ask, what its answers are worth, and the verdict. It knows neither sockets
 * nor the framing of messages, and cannot tell whether a database exists.
 *
 * Whether a user exists must not show before a password is proven: who is unknown is asked the same questions, costs
 * the same work, and fails at the end in the same way. What remains visible: the first SCRAM login of a user whose
 * password is stored in plain text waits once for its key, and with both verifiers and other secrets in one source
 * `auth_type=md5` asks differently (as in PostgreSQL).
 *
 * Steps go to `onStep`, at once where nothing has to be waited for. After a step that is not `continue`, and after
 * `abandon()`, there are no more.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Environment } from '../base/environment.ts';
import type { DerivedKeys, KeyAsker } from './derived-keys.ts';
import { parsePasswordMessage, parseSaslInitialResponse } from './password-message.ts';
import {
  createNonce,
  MAX_SCRAM_ITERATIONS,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  type ScramMechanism,
  scramKeys,
  sha256,
} from './scram-messages.ts';
import { ScramServer, type ScramServerFailure } from './scram-server.ts';
import { isUsable, type Md5Secret, md5Hash, md5Response, type ScramSecret, type Secret } from './secret.ts';
import type { FoundSecrets, SecretAsker, SecretSource } from './secret-source.ts';

export type AuthType = 'any' | 'trust' | 'plain' | 'md5' | 'scram-sha-256';

/** An Authentication… message to the client. */
export type AuthenticationRequest =
  | { readonly type: 'ok' }
  | { readonly type: 'cleartext' }
  | { readonly type: 'md5'; readonly salt: Buffer }
  | { readonly type: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly type: 'saslContinue'; readonly data: Buffer }
  | { readonly type: 'saslFinal'; readonly data: Buffer };

/** For the log. The client hears the same in all cases. */
type RefusalReason =
  | ScramServerFailure
  | 'no such user'
  /** It says nothing of the client: nobody could have logged in. */
  | 'secret unavailable'
  | 'no usable secret for this auth_type'
  | 'empty password'
  | 'malformed password message'
  | 'unknown SASL mechanism'
  | 'password message out of order';

export type AuthenticationStep =
  /** Send `request`; the client's next `p` message goes to `receive`. */
  | { readonly outcome: 'continue'; readonly request: AuthenticationRequest }
  | {
      readonly outcome: 'accepted';
      /** In this order; the last one is `ok`. */
      readonly requests: readonly AuthenticationRequest[];
      /** Which of the stored secrets was proven (with `trust` the first); null with `any`, which does not look. */
      readonly secret: Secret | null;
      /** Of a stored verifier that was proven, for a login at a server with the very same verifier. */
      readonly clientKey: Buffer | null;
    }
  /** Send the one error for all (28P01) and close. */
  | { readonly outcome: 'refused'; readonly reason: RefusalReason }
  /** It could not be found out: the platform failed. */
  | { readonly outcome: 'failed'; readonly error: unknown };

export interface AuthenticatorOptions {
  readonly authType: AuthType;
  readonly userName: string;
  /** Of verifiers that are made from plain passwords, and of those that are made up for who has none. */
  readonly scramIterations: number;
  readonly source: SecretSource;
  /** `channelBindingOf` the client's connection: with it SCRAM-SHA-256-PLUS is offered. */
  readonly channelBinding: Buffer | null;
  /** One for all authenticators of a process. */
  readonly keys: DerivedKeys;
  readonly environment: Pick<Environment, 'randomBytes'>;
  readonly onStep: (step: AuthenticationStep) => void;
}

type State = 'new' | 'busy' | 'password' | 'md5-response' | 'sasl-initial' | 'sasl-first' | 'sasl-final' | 'over';

/** `busy` is any wait of our own; a message that comes then is out of order. Nothing leaves `over`. */
const MOVES: Readonly<Record<State, readonly State[]>> = {
  new: ['busy', 'password', 'md5-response', 'sasl-initial', 'over'],
  busy: ['password', 'md5-response', 'sasl-initial', 'sasl-final', 'over'],
  password: ['busy', 'over'],
  'md5-response': ['over'],
  'sasl-initial': ['busy', 'sasl-first', 'sasl-final', 'over'],
  'sasl-first': ['busy', 'sasl-final', 'over'],
  'sasl-final': ['over'],
  over: [],
};

interface ScramCandidate {
  readonly server: ScramServer;
  /** As it is stored. */
  readonly secret: Secret;
}

interface Move {
  readonly to: State;
  readonly step: AuthenticationStep;
}

export class Authenticator implements KeyAsker, SecretAsker {
  readonly #options: AuthenticatorOptions;
  #state: State = 'new';
  /** As the source has them. Only `trust` accepts by them. */
  #secrets: readonly Secret[] = [];
  /** The source could not say what the client must prove. Its exchange is a mock as well. */
  #isUnavailable = false;
  /** Those that prove something. Without any the exchange is a mock, which nobody can win. */
  #proofs: readonly Secret[] = [];
  #md5Salt: Buffer | null = null;
  #mechanism: ScramMechanism = SCRAM_SHA_256;
  /** An exchange for each secret that would do. All of them send the client the same. */
  #scrams: readonly ScramCandidate[] = [];

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Looks the user up and asks the first question. To be called once. */
  start(): void {
    const { authType, source, userName } = this.#options;
    if (this.#state !== 'new' && this.#state !== 'over') throw new Error('authentication has begun');
    this.#run(() => {
      if (authType === 'any') return accept([], null, null);
      const secret = source.lookup(userName, this);
      if (secret instanceof Promise) return secret.then((found) => this.#begin(authType, found));
      return this.#begin(authType, secret);
    });
  }

  /** Takes in the body of a `p` message; it may be a view that dies when this returns. */
  receive(body: Buffer): void {
    this.#run(() => {
      switch (this.#state) {
        case 'password':
          return this.#checkPassword(parsePasswordMessage(body));
        case 'md5-response':
          return this.#checkMd5Response(parsePasswordMessage(body));
        case 'sasl-initial':
          return this.#saslInitial(body);
        case 'sasl-first':
          return this.#saslFirst(Buffer.from(body));
        case 'sasl-final':
          return this.#saslFinal(body);
        case 'new':
        case 'busy':
        case 'over':
        default:
          return refuse('password message out of order');
      }
    });
  }

  /** The client is gone: no further step, and nothing is asked or computed for it that has not begun. */
  abandon(): void {
    this.#state = 'over';
  }

  // KeyAsker, SecretAsker

  get isGone(): boolean {
    return this.#state === 'over';
  }

  /** Performs a computation, at once or when its promise is done, and reports what came of it. */
  #run(compute: () => Move | Promise<Move>): void {
    if (this.#state === 'over') return;
    let move: Move | Promise<Move>;
    try {
      move = compute();
    } catch (error) {
      move = fail(error);
    }
    if (move instanceof Promise) {
      this.#become('busy');
      void this.#reportLater(move);
    } else {
      this.#report(move);
    }
  }

  async #reportLater(pending: Promise<Move>): Promise<void> {
    let move: Move;
    try {
      move = await pending;
    } catch (error) {
      move = fail(error);
    }
    this.#report(move);
  }

  #report({ to, step }: Move): void {
    // The client left, or was refused, while we were waiting.
    if (this.#state === 'over') return;
    this.#become(to);
    this.#options.onStep(step);
  }

  #become(next: State): void {
    if (!MOVES[this.#state].includes(next)) throw new Error(`authentication cannot go from ${this.#state} to ${next}`);
    this.#state = next;
  }

  #begin(authType: Exclude<AuthType, 'any'>, found: FoundSecrets): Move {
    const { userName, source, environment } = this.#options;
    this.#isUnavailable = found === 'unavailable';
    this.#secrets = found === 'unavailable' ? [] : listOf(found);
    this.#proofs = this.#secrets.filter((secret) => isUsable(secret, userName));
    const [first] = this.#secrets;
    if (authType === 'trust') return first === undefined ? this.#refuseProof() : accept([], first, null);
    if (authType === 'plain') return ask('password', { type: 'cleartext' });
    // A verifier cannot check MD5; as PgBouncer does, ask for what it can check.
    const hasVerifier = this.#proofs.some(({ kind }) => kind === 'scram');
    const isScram = this.#proofs.length > 0 ? hasVerifier : source.usualKind === 'scram';
    if (authType === 'md5' && !isScram) {
      this.#md5Salt = environment.randomBytes(4);
      return ask('md5-response', { type: 'md5', salt: this.#md5Salt });
    }
    return ask('sasl-initial', { type: 'sasl', mechanisms: this.#mechanisms });
  }

  async #checkPassword(password: Buffer | null): Promise<Move> {
    if (password === null) return refuse('malformed password message');
    if (password.length === 0) return refuse('empty password');
    const { keys, userName, scramIterations } = this.#options;
    let derived = false;
    for (const proof of this.#proofs) {
      if (proof.kind === 'plain') {
        if (equalInConstantTime(password, Buffer.from(proof.password))) return accept([], proof, null);
      } else if (proof.kind === 'md5') {
        if (equalInConstantTime(md5Hash(password, userName), proof.hash)) return accept([], proof, null);
      } else if (proof.iterations <= MAX_SCRAM_ITERATIONS) {
        derived = true;
        const clientKey = await this.#clientKeyOf(password, proof);
        if (clientKey !== null) return accept([], proof, clientKey);
      }
    }
    // Every refusal costs one derivation, whatever is stored, or nothing.
    if (!derived) await keys.saltedPassword(password.toString(), keys.saltOf(userName), scramIterations, this);
    keys.forget(password.toString());
    return this.#refuseProof();
  }

  /** The key by which a verifier was made from this password; null if it was made from another one. */
  async #clientKeyOf(password: Buffer, verifier: ScramSecret): Promise<Buffer | null> {
    const text = password.toString();
    const salted = await this.#options.keys.saltedPassword(text, verifier.salt, verifier.iterations, this);
    const { storedKey, clientKey } = scramKeys(salted);
    // Bytes that are no UTF-8 are read as U+FFFD, so that many passwords would be one.
    const isText = Buffer.from(text).equals(password);
    return timingSafeEqual(storedKey, verifier.storedKey) && isText ? clientKey : null;
  }

  #checkMd5Response(response: Buffer | null): Move {
    if (response === null) return refuse('malformed password message');
    if (response.length === 0) return refuse('empty password');
    const { userName } = this.#options;
    const salt = this.#md5Salt!;
    const mock: Md5Secret = { kind: 'md5', hash: md5Hash('', userName) };
    const isRight = (secret: Secret): boolean =>
      equalInConstantTime(response, md5Response(userName, secret.kind === 'scram' ? mock : secret, salt));
    if (this.#proofs.length === 0) isRight(mock);
    const proven = this.#proofs.find((secret) => isRight(secret));
    return proven === undefined ? this.#refuseProof() : accept([], proven, null);
  }

  #saslInitial(body: Buffer): Move | Promise<Move> {
    const initial = parseSaslInitialResponse(body);
    if (initial === null) return refuse('malformed password message');
    const mechanism = this.#mechanisms.find((offered) => offered === initial.mechanism);
    if (mechanism === undefined) return refuse('unknown SASL mechanism');
    this.#mechanism = mechanism;
    if (initial.data !== null) return this.#saslFirst(initial.data);
    return ask('sasl-first', { type: 'saslContinue', data: Buffer.alloc(0) });
  }

  #saslFirst(clientFirst: Buffer): Move | Promise<Move> {
    const { keys, userName, scramIterations } = this.#options;
    const verifiers = this.#proofs.filter((secret) => secret.kind === 'scram');
    const passwords = this.#proofs.filter((secret) => secret.kind === 'plain');
    // The client is told one salt: of verifiers with other salts none can be checked (the configuration refuses them).
    const [shown] = verifiers;
    const salt = shown?.salt ?? keys.saltOf(userName);
    const iterations = shown?.iterations ?? scramIterations;
    const fitting = verifiers.filter((verifier) => verifier.salt.equals(salt) && verifier.iterations === iterations);
    const ready = fitting.map((secret) => ({ verifier: secret, secret }));
    if (passwords.length > 0 && iterations <= MAX_SCRAM_ITERATIONS) {
      const derived = passwords.map(async (secret) => ({
        verifier: await keys.scramSecret(userName, secret.password, iterations, salt, this),
        secret,
      }));
      return Promise.all(derived).then((made) => this.#challenge(clientFirst, [...ready, ...made]));
    }
    // Without any: nobody, or an MD5 hash, from which no verifier can be made.
    return this.#challenge(clientFirst, ready);
  }

  /** What is offered, the better one first. */
  get #mechanisms(): readonly ScramMechanism[] {
    return this.#options.channelBinding === null ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];
  }

  /** `made` are all verifiers that would do, of one salt and iteration count, and what they were made from. */
  #challenge(clientFirst: Buffer, made: readonly { readonly verifier: ScramSecret; readonly secret: Secret }[]): Move {
    const { keys, userName, scramIterations, environment, channelBinding } = this.#options;
    const nonce = createNonce(environment);
    const mock = keys.mockSecret(userName, scramIterations);
    const candidates = made.length > 0 ? made : [{ verifier: mock, secret: mock }];
    this.#scrams = candidates.map(({ verifier, secret }) => ({
      server: new ScramServer({
        secret: verifier,
        doomed: made.length === 0,
        nonce,
        mechanism: this.#mechanism,
        channelBinding,
      }),
      secret,
    }));
    const [answer] = this.#scrams.map(({ server }) => server.clientFirst(clientFirst));
    return answer!.ok ? ask('sasl-final', { type: 'saslContinue', data: answer!.message }) : refuse(answer!.reason);
  }

  #saslFinal(clientFinal: Buffer): Move {
    const answers = this.#scrams.map(({ server, secret }) => ({ secret, answer: server.clientFinal(clientFinal) }));
    for (const { secret, answer } of answers) {
      if (!answer.ok || this.#proofs.length === 0) continue;
      const clientKey = secret.kind === 'scram' ? answer.clientKey : null;
      return accept([{ type: 'saslFinal', data: answer.message }], secret, clientKey);
    }
    const [first] = answers;
    const reason = first === undefined || first.answer.ok ? 'wrong password' : first.answer.reason;
    return reason === 'wrong password' ? this.#refuseProof() : refuse(reason);
  }

  /** The log is told why a proof could not succeed. */
  #refuseProof(): Move {
    if (this.#isUnavailable) return refuse('secret unavailable');
    if (this.#secrets.length === 0) return refuse('no such user');
    const { authType } = this.#options;
    const isOfUse = (secret: Secret): boolean => {
      if (secret.kind === 'md5') return authType !== 'scram-sha-256';
      return secret.kind === 'plain' || authType !== 'plain' || secret.iterations <= MAX_SCRAM_ITERATIONS;
    };
    return refuse(this.#proofs.some(isOfUse) ? 'wrong password' : 'no usable secret for this auth_type');
  }
}

function listOf(found: Exclude<FoundSecrets, 'unavailable'>): readonly Secret[] {
  if (found === null) return [];
  return 'kind' in found ? [found] : found;
}

function ask(to: State, request: AuthenticationRequest): Move {
  return { to, step: { outcome: 'continue', request } };
}

function accept(requests: readonly AuthenticationRequest[], secret: Secret | null, clientKey: Buffer | null): Move {
  return { to: 'over', step: { outcome: 'accepted', requests: [...requests, { type: 'ok' }], secret, clientKey } };
}

function refuse(reason: RefusalReason): Move {
  return { to: 'over', step: { outcome: 'refused', reason } };
}

function fail(error: unknown): Move {
  return { to: 'over', step: { outcome: 'failed', error } };
}

/** Of digests, so that not even the lengths show. */
function equalInConstantTime(a: Buffer | string, b: Buffer | string): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}
