/**
 * Judges the messages of one client, in the order of their coming: what goes to a server, what is held until its ledger
 * knows more, and what the pooler answers by itself. It says when a server is needed; where one comes from, when it goes,
 * and how the session ends is its host's business.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Wire } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
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
import { commandComplete, errorResponse, readyForQuery } from '../protocol/server-messages.ts';
import { isWorthPeeking, NOTHING, PEEK_BYTES, peekStatement, type StatementPeek } from '../protocol/statement-peek.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import { MAX_OWED, type ReplyLedger } from '../server/reply-ledger.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { LastWords } from './client-endings.ts';
import type { ClientState } from './client-state.ts';
import { ClientStatements } from './client-statements.ts';
import type { NamedStatement } from './named-statement.ts';
import type { SessionEffects } from './session-effects.ts';
import { type StatementHost, type StatementLimits, StatementMessages } from './statement-messages.ts';

/** The session. */
export interface RequestHost {
  readonly state: ClientState;
  /** Linked to the client, or being prepared for it. */
  readonly server: ServerConnection | null;
  /** Whether a server is linked from now on; if not, the session waits for one. */
  acquire(): boolean;
  /** The server goes back as soon as what is on its way has arrived. */
  readonly isReleasing: boolean;
  /** It does not: there is more for it. */
  keepServer(): void;
  /** Nobody has asked the server for anything: it goes back. */
  returnServer(): void;
  /** The session ends when what was asked before is answered. */
  leaveWhenAnswered(words: LastWords): void;
}

export interface ClientRequestsOptions {
  readonly wire: Wire;
  readonly pool: Pool;
  readonly statements: StatementRegistry;
}

/** What a server drops that owes nothing and has no batch open. */
const MEANS_NOTHING: ReadonlySet<number> = new Set([type.FLUSH, type.COPY_DATA, type.COPY_DONE, type.COPY_FAIL]);

export class ClientRequests implements MessageHandler, StatementHost {
  /** Null where servers are not shared, or statements not mapped: messages about them pass as they are. */
  statements: ClientStatements | null = null;
  readonly #host: RequestHost;
  readonly #effects: SessionEffects;
  readonly #wire: Wire;
  readonly #pool: Pool;
  readonly #registry: StatementRegistry;
  #statementMessages: StatementMessages | null = null;
  /** A message is held until the ledger knows more. */
  #isHeld = false;
  /** It is held until nothing is owed. */
  #heldUntilAnswered = false;
  /** What it has asked of its batch was answered without a server. */
  #answeredFree = false;
  /** What the client deallocates by SQL, and the pooler for it. */
  #deallocating: NamedStatement | null = null;
  /** The pooler has reported an error by itself: the client's messages mean nothing until its Sync. */
  #skippingToSync = false;
  /** What the next message gets for an answer instead of a server. */
  #refuseNext: ErrorReport | null = null;
  /** The session ends at the message that is being judged. */
  #ending: LastWords | null = null;

  constructor(host: RequestHost, effects: SessionEffects, { wire, pool, statements }: ClientRequestsOptions) {
    this.#host = host;
    this.#effects = effects;
    this.#wire = wire;
    this.#pool = pool;
    this.#registry = statements;
    this.mapStatements();
  }

  // For the session

