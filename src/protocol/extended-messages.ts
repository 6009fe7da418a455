/**
 * Reads the extended protocol's messages where we are the server and want to know all that they say. Nothing here throws
 * or reads past the end: a malformed message is null. PostgreSQL, "Message Formats".
 */

export interface ParseMessage {
  readonly name: string;
  readonly sql: string;
}

export interface BindMessage {
  readonly portal: string;
  readonly statement: string;
  readonly parameterCount: number;
  readonly resultFormats: readonly number[];
}

export interface NamedMessage {
  /** Of Describe and Close. */
  readonly what: 'statement' | 'portal';
  readonly name: string;
}

export interface ExecuteMessage {
  readonly portal: string;
  /** 0 is no limit. */
  readonly maxRows: number;
}

class Body {
  readonly #buffer: Buffer;
  readonly #end: number;
  #at: number;
  isBroken = false;

  constructor(buffer: Buffer, at: number, end: number) {
    this.#buffer = buffer;
    this.#at = at;
    this.#end = end;
  }

  string(): string {
    const nul = this.#buffer.indexOf(0, this.#at);
    if (this.isBroken || nul === -1 || nul >= this.#end) return this.#fail('');
    const text = this.#buffer.toString('utf8', this.#at, nul);
    this.#at = nul + 1;
    return text;
  }

  byte(): number {
    return this.#has(1) ? this.#buffer[this.#at++]! : this.#fail(0);
  }

  uint16(): number {
    if (!this.#has(2)) return this.#fail(0);
    this.#at += 2;
    return this.#buffer.readUInt16BE(this.#at - 2);
  }

  int32(): number {
    if (!this.#has(4)) return this.#fail(0);
    this.#at += 4;
    return this.#buffer.readInt32BE(this.#at - 4);
  }

  skip(bytes: number): void {
    if (!this.#has(bytes)) this.#fail(0);
    else this.#at += bytes;
  }

  /** All was read, and there was nothing else. */
  get isDone(): boolean {
    return !this.isBroken && this.#at === this.#end;
  }

  #has(bytes: number): boolean {
    return !this.isBroken && this.#at + bytes <= this.#end;
  }

  #fail<Value>(value: Value): Value {
    this.isBroken = true;
    return value;
  }
}

export function readQuery(buffer: Buffer, at: number, end: number): string | null {
  const body = new Body(buffer, at, end);
  const sql = body.string();
  return body.isDone ? sql : null;
}

export function readParse(buffer: Buffer, at: number, end: number): ParseMessage | null {
  const body = new Body(buffer, at, end);
  const name = body.string();
  const sql = body.string();
  body.skip(body.uint16() * 4);
  return body.isDone ? { name, sql } : null;
}

export function readBind(buffer: Buffer, at: number, end: number): BindMessage | null {
  const body = new Body(buffer, at, end);
  const portal = body.string();
  const statement = body.string();
  body.skip(body.uint16() * 2);
  const parameterCount = body.uint16();
  for (let left = parameterCount; left > 0 && !body.isBroken; left--) body.skip(Math.max(0, body.int32()));
  const resultFormats: number[] = [];
  for (let left = body.uint16(); left > 0 && !body.isBroken; left--) resultFormats.push(body.uint16());
  return body.isDone ? { portal, statement, parameterCount, resultFormats } : null;
}

/** Describe and Close. */
export function readNamed(buffer: Buffer, at: number, end: number): NamedMessage | null {
  const body = new Body(buffer, at, end);
  const kind = body.byte();
  const name = body.string();
  if (!body.isDone || (kind !== STATEMENT && kind !== PORTAL)) return null;
  return { what: kind === STATEMENT ? 'statement' : 'portal', name };
}

export function readExecute(buffer: Buffer, at: number, end: number): ExecuteMessage | null {
  const body = new Body(buffer, at, end);
  const portal = body.string();
  const maxRows = body.int32();
  return body.isDone ? { portal, maxRows: Math.max(0, maxRows) } : null;
}

const STATEMENT = 0x53;
const PORTAL = 0x50;
