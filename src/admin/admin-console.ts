/**
 * One client of the console: its messages, in both protocols, and their answers in order. What a command does is
 * `admin-commands.ts`'; here it is only asked whether the client has the right to it. While one command has not been
 * answered, nothing that comes after it is looked at.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment, Timer } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { ConsoleGuest } from '../client/console-handler.ts';
import { Farewell } from '../net/farewell.ts';
import type { WireReader } from '../net/wire.ts';
import { readBind, readExecute, readNamed, readParse, readQuery } from '../protocol/extended-messages.ts';
import { FETCH, HOLD, MessageFramer, type MessageHandler, SKIP, type Verdict } from '../protocol/message-framer.ts';
import * as type from '../protocol/message-type.ts';
import { dataRow, NO_PARAMETERS_MESSAGE, rowDescription } from '../protocol/row-messages.ts';
import * as message from '../protocol/server-messages.ts';
import type { Answer, CommandContext } from './admin-commands.ts';
import { resolveCommand } from './command-resolver.ts';
import { allows, type ConsoleRight } from './console-right.ts';
import { ConsoleStatements, type Portal, type Prepared } from './console-statements.ts';
import { REPORTED_PARAMETERS } from './session-words.ts';
import { type ConsoleStatement, parseStatements } from './statement-parser.ts';

export interface ConsoleOwner {
  readonly environment: Environment;
  readonly context: CommandContext;
  readonly version: string;
  /** Asked for each command: a reload can give and take rights. Null: none any more. */
  rightOf(user: string): ConsoleRight | null;
  onQuery(): void;
  onConsoleClosed(console: AdminConsole, reason: ClientCloseReason): void;
  /** Its socket is gone. */
  onConsoleGone(): void;
}

/** No command is longer, and what a client sends is kept whole. */
const MAX_MESSAGE_BYTES = 65_536;
/** How often a command that waits looks whether it is done. */
const LOOK_MS = 10;

const NO_ROWS = message.message(type.NO_DATA, Buffer.alloc(0));
const BIND_COMPLETE = message.message(type.BIND_COMPLETE, Buffer.alloc(0));
const EMPTY_QUERY = message.message(type.EMPTY_QUERY_RESPONSE, Buffer.alloc(0));
const SUSPENDED = message.message(type.PORTAL_SUSPENDED, Buffer.alloc(0));
const READY = message.readyForQuery(type.STATUS_IDLE);

export class AdminConsole implements WireReader, MessageHandler {
  readonly guest: ConsoleGuest;
  readonly #owner: ConsoleOwner;
  readonly #framer = new MessageFramer(this, MAX_MESSAGE_BYTES);
  readonly #statements = new ConsoleStatements();
  #out: Buffer[] = [];
  /** What a command under way does when it is cancelled; null while none is. */
  #pending: { readonly cancel: () => void } | null = null;
  #timer: Timer | null = null;
  /** An extended message has failed: what follows is ignored up to Sync. */
  #skipsToSync = false;
  #isClosed = false;

  constructor(owner: ConsoleOwner, guest: ConsoleGuest) {
    this.#owner = owner;
    this.guest = guest;
    guest.wire.reader = this;
  }

  begin(): void {
    const { acceptance, cancelKey, wire } = this.guest;
    const parameters = [['server_version', `${this.#owner.version}/bouncer`] as const, ...REPORTED_PARAMETERS];
    wire.send(
      Buffer.concat([
        ...acceptance,
        ...parameters.map(([name, value]) => message.parameterStatus(name, value)),
        message.backendKeyData(cancelKey.readUInt32BE(0), cancelKey.subarray(4)),
        READY,
      ]),
    );
    wire.release();
  }

  // WireReader

  onConnected(): void {}

  onBytes(buffer: Buffer, start: number, end: number): number {
    const used = this.#framer.feed(buffer, start, end);
    this.#flush();
    return used;
  }

  onDrain(): void {}

  onEnd(): void {
    this.close('eof', null);
  }

  onClosed(error: Error | null): void {
    this.close(error === null ? 'eof' : 'connection_error', null);
    this.#owner.onConsoleGone();
  }

  // MessageHandler

  onHeader(code: number): Verdict {
    if (this.#pending !== null) {
      this.guest.wire.hold();
      return HOLD;
    }
    return this.#skipsToSync && code !== type.SYNC && code !== type.TERMINATE ? SKIP : FETCH;
  }

  onRun(): void {}