  /**
   * Statements are mapped from now on if the pool's settings ask for it. Only for a client without a server: what it has
   * prepared on one would be known there alone. Once they are, they stay so.
   */
  mapStatements(): void {
    const pool = this.#pool;
    if (this.statements !== null || pool.globals.maxPreparedStatements === 0) return;
    if (pool.settings.poolMode === 'session') return;
    this.statements = new ClientStatements(this.#registry);
    this.#statementMessages = new StatementMessages(this, this.statements, limitsOf(pool), pool.traffic);
  }

  /** A message is held until the ledger knows more. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Whether `ledger` knows enough by now to judge the message that is held. */
  mayGoOn({ owed, copyIn, syncIsAmbiguous }: ReplyLedger): boolean {
    if (owed >= MAX_OWED / 2 || syncIsAmbiguous) return false;
    return !this.#heldUntilAnswered || owed === 0 || copyIn;
  }

  /** What is held is about to be judged again. */
  goesOn(): void {
    this.#isHeld = false;
    this.#heldUntilAnswered = false;
  }

  /** The message that waits for a server is answered with `report` instead. */
  refuseWaiting(report: ErrorReport): void {
    this.#refuseNext = report;
  }

  /** The client's bytes have been judged from `buffer[from]` up to `to`. */
  judged(buffer: Buffer, from: number, to: number): void {
    if (this.#statementMessages !== null) this.server?.batch.keep(buffer, from, to);
  }

  /**
   * The server has refused `batch` before anything of it ran (see `RepeatableBatch`). If nothing was sent behind it, it is
   * judged and sent again, and the server's answer to the first time is nobody's. This is the one thing that is ever sent
   * twice (`docs/prepared-statements.md`). Returns whether it was.
   */
  repeat(server: ServerConnection, batch: Buffer): boolean {
    if (this.#statementMessages?.isCertain !== true || !server.ledger.withdrawReady()) return false;
    new MessageFramer(this, this.#pool.globals.maxPacketSizeBytes).feed(batch, 0, batch.length);
    server.requests.sendQueued();
    return true;
  }

  // MessageHandler

  onHeader(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    switch (code) {
      case type.QUERY:
        if (this.#pool.globals.disablePqexec) return this.#refuseQuery();
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
        return this.#skippingToSync || (this.#answeredFree && this.server === null) ? DROP : this.#request(code);
      case type.FLUSH:
        // PostgreSQL would answer with an error that the ledger could not place.
        if (bodyLength !== 0) return this.#violate(errors.invalidMessageLength());
        return this.#passOn(code);
      case type.COPY_DATA:
      case type.COPY_DONE:
      case type.COPY_FAIL:
        // Late ones of a COPY that has failed: the server drops them, and nobody is needed for that.
        return this.#passOn(code);
      case type.TERMINATE:
        return DROP;
      default:
        return this.#violate(errors.invalidMessageType(code));
    }
  }

  onRun(buffer: Buffer, from: number, to: number): void {
    const { server } = this;
    if (server === null) return;
    this.#pool.traffic.receivedBytes += to - from;
    server.requests.forward(buffer, from, to);
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
    if (this.#isHeld) this.server?.requests.flush();
  }

  onDropped(code: number): void {
    if (this.#ending !== null) {
      this.#host.leaveWhenAnswered(this.#ending);
      return;
    }
    const refusal = this.#refuseNext;
    this.#refuseNext = null;
    if (code === type.TERMINATE) {
      this.#host.leaveWhenAnswered({ reason: 'terminated', report: null });
    } else if (this.#deallocating !== null && refusal === null) {
      this.#deallocate(this.#deallocating);
    } else if (code === type.SYNC && refusal === null) {
      this.#skippingToSync = false;
      this.#answeredFree = false;
      this.#wire.reply(readyForQuery(this.server?.status ?? type.STATUS_IDLE));
    } else {
      this.#refuse(code, refusal ?? errors.simpleQueryDisabled());
    }
  }

  onMalformed(_code: number, length: number): void {
    const { maxPacketSizeBytes } = this.#pool.globals;
    const report = length < 4 ? errors.invalidMessageLength() : errors.messageTooLarge(maxPacketSizeBytes);
    this.#host.leaveWhenAnswered({ reason: 'protocol_violation', report });
  }

  // StatementHost

  get server(): ServerConnection | null {
    return this.#host.server;
  }

  ready(code: number): Verdict {
    const verdict = this.#need();
    if (verdict !== FORWARD) return verdict;
    const room = this.#roomFor(this.server!, code);
    if (room === HOLD) this.#isHeld = true;
    return room;
  }

  holdUntilAnswered(code: number): Verdict {
    const server = this.server!;
    // In the middle of COPY data the server refuses whatever it is.
    if (server.ledger.copyIn) return server.admit(code);
    this.#isHeld = true;
    this.#heldUntilAnswered = true;
    return HOLD;
  }

  refuse(report: ErrorReport): Verdict {
    if (this.#skippingToSync) return SKIP;
    this.#refuseNext ??= report;
    return DROP;
  }

  refusalOf(peek: StatementPeek): ErrorReport | null {
    return this.#effects.refusalOf(peek);
  }

  get isFree(): boolean {
    return this.#host.state === 'idle' && !this.#skippingToSync && this.#refuseNext === null;
  }

  answerFree(message: Buffer): void {
    this.#answeredFree = true;
    this.#wire.reply(message);
  }

  isPrepared(statement: PooledStatement): boolean {
    return this.#pool.isPrepared(statement);
  }

  // What needs a server

  #request(code: number): Verdict {
    const verdict = this.#need();
    return verdict === FORWARD ? this.#forward(this.server!, code) : verdict;
  }

  /** What means something to a server that has been asked before, and nothing to any other. */
  #passOn(code: number): Verdict {
    const { server } = this;
    return server === null || this.#skippingToSync ? SKIP : this.#forward(server, code);
  }

  /** FORWARD if a server is linked, or what becomes of the message that needs one. */
  #need(): Verdict {
    if (this.#skippingToSync) return SKIP;
    if (this.#refuseNext !== null) return DROP;
    if (this.server !== null) return this.#host.state === 'linked' ? FORWARD : HOLD;
    const { refusal } = this.#pool;
    if (refusal !== null) return this.#end({ reason: 'server_unavailable', report: refusal });
    this.#answeredFree = false;
    return this.#host.acquire() ? FORWARD : HOLD;
  }

  #forward(server: ServerConnection, code: number): Verdict {
    const ready = this.#roomFor(server, code);
    const verdict = ready === FORWARD ? server.admit(code) : ready;
    if (verdict === HOLD) this.#isHeld = true;
    return verdict;
  }

  #roomFor(server: ServerConnection, code: number): Verdict {
    if (this.#host.isReleasing) {
      // A Flush of nothing, or the rest of a COPY that has failed. Anything else keeps the server for another round.
      if (MEANS_NOTHING.has(code)) return SKIP;
      this.#host.keepServer();
    }
    return server.ledger.owed >= MAX_OWED ? HOLD : FORWARD;
  }

  /** A simple query whose first word may say more than it seems. */
  #onWorthyQuery(bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    const wanted = Math.min(bodyLength, PEEK_BYTES);
    if (end - bodyAt < wanted) return MORE;
    const peek = peekStatement(buffer.toString('latin1', bodyAt, bodyAt + wanted));
    if (peek.deallocates !== null && this.statements !== null && !this.#skippingToSync && this.#refuseNext === null) {
      const ledger = this.server?.ledger ?? null;
      if (ledger !== null && ledger.owed > 0) return this.holdUntilAnswered(type.QUERY);
      this.#deallocating = ledger?.skippingToSync === true ? null : this.statements.find(peek.deallocates);
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
    return verdict === FORWARD ? this.#effects.admit(this.server!, code, peek) : verdict;
  }

  // What the pooler answers

  /** disable_pqexec. */
  #refuseQuery(): Verdict {
    if (this.#skippingToSync) return SKIP;
    const { server } = this;
    if (server === null || this.#roomFor(server, type.QUERY) === FORWARD) return DROP;
    this.#isHeld = true;
    return HOLD;
  }

  /** Answers a DEALLOCATE of a statement that servers know by another name, and may have in use for others. */
  #deallocate(named: NamedStatement): void {
    this.#deallocating = null;
    const { server } = this;
    const statements = this.statements!;
    // In a failed transaction the server refuses it.
    if (server?.status !== type.STATUS_FAILED) statements.forget(named);
    if (server !== null) {
      server.requests.deallocateForShow();
      return;
    }
    statements.unnamed = null;
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
    const { server } = this;
    if (server !== null && !(server.ledger.idle && server.status === type.STATUS_IDLE)) {
      server.requests.refuse(simple, report);
      return;
    }
    this.#wire.reply(errorResponse(report));
    if (simple) this.#wire.reply(readyForQuery(type.STATUS_IDLE));
    else this.#skippingToSync = code !== type.SYNC;
    if (code === type.SYNC) this.#wire.reply(readyForQuery(type.STATUS_IDLE));
    if (server !== null) this.#host.returnServer();
  }
}

/** As they are at the time of asking: a reload may change them. Where servers keep none, each keeps the one in use. */
function limitsOf(pool: Pool): StatementLimits {
  return {
    get perServer() {
      return Math.max(1, pool.globals.maxPreparedStatements);
    },
    get perClient() {
      return pool.globals.maxClientPreparedStatements;
    },
    get bytesPerClient() {
      return pool.globals.maxClientPreparedSizeBytes;
    },
  };
}
