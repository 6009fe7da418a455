/**
 * What one server is sent on behalf of its holder: the client's own bytes, messages of ours among them, gathered into one
 * write, and those that are there only for their answer. Each is entered in the ledger, in the order of the calls. It
 * knows neither the connection's states nor who the holder is.
 */
import type { ErrorReport } from '../base/errors.ts';
import { WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { Wire } from '../net/wire.ts';
import * as client from '../protocol/client-messages.ts';
import { FORWARD } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import type { ReplyNote } from './note-queue.ts';
import { Outbox } from './outbox.ts';
import { POOLED_NAME_PREFIX, parseMessage } from './pooled-statement.ts';
import { type Destination, ERROR_TO_CLIENT, SUBSTITUTE, TO_CLIENT } from './reply-entry.ts';
import type { ServerConnection } from './server-connection.ts';
import type { ServerReplies } from './server-replies.ts';

/** How servers refuse what is made to be refused. */
const SYNTAX_ERROR = '42601';
const NO_SUCH_STATEMENT = '26000';
const STATEMENT_EXISTS = '42P05';

/** A statement that is there only to be refused or deallocated, and the body of a Parse of an empty one. */
const SHOWN_NAME = Buffer.from(`${POOLED_NAME_PREFIX}shown\0`, 'latin1');
const NO_STATEMENT = '\0\0\0';
const DEALLOCATE_SHOWN = `DEALLOCATE ${POOLED_NAME_PREFIX}shown`;

/** The server of whose client a chunk is being read has it to itself. */
const outbox = new Outbox();

export class ServerRequests {
  readonly #server: ServerConnection;
  readonly #wire: Wire;
  readonly #replies: ServerReplies;
  readonly #unguessable: string;

  /** `unguessable`: a name that no client can know. */
  constructor(server: ServerConnection, replies: ServerReplies, unguessable: string) {
    this.#server = server;
    this.#wire = server.wire;
    this.#replies = replies;
    this.#unguessable = unguessable;
  }

  /** A Bind that fails in any session. */
  get impossibleBind(): Buffer {
    return client.impossibleBind(this.#unguessable);
  }

  /** Sends the client's bytes, which are overwritten soon. What was queued before goes with them (`sendQueued`). */
  forward(buffer: Buffer, from: number, to: number): WriteResult {
    const wire = this.#wire;
    return outbox.holds(wire) ? outbox.add(wire, buffer, from, to) : wire.sendCopy(buffer, from, to);
  }

  /** Bytes of ours among the client's, in the order of the calls; `sendQueued` follows. */
  queue(buffer: Buffer, from: number, to: number): void {
    outbox.add(this.#wire, buffer, from, to);
  }

  /** The first bytes of a message whose others follow. `length` counts itself. */
  queueHeader(code: number, length: number): void {
    outbox.addHeader(this.#wire, code, length);
  }

  sendQueued(): WriteResult {
    return outbox.holds(this.#wire) ? outbox.flush() : WRITE_GONE;
  }

  /** Sends bytes of ours, behind everything that is queued. */
  send(bytes: Buffer): void {
    this.sendQueued();
    this.#wire.send(bytes);
  }

  /** Queues a message of ours that the holder's messages depend on. */
  add(code: number, message: Buffer, note: ReplyNote | null, destination: Destination = ERROR_TO_CLIENT): void {
    this.#server.admit(code, destination, note);
    this.queue(message, 0, message.length);
  }

  /** A Parse or Close of the holder's that the server need not see: see `ReplyLedger.answerOurselves`. */
  answerOurselves(code: typeof type.PARSE | typeof type.CLOSE, note: ReplyNote): void {
    this.#server.ledger.answerOurselves(code, note);
    this.#replies.deliverDue();
  }

  /** Asks for the replies of an open batch. */
  flush(): void {
    if (this.#server.ledger.admit(type.FLUSH) === FORWARD) this.send(client.FLUSH_MESSAGE);
  }

  /**
   * Makes the server refuse what the client asked for, so that the transaction fails there too; the client gets `report`
   * in place of the server's error. `simple`: its message was a Query or FunctionCall, else an extended one.
   */
  refuse(simple: boolean, report: ErrorReport): void {
    this.#replies.substitute(report, simple ? SYNTAX_ERROR : NO_SUCH_STATEMENT);
    this.#server.admit(simple ? type.QUERY : type.BIND, SUBSTITUTE);
    this.send(simple ? client.IMPOSSIBLE_QUERY : this.impossibleBind);
  }

  /** The same for a Parse with `body` whose name the client has in use: another error in it wins, as it does directly. */
  refuseParse(body: string, report: ErrorReport): void {
    this.prepareForShow();
    this.#replies.substitute(report, STATEMENT_EXISTS);
    this.add(type.PARSE, parseMessage(SHOWN_NAME, body), null, SUBSTITUTE);
  }

  /** Lets the server answer a DEALLOCATE of something that it has, as part of whatever batch or transaction is open. */
  deallocateForShow(): void {
    this.prepareForShow();
    this.add(type.QUERY, client.query(DEALLOCATE_SHOWN), null, TO_CLIENT);
  }

  /**
   * Prepares a statement that is nobody's; in a transaction that has failed, too, for it is empty. Returns the body of a
   * Parse of its DEALLOCATE.
   */
  prepareForShow(): string {
    this.add(type.CLOSE, client.closeMessage(SHOWN_NAME), null);
    this.add(type.PARSE, parseMessage(SHOWN_NAME, NO_STATEMENT), null);
    return `${DEALLOCATE_SHOWN}${NO_STATEMENT}`;
  }
}