  onFetched(code: number, buffer: Buffer, at: number, end: number): Verdict {
    switch (code) {
      case type.QUERY:
        this.#onQuery(readQuery(buffer, at, end));
        break;
      case type.PARSE:
        this.#onParse(buffer, at, end);
        break;
      case type.BIND:
        this.#onBind(buffer, at, end);
        break;
      case type.DESCRIBE:
        this.#onDescribe(buffer, at, end);
        break;
      case type.EXECUTE:
        this.#onExecute(buffer, at, end);
        break;
      case type.CLOSE:
        this.#onClose(buffer, at, end);
        break;
      case type.SYNC:
        this.#skipsToSync = false;
        this.#statements.endPortals();
        this.#out.push(READY);
        break;
      case type.FLUSH:
        break;
      case type.TERMINATE:
        this.close('terminated', null);
        break;
      default:
        this.close('protocol_violation', errors.invalidMessageType(code));
    }
    return SKIP;
  }

  onFlushed(): void {}

  onSpliced(_code: number, _bodyLength: number, _buffer: Buffer, bodyAt: number): number {
    return bodyAt;
  }

  onHeld(): void {}

  onDropped(): void {}

  onMalformed(_code: number, length: number): void {
    this.close(
      'protocol_violation',
      length < 4 ? errors.invalidMessageLength() : errors.consoleMessageTooLarge(MAX_MESSAGE_BYTES),
    );
  }

  // The simple protocol

