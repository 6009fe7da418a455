/**
 * What one PostgreSQL backend does with the messages of protocol 3, after its login: a model written from `postgres.c`
 * (PostgresMain, SocketBackend, exec_…), `copyfromparse.c` (CopyGetData) and the documentation of the protocol, for a
 * handful of statements. It knows no socket; replies are buffered as the real one buffers them.
 */
import { type ModelDatabase, SqlError } from './model-database.ts';
import { type Statement, statementsOf } from './model-sql.ts';
import { ModelTransaction } from './model-transaction.ts';
import { server, strings, type WireMessage } from './wire.ts';

/** What a statement in progress waits for: `finish()` or a cancel, or the client's next message. */
type Wait = 'sleep' | 'copy';
type WakeUp = WireMessage | 'finished' | 'canceled';
type Work<Result = void> = Generator<Wait, Result, WakeUp>;

interface Portal {
  readonly statement: Statement | null;
  rowsSent: number;
  /** It has run to its end. */
  isDone: boolean;
}

export interface ModelOutput {
  /** Replies that the backend has flushed. */
  onReplies(bytes: Buffer): void;
  /** The backend has exited. */
  onExit(): void;
}

const EXTENDED = 'PBCDEH';
/** pqcomm.c: PQ_SEND_BUFFER_SIZE. */
const SEND_BUFFER_BYTES = 8192;

export class ModelSession {
  readonly transaction: ModelTransaction;
  /** Messages that were taken in, in order. */
  readonly received: WireMessage[] = [];
  readonly #output: ModelOutput;
  readonly #pid: number;
  readonly #statements = new Map<string, Statement | null>();
  /** For which columns of the table a statement was prepared. */
  readonly #tableVersions = new WeakMap<Statement, number>();
  readonly #database: ModelDatabase;
  readonly #portals = new Map<string, Portal>();
  #unflushed: Buffer[] = [];
  #unflushedBytes = 0;
  #inbox: WireMessage[] = [];
  #work: Work | null = null;
  #wait: Wait | null = null;
  #cancelPending = false;
  /** postgres.c: doing_extended_query_message, ignore_till_sync. */
  #isExtended = false;
  #ignoresTillSync = false;
  #isBatchOpen = false;
  #exited = false;

  constructor(database: ModelDatabase, pid: number, parameters: ReadonlyMap<string, string>, output: ModelOutput) {
    this.transaction = new ModelTransaction(database, parameters);
    this.#database = database;
    this.#pid = pid;
    this.#output = output;
  }

  /** A statement runs and does not end by itself. */
  get isSleeping(): boolean {
    return this.#wait === 'sleep';
  }

  get isInCopy(): boolean {
    return this.#wait === 'copy';
  }

  get ignoresTillSync(): boolean {
    return this.#ignoresTillSync;
  }

  /** An extended message came since the last Sync, or Query or FunctionCall that was not dropped. */
  get isBatchOpen(): boolean {
    return this.#isBatchOpen;
  }

  /** Nothing is under way, nothing is kept back, and the next message is looked at. */
  get isAtBoundary(): boolean {
    return this.#wait === null && this.#unflushed.length === 0 && !this.#ignoresTillSync && !this.#isBatchOpen;
  }

  get hasExited(): boolean {
    return this.#exited;
  }

  receive(message: WireMessage): void {
    this.#inbox.push(message);
    this.#advance();
  }

  /** Ends SLEEP. */
  finish(): void {
    if (this.#wait !== 'sleep') throw new Error('no statement is sleeping');
    this.#resume('finished');
    this.#advance();
  }

  /** The signal of a CancelRequest: it ends what sleeps; who reads COPY data hears it with the next message. */
  cancel(): void {
    if (this.#wait === 'copy') this.#cancelPending = true;
    if (this.#wait !== 'sleep') return;
    this.#resume('canceled');
    this.#advance();
  }

  /** The connection is gone: what was not committed never was. */
  abort(): void {
    this.transaction.rollBack();
    this.#exited = true;
  }

  #advance(): void {
    while (!this.#exited && this.#wait !== 'sleep') {
      const message = this.#inbox.shift();
      if (message === undefined) return;
      this.received.push(message);
      if (this.#wait === 'copy') this.#resume(message);
      else this.#start(message);
    }
  }

  #start(message: WireMessage): void {
    this.#work = this.#perform(message);
    this.#step(this.#work.next());
  }

  #resume(how: WakeUp): void {
    this.#step(this.#work!.next(how));
  }

  #step(result: IteratorResult<Wait, void>): void {
    this.#wait = result.done === true ? null : result.value;
    if (result.done === true) {
      this.#work = null;
      this.#cancelPending = false;
    }
  }

  /** A full buffer is flushed without anybody asking. */
  #reply(...messages: readonly Buffer[]): void {
    for (const message of messages) {
      this.#unflushed.push(message);
      this.#unflushedBytes += message.length;
    }
    if (this.#unflushedBytes > SEND_BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#unflushed.length === 0) return;
    const bytes = Buffer.concat(this.#unflushed);
    this.#unflushed = [];
    this.#unflushedBytes = 0;
    this.#output.onReplies(bytes);
  }

  #ready(): void {
    for (const [name, value] of this.transaction.takeChangedParameters()) this.#reply(server.parameter(name, value));
    this.#reply(server.ready(this.transaction.status));
    this.#flush();
  }

