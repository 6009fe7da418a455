/**
 * What a client says about prepared statements (Parse, Bind, Describe, Close), where servers are shared: its names become
 * the pooler's, what the server at hand does not have is prepared on it first, and what it has already is not asked again.
 * It knows statements and bytes; whether a server is there, and when it goes, is the session's business.
 *
 * PostgreSQL decides in the order of the messages, and we decide ahead of its answers. Within one batch that is safe: what
 * follows a failure is skipped there and taken back here. Whatever depends on an unanswered message of an earlier batch is
 * held until that is answered.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import { FETCH, FORWARD, MORE, SKIP, SPLICE, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { CLOSE_COMPLETE_MESSAGE, PARSE_COMPLETE_MESSAGE } from '../protocol/server-messages.ts';
import { isWorthPeeking, NOTHING, PEEK_BYTES, peekStatement, type StatementPeek } from '../protocol/statement-peek.ts';
import type { ReplyNote } from '../server/note-queue.ts';
import { type PooledStatement, parseMessage } from '../server/pooled-statement.ts';
import { TO_CLIENT } from '../server/reply-entry.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { TrafficCounters } from '../server/traffic-counters.ts';
import { UnnamedNote } from '../server/unnamed-note.ts';
import { bothNotes } from './both-notes.ts';
import type { ClientStatements } from './client-statements.ts';
import type { NamedStatement } from './named-statement.ts';
import { StatementPlacement, UNNAMED } from './statement-placement.ts';

/** The session. */
export interface StatementHost {
  readonly server: ServerConnection | null;
  /**
   * FORWARD: a server is linked and takes a message of type `code` now. Otherwise what becomes of the message.
   */
  ready(code: number): Verdict;
  /** The message, of type `code`, is held until everything that was asked has been answered. */
  holdUntilAnswered(code: number): Verdict;
  /** The message that is being judged is answered with `report`. */
  refuse(report: ErrorReport): Verdict;
  /** Why a statement with `peek` is not allowed at all; null if it is. */
  refusalOf(peek: StatementPeek): ErrorReport | null;
  /** It stands between two transactions, and its next message would be looked at. */
  readonly isFree: boolean;
  /** Answers a message without a server; the Sync of its batch is too, if nothing comes between that needs one. */
  answerFree(message: Buffer): void;
  /** Whether servers like those that it gets have `statement`. */
  isPrepared(statement: PooledStatement): boolean;
}

export interface StatementLimits {
  /** Prepared statements on one server (max_prepared_statements). */
  readonly perServer: number;
  readonly perClient: number;
  readonly bytesPerClient: number;
}

/** The text of an unnamed statement is kept up to this size, to prepare it on another server. */
const MAX_KEPT_BODY_BYTES = 16_384;
/** No name can be longer and mean anything. What is longer goes to the server as it is, which will not know it either. */
const MAX_NAMES_BYTES = 1_048_576;
const STATEMENT = 0x53; // S
const HEADER_BYTES = 5;
const NOT_FOUND = -1;
/** Nothing is on its way. */
const NO_BATCH = -1;

export class StatementMessages {
  readonly #host: StatementHost;
  readonly #own: ClientStatements;
  readonly #limits: StatementLimits;
  readonly #traffic: TrafficCounters;
  readonly #placement: StatementPlacement;
  /** Counts unnamed statements that are too long to be kept, so that each is like no other. */
  #longBodies = 0;
  /** In which batch the unnamed statement was last made certain, and on which server: within it, that holds. */
  #unnamedBatch = NOT_FOUND;
  #unnamedServer: ServerConnection | null = null;
  /** Answers are awaited that may say that all prepared statements are gone. */
  #barrier = false;

