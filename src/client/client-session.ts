/**
 * One logged-in client: takes its messages, gets a server for each transaction, and decides when to give it back. It
 * knows what the protocol's messages are for, never what they contain; what a message means to the server is the
 * ledger's, and who is next is the pool's.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { READ_CHUNK_BYTES, WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import { Farewell } from '../net/farewell.ts';
import type { Wire, WireReader } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { Waiter } from '../pool/waiter.ts';
import { type ErrorFields, fatalReport } from '../protocol/error-fields.ts';
import { DROP, HOLD, MessageFramer, type MessageHandler, SKIP, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { errorResponse, noticeResponse, readyForQuery } from '../protocol/server-messages.ts';
import { MAX_OWED } from '../server/reply-ledger.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerLoss } from '../server/server-holder.ts';
import { ClientDeadlines } from './client-deadlines.ts';
import { CLIENT_IS_GONE, deadlineWords, type LastWords, lossWords, SERVER_ENDS_WITH } from './client-endings.ts';
import type { ClientParameters } from './client-parameters.ts';
import { assertClientMove, type ClientState } from './client-state.ts';
import { type PreparationListener, ServerPreparation } from './server-preparation.ts';

/** Who the client has proven to be. Fixed at its first startup packet. */
export interface ClientIdentity {
  readonly user: string;
  readonly database: string;
}

export interface ClientSessionOptions {
  readonly identity: ClientIdentity;
  readonly wire: Wire;
  readonly pool: Pool;
  readonly environment: Environment;
  readonly settings: Settings;
  /** The client's own limits: with a forced user they are not the pool's. */
  readonly limits: PoolSettings;
  readonly parameters: ClientParameters;
  /** See `CancelKeys`. */
  readonly cancelKey: Buffer;
  readonly connectedAtMs: number;
  readonly listener: ClientListener;
}

/** Who keeps count of clients. */
export interface ClientListener {
  onClientIdle(client: ClientSession): void;
  onClientBusy(client: ClientSession): void;
  /** It serves no more; its socket may still be there. */
  onClientClosed(client: ClientSession, reason: ClientCloseReason): void;
  /** Its socket is gone. */
  onClientGone(): void;
}

export class ClientSession implements WireReader, MessageHandler, PreparationListener, Waiter {
  list: LinkedList<Waiter> | null = null;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  waitingSinceMs = 0;
  waitNotified = false;

  readonly #options: ClientSessionOptions;
  readonly #wire: Wire;
  readonly #pool: Pool;
  readonly #framer: MessageFramer;
  readonly #deadlines: ClientDeadlines;
  #state: ClientState = 'idle';
  #server: ServerConnection | null = null;
  /** The server answered everything, but bytes are on their way: when they have arrived, it is released. */
  #releasePending = false;
  /** A message is held until the ledger knows more. */
  #heldForLedger = false;
  /** The pooler has reported an error by itself: the client's messages mean nothing until its Sync. */
  #skippingToSync = false;
  /** What the next message gets for an answer instead of a server. */
  #refuseNext: ErrorReport | null = null;
  /** What it is told at the end of its transaction, since the pooler shuts down. */
  #endsWith: ErrorReport | null = null;
  /** It ends when what was asked before is answered, and then with these words. */
  #leaving: LastWords | null = null;
  #leavingSinceMs = 0;
  /** It ends at the message that is being judged. */
  #ending: LastWords | null = null;

  constructor(options: ClientSessionOptions) {
    this.#options = options;
    this.#wire = options.wire;
    this.#pool = options.pool;
    this.#framer = new MessageFramer(this, options.settings.maxPacketSizeBytes);
    this.#deadlines = new ClientDeadlines(options.limits, options.settings.clientWriteTimeoutMs);
    this.#wire.reader = this;
  }

  get state(): ClientState {
    return this.#state;
  }

  get options(): ClientSessionOptions {
    return this.#options;
  }

  get server(): ServerConnection | null {
    return this.#server;
  }

  /** Where it comes from, for people to read. */
  get address(): string {
    return `${this.#wire.remoteAddress}:${this.#wire.remotePort}`;
  }

  get parameters(): ClientParameters {
    return this.#options.parameters;
  }

  // From the client

  onConnected(): void {}

