/** One modelled session's transaction: its block, what it has not committed, and the parameters that it has changed. */
import { type ModelDatabase, SqlError } from './model-database.ts';
import type { Statement } from './model-sql.ts';
import { type Status, server } from './wire.ts';

export class ModelTransaction {
  readonly #database: ModelDatabase;
  readonly #loginParameters: ReadonlyMap<string, string>;
  #parameters: Map<string, string>;
  /** As they were when the transaction began to change them. */
  #savedParameters: Map<string, string> | null = null;
  #reported: Map<string, string>;
  #block: 'none' | 'open' | 'failed' = 'none';
  #pending: string[] = [];
  #failsAtCommit = false;
  #lastTag = '';

  constructor(database: ModelDatabase, parameters: ReadonlyMap<string, string>) {
    this.#database = database;
    this.#loginParameters = new Map([...database.unreported, ...parameters]);
    this.#parameters = new Map(this.#loginParameters);
    this.#reported = new Map(parameters);
  }

  get status(): Status {
    return this.#block === 'none' ? 'I' : this.#block === 'open' ? 'T' : 'E';
  }

  get inBlock(): boolean {
    return this.#block !== 'none';
  }

  /** Something was done that the next commit makes true. */
  get hasUncommitted(): boolean {
    return this.#pending.length > 0;
  }

  parameter(name: string): string | undefined {
    return this.#parameters.get(name);
  }

  /** 25P02 for anything but the end of a failed transaction. */
  check({ verb }: Statement): void {
    if (verb !== 'COMMIT' && verb !== 'ROLLBACK') this.checkUsable();
  }

  checkUsable(): void {
    if (this.#block === 'failed') throw new SqlError('25P02', 'current transaction is aborted');
  }

  insert(token: string): void {
    this.#pending.push(token);
  }

  /** An error: all is undone, and a block waits for its end. */
  abort(): void {
    this.#undo();
    if (this.#block !== 'none') this.#block = 'failed';
  }

  rollBack(): void {
    this.#undo();
    this.#block = 'none';
  }

  commit(): void {
    if (this.#failsAtCommit) {
      this.rollBack();
      throw new SqlError('23505', 'a deferred constraint fails');
    }
    this.#block = 'none';
    this.#database.rows.push(...this.#pending);
    this.#pending = [];
    this.#savedParameters = null;
  }

  /** Runs a statement that needs nothing of the session. Returns its rows; the tag is `tagOf`'s. */
  run(statement: Statement): Buffer[] {
    const { verb, text, count } = statement;
    this.#lastTag = verb;
    switch (verb) {
      case 'BEGIN':
        this.#block = 'open';
        return [];
      case 'COMMIT':
        if (this.#block === 'failed') this.#lastTag = 'ROLLBACK';
        if (this.#block === 'failed') this.rollBack();
        else this.commit();
        return [];
      case 'ROLLBACK':
        this.rollBack();
        return [];
      case 'INSERT':
        this.insert(text);
        this.#lastTag = 'INSERT 0 1';
        return [];
      case 'DEFERRED':
        this.#failsAtCommit = true;
        this.#lastTag = 'INSERT 0 1';
        return [];
      case 'TOKENS':
        return this.#rows([...this.#database.rows, ...this.#pending]);
      case 'SELECT':
        return this.#rows([text]);
      case 'STAR':
        return this.#rows([text]);
      case 'ALTER':
        this.#database.tableVersion++;
        return [];
      case 'ROWS':
        return this.#rows(Array.from({ length: count }, () => text));
      case 'SHOW':
        this.#lastTag = 'SHOW';
        return [server.row(this.#parameters.get(this.#database.parameterName(text) ?? '') ?? '')];
      case 'SET':
        this.#set(statement);
        return [];
      case 'SET CONFIG': {
        for (const setting of statement.settings) this.#setConfig(setting.name, setting.value);
        this.#lastTag = 'SELECT 1';
        return [server.row('f')];
      }
      case 'RESET':
        if (/^(?:all)?$/i.test(text)) this.#change(new Map(this.#loginParameters));
        else this.#setConfig(text, null);
        return [];
      case 'DISCARD':
        if (this.inBlock) throw new SqlError('25001', 'DISCARD ALL cannot run in a transaction');
        this.#change(new Map(this.#loginParameters));
        this.#lastTag = 'DISCARD ALL';
        return [];
      case 'LISTEN':
        return [];
      case 'SESSION':
        this.#lastTag = text;
        return [];
      case 'FAIL':
        throw new SqlError(text === '' ? '22012' : text, 'it fails');
      case 'COPY REFUSED':
        throw new SqlError('42P01', 'relation does not exist');
      default:
        throw new Error(`${verb} is not for the transaction`);
    }
  }

  /** The tag of a statement that has just run. */
  tagOf({ verb, count, text }: Statement): string {
    switch (verb) {
      case 'SLEEP':
      case 'PID':
        return 'SELECT 1';
      case 'COPY IN':
        return `COPY ${this.#pending.length}`;
      case 'COPY OUT':
        return `COPY ${count}`;
      case 'DEALLOCATE':
        return text.toUpperCase() === 'ALL' ? 'DEALLOCATE ALL' : 'DEALLOCATE';
      case 'NOTICE':
        return 'DO';
      default:
        return this.#lastTag;
    }
  }

  /** Parameters whose value is not the one that was last reported. */
  takeChangedParameters(): [string, string][] {
    const reported = [...this.#parameters].filter(([name]) => this.#database.parameters.has(name));
    const changed = reported.filter(([name, value]) => this.#reported.get(name) !== value);
    this.#reported = new Map(reported);
    return changed;
  }

  #rows(values: readonly string[]): Buffer[] {
    this.#lastTag = `SELECT ${values.length}`;
    return values.map((value) => server.row(value));
  }

  #set({ text, value }: Statement): void {
    this.#setConfig(text, value);
  }

  /** Null is the value that the session began with. */
  #setConfig(given: string, value: string | null): void {
    const name = this.#database.parameterName(given);
    if (name === null) throw new SqlError('42704', `unrecognized configuration parameter "${given}"`);
    const result = value === null ? (this.#loginParameters.get(name) ?? '') : this.#database.canonical(name, value);
    this.#change(new Map(this.#parameters).set(name, result));
  }

  #change(parameters: Map<string, string>): void {
    this.#savedParameters ??= this.#parameters;
    this.#parameters = parameters;
  }

  #undo(): void {
    this.#pending = [];
    this.#failsAtCommit = false;
    if (this.#savedParameters !== null) this.#parameters = this.#savedParameters;
    this.#savedParameters = null;
  }
}