  /** What the text of the unnamed statement tells, and that of the statement in the unnamed portal. */
  #unnamedPeek = NOTHING;
  #boundPeek = NOTHING;
  /** For a Parse: if it is skipped, the old statement stays, of which nothing is known any more. */
  readonly #peekIsOver: ReplyNote = {
    answered: () => {},
    failed: () => {},
    skipped: () => {
      this.#unnamedPeek = NOTHING;
    },
  };
  #isUnnamedPortal = false;

  // What the header that asked for SPLICE has found out.
  #named: NamedStatement | null = null;
  #nameAt = 0;
  #nameEnd = 0;

  constructor(host: StatementHost, own: ClientStatements, limits: StatementLimits, traffic: TrafficCounters) {
    this.#host = host;
    this.#own = own;
    this.#limits = limits;
    this.#traffic = traffic;
    this.#placement = new StatementPlacement(limits.perServer, traffic);
  }

  onHeader(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    const bodyEnd = Math.min(end, bodyAt + bodyLength);
    const isComplete = bodyEnd === bodyAt + bodyLength;
    switch (code) {
      case type.PARSE:
        return this.#onParse(bodyLength, buffer, bodyAt, bodyEnd);
      case type.BIND: {
        const portalEnd = nulAt(buffer, bodyAt, bodyEnd);
        const nameEnd = portalEnd === NOT_FOUND ? NOT_FOUND : nulAt(buffer, portalEnd + 1, bodyEnd);
        this.#isUnnamedPortal = portalEnd === bodyAt;
        if (nameEnd !== NOT_FOUND) return this.#onUse(code, buffer, portalEnd + 1, nameEnd);
        break;
      }
      case type.DESCRIBE:
      case type.CLOSE: {
        if (bodyEnd > bodyAt && buffer[bodyAt] !== STATEMENT) return this.#plain(code);
        const nameEnd = isComplete ? nulAt(buffer, bodyAt + 1, bodyEnd) : NOT_FOUND;
        // With anything behind the name the server has to say what is wrong.
        if (nameEnd !== NOT_FOUND && nameEnd === bodyEnd - 1) {
          if (code === type.CLOSE) return this.#onClose(buffer, bodyAt + 1, nameEnd);
          return this.#onUse(code, buffer, bodyAt + 1, nameEnd);
        }
        break;
      }
      default:
    }
    // Without its terminators it is not a message, and no name that is so long is one of ours.
    return isComplete || bodyEnd - bodyAt > MAX_NAMES_BYTES ? this.#plain(code) : MORE;
  }

  onSpliced(code: number, bodyLength: number, buffer: Buffer, bodyAt: number): number {
    if (code === type.CLOSE) {
      this.#close(textOf(buffer, this.#nameAt, this.#nameEnd));
      return bodyAt + bodyLength;
    }
    const server = this.#host.server!;
    if (this.#named === null) {
      this.#placement.placeUnnamed(server, this.#own);
      this.#unnamedIsCertain(server);
      server.admit(code);
      return bodyAt - HEADER_BYTES;
    }
    const { statement } = this.#named;
    const isFirst = code === type.BIND && server.status === type.STATUS_IDLE && server.ledger.standsBeforeBatch;
    const prepared = this.#placement.ensure(server, statement);
    if (code === type.BIND) this.#traffic.binds++;
    server.admit(code, TO_CLIENT, isFirst ? server.batch.begin(prepared, bodyAt - HEADER_BYTES) : prepared);
    const name = statement.nameBytes;
    server.requests.queueHeader(code, 4 + bodyLength + name.length - (this.#nameEnd + 1 - this.#nameAt));
    server.requests.queue(buffer, bodyAt, this.#nameAt);
    server.requests.queue(name, 0, name.length);
    return this.#nameEnd + 1;
  }

  /** A whole Parse. */
  onFetched(buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    const nameEnd = nulAt(buffer, bodyAt, bodyEnd);
    const isMessage = nameEnd !== NOT_FOUND && isParseBody(buffer, nameEnd + 1, bodyEnd);
    if (isMessage && nameEnd > bodyAt && this.#host.isFree) {
      if (this.#parseFree(textOf(buffer, bodyAt, nameEnd), textOf(buffer, nameEnd + 1, bodyEnd))) return SKIP;
    }
    const verdict = this.#host.ready(type.PARSE);
    if (verdict !== FORWARD) return verdict;
    const server = this.#host.server!;
    // The server says what is wrong with it, or does not look at it.
    if (!isMessage || server.ledger.skippingToSync) return this.#asItIs(server, type.PARSE);
    const body = textOf(buffer, nameEnd + 1, bodyEnd);
    if (nameEnd === bodyAt) return this.#parseUnnamed(server, body);
    return this.#parseNamed(server, textOf(buffer, bodyAt, nameEnd), body);
  }

  /** What an Execute of the unnamed portal will run. */
  get boundPeek(): StatementPeek {
    return this.#boundPeek;
  }

  /** A simple Query with `peek` is about to be forwarded. */
  onQuery(peek: StatementPeek): void {
    if (peek.mayDeallocate) this.#barrier = true;
  }

  /** Whether nothing that is on its way keeps what is sent now from being judged at once. */
  get isCertain(): boolean {
    return !this.#barrier;
  }

  #plain(code: number): Verdict {
    const verdict = this.#host.ready(code);
    return verdict === FORWARD ? this.#asItIs(this.#host.server!, code) : verdict;
  }

  #asItIs(server: ServerConnection, code: number): Verdict {
    server.admit(code);
    return FORWARD;
  }

  // Parse

  #onParse(bodyLength: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    if (bodyLength === 0) return this.#plain(type.PARSE);
    if (bodyEnd === bodyAt) return MORE;
    const isUnnamed = buffer[bodyAt] === 0;
    if (isUnnamed && bodyLength <= MAX_KEPT_BODY_BYTES && bodyEnd < bodyAt + bodyLength) return FETCH;
    const { bytesPerClient } = this.#limits;
    if (!isUnnamed && (bytesPerClient === 0 || bodyLength <= bytesPerClient)) return FETCH;
    const verdict = this.#host.ready(type.PARSE);
    if (verdict !== FORWARD) return verdict;
    const server = this.#host.server!;
    if (server.ledger.skippingToSync) return this.#asItIs(server, type.PARSE);
    if (!isUnnamed) return this.#host.refuse(errors.statementsTooLarge(bytesPerClient));
    if (bodyLength > MAX_KEPT_BODY_BYTES) {
      this.#longBodies++;
      this.#unnamedPeek = NOTHING;
      return this.#admitUnnamed(server, `${LONG_BODY}${this.#longBodies}`);
    }
    if (!isParseBody(buffer, bodyAt + 1, bodyEnd)) return this.#asItIs(server, type.PARSE);
    if (isWorthPeeking(buffer, bodyAt + 1, bodyEnd)) return FETCH;
    this.#unnamedPeek = NOTHING;
    return this.#admitUnnamed(server, textOf(buffer, bodyAt + 1, bodyEnd));
  }

  #parseUnnamed(server: ServerConnection, body: string): Verdict {
    const peek = peekStatement(body.slice(0, PEEK_BYTES));
    if (peek.deallocates !== null) {
      if (server.ledger.owed > 0) return this.#host.holdUntilAnswered(type.PARSE);
      const named = this.#own.find(peek.deallocates);
      if (named !== null) return this.#parseDeallocate(server, named);
    }
    if (peek.mayDeallocate) this.#barrier = true;
    this.#unnamedPeek = peek;
    return this.#admitUnnamed(server, body);
  }

  /** Servers do not know it by the client's name: they get something else to deallocate. */
  #parseDeallocate(server: ServerConnection, { name }: NamedStatement): Verdict {
    this.#unnamedPeek = NOTHING;
    const body = server.requests.prepareForShow();
    const closing = this.#own.closing(name, server.ledger.batch);
    const note = bothNotes(new UnnamedNote(body, this.#own, server.prepared), closing);
    server.requests.add(type.PARSE, parseMessage(UNNAMED, body), note, TO_CLIENT);
    this.#unnamedIsCertain(server);
    return SKIP;
  }

  #admitUnnamed(server: ServerConnection, body: string): Verdict {
    const note = new UnnamedNote(body, this.#own, server.prepared);
    server.admit(type.PARSE, TO_CLIENT, this.#unnamedPeek === NOTHING ? note : bothNotes(note, this.#peekIsOver));
    this.#unnamedIsCertain(server);
    return FORWARD;
  }

  /**
   * What servers of the pool have prepared already needs none to be prepared by one client more: otherwise clients that
   * prepare would wait for those in transactions, and a program that does both in turn for ever.
   */
  #parseFree(name: string, body: string): boolean {
    const statement = this.#own.registered(body);
    if (statement === null || !this.#host.isPrepared(statement)) return false;
    if (this.#own.find(name) !== null || this.#excess(name, body) !== null) return false;
    this.#traffic.clientParses++;
    this.#own.add(name, body, NO_BATCH).answered();
    this.#host.answerFree(PARSE_COMPLETE_MESSAGE);
    return true;
  }

  /** Which of the client's limits one statement more would pass. */
  #excess(name: string, body: string): ErrorReport | null {
    const { perClient, bytesPerClient } = this.#limits;
    if (perClient > 0 && this.#own.size >= perClient) return errors.tooManyStatements(perClient);
    const bytes = this.#own.bytes + name.length + body.length;
    return bytesPerClient > 0 && bytes > bytesPerClient ? errors.statementsTooLarge(bytesPerClient) : null;
  }

  #parseNamed(server: ServerConnection, name: string, body: string): Verdict {
    const { batch } = server.ledger;
    if (this.#isUncertain(server)) return this.#host.holdUntilAnswered(type.PARSE);
    const known = this.#own.find(name);
    if (known !== null) return this.#parseAgain(server, known, body);
    const excess = this.#excess(name, body);
    if (excess !== null) return this.#host.refuse(excess);
    const named = this.#own.add(name, body, batch);
    const prepared = server.prepared.find(named.statement);
    if (prepared !== null && isUnanswered(prepared, batch)) {
      this.#own.forget(named);
      return this.#host.holdUntilAnswered(type.PARSE);
    }
    this.#traffic.clientParses++;
    if (prepared !== null && !prepared.isStale && this.#wouldParse(server)) {
      server.prepared.use(prepared);
      server.requests.answerOurselves(type.PARSE, named);
      return SKIP;
    }
    this.#placement.prepare(server, named.statement, named);
    return SKIP;
  }

  /** Whether `server` would take a Parse that it has taken before: not in a transaction that has failed, or may have. */
  #wouldParse({ ledger, status }: ServerConnection): boolean {
    return status !== type.STATUS_FAILED && ledger.readyOwed === 0;
  }

  /** The name is in use. */
  #parseAgain(server: ServerConnection, known: NamedStatement, body: string): Verdict {
    if (isUnanswered(known, server.ledger.batch)) return this.#host.holdUntilAnswered(type.PARSE);
    server.requests.refuseParse(body, errors.statementExists(printable(known.name)));
    return SKIP;
  }

  // Bind, Describe

  #onUse(code: number, buffer: Buffer, nameAt: number, nameEnd: number): Verdict {
    const name = textOf(buffer, nameAt, nameEnd);
    const named = this.#own.find(name);
    // Between two transactions it is certain, and needs no server.
    if (this.#host.server === null && named === null && name !== '') {
      return this.#host.refuse(errors.noSuchStatement(printable(name)));
    }
    const verdict = this.#host.ready(code);
    if (verdict !== FORWARD) return verdict;
    const server = this.#host.server!;
    const { batch } = server.ledger;
    if (server.ledger.skippingToSync) return this.#asItIs(server, code);
    if (code === type.BIND) {
      const peek = name === '' ? this.#unnamedPeek : (named?.statement.peek ?? NOTHING);
      const refusal = this.#host.refusalOf(peek);
      if (refusal !== null) return this.#host.refuse(refusal);
      // What a named portal will run is not remembered: it may be run at any time.
      if (this.#isUnnamedPortal) this.#boundPeek = peek;
      else if (peek.makes === 'temporary') server.dirt.suspectTemporary();
    }
    if (name === '') return this.#onUseOfUnnamed(code, server);
    if (this.#isUncertain(server)) return this.#host.holdUntilAnswered(code);
    if (named === null) return this.#host.refuse(errors.noSuchStatement(printable(name)));
    if (isUnanswered(named, batch)) return this.#host.holdUntilAnswered(code);
    const prepared = server.prepared.find(named.statement);
    if (prepared !== null && isUnanswered(prepared, batch)) return this.#host.holdUntilAnswered(code);
    if (named.statement.peek.mayDeallocate) this.#barrier = true;
    this.#named = named;
    this.#nameAt = nameAt;
    this.#nameEnd = nameEnd;
    return SPLICE;
  }

  #onUseOfUnnamed(code: number, server: ServerConnection): Verdict {
    if (this.#unnamedServer !== server || this.#unnamedBatch !== server.ledger.batch) {
      if (server.ledger.readyOwed > 0) return this.#host.holdUntilAnswered(code);
      if (server.prepared.unnamed !== this.#own.unnamed) {
        this.#named = null;
        return SPLICE;
      }
      this.#unnamedIsCertain(server);
    }
    return this.#asItIs(server, code);
  }

  #unnamedIsCertain(server: ServerConnection): void {
    this.#unnamedServer = server;
    this.#unnamedBatch = server.ledger.batch;
  }

  // Close

  #onClose(buffer: Buffer, nameAt: number, nameEnd: number): Verdict {
    if (nameAt < nameEnd && this.#host.isFree) {
      this.#nameAt = nameAt;
      this.#nameEnd = nameEnd;
      return SPLICE;
    }
    const verdict = this.#host.ready(type.CLOSE);
    if (verdict !== FORWARD) return verdict;
    const server = this.#host.server!;
    if (server.ledger.skippingToSync) return this.#asItIs(server, type.CLOSE);
    if (nameAt === nameEnd) {
      server.admit(type.CLOSE, TO_CLIENT, new UnnamedNote(null, this.#own, server.prepared));
      this.#unnamedIsCertain(server);
      return FORWARD;
    }
    const named = this.#own.find(textOf(buffer, nameAt, nameEnd));
    if (this.#isUncertain(server) || (named !== null && isUnanswered(named, server.ledger.batch))) {
      return this.#host.holdUntilAnswered(type.CLOSE);
    }
    this.#nameAt = nameAt;
    this.#nameEnd = nameEnd;
    return SPLICE;
  }

  #close(name: string): void {
    const { server } = this.#host;
    const note = this.#own.closing(name, server?.ledger.batch ?? NO_BATCH);
    if (server !== null) {
      server.requests.answerOurselves(type.CLOSE, note);
      return;
    }
    note.answered();
    this.#host.answerFree(CLOSE_COMPLETE_MESSAGE);
  }

  /** Whether an answer is awaited on which it depends what the client's names or the server's mean. */
  #isUncertain({ ledger, prepared }: ServerConnection): boolean {
    if (ledger.owed === 0) this.#barrier = false;
    return this.#barrier || this.#own.isClosingBefore(ledger.batch) || prepared.isClosingBefore(ledger.batch);
  }
}

/** No body begins like this and goes on without a NUL. */
const LONG_BODY = 'long ';

function isUnanswered({ sentInBatch }: { readonly sentInBatch: number | null }, batch: number): boolean {
  return sentInBatch !== null && sentInBatch !== batch;
}

function textOf(buffer: Buffer, from: number, to: number): string {
  return buffer.toString('latin1', from, to);
}

/** A name as people read it. */
function printable(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

function nulAt(buffer: Buffer, from: number, to: number): number {
  for (let at = from; at < to; at++) if (buffer[at] === 0) return at;
  return NOT_FOUND;
}

/** A text with its NUL, the number of types, and so many types. */
function isParseBody(buffer: Buffer, from: number, to: number): boolean {
  const textEnd = buffer.indexOf(0, from);
  if (textEnd === NOT_FOUND || textEnd + 3 > to) return false;
  return textEnd + 3 + 4 * buffer.readUInt16BE(textEnd + 1) === to;
}
