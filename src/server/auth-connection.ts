/**
 * A connection to PostgreSQL that asks one kind of question: auth_query, with a user's name as its only parameter. There is
 * no way to link a client to it, to set anything that a client has asked for, or to send any other statement: whoever is
 * not logged in yet must not reach it with more than a name (CVE-2025-12819). It knows neither caches nor who asks.
 */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import { isUnixFolder } from '../base/unix-path.ts';
import { ServerNegotiation } from '../net/server-negotiation.ts';
import type { TlsPlan } from '../net/server-security.ts';
import { TlsError } from '../net/tls-error.ts';
import { Wire, type WireReader } from '../net/wire.ts';
import * as client from '../protocol/client-messages.ts';
import { parseDataRow } from '../protocol/data-row.ts';
import { type ErrorFields, isFatal, parseErrorFields } from '../protocol/error-fields.ts';
import { FETCH, MessageFramer, type MessageHandler, SKIP, STOP, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import type { Lease } from './lease.ts';
import type { ServerFailure } from './server-holder.ts';
import { type LoginListener, type ServerCredentials, ServerLogin } from './server-login.ts';

export interface AuthConnectionOptions {
  readonly environment: Environment;
  readonly address: SocketAddress;
  /** The host, as configured, that the address belongs to. */
  readonly hostName: string;
  readonly credentials: ServerCredentials;
  readonly keys: DerivedKeys;
  readonly lease: Lease;
  readonly owner: AuthConnectionOwner;
  readonly protocolMinor: number;
  /** Null: it is not to be secured. */
  readonly tls: TlsPlan | null;
  /** How long PostgreSQL may work on one question; 0 is no limit. */
  readonly statementTimeoutMs: number;
}

/** What came of a question. */
export type AuthAnswer =
  /** Its rows: of more than one only the first is kept. */
  | { readonly rows: number; readonly first: readonly (string | null)[] }
  | { readonly error: ErrorFields }
  /** The connection is lost; `byServer`: not because of what the server said or did not say, it ended it or went away. */
  | { readonly lost: string; readonly byServer: boolean };

export interface AuthConnectionOwner {
  /** It can be asked. */
  onAuthReady(connection: AuthConnection): void;
  /** It will never get there. `onAuthClosed` follows. */
  onAuthFailed(connection: AuthConnection, failure: ServerFailure): void;
  /** It can be asked again, unless it is lost. */
  onAuthAnswer(connection: AuthConnection, answer: AuthAnswer): void;
  /** `confirmed`: PostgreSQL has closed its side. */
  onAuthClosed(connection: AuthConnection, confirmed: boolean): void;
}

type AuthConnectionState = 'connecting' | 'preparing' | 'idle' | 'asking' | 'closing' | 'closed';

/** A name and a secret, of which PgBouncer's longest has 65,530 bytes. */
const MAX_MESSAGE_BYTES = 131_072;

/** What may come at any time, and says nothing to us. */
const ASIDES: ReadonlySet<number> = new Set([type.PARAMETER_STATUS, type.NOTICE_RESPONSE, type.NOTIFICATION_RESPONSE]);
/** What an answer consists of besides rows, errors and its end. */
const SIGNPOSTS: ReadonlySet<number> = new Set([type.PARSE_COMPLETE, type.BIND_COMPLETE, type.COMMAND_COMPLETE]);

export class AuthConnection implements WireReader, LoginListener, MessageHandler {
  readonly address: SocketAddress;
  readonly hostName: string;
  readonly lease: Lease;
  /** When it was dialed. */
  readonly sinceMs: number;
  stateSinceMs: number;
  readonly #options: AuthConnectionOptions;
  readonly #framer: MessageFramer;
  readonly #wire: Wire;
  #state: AuthConnectionState = 'connecting';
  #login: ServerLogin | null;
  #reached = false;
  #peerGone = false;
  /** What the server says is not what it was asked for. */
  #broken: string | null = null;
  #rows = 0;
  #first: readonly (string | null)[] = [];
  #error: ErrorFields | null = null;
  /** A ReadyForQuery has come: what it means is seen to when the chunk has been judged to its end. */
  #answered = false;

  constructor(options: AuthConnectionOptions) {
    this.#options = options;
    this.address = options.address;
    this.hostName = options.hostName;
    this.lease = options.lease;
    this.sinceMs = options.environment.now();
    this.stateSinceMs = this.sinceMs;
    this.#login = new ServerLogin(options.credentials, options.environment, options.keys, this);
    this.#framer = new MessageFramer(this, MAX_MESSAGE_BYTES);
    this.#wire = new Wire(this, (handler) => options.environment.dial(options.address, handler));
    if (options.tls !== null) ServerNegotiation.begin(this.#wire, options.tls);
  }

  get state(): AuthConnectionState {
    return this.#state;
  }

  /** Runs `sql`, auth_query, with `userName` as $1. Only while it is idle; the answer goes to the owner. */
  ask(sql: string, userName: string): void {
    this.#become('asking');
    this.#wire.send(client.parameterizedQuery(sql, [userName]));
  }

  /** Ends it. Whoever waits for an answer hears that it is lost. */
  close(reason: string): void {
    this.#close(reason, false);
  }

  /** PostgreSQL does not close its side: the socket goes. */
  destroy(): void {
    this.#wire.destroy();
  }

  // LoginListener

  get security(): TransportSecurity | null {
    return this.#wire.security;
  }

  get isPrivate(): boolean {
    return this.#wire.security !== null || isUnixFolder(this.address.host);
  }

  sendLogin(bytes: Buffer): void {
    this.#wire.send(bytes);
  }

  onLoginDone(): void {
    this.#login = null;
    this.#become('preparing');
    const { statementTimeoutMs } = this.#options;
    // Names in auth_query mean the same whatever the role, the database or anybody else has set.
    const searchPath = 'SET search_path TO pg_catalog, pg_temp';
    const timeout = `SET statement_timeout TO ${Math.min(Math.ceil(statementTimeoutMs), 2_147_483_647)}`;
    this.#wire.send(client.query(`${searchPath}; ${timeout}`));
  }

  onLoginFailed(failure: ServerFailure): void {
    this.#leave();
    this.#wire.end();
    this.#options.owner.onAuthFailed(this, failure);
  }

  // WireReader

  onConnected(): void {
    this.#reached = true;
    this.#login?.start(this.#options.protocolMinor);
  }

  onBytes(buffer: Buffer, start: number, end: number): number {
    if (this.#state === 'closing') return end;
    const used = this.#framer.feed(buffer, start, end);
    if (this.#broken !== null) this.#close(this.#broken, this.#error !== null && isFatal(this.#error));
    else if (this.#answered) this.#finish();
    return used;
  }

  onDrain(): void {}

  onEnd(): void {
    this.#peerGone = true;
    this.#lose('server closed the connection');
    this.#wire.destroy();
  }

  onClosed(error: Error | null): void {
    const code = error === null || !('code' in error) ? null : error.code;
    const confirmed = this.#peerGone || !this.#reached || code === 'ECONNRESET' || code === 'EPIPE';
    const kind = error instanceof TlsError && !error.isViolation ? 'not-secured' : 'unreachable';
    this.#lose(error?.message ?? 'connection closed', kind);
    this.#become('closed');
    this.#options.owner.onAuthClosed(this, confirmed);
  }

  // MessageHandler

  onHeader(): Verdict {
    return FETCH;
  }

  onFetched(code: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    if (this.#login !== null) this.#login.onMessage(code, buffer, bodyAt, bodyEnd);
    else this.#onMessage(code, buffer, bodyAt, bodyEnd);
    return this.#broken !== null || this.#state === 'closing' ? STOP : SKIP;
  }

  onMalformed(code: number): void {
    this.#broken = `server sent a message of type ${code} that is too long or malformed`;
  }

  onRun(): void {}
  onFlushed(): void {}
  onHeld(): void {}
  onDropped(): void {}
  onSpliced(_code: number, _length: number, _buffer: Buffer, bodyAt: number): number {
    return bodyAt;
  }

  #onMessage(code: number, buffer: Buffer, from: number, to: number): void {
    if (ASIDES.has(code)) return;
    const isAwaited = (this.#state === 'asking' || this.#state === 'preparing') && !this.#answered;
    if (code === type.ERROR_RESPONSE) {
      this.#error ??= parseErrorFields(buffer, from, to);
      if (!isAwaited || isFatal(this.#error)) this.#broken = this.#error.message;
      return;
    }
    if (!isAwaited) return this.#break(code);
    if (SIGNPOSTS.has(code)) return;
    if (code === type.READY_FOR_QUERY) {
      if (to - from !== 1 || buffer[from] !== type.STATUS_IDLE) this.#broken = 'auth_query leaves a transaction open';
      this.#answered = true;
      return;
    }
    const row = code === type.DATA_ROW && this.#state === 'asking' ? parseDataRow(buffer, from, to) : null;
    if (row === null) return this.#break(code);
    this.#rows++;
    if (this.#rows === 1) this.#first = row;
  }

  #break(code: number): void {
    this.#broken = `server sent message type ${code} where none was expected`;
  }

  #finish(): void {
    const was = this.#state;
    const error = this.#error;
    const answer: AuthAnswer = error === null ? { rows: this.#rows, first: this.#first } : { error };
    this.#answered = false;
    this.#error = null;
    this.#rows = 0;
    this.#first = [];
    if (was === 'preparing' && error !== null) {
      this.#leave();
      this.#wire.end();
      this.#options.owner.onAuthFailed(this, { kind: 'refused', fields: error });
      return;
    }
    this.#become('idle');
    if (was === 'preparing') this.#options.owner.onAuthReady(this);
    else this.#options.owner.onAuthAnswer(this, answer);
  }

  #close(reason: string, byServer: boolean): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const before = this.#state;
    this.#leave();
    if (before === 'idle') this.#wire.send(client.TERMINATE_MESSAGE);
    if (this.#reached) this.#wire.end();
    else this.#wire.destroy();
    this.#tellLoss(before, { kind: 'unreachable', reason }, byServer);
  }

  #lose(reason: string, kind: 'unreachable' | 'not-secured' = 'unreachable'): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const before = this.#state;
    this.#leave();
    this.#tellLoss(before, { kind, reason }, true);
  }

  #leave(): void {
    this.#login?.cancel();
    this.#login = null;
    this.#framer.stop();
    this.#become('closing');
  }

  #tellLoss(
    before: AuthConnectionState,
    failure: ServerFailure & { readonly reason: string },
    byServer: boolean,
  ): void {
    const { owner } = this.#options;
    if (before === 'connecting' || before === 'preparing') owner.onAuthFailed(this, failure);
    else if (before === 'asking') owner.onAuthAnswer(this, { lost: failure.reason, byServer });
  }

  #become(state: AuthConnectionState): void {
    this.#state = state;
    this.stateSinceMs = this.#options.environment.now();
  }
}
