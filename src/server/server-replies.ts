/**
 * Judges what one server sends, message by message: for whom it is, and whether anybody had asked for it. It changes no
 * state of the connection by itself; what a chunk has brought about is read from it when all its bytes have been judged.
 */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { type ErrorFields, isFatal, parseErrorFields } from '../protocol/error-fields.ts';
import { parseParameterStatus } from '../protocol/login-messages.ts';
import {
  DROP,
  FETCH,
  FLUSH,
  FORWARD,
  type MessageHandler,
  MORE,
  SKIP,
  STOP,
  type Verdict,
} from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { CLOSE_COMPLETE_MESSAGE, message, PARSE_COMPLETE_MESSAGE } from '../protocol/server-messages.ts';
import { ExcusedTags } from './excused-tags.ts';
import { POOLED_NAME_PREFIX } from './pooled-statement.ts';
import { isPlanChange } from './prepared-statement.ts';
import { ERROR_TO_CLIENT, SUBSTITUTE, TO_NOBODY } from './reply-entry.ts';
import { NOT_OWED } from './reply-ledger.ts';
import type { ServerConnection } from './server-connection.ts';
import { isTagOfInterest, isTagOfTable, TAG_BYTES } from './session-dirt.ts';

/** Messages that are looked into are small; a larger one is forwarded unread. */
const MAX_FETCHED_BYTES = 65_536;

const POOLED_NAME = new RegExp(`${POOLED_NAME_PREFIX}\\d+`, 'g');

/** What a client is told instead of a server's error. */
interface Refusal {
  readonly report: ErrorReport;
  readonly sqlstate: string;
}

export class ServerReplies implements MessageHandler {
  /** Why nothing that this server says can be believed any more; null while it can. */
  broken: ServerCloseReason | null = null;
  /** The server's last word: after it the connection closes. */
  fatal: ErrorFields | null = null;
  /** The client has been sent it. */
  fatalForwarded = false;
  /** The ReadyForQuery of a query of ours has come. */
  ownAnswered = false;
  /** What that query failed with. */
  ownError: ErrorFields | null = null;
  readonly #server: ServerConnection;
  /** The holder has something to say behind the message that is being judged. */
  #gapWanted = false;
  /** What clients are told instead of the server's errors, by the ordinal of the ledger's SUBSTITUTE entry. */
  readonly #refusals = new Map<number, Refusal>();

  constructor(server: ServerConnection) {
    this.#server = server;
  }

  /** The next SUBSTITUTE entry of the ledger stands for `report`, which replaces an error with `sqlstate` and no other. */
  substitute(report: ErrorReport, sqlstate: string): void {
    this.#refusals.set(this.#server.ledger.substitutes, { report, sqlstate });
  }

  /** Whoever the substitutes were for has gone. */
  forgetHolder(): void {
    this.#refusals.clear();
  }

  /** Hands over the answers of ours that are due. */
  deliverDue(): void {
    const { ledger } = this.#server;
    if (!ledger.hasDue) return;
    for (const code of ledger.takeDue()) {
      const bytes = code === type.PARSE_COMPLETE ? PARSE_COMPLETE_MESSAGE : CLOSE_COMPLETE_MESSAGE;
      this.#server.deliver(bytes, 0, bytes.length, true);
    }
  }

