/**
 * One connection to PostgreSQL: its state, its ledger, and the way of each byte between it and the client that holds it.
 * Everything here is synchronous. It knows neither pools nor how clients are logged in; whoever must know hears it
 * through `ServerOwner` and `ServerHolder`.
 */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { LinkedList, Listed } from '../base/linked-list.ts';
import { WRITE_GONE, WRITE_LENT } from '../base/transport.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import { isUnixFolder } from '../base/unix-path.ts';
import { ServerNegotiation } from '../net/server-negotiation.ts';
import type { TlsPlan } from '../net/server-security.ts';
import { TlsError } from '../net/tls-error.ts';
import { Wire, type WireReader } from '../net/wire.ts';
import * as client from '../protocol/client-messages.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import { FORWARD, MessageFramer, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import type { Lease } from './lease.ts';
import type { ReplyNote } from './note-queue.ts';
import type { ParameterTable } from './parameter-table.ts';
import { PreparedStatements } from './prepared-statements.ts';
import { RepeatableBatch } from './repeatable-batch.ts';
import { type Destination, TO_CLIENT, TO_NOBODY } from './reply-entry.ts';
import { ReplyLedger } from './reply-ledger.ts';
import type { ServerFailure, ServerHolder, ServerOwner } from './server-holder.ts';
import { type LoginListener, type LoginResult, type ServerCredentials, ServerLogin } from './server-login.ts';
import { ServerParameters } from './server-parameters.ts';
import { ServerRecovery } from './server-recovery.ts';
import { ServerReplies } from './server-replies.ts';
import { ServerRequests } from './server-requests.ts';
import { assertServerMove, type ServerState } from './server-state.ts';
import { ServerTimes } from './server-times.ts';
import { SessionDirt } from './session-dirt.ts';
import type { StartupSet } from './startup-set.ts';
import type { StatementRegistry } from './statement-registry.ts';

export interface ServerConnectionOptions {
  readonly environment: Environment;
  readonly address: SocketAddress;
  /** The host, as configured, that the address belongs to. */
  readonly hostName: string;
  readonly credentials: ServerCredentials;
  /** Those of the credentials' parameters that are for certain clients. */
  readonly startup: StartupSet;
  readonly keys: DerivedKeys;
  readonly lease: Lease;
  readonly owner: ServerOwner;
  /** The version of protocol 3 to ask for. */
  readonly protocolMinor: number;
  /** Null: it is not to be secured. */
  readonly tls: TlsPlan | null;
  /** Of the pool. */
  readonly parameterTable: ParameterTable;
  readonly maxMessageBytes: number;
  /** A name that no client can know (`ServerRequests`). */
  readonly unguessable: string;
  readonly statements: StatementRegistry;
}

/** A query of ours has been answered: `error` is the server's, null if there was none. */
export type OwnQueryDone = (error: ErrorFields | null) => void;

export class ServerConnection implements WireReader, LoginListener, Listed<ServerConnection> {
  list: LinkedList<ServerConnection> | null = null;
  previous: ServerConnection | null = null;
  next: ServerConnection | null = null;

  readonly address: SocketAddress;
  readonly hostName: string;
  readonly startup: StartupSet;
  readonly lease: Lease;
  readonly ledger = new ReplyLedger();
  readonly wire: Wire;
  readonly requests: ServerRequests;
  readonly prepared: PreparedStatements;
  /** What clients have left in its session. */
  readonly dirt = new SessionDirt();
  /** What its client has sent of the batch that is under way. */
  readonly batch = new RepeatableBatch();
  readonly parameters: ServerParameters;
  /** Everything that was reported at login, in the server's spelling. */
  reported: ReadonlyMap<string, string> = new Map();
  /** Process id and secret, of any length, for CancelRequest; null if the server gave none. */
  cancelKey: Buffer | null = null;
  readonly times: ServerTimes;
  /** The status byte of the last ReadyForQuery. */
  status: number = type.STATUS_IDLE;
  /** How often it was linked to a client. */
  uses = 0;
  /** Nobody has used it since it was seen to work. */
  isFresh = true;
  /** ReadyForQuery messages so far: what ran before another one came is over. */
  readyCount = 0;
  /** Why it will be closed as soon as nobody uses it; null while it may stay. */
  closeWhenFree: ServerCloseReason | null = null;
  /** Cancels that were sent, or are about to be, and have not been seen to their end. */
  cancelsInFlight = 0;
  /** When a cancel was last asked for, for what its client has left behind. */
  cancelAskedAtMs = 0;
  /** Why it is on its way out. */
  closeReason: ServerCloseReason | null = null;

