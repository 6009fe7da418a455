/**
 * One logged-in client: takes its messages, gets a server for each transaction, and decides when to give it back. It
 * knows what the protocol's messages are for, never what they contain; what a message means to the server is the
 * ledger's, and who is next is the pool's.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { READ_CHUNK_BYTES, type WriteResult } from '../base/transport.ts';
import type { Settings } from '../config/settings.ts';
import { Farewell } from '../net/farewell.ts';
import type { Wire, WireReader } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { Waiter } from '../pool/waiter.ts';
import { type ErrorFields, fatalReport } from '../protocol/error-fields.ts';
import {
  DROP,
  FORWARD,
  HOLD,
  MessageFramer,
  type MessageHandler,
  MORE,
  SKIP,
  type Verdict,
} from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { commandComplete, errorResponse, noticeResponse, readyForQuery } from '../protocol/server-messages.ts';
import {
  isWorthPeeking,
  NOTHING,
  PEEK_BYTES,
  peekStatement,
  type SessionState,
  type StatementPeek,
} from '../protocol/statement-peek.ts';
import type { ReplyNote } from '../server/note-queue.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import { MAX_OWED, TO_CLIENT } from '../server/reply-ledger.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerLoss } from '../server/server-holder.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { Client, ClientListener, ClientOptions } from './client.ts';
import { ClientDeadlines } from './client-deadlines.ts';
import { CLIENT_IS_GONE, deadlineWords, type LastWords, lossWords, SERVER_ENDS_WITH } from './client-endings.ts';
import type { ClientParameters } from './client-parameters.ts';
import { assertClientMove, type ClientState } from './client-state.ts';
import { ClientStatements } from './client-statements.ts';
import type { NamedStatement } from './named-statement.ts';
import { type PreparationListener, ServerPreparation } from './server-preparation.ts';
import { type StatementHost, StatementMessages } from './statement-messages.ts';

export interface ClientSessionOptions extends ClientOptions {
  readonly environment: Environment;
  readonly settings: Settings;
  readonly parameters: ClientParameters;
  readonly statements: StatementRegistry;
  readonly listener: ClientListener;
}

export class ClientSession implements Client, WireReader, MessageHandler, PreparationListener, Waiter, StatementHost {
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
  /** Null where servers are not shared, or statements not mapped: messages about them pass as they are. */
  readonly #statements: ClientStatements | null;
  readonly #statementMessages: StatementMessages | null;
  #state: ClientState = 'idle';
  #server: ServerConnection | null = null;
  /** The server answered everything, but bytes are on their way: when they have arrived, it is released. */
  #releasePending = false;
  /** A message is held until the ledger knows more. */
  #heldForLedger = false;
  /** It is held until nothing is owed. */
  #heldUntilAnswered = false;
  /** It has been told that session state is lost, and of what. */
  #warned = false;
  #warning = '';
  /** What it has asked of its batch was answered without a server. */
  #answeredFree = false;
  /** What the client deallocates by SQL, and the pooler for it. */
  #deallocating: NamedStatement | null = null;
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
    const {
      maxPreparedStatements: perServer,
      maxClientPreparedStatements,
      maxClientPreparedSizeBytes,
    } = options.settings;
    const isMapped = perServer > 0 && options.pool.settings.poolMode !== 'session';
    this.#statements = isMapped ? new ClientStatements(options.statements) : null;
    this.#statementMessages =
      this.#statements === null
        ? null
        : new StatementMessages(this, this.#statements, {
            perServer,
            perClient: maxClientPreparedStatements,
            bytesPerClient: maxClientPreparedSizeBytes,
          });
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
    this.#afterFeed();
    return used;
  }

  /** disable_pqexec. */
  #refuseQuery(): Verdict {
    if (this.#skippingToSync) return SKIP;
    const server = this.#server;
    if (server === null || this.#roomFor(server, type.QUERY) === FORWARD) return DROP;
    this.#heldForLedger = true;
    return HOLD;
  }

  /** What was read has been judged. */
  #afterFeed(): void {
    const server = this.#server;
    if (server === null) return;
    server.sendQueued();
    if (server.wire.unsentBytes > 0) this.#wire.pause();
    // What was half forwarded may be complete now.
    if (this.#releasePending) this.#release(server);
  }

  /** Goes on with what is held. */
  #resume(): void {
    if (!this.#wire.holding) return;
    const isGone = this.#framer.retry();
    this.#afterFeed();
    if (isGone) this.#wire.release();
  }

  onHeader(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    switch (code) {
      case type.QUERY:
        if (this.#options.settings.disablePqexec) return this.#refuseQuery();
        if (isWorthPeeking(buffer, bodyAt, end)) return this.#onWorthyQuery(bodyLength, buffer, bodyAt, end);
        return this.#request(code);
      case type.PARSE:
      case type.BIND:
      case type.DESCRIBE:
      case type.CLOSE:
        if (this.#statementMessages === null) return this.#request(code);
        return this.#statementMessages.onHeader(code, bodyLength, buffer, bodyAt, end);
      case type.EXECUTE: {
        const peek = this.#statementMessages?.boundPeek ?? NOTHING;
        if (peek === NOTHING) return this.#request(code);
        // The portal's name begins the body.
        if (end <= bodyAt && bodyLength > 0) return MORE;
        return this.#requestPeeked(code, buffer[bodyAt] === 0 ? peek : NOTHING);
      }
      case type.FUNCTION_CALL:
        return this.#request(code);
      case type.SYNC:
        return this.#skippingToSync || (this.#answeredFree && this.#server === null) ? DROP : this.#request(code);
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
    server.forward(buffer, from, to);
  }

  onFetched(_code: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    const verdict = this.#statementMessages?.onFetched(buffer, bodyAt, bodyEnd) ?? SKIP;
    if (verdict !== DROP) return verdict;
    this.onDropped(type.PARSE);
    return SKIP;
  }

  onSpliced(code: number, bodyLength: number, buffer: Buffer, bodyAt: number): number {
    return this.#statementMessages!.onSpliced(code, bodyLength, buffer, bodyAt);
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
    } else if (this.#deallocating !== null && refusal === null) {
      this.#deallocate(this.#deallocating);
    } else if (code === type.SYNC && refusal === null) {
      this.#skippingToSync = false;
      this.#answeredFree = false;
      this.#wire.reply(readyForQuery(this.#server?.status ?? type.STATUS_IDLE));
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
    const verdict = this.#need();
    return verdict === FORWARD ? this.#forward(this.#server!, code) : verdict;
  }

  /** FORWARD if a server is linked, or what becomes of the message that needs one. */
  #need(): Verdict {
    if (this.#skippingToSync) return SKIP;
    if (this.#refuseNext !== null) return DROP;
    if (this.#server !== null) return this.#state === 'linked' ? FORWARD : HOLD;
    const refusal = this.#pool.refusal;
    if (refusal !== null) return this.#end({ reason: 'server_unavailable', report: refusal });
    const acquired = this.#pool.acquire(this);
    if (acquired !== null && this.#takes(acquired)) return FORWARD;
    if (this.#state === 'idle') this.#become('waiting');
    return HOLD;
  }

  #forward(server: ServerConnection, code: number): Verdict {
    const ready = this.#roomFor(server, code);
    const verdict = ready === FORWARD ? server.admit(code) : ready;
    if (verdict === HOLD) this.#heldForLedger = true;
    return verdict;
  }

  #roomFor(server: ServerConnection, code: number): Verdict {
    if (this.#releasePending) {
      // A Flush of nothing, or the rest of a COPY that has failed. Anything else keeps the server for another round.
      if (MEANS_NOTHING.has(code)) return SKIP;
      this.#releasePending = false;
    }
    return server.ledger.owed >= MAX_OWED ? HOLD : FORWARD;
  }

  // StatementHost

  ready(code: number): Verdict {
    const verdict = this.#need();
    if (verdict !== FORWARD) return verdict;
    const server = this.#server!;
    const room = this.#roomFor(server, code);
    if (room === HOLD) this.#heldForLedger = true;
    return room;
  }

  holdUntilAnswered(): Verdict {
    const server = this.#server!;
    // In the middle of COPY data the server refuses whatever it is.
    if (server.ledger.copyIn) return server.admit(type.BIND);
    this.#heldForLedger = true;
    this.#heldUntilAnswered = true;
    return HOLD;
  }

  refuse(report: ErrorReport): Verdict {
    if (this.#skippingToSync) return SKIP;
    this.#refuseNext ??= report;
    return DROP;
  }

  get isFree(): boolean {
    return this.#state === 'idle' && !this.#skippingToSync && this.#refuseNext === null;
  }

  answerFree(message: Buffer): void {
    this.#answeredFree = true;
    this.#wire.reply(message);
  }

  isPrepared(statement: PooledStatement): boolean {
    return this.#pool.isPrepared(statement);
  }

  /** A simple query whose first word may say more than it seems. */
  #onWorthyQuery(bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    const wanted = Math.min(bodyLength, PEEK_BYTES);
    if (end - bodyAt < wanted) return MORE;
    const peek = peekStatement(buffer.toString('latin1', bodyAt, bodyAt + wanted));
    if (peek.deallocates !== null && this.#statements !== null && !this.#skippingToSync && this.#refuseNext === null) {
      const ledger = this.#server?.ledger ?? null;
      if (ledger !== null && ledger.owed > 0) return this.holdUntilAnswered();
      this.#deallocating = ledger?.skippingToSync === true ? null : this.#statements.find(peek.deallocates);
      if (this.#deallocating !== null) return DROP;
    }
    const refusal = this.refusalOf(peek);
    if (refusal !== null) return this.refuse(refusal);
    const verdict = this.#requestPeeked(type.QUERY, peek);
    if (verdict === FORWARD) this.#statementMessages?.onQuery(peek);
    return verdict;
  }

  /** A Query or Execute of whose effect on the session something is known. */
  #requestPeeked(code: number, peek: StatementPeek): Verdict {
    const verdict = this.ready(code);
    if (verdict !== FORWARD) return verdict;
    const server = this.#server!;
    // No command tag tells that of CREATE TABLE AS, nor of others for certain.
    if (peek.makes === 'temporary') server.dirt.announceTemporary();
    const isHarmless = peek.isHarmless || (peek.sets !== null && this.#follows(peek.sets));
    return server.admit(code, TO_CLIENT, isHarmless ? HARMLESS : null);
  }

  /** Whether the parameter follows the client from server to server. */
  #follows(parameter: string): boolean {
    return this.#pool.parameterTable.find(parameter) >= 0;
  }

  refusalOf(peek: StatementPeek): ErrorReport | null {
    if (this.#options.settings.serverDirtyPolicy !== 'error' || this.#pool.settings.poolMode === 'session') return null;
    const state = peek.makes ?? (peek.sets === null || this.#follows(peek.sets) ? null : 'settings');
    return state === null ? null : errors.sessionStateRefused(STATE_WORDS[state]);
  }

  /** Answers a DEALLOCATE of a statement that servers know by another name, and may have in use for others. */
  #deallocate(named: NamedStatement): void {
    this.#deallocating = null;
    const server = this.#server;
    // In a failed transaction the server refuses it.
    if (server?.status !== type.STATUS_FAILED) this.#statements?.forget(named);
    if (server !== null) {
      server.deallocateForShow();
      return;
    }
    this.onServerQueryEnded();
    this.#wire.reply(commandComplete('DEALLOCATE'));
    this.#wire.reply(readyForQuery(type.STATUS_IDLE));
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
    this.#wire.reply(errorResponse(report));
    if (simple) this.#wire.reply(readyForQuery(type.STATUS_IDLE));
    else this.#skippingToSync = code !== type.SYNC;
    if (code === type.SYNC) this.#wire.reply(readyForQuery(type.STATUS_IDLE));
    if (server !== null && this.#pool.settings.poolMode !== 'session') this.#release(server);
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
    if (this.#takes(server)) this.#resume();
  }

  onLongWait(): void {
    const message = 'No server connection available in postgres backend, client being queued';
    this.#wire.reply(noticeResponse('NOTICE', { sqlstate: '00000', message }));
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
    for (const change of changes) this.#wire.reply(change);
    server.link(this);
    this.#become('linked');
    this.#resume();
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
    if (other !== null && this.#takes(other)) this.#resume();
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
    } else if (this.forbidsTransactions) {
      this.onServerTransaction();
    }
  }

  onServerReset(what: 'all' | 'some'): void {
    this.parameters.onReset(what, this.#server!);
  }

  onServerDeallocatedAll(): void {
    this.#statements?.deallocatedAll();
  }

  onServerDirty(state: SessionState): boolean {
    if (this.#warned || this.#pool.settings.poolMode === 'session') return false;
    if (this.#options.settings.serverDirtyPolicy === 'keep') return false;
    this.#warned = true;
    this.#warning = STATE_WORDS[state];
    return true;
  }

  onServerGap(): void {
    const message = `${this.#warning} does not outlast its transaction here`;
    const detail = 'Server connections are shared, and what a client leaves behind on one is undone.';
    const hint = 'Use pool_mode=session for it. This is said once in a session.';
    this.#wire.reply(noticeResponse('WARNING', { sqlstate: '01000', message, detail, hint }));
  }

  get forbidsTransactions(): boolean {
    return this.#pool.settings.poolMode === 'statement';
  }

  onServerTransaction(): void {
    this.close('statement_mode', errors.transactionInStatementMode());
  }

  onServerProgress(): void {
    const server = this.#server;
    if (server === null) return;
    // The data that this COPY waits for will never come.
    if (this.#leaving !== null && server.ledger.copyIn) {
      this.#say(this.#leaving);
      return;
    }
    if (this.#releasePending) this.#release(server);
    if (!this.#heldForLedger) return;
    const { owed, copyIn, syncIsAmbiguous } = server.ledger;
    if (owed >= MAX_OWED / 2 || syncIsAmbiguous || (this.#heldUntilAnswered && owed > 0 && !copyIn)) return;
    this.#releaseHeld();
  }

  #releaseHeld(): void {
    this.#heldForLedger = false;
    this.#heldUntilAnswered = false;
    this.#resume();
  }

  onServerQueryEnded(): void {
    if (this.#statements !== null) this.#statements.unnamed = null;
  }

  statementName(pooledName: string): string | null {
    return this.#statements?.nameOf(pooledName) ?? null;
  }

  onServerDrain(): void {
    this.#wire.resume();
    if (this.#releasePending && this.#server !== null) this.#release(this.#server);
  }

  onServerRefused(report: ErrorReport): void {
    this.#wire.reply(errorResponse(report));
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
   * client's is still on its way to it or from it (perhaps half a notification).
   */
  #release(server: ServerConnection): void {
    this.#releasePending = false;
    if (server.ledger.batchOpen || server.ledger.owed > 0) return;
    const late = this.#framer.midForward || server.midMessage || server.wire.unsentBytes > 0;
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
      this.#releaseHeld();
    }
  }

  // Cancel, and the end

  cancel(): void {
    const server = this.#server;
    if (this.#state === 'waiting') {
      this.#pool.leave(this);
      this.#server = null;
      server?.abandon('terminated', false);
      this.#become('idle');
      this.#refuseNext = errors.canceledWhileWaiting();
      this.#resume();
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
    this.#statements?.dispose();
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
  #isAtBoundary({ state, ledger, status, wire, midMessage }: ServerConnection): boolean {
    if (state !== 'linked' || status !== type.STATUS_IDLE) return false;
    return ledger.idle && !midMessage && !this.#framer.midForward && wire.unsentBytes === 0;
  }

  #become(to: ClientState): void {
    assertClientMove(this.#state, to);
    const from = this.#state;
    this.#state = to;
    this.#answeredFree = false;
    if (to === 'idle') this.#options.listener.onClientIdle(this);
    else if (from === 'idle') this.#options.listener.onClientBusy(this);
  }
}

/** How people call what a session keeps. */
const STATE_WORDS: Readonly<Record<SessionState, string>> = {
  settings: 'SET',
  listen: 'LISTEN',
  prepared: 'PREPARE',
  cursors: 'a cursor WITH HOLD',
  temporary: 'a temporary table',
  library: 'LOAD',
};

/** Marks a command whose tag says more than it does. */
const HARMLESS: ReplyNote = { answered: () => {}, failed: () => {}, skipped: () => {} };

/** What a server drops that owes nothing and has no batch open. */
const MEANS_NOTHING: ReadonlySet<number> = new Set([type.FLUSH, type.COPY_DATA, type.COPY_DONE, type.COPY_FAIL]);
