/**
 * Judges what one server sends, message by message: for whom it is, and whether anybody had asked for it. It changes no
 * state of the connection by itself; what a chunk has brought about is read from it when all its bytes have been judged.
 */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { type ErrorFields, isFatal, parseErrorFields } from '../protocol/error-fields.ts';
import { parseParameterStatus } from '../protocol/login-messages.ts';
import {
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
import { NOT_OWED, SUBSTITUTE, TO_NOBODY } from './reply-ledger.ts';
import type { ServerConnection } from './server-connection.ts';

/** Messages that are looked into are small; a larger one is forwarded unread. */
const MAX_FETCHED_BYTES = 65_536;

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
  /** What clients are told instead of the server's errors, by the ordinal of the ledger's SUBSTITUTE entry. */
  readonly #refusals = new Map<number, ErrorReport>();

  constructor(server: ServerConnection) {
    this.#server = server;
  }

  /** The next SUBSTITUTE entry of the ledger stands for `report`. */
  substitute(report: ErrorReport): void {
    this.#refusals.set(this.#server.ledger.substitutes, report);
  }

  /** Whoever the substitutes were for has gone. */
  forgetHolder(): void {
    this.#refusals.clear();
  }

  onHeader(code: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): Verdict {
    if (this.#server.isLoggingIn) return bodyLength <= MAX_FETCHED_BYTES ? FETCH : this.#break('out_of_sync');
    switch (code) {
      case type.READY_FOR_QUERY:
        return bodyLength !== 1 ? this.#break('out_of_sync') : end <= bodyAt ? MORE : this.#onReady(buffer[bodyAt]!);
      case type.NOTICE_RESPONSE:
      case type.NOTIFICATION_RESPONSE:
        return this.#clientHears ? FORWARD : SKIP;
      case type.PARAMETER_STATUS:
      case type.ERROR_RESPONSE:
        return bodyLength <= MAX_FETCHED_BYTES ? FETCH : this.#onUnreadable(code);
      default: {
        const destination = this.#server.ledger.reply(code);
        if (destination === NOT_OWED) return this.#break('out_of_sync');
        return this.#clientHears && destination !== TO_NOBODY ? FORWARD : SKIP;
      }
    }
  }

  onRun(buffer: Buffer, from: number, to: number, own: boolean): void {
    this.#server.deliver(buffer, from, to, own);
  }

  onFetched(code: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    if (this.#server.isLoggingIn) {
      this.#server.onLoginMessage(code, buffer, bodyAt, bodyEnd);
      return SKIP;
    }
    if (code === type.ERROR_RESPONSE) return this.#onError(parseErrorFields(buffer, bodyAt, bodyEnd));
    if (code === type.PARAMETER_STATUS) return this.#onParameterStatus(buffer, bodyAt, bodyEnd);
    this.ownAnswered = true;
    return SKIP;
  }

  /** A ReadyForQuery has reached the client. */
  onFlushed(): void {
    this.#server.holder?.onServerReady(this.#server.status);
  }

  onHeld(): void {}

  onDropped(): void {}

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
    if (destination === TO_NOBODY) return FETCH;
    times.ready(status, ledger.owed);
    if (!this.#clientHears) return SKIP;
    return ledger.readyOwed === 0 ? FLUSH : FORWARD;
  }

  #onError(fields: ErrorFields): Verdict {
    const { ledger, holder } = this.#server;
    const ordinal = ledger.substitutesGone;
    const destination = ledger.reply(type.ERROR_RESPONSE);
    if (isFatal(fields)) {
      this.fatal = fields;
      this.fatalForwarded = this.#clientHears;
      // The end of the stream follows; nobody may get the server in between.
      return this.#clientHears ? FORWARD : this.#break('fatal_error');
    }
    if (destination === NOT_OWED) return this.#break('out_of_sync');
    if (destination === TO_NOBODY) this.ownError = fields;
    if (destination === TO_NOBODY || !this.#clientHears) return SKIP;
    // 25P02 says that the transaction had failed before: the client must hear that instead of ours.
    if (destination !== SUBSTITUTE || fields.sqlstate === '25P02') return FORWARD;
    const report = this.#refusals.get(ordinal);
    if (report !== undefined) holder!.onServerRefused(report);
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