  readonly #options: ServerConnectionOptions;
  readonly #replies = new ServerReplies(this);
  readonly #framer: MessageFramer;
  #state: ServerState = 'connecting';
  #holder: ServerHolder | null = null;
  #login: ServerLogin | null;
  #recovery: ServerRecovery | null = null;
  #own: OwnQueryDone | null = null;
  /** The socket was connected: there may be a backend. */
  #reached = false;
  /** PostgreSQL has closed its side. */
  #peerGone = false;
  #lent = false;
  /** It was sent a Terminate by `terminate`: its end is no surprise. */
  #terminated = false;

  // What the chunk that is being read has brought about; it happens when all its bytes have been judged.
  #readingChunk = false;
  #chunkIsOwn = false;
  #event: 'logged-in' | 'free' | null = null;

  constructor(options: ServerConnectionOptions) {
    this.#options = options;
    this.address = options.address;
    this.hostName = options.hostName;
    this.startup = options.startup;
    this.lease = options.lease;
    this.prepared = new PreparedStatements(options.statements);
    this.parameters = new ServerParameters(options.parameterTable);
    this.times = new ServerTimes(options.environment, options.owner.traffic);
    this.#login = new ServerLogin(options.credentials, options.environment, options.keys, this);
    this.#framer = new MessageFramer(this.#replies, options.maxMessageBytes, type.DATA_ROW);
    this.wire = new Wire(this, (handler) => options.environment.dial(options.address, handler));
    if (options.tls !== null) ServerNegotiation.begin(this.wire, options.tls);
    this.requests = new ServerRequests(this, this.#replies, options.unguessable);
  }

  get state(): ServerState {
    return this.#state;
  }

  get holder(): ServerHolder | null {
    return this.#holder;
  }

  get recovery(): ServerRecovery | null {
    return this.#recovery;
  }

  get security(): TransportSecurity | null {
    return this.wire.security;
  }

  get isPrivate(): boolean {
    return this.wire.security !== null || isUnixFolder(this.address.host);
  }

  get isLoggingIn(): boolean {
    return this.#login !== null;
  }

  /** How a cancel for it is to be secured: never less than it is itself (CVE-2020-25694). */
  get cancelTls(): TlsPlan | null {
    const { tls } = this.#options;
    return tls === null || this.wire.security === null ? null : { ...tls, isRequired: true };
  }

  /** The client has been sent part of a message of this server's. */
  get midMessage(): boolean {
    return this.#framer.midForward;
  }

  set maxMessageBytes(bytes: number) {
    this.#framer.maxLength = bytes;
  }

  /** Process id of the backend; 0 if the server did not say. */
  get backendPid(): number {
    return this.cancelKey?.readUInt32BE(0) ?? 0;
  }

  /** `atMs`: when, if that is known without looking at the clock. */
  become(to: ServerState, atMs?: number): void {
    assertServerMove(this.#state, to);
    this.#state = to;
    this.times.moved(atMs);
    this.#options.owner.onServerMoved(this, to);
  }

  // Serving one client for good

  /** It has just logged in, and answers `holder` alone until one of them ends. */
  dedicate(holder: ServerHolder): void {
    this.#holder = holder;
    this.become('dedicated');
    this.uses++;
  }

  /** The holder of a dedicated server has said Terminate: what was asked before is answered, then the server ends. */
  terminate(): void {
    this.#terminated = true;
    this.wire.send(client.TERMINATE_MESSAGE);
  }

  // Serving a client

  /** From now on the server answers `holder`, whose first message follows at once. */
  link(holder: ServerHolder): void {
    this.#holder = holder;
    this.become('linked');
    this.uses++;
    this.isFresh = false;
    this.times.linked();
  }

  /**
   * Runs `sql`, which makes the session fit for `holder`, before the link. `done` hears how it ended, unless the
   * connection is lost meanwhile (then `holder` hears that) or abandoned; it may ask for more.
   */
  prepare(holder: ServerHolder, sql: string, done: OwnQueryDone): void {
    this.#holder = holder;
    this.run('preparing', sql, done);
  }

  /** Runs a query of ours for nobody's eyes. One at a time; `done` may ask for another one. */
  run(state: 'preparing' | 'testing' | 'resetting', sql: string, done: OwnQueryDone): void {
    if (this.#state !== state) this.become(state);
    this.#sendOwn(sql, done);
  }

  /** A message of type `code` is about to be forwarded for the holder: see `ReplyLedger.admit`. */
  admit(code: number, destination: Destination = TO_CLIENT, note: ReplyNote | null = null): Verdict {
    const verdict = this.ledger.admit(code, destination, note);
    if (verdict === FORWARD && this.times.busySinceMs === 0 && this.ledger.owed > 0) this.times.asked();
    return verdict;
  }

  /** The holder has room again. */
  onHolderDrained(): void {
    if (this.#lent) this.wire.endLoan();
    this.#lent = false;
    this.wire.resume();
  }

  /** The holder is done, at a boundary: nothing is owed and no transaction is open. */
  unlink(): void {
    this.#dropHolder();
    if (this.#readingChunk) this.#event = 'free';
    else this.#options.owner.onServerFree(this);
  }

  /**
   * The holder is gone in the middle of something. `left` says how: after Terminate what was sent runs to its end, after
   * a lost connection it is cancelled. `midMessage`: part of a message was forwarded, and its rest will never come.
   */
  abandon(left: 'terminated' | 'lost', midMessage: boolean): void {
    this.#dropHolder();
    this.#own = null;
    const ended = this.#replies.fatal !== null;
    if (ended || midMessage || this.ledger.copyBoth) {
      this.close(ended ? 'fatal_error' : 'abandoned');
      return;
    }
    // A SET of ours is short, and nobody's to cancel.
    const how = this.#state === 'preparing' ? 'terminated' : left;
    this.become('recovering');
    this.#recovery = new ServerRecovery(this, this.#options.environment, how);
    if (!this.#readingChunk) this.#recovery.step();
  }

  // For the recovery

  sendRollback(done: OwnQueryDone): void {
    this.#sendOwn('ROLLBACK', done);
  }

  needCancel(): void {
    this.cancelAskedAtMs = this.#options.environment.now();
    this.#options.owner.onServerNeedsCancel(this);
  }

  recovered(): void {
    this.#recovery = null;
    this.#options.owner.onServerFree(this);
  }

  /** A cancel for it is over: its connection has closed, so it can hit nothing any more. */
  cancelEnded(): void {
    this.cancelsInFlight--;
    if (this.cancelsInFlight > 0) return;
    if (this.#state === 'cancelling') this.#options.owner.onServerFree(this);
    else if (this.#state === 'closed') this.#options.owner.onCancelsEnded(this);
    else this.#recovery?.step();
  }

  // The end

  /**
   * Ends the connection. Between two requests it says Terminate; in the middle of something it asks for a cancel. Then
   * FIN, and it reads until PostgreSQL's own FIN: before that the backend may still hold its slot.
   */
  close(reason: ServerCloseReason): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const connecting = this.#isComing;
    const running = !connecting && !this.ledger.idle;
    const midMessage = this.#framer.midForward;
    const holder = this.#leave(reason);
    if (running) this.needCancel();
    else if (!connecting && !this.#terminated) this.requests.send(client.TERMINATE_MESSAGE);
    if (this.#reached) this.wire.end();
    else this.wire.destroy();
    this.#tellLoss(holder, connecting, { kind: 'unreachable', reason: reason.replaceAll('_', ' ') }, midMessage);
  }

  /** PostgreSQL does not close its side: the socket goes, whatever the backend does. */
  destroy(): void {
    this.wire.destroy();
  }

  /** The peer has ended the connection, or the network has; `kind` if it was on its way. */
  #lose(reason: ServerCloseReason, words: string, kind: 'unreachable' | 'not-secured' = 'unreachable'): void {
    const connecting = this.#isComing;
    const midMessage = this.#framer.midForward;
    const holder = this.#leave(connecting ? 'connect_failed' : reason);
    this.wire.destroy();
    this.#tellLoss(holder, connecting, { kind, reason: words }, midMessage);
  }

  /** The owner has not heard yet how its login went. It may have ended, and the session with it, in one chunk. */
  get #isComing(): boolean {
    return this.#login !== null || this.#event === 'logged-in';
  }

  #leave(reason: ServerCloseReason): ServerHolder | null {
    const holder = this.#holder;
    this.closeReason = reason;
    this.#login?.cancel();
    this.#login = null;
    this.#own = null;
    this.#recovery = null;
    this.#event = null;
    this.#dropHolder();
    this.#framer.stop();
    this.prepared.dispose();
    this.become('closing');
    return holder;
  }

  #tellLoss(holder: ServerHolder | null, connecting: boolean, failure: ServerFailure, midMessage: boolean): void {
    const { fatal } = this.#replies;
    if (connecting)
      this.#options.owner.onServerFailed(this, fatal === null ? failure : { kind: 'refused', fields: fatal });
    holder?.onServerLost({
      reason: this.closeReason!,
      fatal,
      told: this.#replies.fatalForwarded,
      midMessage,
    });
  }

  #dropHolder(): void {
    this.#holder = null;
    this.#replies.forgetHolder();
    this.batch.drop();
    // The rest of a message of the holder's is nobody's.
    this.#framer.skipRest();
    if (this.ledger.hasDue) this.ledger.takeDue();
    if (this.#lent) this.wire.swapReadBuffer();
    this.#lent = false;
    this.wire.resume();
  }

  // Login

  sendLogin(bytes: Buffer): void {
    this.wire.send(bytes);
  }

  onLoginDone(result: LoginResult): void {
    this.#login = null;
    this.reported = result.parameters;
    this.cancelKey = result.cancelKey;
    this.parameters.begin(result.parameters);
    this.#event = 'logged-in';
  }

  onLoginMessage(code: number, buffer: Buffer, from: number, to: number): void {
    this.#login?.onMessage(code, buffer, from, to);
  }

  onLoginFailed(failure: ServerFailure): void {
    this.#leave('login_failed');
    this.wire.end();
    this.#options.owner.onServerFailed(this, failure);
  }

  // Bytes from the server

  onConnected(): void {
    this.#reached = true;
    this.#login?.start(this.#options.protocolMinor);
  }

  onBytes(buffer: Buffer, start: number, end: number, own: boolean): number {
    if (this.#state === 'closing') return end;
    this.#readingChunk = true;
    this.#chunkIsOwn = own;
    const used = this.#framer.feed(buffer, start, end);
    this.#readingChunk = false;
    if (this.ledger.owed === 0) this.times.answered(this.#state === 'linked');
    if (this.#replies.broken !== null) this.close(this.#replies.broken);
    else if (this.#event !== null) this.#happen(this.#event);
    else if (this.#replies.ownAnswered) this.#finishOwn();
    this.#recovery?.step();
    this.#holder?.onServerProgress();
    return used;
  }

  onDrain(): void {
    this.#holder?.onServerDrain();
  }

  onEnd(): void {
    this.#peerGone = true;
    if (this.#state === 'closing') this.wire.destroy();
    else if (this.#replies.fatal !== null) this.#lose('fatal_error', 'server closed the connection');
    else this.#lose(this.#terminated ? 'unneeded' : 'eof', 'server closed the connection');
  }

  onClosed(error: Error | null): void {
    const code = error === null || !('code' in error) ? null : error.code;
    // A reset comes from a peer that has closed; other errors are the network's and say nothing about the backend.
    const confirmed = this.#peerGone || !this.#reached || code === 'ECONNRESET' || code === 'EPIPE';
    if (this.#state !== 'closing') {
      const kind = error instanceof TlsError && !error.isViolation ? 'not-secured' : 'unreachable';
      this.#lose('eof', error?.message ?? 'connection closed', kind);
    }
    this.become('closed');
    this.#options.owner.onServerClosed(this, confirmed);
  }

  /** Hands forwarded bytes to the holder; if it cannot take them all, reading stops. */
  deliver(buffer: Buffer, from: number, to: number, own: boolean): void {
    if (this.#holder === null) return;
    this.#options.owner.traffic.sentBytes += to - from;
    const isOwn = own || this.#chunkIsOwn;
    const result = this.#holder.onServerBytes(buffer, from, to, isOwn);
    if (result === WRITE_GONE) return;
    this.wire.pause();
    if (result !== WRITE_LENT || isOwn) return;
    this.#lent = true;
    this.wire.lend();
  }

  #sendOwn(sql: string, done: OwnQueryDone): void {
    this.#own = done;
    // A ReadyForQuery that was nobody's may have come in a chunk after which something else had to happen.
    this.#replies.ownAnswered = false;
    this.#replies.ownError = null;
    this.ledger.admit(type.QUERY, TO_NOBODY);
    this.times.asked();
    this.requests.send(client.query(sql));
  }

  #happen(event: 'logged-in' | 'free'): void {
    this.#event = null;
    if (event === 'logged-in') this.#options.owner.onServerLoggedIn(this);
    else this.#options.owner.onServerFree(this);
  }

  #finishOwn(): void {
    const done = this.#own;
    this.#own = null;
    this.#replies.ownAnswered = false;
    done?.(this.#replies.ownError);
  }
}