  #onQuery(sql: string | null): void {
    if (sql === null) return this.#malformed();
    this.#owner.onQuery();
    const statements = parseStatements(sql);
    if (statements.length === 0) this.#out.push(EMPTY_QUERY);
    this.#runAll(statements, 0);
  }

  /** One after the other; an error ends it. */
  #runAll(statements: readonly ConsoleStatement[], from: number): void {
    const statement = statements[from];
    if (statement === undefined) {
      this.#out.push(READY);
      return;
    }
    const command = resolveCommand(statement);
    this.#run(command, (answer) => {
      this.#say(answer);
      if (answer.kind === 'none') return;
      this.#runAll(statements, answer.kind === 'error' ? statements.length : from + 1);
    });
  }

  #say(answer: Answer): void {
    if (answer.kind !== 'table') {
      this.#sayShort(answer);
      return;
    }
    const { columns } = answer.table;
    this.#out.push(rowDescription(columns));
    for (const row of answer.table.rows(this.#owner.context.source)) this.#out.push(dataRow(columns, row));
    this.#out.push(message.commandComplete('SHOW'));
  }

  /** All but rows. */
  #sayShort(answer: Answer): void {
    if (answer.kind === 'error') {
      this.#out.push(message.errorResponse(answer.report));
    } else if (answer.kind === 'done') {
      const { tag, notice } = answer;
      if (notice !== undefined) this.#out.push(message.noticeResponse('NOTICE', { sqlstate: '00000', ...notice }));
      this.#out.push(message.commandComplete(tag));
    }
  }

  // Commands, in either protocol

  /** `done` hears of anything but a wait, at once or later. */
  #run(command: ReturnType<typeof resolveCommand>, done: (answer: Answer) => void): void {
    const { context } = this.#owner;
    if ('problem' in command) return done({ kind: 'error', report: command.problem });
    const { user } = this.guest;
    const right = this.#owner.rightOf(user);
    if (right === null || !allows(right, command.right)) {
      return done({ kind: 'error', report: errors.adminAccessNeeded() });
    }
    if (command.logged !== null) context.log.info({ user }, `${command.logged} command issued`);
    this.#settle(command.run(context), done);
  }

  #settle(answer: Answer, done: (answer: Answer) => void): void {
    if (answer.kind === 'promised') {
      const token = { cancel: () => {} };
      this.#pending = token;
      void this.#await(answer.answer, token, done);
    } else if (answer.kind !== 'waiting') {
      done(answer);
    } else if (answer.isDone()) {
      done({ kind: 'done', tag: answer.tag });
    } else {
      const end = (outcome: Answer): void => {
        this.#stopWaiting();
        this.#resume(() => done(outcome));
      };
      this.#pending = {
        cancel: () => {
          answer.onCancel();
          end({ kind: 'error', report: errors.consoleCanceled() });
        },
      };
      this.#timer = this.#owner.environment.startTimer(
        LOOK_MS,
        () => {
          if (answer.isDone()) end({ kind: 'done', tag: answer.tag });
        },
        'repeat',
      );
    }
  }

  async #await(answer: Promise<Answer>, token: object, done: (answer: Answer) => void): Promise<void> {
    let outcome: Answer;
    try {
      outcome = await answer;
    } catch (error) {
      this.#owner.context.log.error({ error: String(error) }, 'a command of the console failed');
      outcome = { kind: 'error', report: errors.commandFailed() };
    }
    // The client may have left.
    if (this.#pending !== token) return;
    this.#pending = null;
    this.#resume(() => done(outcome));
  }

  /** Answers what was waited for, then goes on with what has come meanwhile. */
  #resume(answer: () => void): void {
    answer();
    this.#flush();
    if (this.#pending === null) this.guest.wire.release();
  }

  #stopWaiting(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#pending = null;
  }

  // The extended protocol

  #onParse(buffer: Buffer, at: number, end: number): void {
    const parse = readParse(buffer, at, end);
    if (parse === null) return this.#malformed();
    const [statement, ...more] = parseStatements(parse.sql);
    if (more.length > 0) return this.#fail(errors.severalCommands());
    const command = statement === undefined ? null : resolveCommand(statement);
    if (command !== null && 'problem' in command) return this.#fail(command.problem);
    this.#answer(this.#statements.parse(parse.name, command), message.PARSE_COMPLETE_MESSAGE);
  }

  #onBind(buffer: Buffer, at: number, end: number): void {
    const bind = readBind(buffer, at, end);
    if (bind === null) return this.#malformed();
    if (bind.parameterCount > 0) return this.#fail(errors.commandTakesNoParameters());
    const problem = this.#statements.bind(bind.portal, bind.statement, bind.resultFormats);
    this.#answer(problem, BIND_COMPLETE);
  }

  #onDescribe(buffer: Buffer, at: number, end: number): void {
    const described = readNamed(buffer, at, end);
    if (described === null) return this.#malformed();
    const { what, name } = described;
    if (what === 'portal') {
      const portal = this.#statements.portal(name);
      if (portal === undefined) return this.#fail(errors.noSuchPortal(name));
      this.#out.push(shapeOf(portal.command, portal.formats));
      return;
    }
    const statement = this.#statements.statement(name);
    if (statement === undefined) return this.#fail(errors.noSuchStatement(name));
    this.#out.push(NO_PARAMETERS_MESSAGE, shapeOf(statement, []));
  }

  #onExecute(buffer: Buffer, at: number, end: number): void {
    const execute = readExecute(buffer, at, end);
    if (execute === null) return this.#malformed();
    const portal = this.#statements.portal(execute.portal);
    if (portal === undefined) return this.#fail(errors.noSuchPortal(execute.portal));
    if (portal.command === null) {
      this.#out.push(EMPTY_QUERY);
    } else if (portal.rows !== null) {
      this.#sendRows(portal, execute.maxRows);
    } else {
      this.#owner.onQuery();
      this.#run(portal.command, (answer) => this.#onExecuted(portal, answer, execute.maxRows));
    }
  }

  #onExecuted(portal: Portal, answer: Answer, maxRows: number): void {
    if (answer.kind !== 'table') {
      this.#sayShort(answer);
      this.#skipsToSync = answer.kind === 'error';
      return;
    }
    const { columns } = answer.table;
    portal.rows = { columns, values: answer.table.rows(this.#owner.context.source) };
    this.#sendRows(portal, maxRows);
  }

  #sendRows(portal: Portal, maxRows: number): void {
    const { columns, values } = portal.rows!;
    const count = maxRows === 0 ? values.length : Math.min(maxRows, values.length);
    for (const row of values.slice(0, count)) this.#out.push(dataRow(columns, row, portal.formats));
    portal.rows = { columns, values: values.slice(count) };
    const isSuspended = maxRows > 0 && count === maxRows;
    this.#out.push(isSuspended ? SUSPENDED : message.commandComplete('SHOW'));
  }

  #onClose(buffer: Buffer, at: number, end: number): void {
    const closed = readNamed(buffer, at, end);
    if (closed === null) return this.#malformed();
    if (closed.what === 'statement') this.#statements.closeStatement(closed.name);
    else this.#statements.closePortal(closed.name);
    this.#out.push(message.CLOSE_COMPLETE_MESSAGE);
  }

  #answer(problem: ErrorReport | null, success: Buffer): void {
    if (problem === null) this.#out.push(success);
    else this.#fail(problem);
  }

  #fail(report: ErrorReport): void {
    this.#out.push(message.errorResponse(report));
    this.#skipsToSync = true;
  }

  #malformed(): void {
    this.close('protocol_violation', errors.protocolViolation('invalid message format'));
  }

  // Cancel, and the end

  /** A CancelRequest with its key has come. */
  cancel(onOver: () => void): void {
    this.#pending?.cancel();
    onOver();
  }

  /** Ends the connection; what a command has begun goes on without it. */
  close(reason: ClientCloseReason, report: ErrorReport | null): void {
    if (this.#isClosed) return;
    const { wire } = this.guest;
    this.#flush();
    this.#isClosed = true;
    this.#stopWaiting();
    this.#framer.stop();
    this.#owner.onConsoleClosed(this, reason);
    if (wire.closed) return;
    const lastWords = report === null ? null : message.errorResponse(report);
    Farewell.say(wire, this.#owner.environment, lastWords, () => this.#owner.onConsoleGone());
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#isClosed) return;
    const bytes = Buffer.concat(this.#out);
    this.#out = [];
    this.guest.wire.reply(bytes);
  }
}

function shapeOf(command: Prepared, formats: readonly number[]): Buffer {
  const columns = command?.columns ?? null;
  return columns === null ? NO_ROWS : rowDescription(columns, formats);
}
