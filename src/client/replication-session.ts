/**
 * One replication client, from its proven identity on: it waits for a server connection that is made for it, with its own
 * startup parameters, is let in by that server's answer, and from then on bytes go both ways until either side ends.
 * It knows no pooling, and of the messages only those that end a request or the session.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import { Farewell } from '../net/farewell.ts';
import type { Wire, WireReader } from '../net/wire.ts';
import type { DedicatedWaiter } from '../pool/waiter.ts';
import { DROP, FORWARD, MessageFramer, type MessageHandler, SKIP, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { errorResponse } from '../protocol/server-messages.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerHolder, ServerLoss } from '../server/server-holder.ts';
import type { Client, ClientDetails, ClientListener, ClientOptions } from './client.ts';
import { ClientDeadlines } from './client-deadlines.ts';
import { CLIENT_IS_GONE, type LastWords, lossWords } from './client-endings.ts';
import { ClientParameters } from './client-parameters.ts';
import { assertClientMove, type ClientState } from './client-state.ts';
import { welcome } from './welcome.ts';

export interface ReplicationSessionOptions extends ClientOptions {
  readonly environment: Environment;
  /** The client's startup parameters, but for who it is and what it connects to. */
  readonly startup: ReadonlyMap<string, string>;
  /** What proves to the client that it is in; it is sent together with what its server says. */
  readonly acceptance: readonly Buffer[];
  readonly listener: ClientListener;
}

export class ReplicationSession implements Client, WireReader, MessageHandler, ServerHolder, DedicatedWaiter {
  list: LinkedList<DedicatedWaiter> | null = null;
  previous: DedicatedWaiter | null = null;
  next: DedicatedWaiter | null = null;
  waitingSinceMs = 0;

  readonly options: ReplicationSessionOptions;
  readonly #wire: Wire;
  readonly #framer: MessageFramer;
  readonly #deadlines: ClientDeadlines;
  #state: ClientState = 'waiting';
  #server: ServerConnection | null = null;
  #limits: PoolSettings;
  /** What it is told when it stands between two requests. */
  #endsWith: LastWords | null = null;
  /** When it said Terminate in the middle of a request, which the server ends before the session; 0 before. */
  #leavingSinceMs = 0;

  constructor(options: ReplicationSessionOptions) {
    const { pool, limits, wire } = options;
    const { maxPacketSizeBytes, clientWriteTimeoutMs } = pool.globals;
    this.options = options;
    this.#wire = wire;
    this.#framer = new MessageFramer(this, maxPacketSizeBytes);
    this.#limits = limits;
    this.#deadlines = new ClientDeadlines(limits, clientWriteTimeoutMs);
    wire.reader = this;
  }

  get state(): ClientState {
    return this.#state;
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
    const { startup } = this.options;
    return {
      replication: startup.get('replication') === 'database' ? 'logical' : 'physical',
      applicationName: startup.get('application_name') ?? '',
      preparedStatements: 0,
      waitingSinceMs: this.#state === 'waiting' ? this.waitingSinceMs : 0,
    };
  }

  get startup(): ReadonlyMap<string, string> {
    return this.options.startup;
  }

  // From the client

  onConnected(): void {}

