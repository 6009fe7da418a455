/**
 * One logged-in client: gets a server for each transaction, decides when to give it back, and how the session ends. It
 * knows no messages: what becomes of the client's is judged by its `ClientRequests`, what one means to the server is the
 * ledger's, and who is next is the pool's.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { READ_CHUNK_BYTES, type WriteResult } from '../base/transport.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import { Farewell } from '../net/farewell.ts';
import type { Wire, WireReader } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { Waiter } from '../pool/waiter.ts';
import { type ErrorFields, fatalReport } from '../protocol/error-fields.ts';
import { MessageFramer } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { errorResponse } from '../protocol/server-messages.ts';
import type { SessionState } from '../protocol/statement-peek.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerHolder, ServerLoss } from '../server/server-holder.ts';
import type { StartupSet } from '../server/startup-set.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { Client, ClientDetails, ClientListener, ClientOptions } from './client.ts';
import { ClientDeadlines } from './client-deadlines.ts';
import { CLIENT_IS_GONE, deadlineWords, type LastWords, lossWords, SERVER_ENDS_WITH } from './client-endings.ts';
import type { ClientParameters } from './client-parameters.ts';
import { ClientRequests, type RequestHost } from './client-requests.ts';
import { assertClientMove, type ClientState } from './client-state.ts';
import type { Greeting } from './login-attachment.ts';
import { type PreparationListener, ServerPreparation } from './server-preparation.ts';
import { SessionEffects } from './session-effects.ts';
import { QUEUED_NOTICE } from './welcome.ts';

export interface ClientSessionOptions extends ClientOptions {
  readonly environment: Environment;
  readonly parameters: ClientParameters;
  /** What its servers are opened with. */
  readonly startup: StartupSet;
  readonly statements: StatementRegistry;
  readonly listener: ClientListener;
}

export class ClientSession implements Client, WireReader, RequestHost, PreparationListener, Waiter, ServerHolder {
  list: LinkedList<Waiter> | null = null;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  waitingSinceMs = 0;
  waitNotified = false;

  readonly #options: ClientSessionOptions;
  readonly #wire: Wire;
  readonly #pool: Pool;
  readonly #effects: SessionEffects;
  readonly #requests: ClientRequests;
  readonly #framer: MessageFramer;
  readonly #deadlines: ClientDeadlines;
  #limits: PoolSettings;
  #state: ClientState = 'idle';
  #server: ServerConnection | null = null;
  /** The server answered everything, but bytes are on their way: when they have arrived, it is released. */
  #releasePending = false;
  /** What it is told at the end of its transaction. */
  #endsWith: LastWords | null = null;
  /** What lets the client in with its first server, from what that one reports; null if it is in. */
  #greeting: Greeting | null = null;
  /** Its pool has become one whose servers are shared: that changes the client when it has no server. */
  #isToMap = false;
  /** It ends when what was asked before is answered, and then with these words. */
  #leaving: LastWords | null = null;

  constructor(options: ClientSessionOptions) {
    this.#options = options;
    this.#wire = options.wire;
    this.#pool = options.pool;
    this.#limits = options.limits;
    this.#effects = new SessionEffects(options.pool);
    this.#requests = new ClientRequests(this, this.#effects, options);
    const { maxPacketSizeBytes, clientWriteTimeoutMs } = options.pool.globals;
    this.#framer = new MessageFramer(this.#requests, maxPacketSizeBytes);
    this.#deadlines = new ClientDeadlines(options.limits, clientWriteTimeoutMs);
    this.#wire.reader = this;
  }

  get state(): ClientState {
    return this.#state;
  }

  get options(): ClientSessionOptions {
    return this.#options;
  }

  get limits(): PoolSettings {
    return this.#limits;
  }

  get server(): ServerConnection | null {
    return this.#server;
  }

  get address(): string {
    return `${this.#wire.remoteAddress}:${this.#wire.remotePort}`;
  }