  onHeader(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    if (this.#server.isLoggingIn) return bodyLength <= MAX_FETCHED_BYTES ? FETCH : this.#break('out_of_sync');
    if (this.#server.state === 'dedicated') return this.#relay(code, bodyLength, buffer, bodyAt, end);
    switch (code) {
      case type.READY_FOR_QUERY:
        return bodyLength !== 1 ? this.#break('out_of_sync') : end <= bodyAt ? MORE : this.#onReady(buffer[bodyAt]!);
      case type.NOTICE_RESPONSE:
      case type.NOTIFICATION_RESPONSE:
        return this.#clientHears ? FORWARD : SKIP;
      case type.PARAMETER_STATUS:
      case type.ERROR_RESPONSE:
        return bodyLength <= MAX_FETCHED_BYTES ? FETCH : this.#onUnreadable(code);
      case type.COMMAND_COMPLETE:
        if (end - bodyAt < Math.min(bodyLength, TAG_BYTES)) return MORE;
        if (isTagOfInterest(buffer, bodyAt)) this.#onTag(buffer, bodyAt, bodyLength);
        else if (!this.#server.ledger.showsRows) this.#onTagWithoutRows(buffer, bodyAt);
        return this.#onReply(code);
      default:
        return this.#onReply(code);
    }
  }

  #onReply(code: number): Verdict {
    const { ledger } = this.#server;
    const destination = ledger.reply(code);
    if (destination === NOT_OWED) return this.#break('out_of_sync');
    const isHeard = this.#clientHears && destination !== TO_NOBODY && destination !== ERROR_TO_CLIENT;
    if (ledger.hasDue || this.#gapWanted) return isHeard ? FLUSH : DROP;
    return isHeard ? FORWARD : SKIP;
  }

  #onTagWithoutRows(buffer: Buffer, at: number): void {
    const { ledger, dirt } = this.#server;
    if (ledger.nextDestination === TO_NOBODY) return;
    if (isTagOfTable(buffer, at, ledger.nextIsQuery)) dirt.suspectTemporary();
  }

  /** A command has succeeded that may change more of the session than its transaction. */
  #onTag(buffer: Buffer, at: number, bodyLength: number): void {
    const tag = buffer.toString('latin1', at, at + Math.min(bodyLength, TAG_BYTES) - 1);
    const { prepared, parameters, dirt, ledger, holder } = this.#server;
    const isOurs = ledger.nextDestination === TO_NOBODY;
    if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') {
      prepared.deallocatedAll();
      if (!isOurs) holder?.onServerDeallocatedAll();
    }
    if (isOurs) return;
    if (tag === 'RESET' || tag === 'DISCARD ALL') {
      const what = tag === 'RESET' ? 'some' : 'all';
      parameters.onReset(what);
      holder?.onServerReset(what);
    }
    const note = ledger.nextNote;
    if (note instanceof ExcusedTags && note.excuses(tag)) return;
    const state = dirt.completed(tag);
    if (state !== null && holder !== null) this.#gapWanted = holder.onServerDirty(state);
  }