  #exit(): void {
    this.#flush();
    this.abort();
    this.#output.onExit();
  }

  // postgres.c: SocketBackend, PostgresMain

  *#perform(message: WireMessage): Work {
    const { type } = message;
    this.#isExtended = EXTENDED.includes(type);
    if (type === 'S' || type === 'X') this.#ignoresTillSync = false;
    if (!'PBCDEHQFSXdcf'.includes(type)) {
      this.#reply(server.error({ severity: 'FATAL', code: '08P01', message: 'invalid frontend message type' }));
      return this.#exit();
    }
    if ('PBCDE'.includes(type)) this.#isBatchOpen = true;
    if (this.#ignoresTillSync) return;
    if ('QFS'.includes(type)) this.#isBatchOpen = false;
    try {
      const answersReady = yield* this.#execute(message);
      if (answersReady) this.#ready();
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      this.#fail(error);
    }
  }

  #fail(error: SqlError): void {
    const { severity, code, message, routine } = error;
    this.#reply(server.error({ severity, code, message, ...(routine === undefined ? {} : { routine }) }));
    this.#flush();
    if (severity === 'FATAL') return this.#exit();
    this.transaction.abort();
    this.#portals.clear();
    if (this.#isExtended) this.#ignoresTillSync = true;
    if (!this.#ignoresTillSync) this.#ready();
  }

  /** Returns whether ReadyForQuery follows. */
  *#execute({ type, body }: WireMessage): Work<boolean> {
    switch (type) {
      case 'Q':
        yield* this.#simpleQuery(strings(body)[0] ?? '');
        return !this.#exited;
      case 'F':
        this.#functionCall(body.readInt32BE(0));
        return true;
      case 'P':
        this.#parse(body);
        return false;
      case 'B':
        this.#bind(body);
        return false;
      case 'D':
        this.#describe(body);
        return false;
      case 'E':
        yield* this.#executePortal(strings(body)[0] ?? '', body.readInt32BE(body.length - 4));
        return false;
      case 'C':
        this.#close(body);
        return false;
      case 'H':
        this.#flush();
        return false;
      case 'S':
        if (!this.transaction.inBlock) this.#endTransaction();
        return true;
      case 'X':
        this.#exit();
        return false;
      default:
        // Late CopyData, CopyDone, CopyFail: accepted and ignored.
        return false;
    }
  }

  /** Commits what is outside a transaction block. */
  #endTransaction(): void {
    this.#portals.clear();
    this.transaction.commit();
  }

  *#simpleQuery(sql: string): Work {
    this.#statements.delete('');
    const statements = statementsOf(sql);
    if (statements.length === 0) this.#reply(server.emptyQuery());
    for (const statement of statements) {
      this.transaction.check(statement);
      if (statement.columns !== null) this.#reply(server.rowDescription(...statement.columns));
      yield* this.#run(statement, 0);
      if (this.#exited) return;
    }
    if (!this.transaction.inBlock) this.#endTransaction();
  }

  #functionCall(oid: number): void {
    this.transaction.checkUsable();
    if (oid !== 1) throw new SqlError('42883', `function with OID ${oid} does not exist`);
    this.#reply(server.functionResult('1'));
    if (!this.transaction.inBlock) this.#endTransaction();
  }

  #parse(body: Buffer): void {
    const [name = '', sql = ''] = strings(body);
    // Also one that fails has dropped the old one.
    if (name === '') this.#statements.delete('');
    const statements = statementsOf(sql);
    if (statements.length > 1) throw new SqlError('42601', 'cannot insert multiple commands into a prepared statement');
    const statement = statements[0] ?? null;
    if (statement !== null) this.transaction.check(statement);
    if (name !== '' && this.#statements.has(name)) {
      throw new SqlError('42P05', `prepared statement "${name}" already exists`);
    }
    this.#statements.set(name, statement);
    if (statement !== null) this.#tableVersions.set(statement, this.#database.tableVersion);
    this.#reply(server.parseComplete());
  }

  #bind(body: Buffer): void {
    const [portal = '', name = ''] = strings(body);
    const statement = this.#statement(name);
    if (statement !== null) this.transaction.check(statement);
    this.#revalidate(statement);
    if (portal !== '' && this.#portals.has(portal)) throw new SqlError('42P03', `cursor "${portal}" already exists`);
    this.#portals.set(portal, { statement, rowsSent: 0, isDone: false });
    this.#reply(server.bindComplete());
  }

  #statement(name: string): Statement | null {
    const statement = this.#statements.get(name);
    if (statement === undefined) throw new SqlError('26000', `prepared statement "${name}" does not exist`);
    return statement;
  }

  /** plancache.c: RevalidateCachedQuery */
  #revalidate(statement: Statement | null): void {
    if (statement?.verb !== 'STAR' || this.#tableVersions.get(statement) === this.#database.tableVersion) return;
    const message = 'cached plan must not change result type';
    throw new SqlError('0A000', message, 'ERROR', 'RevalidateCachedQuery');
  }

  #portal(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal === undefined) throw new SqlError('34000', `portal "${name}" does not exist`);
    return portal;
  }

  #describe(body: Buffer): void {
    const isStatement = body[0] === 'S'.charCodeAt(0);
    const name = strings(body, 1)[0] ?? '';
    const statement = isStatement ? this.#statement(name) : this.#portal(name).statement;
    const columns = statement?.columns ?? null;
    if (columns !== null) this.transaction.checkUsable();
    if (isStatement) this.#revalidate(statement);
    if (isStatement) this.#reply(server.parameterDescription());
    this.#reply(columns === null ? server.noData() : server.rowDescription(...columns));
  }

  *#executePortal(name: string, maxRows: number): Work {
    const portal = this.#portal(name);
    const { statement } = portal;
    if (statement === null) {
      this.#reply(server.emptyQuery());
      return;
    }
    this.transaction.check(statement);
    if (portal.isDone) {
      if (statement.columns === null) throw new SqlError('55000', `portal "${name}" cannot be run`);
      this.#reply(server.complete('SELECT 0'));
      return;
    }
    if (statement.verb === 'ROWS' && maxRows > 0) {
      const left = statement.count - portal.rowsSent;
      const rows = Math.min(maxRows, left);
      portal.rowsSent += rows;
      portal.isDone = left <= maxRows;
      for (let i = 0; i < rows; i++) this.#reply(server.row(statement.text));
      this.#reply(portal.isDone ? server.complete(`SELECT ${rows}`) : server.portalSuspended());
      return;
    }
    portal.isDone = true;
    yield* this.#run(statement, portal.rowsSent);
  }

  #close(body: Buffer): void {
    const name = strings(body, 1)[0] ?? '';
    if (body[0] === 'S'.charCodeAt(0)) this.#statements.delete(name);
    else this.#portals.delete(name);
    this.#reply(server.closeComplete());
  }

  /** Runs one statement up to its CommandComplete. */
  *#run(statement: Statement, skippedRows: number): Work {
    switch (statement.verb) {
      case 'SLEEP':
        if ((yield 'sleep') === 'canceled') throw new SqlError('57014', 'canceling statement due to user request');
        break;
      case 'COPY IN':
        yield* this.#copyIn();
        if (this.#exited) return;
        break;
      case 'COPY OUT':
        this.#reply(server.copyOut());
        for (let i = 0; i < statement.count; i++) this.#reply(copyRow(i));
        this.#reply(copyOutDone);
        break;
      case 'PID':
        this.#reply(server.row(this.#pid.toString()));
        break;
      case 'NOTICE':
        this.#reply(server.notice({ message: statement.text }));
        this.#flush();
        break;
      case 'FATAL':
        throw new SqlError(statement.text, 'the session ends', 'FATAL');
      case 'CRASH':
        this.#unflushed = [];
        this.#unflushedBytes = 0;
        return this.#exit();
      case 'DISCARD':
        this.#reply(...this.transaction.run(statement));
        this.#deallocate('ALL');
        this.#portals.clear();
        break;
      case 'DEALLOCATE':
        this.#deallocate(statement.text);
        break;
      default: {
        const rows = this.transaction.run(statement);
        this.#reply(...rows.slice(skippedRows));
      }
    }
    this.#reply(server.complete(this.transaction.tagOf(statement)));
  }

  /** prepare.c: DeallocateQuery; the unnamed statement is not among them. */
  #deallocate(name: string): void {
    if (name.toUpperCase() !== 'ALL') {
      this.#statement(name);
      this.#statements.delete(name);
      return;
    }
    for (const known of this.#statements.keys()) if (known !== '') this.#statements.delete(known);
  }

  // copyfromparse.c: CopyGetData

  *#copyIn(): Work {
    this.#reply(server.copyIn());
    this.#flush();
    for (;;) {
      const message = (yield 'copy') as WireMessage;
      switch (message.type) {
        case 'd':
          if (this.#cancelPending) throw new SqlError('57014', 'canceling statement due to user request');
          if (message.body.includes('bad')) throw new SqlError('22P04', 'bad data in COPY');
          this.transaction.insert(message.body.toString());
          break;
        case 'c':
          return;
        case 'f':
          throw new SqlError('57014', `COPY from stdin failed: ${strings(message.body)[0]}`);
        case 'S':
        case 'H':
          break;
        default:
          this.#reply(server.error({ code: '08P01', message: 'unexpected message type during COPY from stdin' }));
          this.#reply(server.error({ severity: 'FATAL', code: '08P01', message: 'protocol synchronization was lost' }));
          return this.#exit();
      }
    }
  }
}

const copyRow = (index: number): Buffer => encodeCopy(`row ${index}\n`);
const copyOutDone = Buffer.from([0x63, 0, 0, 0, 4]);

function encodeCopy(text: string): Buffer {
  const header = Buffer.from([0x64, 0, 0, 0, 0]);
  header.writeUInt32BE(4 + Buffer.byteLength(text), 1);
  return Buffer.concat([header, Buffer.from(text)]);
}