  onBytes(buffer: Buffer, start: number, end: number): number {
    const used = this.#framer.feed(buffer, start, end);
    // What was half forwarded may be complete now.
    if (this.#releasePending && this.#server !== null) this.#release(this.#server);
    return used;
  }

  onHeader(code: number, bodyLength: number): Verdict {
    switch (code) {
      case type.QUERY:
        if (this.#options.settings.disablePqexec) return this.#skippingToSync ? SKIP : DROP;
        return this.#request(code);
      case type.PARSE:
      case type.BIND:
      case type.DESCRIBE:
      case type.EXECUTE:
      case type.CLOSE:
      case type.FUNCTION_CALL:
        return this.#request(code);
      case type.SYNC:
        if (!this.#skippingToSync) return this.#request(code);
        return DROP;
      case type.FLUSH:
        // PostgreSQL would answer with an error that the ledger could not place.
        if (bodyLength !== 0) return this.#violate(errors.invalidMessageLength());
        return this.#server === null || this.#skippingToSync ? SKIP : this.#forward(this.#server, code);
      case type.COPY_DATA:
      case type.COPY_DONE:
      case type.COPY_FAIL:
        // Late ones of a COPY that has failed: the server drops them, and nobody is needed for that.
        return this.#server === null || this.#skippingToSync ? SKIP : this.#forward(this.#server, code);
      case type.TERMINATE:
        return DROP;
      default:
        return this.#violate(errors.invalidMessageType(code));
    }
  }

  onRun(buffer: Buffer, from: number, to: number): void {
    const server = this.#server;
    if (server === null) return;
    this.#pool.traffic.receivedBytes += to - from;
    if (server.forward(buffer, from, to) !== WRITE_GONE) this.#wire.pause();
  }

  onFetched(): Verdict {
    return SKIP;
  }

  onFlushed(): void {}

  onHeld(): void {
    this.#wire.hold();
    // Without the replies that are still inside it, an open batch would never tell.
    if (this.#heldForLedger) this.#server?.flush();
  }

  onDropped(code: number): void {
    if (this.#ending !== null) {
      this.#leaveWhenAnswered(this.#ending);
      return;
    }
    const refusal = this.#refuseNext;
    this.#refuseNext = null;
    if (code === type.TERMINATE) {
      this.#leaveWhenAnswered({ reason: 'terminated', report: null });
    } else if (code === type.SYNC && refusal === null) {
      this.#skippingToSync = false;
      this.#wire.send(readyForQuery(this.#server?.status ?? type.STATUS_IDLE));
    } else {
      this.#refuse(code, refusal ?? errors.simpleQueryDisabled());
    }
  }

  onMalformed(_code: number, length: number): void {
    const { maxPacketSizeBytes } = this.#options.settings;
    const report = length < 4 ? errors.invalidMessageLength() : errors.messageTooLarge(maxPacketSizeBytes);
    this.#leaveWhenAnswered({ reason: 'protocol_violation', report });
  }

  onDrain(): void {
    const server = this.#server;
    if (server === null) return;
    server.onHolderDrained();
    if (this.#releasePending) this.#release(server);
  }

  onEnd(): void {
    // PostgreSQL, too, stops at the end of its input; but what was asked before a Terminate is answered.
    if (this.#leaving === null) this.close('eof', null);
  }

  onClosed(error: Error | null): void {
    this.close(this.#leaving?.reason ?? (error === null ? 'eof' : 'connection_error'), null);
    this.#options.listener.onClientGone();
  }

  /** A message that needs a server. */
  #request(code: number): Verdict {
    if (this.#skippingToSync) return SKIP;
    if (this.#refuseNext !== null) return DROP;
    const server = this.#server;
    if (server !== null) return this.#forward(server, code);
    const refusal = this.#pool.refusal;
    if (refusal !== null) return this.#end({ reason: 'server_unavailable', report: refusal });
    const acquired = this.#pool.acquire(this);
    if (acquired !== null && this.#takes(acquired)) return this.#forward(acquired, code);
    if (this.#state === 'idle') this.#become('waiting');
    return HOLD;
  }

  #forward(server: ServerConnection, code: number): Verdict {
    if (this.#releasePending) {
      // A Flush of nothing, or the rest of a COPY that has failed. Anything else keeps the server for another round.
      if (MEANS_NOTHING.has(code)) return SKIP;
      this.#releasePending = false;
    }
    const verdict = server.ledger.owed >= MAX_OWED ? HOLD : server.admit(code);
    if (verdict === HOLD) this.#heldForLedger = true;
    return verdict;
  }

  #violate(report: ErrorReport): Verdict {
    return this.#end({ reason: 'protocol_violation', report });
  }

  /** The session ends instead of this message, once everything before it has been handed over. */
  #end(words: LastWords): Verdict {
    this.#ending = words;
    return DROP;
  }

  /** Answers `code` with an error of ours, in such a way that a transaction it belongs to fails as well. */
  #refuse(code: number, report: ErrorReport): void {
    const simple = code === type.QUERY || code === type.FUNCTION_CALL;
    const server = this.#server;
    if (server !== null && !(server.ledger.idle && server.status === type.STATUS_IDLE)) {
      server.refuse(simple, report);
      return;
    }
    this.#wire.send(errorResponse(report));
    if (simple) this.#wire.send(readyForQuery(type.STATUS_IDLE));
    else this.#skippingToSync = code !== type.SYNC;
    if (code === type.SYNC) this.#wire.send(readyForQuery(type.STATUS_IDLE));
  }

  /** As in PostgreSQL, what was asked before the end is answered before it. */
  #leaveWhenAnswered(words: LastWords): void {
    const server = this.#server;
    if (server === null || server.ledger.readyOwed === 0 || server.ledger.copyIn) {
      this.#say(words);
      return;
    }
    this.#leaving = words;
    this.#leavingSinceMs = this.#options.environment.now();
    this.#framer.stop();
  }

  // From the pool

  onServer(server: ServerConnection): void {
    if (this.#takes(server)) this.#wire.release();
  }

  onLongWait(): void {
    const message = 'No server connection available in postgres backend, client being queued';
    this.#wire.send(noticeResponse('NOTICE', { sqlstate: '00000', message }));
  }

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.close(reason, report);
  }

  /** Links the server, or has it prepared first and answers false. */
  #takes(server: ServerConnection): boolean {
    this.#server = server;
    if (this.parameters.matches(server.parameters)) {
      server.link(this);
      this.#become('linked');
      return true;
    }
    if (this.#state === 'idle') this.#become('waiting');
    new ServerPreparation(server, this, this.#pool.canonical).start();
    return this.#state === 'linked';
  }

  onPrepared(server: ServerConnection, changes: readonly Buffer[]): void {
    for (const change of changes) this.#wire.send(change);
    server.link(this);
    this.#become('linked');
    this.#wire.release();
  }

  onRefused(error: ErrorFields): void {
    this.close('parameter_refused', fatalReport(error));
  }

  onUnfit(server: ServerConnection): void {
    this.#server = null;
    server.closeWhenFree ??= 'parameter_failed';
    server.unlink();
    const { refusal } = this.#pool;
    if (refusal !== null) {
      this.close('server_unavailable', refusal);
      return;
    }
    const other = this.#pool.acquire(this);
    if (other !== null && this.#takes(other)) this.#wire.release();
  }

  // From the server

  onServerBytes(buffer: Buffer, from: number, to: number, own: boolean): WriteResult {
    return own ? this.#wire.send(buffer.subarray(from, to)) : this.#wire.sendView(buffer, from, to);
  }

  onServerParameter(place: number): void {
    if (this.#server !== null) this.parameters.report(place, this.#server);
  }

  onServerReady(status: number): void {
    const server = this.#server;
    if (server === null) return;
    if (this.#leaving !== null) {
      this.#say(this.#leaving);
    } else if (this.#endsWith !== null && this.#isAtBoundary(server)) {
      this.close('shutdown', this.#endsWith);
    } else if (this.#pool.settings.poolMode === 'session') {
      this.#afterSessionQuery(server, status);
    } else if (status === type.STATUS_IDLE) {
      this.#release(server);
    } else if (this.#pool.settings.poolMode === 'statement') {
      this.close('statement_mode', errors.transactionInStatementMode());
    }
  }

  onServerProgress(): void {
    const server = this.#server;
    if (server === null) return;
    // The data that this COPY waits for will never come.
    if (this.#leaving !== null && server.ledger.copyIn) {
      this.#say(this.#leaving);
      return;
    }
    if (!this.#heldForLedger) return;
    if (server.ledger.owed >= MAX_OWED / 2 || server.ledger.syncIsAmbiguous) return;
    this.#heldForLedger = false;
    this.#wire.release();
  }

  onServerDrain(): void {
    this.#wire.resume();
    if (this.#releasePending && this.#server !== null) this.#release(this.#server);
  }

  onServerRefused(report: ErrorReport): void {
    this.#wire.send(errorResponse(report));
  }

  onServerLost(loss: ServerLoss): void {
    this.#server = null;
    this.#say(lossWords(loss));
  }

  onTick(nowMs: number): void {
    if (this.#server === null || this.#state !== 'linked') return;
    const missed = this.#deadlines.missed(this.#server, this.#wire, nowMs);
    if (missed !== null) this.#say(deadlineWords(missed));
    else if (this.#leaving !== null) this.#hurry(this.#leaving, nowMs);
  }

  /** A client that has taken leave is sent its answers, but nobody has to wait for it for long. */
  #hurry(words: LastWords, nowMs: number): void {
    const { abandonedQueryTimeoutMs, serverRecoveryTimeoutMs } = this.#options.settings;
    if (abandonedQueryTimeoutMs > 0 && nowMs - this.#leavingSinceMs >= abandonedQueryTimeoutMs) {
      this.close('abandoned_query_timeout', null);
    } else if (this.#deadlines.isStuck(this.#wire, serverRecoveryTimeoutMs, nowMs)) {
      this.close(words.reason, null);
    }
  }

  #afterSessionQuery(server: ServerConnection, status: number): void {
    if (status !== type.STATUS_IDLE || server.closeWhenFree === null) return;
    if (!this.#options.settings.serverFastClose) return;
    this.close('server_closed', errors.serverClosedByPooler(server.closeWhenFree));
  }

  /**
   * Everything that was sent is answered, and no transaction is open. The server goes back unless something of this
   * client's is still on its way to it or from it.
   */
  #release(server: ServerConnection): void {
    this.#releasePending = false;
    if (server.ledger.batchOpen || server.ledger.owed > 0) return;
    const late = this.#framer.midForward || server.wire.unsentBytes > 0;
    if (late || this.#wire.unsentBytes > READ_CHUNK_BYTES) {
      this.#releasePending = true;
      return;
    }
    this.#server = null;
    this.#become('idle');
    server.unlink();
    if (this.#endsWith !== null) {
      this.close('shutdown', this.#endsWith);
    } else if (this.#heldForLedger) {
      this.#heldForLedger = false;
      this.#wire.release();
    }
  }

  // Cancel, and the end

  /** A CancelRequest with this client's key has come. */
  cancel(): void {
    const server = this.#server;
    if (this.#state === 'waiting') {
      this.#pool.leave(this);
      this.#server = null;
      server?.abandon('terminated', false);
      this.#become('idle');
      this.#refuseNext = errors.canceledWhileWaiting();
      this.#wire.release();
    } else if (server !== null && !server.ledger.idle) {
      const { readyCount } = server;
      this.#pool.cancel(server, () => server.holder === this && server.readyCount === readyCount);
    }
  }

  /** The pooler shuts down: the session ends now, or at the end of its transaction. */
  drain(report: ErrorReport): void {
    this.#endsWith = report;
    if (this.#server === null || this.#isAtBoundary(this.#server)) this.close('shutdown', report);
  }

  /**
   * Ends the session. Bytes that are on their way to the client still leave, unless it is gone; then `report`, if there is
   * one and the stream stands between two messages.
   */
  close(reason: ClientCloseReason, report: ErrorReport | null): void {
    if (this.#state === 'closed') return;
    const canTell = report !== null && this.#server?.midMessage !== true;
    this.#leave(reason);
    const { environment, listener } = this.#options;
    const isDone = reason === 'terminated' && this.#wire.unsentBytes === 0;
    if (isDone || this.#wire.closed || CLIENT_IS_GONE.has(reason)) this.#wire.destroy();
    else Farewell.say(this.#wire, environment, canTell ? errorResponse(report) : null, () => listener.onClientGone());
  }

  #say({ reason, report }: LastWords): void {
    this.close(reason, report);
  }

  #leave(reason: ClientCloseReason): void {
    const server = this.#server;
    this.#pool.leave(this);
    this.#become('closed');
    this.#server = null;
    if (server !== null) this.#leaveServer(server, reason);
    this.#framer.stop();
    this.#options.listener.onClientClosed(this, reason);
  }

  #leaveServer(server: ServerConnection, reason: ClientCloseReason): void {
    const timedOut = SERVER_ENDS_WITH.get(reason);
    if (timedOut !== undefined) server.close(timedOut);
    else if (server.state === 'preparing') server.abandon('terminated', false);
    else if (this.#isAtBoundary(server)) server.unlink();
    else server.abandon(reason === 'terminated' ? 'terminated' : 'lost', this.#framer.midForward);
  }

  /** Nothing is owed, nothing is open, nothing is on its way: `server` could serve anybody now. */
  #isAtBoundary({ state, ledger, status, wire }: ServerConnection): boolean {
    if (state !== 'linked' || status !== type.STATUS_IDLE) return false;
    return ledger.idle && !this.#framer.midForward && wire.unsentBytes === 0;
  }

  #become(to: ClientState): void {
    assertClientMove(this.#state, to);
    const from = this.#state;
    this.#state = to;
    if (to === 'idle') this.#options.listener.onClientIdle(this);
    else if (from === 'idle') this.#options.listener.onClientBusy(this);
  }
}

/** What a server drops that owes nothing and has no batch open. */
const MEANS_NOTHING: ReadonlySet<number> = new Set([type.FLUSH, type.COPY_DATA, type.COPY_DONE, type.COPY_FAIL]);