  /**
   * The one client of a dedicated server gets everything. Of what it asks, the ledger has only what a ReadyForQuery ends:
   * it tells whether the session stands between two requests, and cannot tell more about replication's COPY.
   */
  #relay(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    if (code === type.ERROR_RESPONSE && bodyLength <= MAX_FETCHED_BYTES) return FETCH;
    if (code !== type.READY_FOR_QUERY || bodyLength !== 1) return FORWARD;
    if (end <= bodyAt) return MORE;
    this.#server.ledger.reply(code);
    this.#server.status = buffer[bodyAt]!;
    this.#server.readyCount++;
    return FLUSH;
  }

  onRun(buffer: Buffer, from: number, to: number, own: boolean): void {
    this.#server.deliver(buffer, from, to, own);
  }

  onFetched(code: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    if (this.#server.isLoggingIn) {
      this.#server.onLoginMessage(code, buffer, bodyAt, bodyEnd);
      return SKIP;
    }
    if (code === type.ERROR_RESPONSE) return this.#onError(buffer, bodyAt, bodyEnd);
    if (code === type.PARAMETER_STATUS) return this.#onParameterStatus(buffer, bodyAt, bodyEnd);
    this.ownAnswered = true;
    return SKIP;
  }

  /** A message has reached the client, and something is to happen behind it. */
  onFlushed(code: number): void {
    this.deliverDue();
    if (this.#gapWanted) this.#server.holder?.onServerGap();
    this.#gapWanted = false;
    if (code !== type.READY_FOR_QUERY) return;
    const { holder, ledger, status } = this.#server;
    if (ledger.readyOwed === 0) holder?.onServerReady(status);
    else if (status !== type.STATUS_IDLE && holder?.forbidsTransactions === true) holder.onServerTransaction();
  }

  onHeld(): void {}

  onDropped(): void {
    this.#gapWanted = false;
    this.deliverDue();
  }

  onSpliced(_code: number, _bodyLength: number, _buffer: Buffer, bodyAt: number): number {
    return bodyAt;
  }

  onMalformed(): void {
    this.broken = 'out_of_sync';
  }

  /** What the server sends now, the holder gets. */
  get #clientHears(): boolean {
    return this.#server.holder !== null && this.#server.state === 'linked';
  }

  #onReady(status: number): Verdict {
    const { ledger, times } = this.#server;
    const destination = ledger.reply(type.READY_FOR_QUERY);
    if (destination === NOT_OWED) return this.#break('out_of_sync');
    this.#server.status = status;
    this.#server.readyCount++;
    if (ledger.endedQuery) this.#server.prepared.unnamed = null;
    if (destination === TO_NOBODY) return FETCH;
    times.ready(status, ledger.owed);
    if (!this.#clientHears) return SKIP;
    const holder = this.#server.holder!;
    if (ledger.endedQuery) holder.onServerQueryEnded();
    if (ledger.readyOwed === 0 || ledger.hasDue) return FLUSH;
    return status !== type.STATUS_IDLE && holder.forbidsTransactions ? FLUSH : FORWARD;
  }

  #onError(buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    const fields = parseErrorFields(buffer, bodyAt, bodyEnd);
    const { ledger, holder, state } = this.#server;
    if (state === 'dedicated') {
      if (isFatal(fields)) this.fatal = fields;
      this.fatalForwarded = this.fatal !== null;
      return FORWARD;
    }
    const ordinal = ledger.substitutesGone;
    const destination = ledger.reply(type.ERROR_RESPONSE, fields);
    if (isFatal(fields)) {
      this.fatal = fields;
      this.fatalForwarded = this.#clientHears;
      // The end of the stream follows; nobody may get the server in between.
      return this.#clientHears ? FORWARD : this.#break('fatal_error');
    }
    if (destination === NOT_OWED) return this.#break('out_of_sync');
    // Taken in any case: it is for this error only.
    const batch = isPlanChange(fields) ? this.#server.batch.take() : null;
    if (destination === TO_NOBODY) this.ownError = fields;
    if (destination === TO_NOBODY || !this.#clientHears) return SKIP;
    if (batch !== null && holder!.onServerPlanChanged(batch)) return SKIP;
    if (destination !== SUBSTITUTE) return this.#forwardError(fields.message, buffer, bodyAt, bodyEnd);
    const refusal = this.#refusals.get(ordinal);
    this.#refusals.delete(ordinal);
    // Any other error came first, such as 25P02 for a transaction that had failed before: that is what the client hears.
    if (refusal?.sqlstate !== fields.sqlstate) return FORWARD;
    holder!.onServerRefused(refusal.report);
    return SKIP;
  }

  /** Where the server speaks of a statement by our name, the client reads its own. */
  #forwardError(text: string, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    if (!text.includes(POOLED_NAME_PREFIX)) return FORWARD;
    const body = buffer.toString('latin1', bodyAt, bodyEnd);
    const { holder } = this.#server;
    const translated = body.replaceAll(POOLED_NAME, (name) => holder!.statementName(name) ?? name);
    const bytes = message(type.ERROR_RESPONSE, Buffer.from(translated, 'latin1'));
    this.#server.deliver(bytes, 0, bytes.length, true);
    return SKIP;
  }

  #onParameterStatus(buffer: Buffer, from: number, to: number): Verdict {
    const pair = parseParameterStatus(buffer, from, to);
    if (pair === null) return this.#break('out_of_sync');
    const place = this.#server.parameters.report(pair[0], pair[1]);
    if (!this.#clientHears) return SKIP;
    if (place >= 0) this.#server.holder!.onServerParameter(place);
    return FORWARD;
  }

  /** Too long to be looked into: it counts as what it usually is. */
  #onUnreadable(code: number): Verdict {
    if (code === type.ERROR_RESPONSE && this.#server.ledger.reply(code) === NOT_OWED) return this.#break('out_of_sync');
    return this.#clientHears ? FORWARD : SKIP;
  }

  /** The connection is closed when the bytes before have been handed over. */
  #break(reason: ServerCloseReason): Verdict {
    this.broken = this.#server.state === 'idle' && reason === 'out_of_sync' ? 'dirty_while_idle' : reason;
    return STOP;
  }
}