  onBytes(buffer: Buffer, start: number, end: number): number {
    if (this.#server !== null) return this.#framer.feed(buffer, start, end);
    this.#wire.hold();
    return start;
  }

  /** What a message may hold at which time is the server's to judge. */
  onHeader(code: number): Verdict {
    if (code === type.TERMINATE) return DROP;
    if (ENDS_WITH_READY.has(code)) this.#server?.ledger.admit(code);
    return FORWARD;
  }

  onRun(buffer: Buffer, from: number, to: number): void {
    const server = this.#server;
    if (server === null) return;
    this.options.pool.traffic.receivedBytes += to - from;
    if (server.requests.forward(buffer, from, to) !== WRITE_GONE) this.#wire.pause();
  }

  onFetched(): Verdict {
    return SKIP;
  }

  onFlushed(): void {}

  onSpliced(_code: number, _bodyLength: number, _buffer: Buffer, bodyAt: number): number {
    return bodyAt;
  }

  onHeld(): void {}

  /** Terminate. What was asked before it is answered, as in PostgreSQL; a stream hears it and ends. */
  onDropped(): void {
    const server = this.#server;
    if (server === null || server.ledger.idle) {
      this.close('terminated', null);
      return;
    }
    this.#leavingSinceMs = this.options.environment.now();
    this.#framer.stop();
    server.terminate();
  }

  onMalformed(_code: number, length: number): void {
    const { maxPacketSizeBytes } = this.options.pool.globals;
    this.close(
      'protocol_violation',
      length < 4 ? errors.invalidMessageLength() : errors.messageTooLarge(maxPacketSizeBytes),
    );
  }

  onDrain(): void {
    this.#server?.onHolderDrained();
  }

  onEnd(): void {
    if (this.#leavingSinceMs === 0) this.close('eof', null);
  }

  onClosed(error: Error | null): void {
    const reason = error === null ? 'eof' : 'connection_error';
    this.close(this.#leavingSinceMs > 0 ? 'terminated' : reason, null);
    this.options.listener.onClientGone();
  }

  // From the pool

  onServer(server: ServerConnection): void {
    const { acceptance, cancelKey, pool } = this.options;
    this.#server = server;
    server.dedicate(this);
    this.#become('linked');
    const parameters = new ClientParameters(pool.parameterTable, server.reported, []);
    const words = welcome(parameters, pool.parameterTable, server.reported, cancelKey, pool.globals.loginNotifyMessage);
    this.#wire.send(Buffer.concat([...acceptance, ...words]));
    this.#wire.release();
  }

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.close(reason, report);
  }

  // From the server

  onServerBytes(buffer: Buffer, from: number, to: number, own: boolean): WriteResult {
    return own ? this.#wire.send(buffer.subarray(from, to)) : this.#wire.sendView(buffer, from, to);
  }

  onServerParameter(): void {}

  onServerReady(): void {
    if (this.#endsWith !== null && this.#isAtBoundary()) this.#say(this.#endsWith);
  }

  onServerProgress(): void {}

  // A server of its own keeps what it does, and its statements have their own names.

  readonly forbidsTransactions = false;

  onServerTransaction(): void {}

  onServerQueryEnded(): void {}

  onServerReset(): void {}

  onServerDeallocatedAll(): void {}

  onServerDirty(): boolean {
    return false;
  }

  onServerGap(): void {}

  statementName(): null {
    return null;
  }

  onServerDrain(): void {
    this.#wire.resume();
  }

  onServerRefused(): void {}

  onServerPlanChanged(): boolean {
    return false;
  }

  onServerLost(loss: ServerLoss): void {
    if (this.#leavingSinceMs > 0) {
      this.close('terminated', null);
      return;
    }
    this.#say(lossWords(loss));
  }

  /** What it streams is not to be cut short. */
  onServerOutdated(): void {}

  /** A stream has no end, so the timeouts of queries, transactions and idle clients are not for it. */
  onTick(nowMs: number): void {
    const { clientWriteTimeoutMs, abandonedQueryTimeoutMs } = this.options.pool.globals;
    if (this.#deadlines.isStuck(this.#wire, clientWriteTimeoutMs, nowMs)) {
      this.close('write_timeout', null);
    } else if (this.#leavingSinceMs > 0 && abandonedQueryTimeoutMs > 0) {
      if (nowMs - this.#leavingSinceMs >= abandonedQueryTimeoutMs) this.close('abandoned_query_timeout', null);
    }
  }

  // Cancel, and the end

  cancel(onOver: () => void): void {
    const server = this.#server;
    if (server === null || server.ledger.idle) return onOver();
    const { readyCount } = server;
    this.options.pool.cancel(server, () => server.holder === this && server.readyCount === readyCount, onOver);
  }

  configure(limits: PoolSettings): void {
    const { maxPacketSizeBytes, clientWriteTimeoutMs } = this.options.pool.globals;
    this.#limits = limits;
    this.#framer.maxLength = maxPacketSizeBytes;
    this.#deadlines.configure(limits, clientWriteTimeoutMs);
  }

  drain(report: ErrorReport, reason: ClientCloseReason): void {
    this.#endsWith = { reason, report };
    if (this.#server === null || this.#isAtBoundary()) this.#say(this.#endsWith);
  }

  #say({ reason, report }: LastWords): void {
    this.close(reason, report);
  }

  close(reason: ClientCloseReason, report: ErrorReport | null): void {
    if (this.#state === 'closed') return;
    const { pool, environment, listener } = this.options;
    const server = this.#server;
    const canTell = report !== null && server?.midMessage !== true;
    this.#become('closed');
    this.#server = null;
    this.#framer.stop();
    pool.dedicated.leave(this);
    server?.close('unneeded');
    listener.onClientClosed(this, reason);
    if (this.#wire.closed || CLIENT_IS_GONE.has(reason)) this.#wire.destroy();
    else Farewell.say(this.#wire, environment, canTell ? errorResponse(report) : null, () => listener.onClientGone());
  }

  /** It stands between two requests, outside a transaction. */
  #isAtBoundary(): boolean {
    const server = this.#server;
    return server !== null && server.ledger.idle && server.status === type.STATUS_IDLE && !this.#framer.midForward;
  }

  #become(to: ClientState): void {
    assertClientMove(this.#state, to);
    this.#state = to;
  }
}

/** What a ReadyForQuery answers. */
const ENDS_WITH_READY: ReadonlySet<number> = new Set([type.QUERY, type.SYNC, type.FUNCTION_CALL]);