  get details(): ClientDetails {
    const { parameters } = this;
    return {
      replication: 'none',
      applicationName: parameters.get(this.#pool.parameterTable.find('application_name')) ?? '',
      preparedStatements: this.#requests.statements?.size ?? 0,
      waitingSinceMs: this.#state === 'waiting' ? this.waitingSinceMs : 0,
    };
  }

  get parameters(): ClientParameters {
    return this.#options.parameters;
  }

  get startup(): StartupSet {
    return this.#options.startup;
  }

  /** The client has waited in its login for `server`, which it is let in with. */
  enter(server: ServerConnection, greeting: Greeting): void {
    this.#greeting = greeting;
    this.#wire.hold();
    if (this.#takes(server)) this.#resume();
  }

  // From the client

  onConnected(): void {}

  onBytes(buffer: Buffer, start: number, end: number): number {
    const used = this.#framer.feed(buffer, start, end);
    this.#requests.judged(buffer, start, used);
    this.#afterFeed();
    return used;
  }

  /** What was read has been judged. */
  #afterFeed(): void {
    const server = this.#server;
    if (server === null) return;
    server.requests.sendQueued();
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

  // RequestHost

  get isReleasing(): boolean {
    return this.#releasePending;
  }

  acquire(): boolean {
    const acquired = this.#pool.acquire(this);
    if (acquired !== null && this.#takes(acquired)) return true;
    if (this.#state === 'idle') this.#become('waiting');
    return false;
  }

  keepServer(): void {
    this.#releasePending = false;
  }

  returnServer(): void {
    if (this.#server !== null && this.#pool.settings.poolMode !== 'session') this.#release(this.#server);
  }

  /** As in PostgreSQL, what was asked before the end is answered before it. */
  leaveWhenAnswered(words: LastWords): void {
    const server = this.#server;
    if (server === null || server.ledger.readyOwed === 0 || server.ledger.copyIn) {
      this.#say(words);
      return;
    }
    this.#leaving = words;
    this.#deadlines.leaves(this.#options.environment.now());
    this.#framer.stop();
  }

  // From the pool

  onServer(server: ServerConnection): void {
    if (this.#takes(server)) this.#resume();
  }

  onLongWait(): void {
    this.#wire.reply(QUEUED_NOTICE);
  }

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.close(reason, report);
  }

  /** Links the server, or has it prepared first and answers false. */
  #takes(server: ServerConnection): boolean {
    this.#server = server;
    this.parameters.begin(server.parameters, this.startup, this.#pool.canonical);
    if (this.parameters.matches(server.parameters)) {
      this.#link(server, []);
      return true;
    }
    if (this.#state === 'idle') this.#become('waiting');
    new ServerPreparation(server, this, this.#pool.canonical).start();
    return this.#state === 'linked';
  }

  onPrepared(server: ServerConnection, changes: readonly Buffer[]): void {
    this.#link(server, changes);
    this.#resume();
  }

  #link(server: ServerConnection, changes: readonly Buffer[]): void {
    const greeting = this.#greeting;
    if (greeting === null) for (const change of changes) this.#wire.reply(change);
    server.link(this);
    this.#become('linked');
    if (greeting === null) return;
    this.#greeting = null;
    this.#wire.send(greeting(server.reported));
    // A reload may have made it a server for everybody.
    if (this.#pool.settings.poolMode !== 'session') this.#release(server);
  }

  onRefused(error: ErrorFields): void {
    this.close('parameter_refused', fatalReport(error));
  }

  onUnfit(server: ServerConnection): void {
    this.#server = null;
    server.closeWhenFree ??= 'parameter_failed';
    server.unlink();
    const { refusal } = this.#pool;
    if (refusal !== null) return this.close('server_unavailable', refusal);
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
      this.#say(this.#endsWith);
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
    this.#requests.statements?.deallocatedAll();
  }

  onServerDirty(state: SessionState): boolean {
    return this.#effects.onDirty(state);
  }

  onServerGap(): void {
    this.#wire.reply(this.#effects.warning());
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
    if (this.#requests.isHeld && this.#requests.mayGoOn(server.ledger)) this.#goOn();
  }

  #goOn(): void {
    this.#requests.goesOn();
    this.#resume();
  }

  onServerQueryEnded(): void {
    const { statements } = this.#requests;
    if (statements !== null) statements.unnamed = null;
  }

  statementName(pooledName: string): string | null {
    return this.#requests.statements?.nameOf(pooledName) ?? null;
  }

  onServerDrain(): void {
    this.#wire.resume();
    if (this.#releasePending && this.#server !== null) this.#release(this.#server);
  }

  onServerRefused(report: ErrorReport): void {
    this.#wire.reply(errorResponse(report));
  }

  onServerPlanChanged(batch: Buffer): boolean {
    return this.#server !== null && this.#requests.repeat(this.#server, batch);
  }

  onServerLost(loss: ServerLoss): void {
    this.#server = null;
    this.#say(lossWords(loss));
  }

  onServerOutdated(): void {
    const server = this.#server;
    if (server === null || this.#pool.settings.poolMode !== 'session' || !this.#isAtBoundary(server)) return;
    this.#afterSessionQuery(server, server.status);
  }

  onTick(nowMs: number): void {
    if (this.#server === null || this.#state !== 'linked') return;
    const missed = this.#deadlines.missed(this.#server, this.#wire, nowMs);
    if (missed !== null) this.#say(deadlineWords(missed));
    if (missed !== null || this.#leaving === null) return;
    const outstayed = this.#deadlines.outstayed(this.#leaving.reason, this.#wire, this.#pool.globals, nowMs);
    if (outstayed !== null) this.close(outstayed, null);
  }

  #afterSessionQuery(server: ServerConnection, status: number): void {
    if (status !== type.STATUS_IDLE || server.closeWhenFree === null) return;
    if (!this.#pool.globals.serverFastClose) return;
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
    if (this.#isToMap) this.#map();
    if (this.#endsWith !== null) {
      this.#say(this.#endsWith);
    } else if (this.#requests.isHeld) {
      this.#goOn();
    }
  }

  // Cancel, and the end

  cancel(onOver: () => void): void {
    const server = this.#server;
    if (this.#state === 'waiting') {
      this.#pool.leave(this);
      this.#server = null;
      server?.abandon('terminated', false);
      this.#become('idle');
      this.#requests.refuseWaiting(errors.canceledWhileWaiting());
      this.#resume();
      onOver();
    } else if (server !== null && !server.ledger.idle) {
      const { readyCount } = server;
      this.#pool.cancel(server, () => server.holder === this && server.readyCount === readyCount, onOver);
    } else {
      onOver();
    }
  }

  configure(limits: PoolSettings): void {
    const { maxPacketSizeBytes, clientWriteTimeoutMs } = this.#pool.globals;
    this.#limits = limits;
    this.#framer.maxLength = maxPacketSizeBytes;
    this.#deadlines.configure(limits, clientWriteTimeoutMs);
    this.#isToMap = true;
    if (this.#server === null) this.#map();
  }

  #map(): void {
    this.#isToMap = false;
    this.#requests.mapStatements();
  }

  /** The session ends now, or at the end of its transaction. */
  drain(report: ErrorReport, reason: ClientCloseReason): void {
    this.#endsWith = { reason, report };
    if (this.#server === null || this.#isAtBoundary(this.#server)) this.#say(this.#endsWith);
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
    this.#requests.statements?.dispose();
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
    if (to === 'idle') this.#options.listener.onClientIdle(this);
    else if (from === 'idle') this.#options.listener.onClientBusy(this);
  }
}
