/**
 * PostgreSQL's protocol 3, encoded and decoded from its documentation ("Message Formats") and not from `src/protocol`: a
 * test must not trust the code under test. It knows messages, neither sockets nor what they mean.
 */

export interface WireMessage {
  /** The type byte as a character. */
  readonly type: string;
  readonly body: Buffer;
}

/** What goes into a body: text is NUL-terminated, numbers say their width. */
export type Part = Buffer | string | { readonly int32: number } | { readonly int16: number };

export const int32 = (value: number): Part => ({ int32: value });
const int16 = (value: number): Part => ({ int16: value });

export function bytesOf(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`);
      if (Buffer.isBuffer(part)) return part;
      const number = Buffer.alloc('int32' in part ? 4 : 2);
      if ('int32' in part) number.writeInt32BE(part.int32 | 0);
      else number.writeInt16BE(part.int16);
      return number;
    }),
  );
}

/** A whole message. */
function frame(type: string, ...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts);
  return bytesOf(Buffer.from(type, 'latin1'), int32(4 + body.length), body);
}

/** A packet without a type byte. */
export function packet(...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts);
  return bytesOf(int32(4 + body.length), body);
}

const VERSION_3_0 = 196_608;
export const VERSION_3_2 = 196_610;

export interface Binding {
  readonly portal?: string;
  readonly statement?: string;
  readonly values?: readonly (string | null)[];
}

/** What clients send. */
export const client = {
  startup: (parameters: Readonly<Record<string, string>>, version = VERSION_3_0): Buffer =>
    packet(int32(version), ...Object.entries(parameters).flat(), Buffer.of(0)),
  ssl: (): Buffer => packet(int32(80_877_103)),
  gssenc: (): Buffer => packet(int32(80_877_104)),
  /** `key` is process id and secret. */
  cancel: (key: Buffer): Buffer => packet(int32(80_877_102), key),
  password: (text: string): Buffer => frame('p', text),
  saslInitial: (mechanism: string, data: Buffer): Buffer => frame('p', mechanism, int32(data.length), data),
  saslResponse: (data: Buffer): Buffer => frame('p', data),
  query: (sql: string): Buffer => frame('Q', sql),
  parse: (sql: string, statement = ''): Buffer => frame('P', statement, sql, int16(0)),
  bind: ({ portal = '', statement = '', values = [] }: Binding = {}): Buffer =>
    frame('B', portal, statement, int16(0), int16(values.length), ...values.map(valueBytes), int16(0)),
  describe: (what: 'S' | 'P', name = ''): Buffer => frame('D', Buffer.from(what), name),
  execute: (portal = '', maxRows = 0): Buffer => frame('E', portal, int32(maxRows)),
  close: (what: 'S' | 'P', name = ''): Buffer => frame('C', Buffer.from(what), name),
  sync: (): Buffer => frame('S'),
  flush: (): Buffer => frame('H'),
  functionCall: (oid: number): Buffer => frame('F', int32(oid), int16(0), int16(0), int16(0)),
  copyData: (data: string | Buffer): Buffer => frame('d', Buffer.from(data)),
  copyDone: (): Buffer => frame('c'),
  copyFail: (why = 'because'): Buffer => frame('f', why),
  terminate: (): Buffer => frame('X'),
  /** Parse, Bind, Describe, Execute, Sync: what most drivers send for one statement. */
  extended: (sql: string): Buffer =>
    Buffer.concat([client.parse(sql), client.bind(), client.describe('P'), client.execute(), client.sync()]),
  /** The same without the Sync. */
  batch: (sql: string): Buffer => Buffer.concat([client.parse(sql), client.bind(), client.execute()]),
};

function valueBytes(value: string | null): Buffer {
  if (value === null) return bytesOf(int32(-1));
  return bytesOf(int32(Buffer.byteLength(value)), Buffer.from(value));
}

export interface ErrorText {
  readonly severity?: string;
  readonly code?: string;
  readonly message?: string;
  readonly detail?: string;
  readonly hint?: string;
  readonly routine?: string;
}

function errorBody({
  severity = 'ERROR',
  code = 'XX000',
  message = 'no words',
  detail,
  hint,
  routine,
}: ErrorText): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${message}`];
  if (detail !== undefined) fields.push(`D${detail}`);
  if (hint !== undefined) fields.push(`H${hint}`);
  if (routine !== undefined) fields.push(`R${routine}`);
  return bytesOf(...fields, Buffer.of(0));
}

export type Status = 'I' | 'T' | 'E';

/** What servers send. */
export const server = {
  authentication: (code: number, data: Buffer = Buffer.alloc(0)): Buffer => frame('R', int32(code), data),
  parameter: (name: string, value: string): Buffer => frame('S', name, value),
  keyData: (key: Buffer): Buffer => frame('K', key),
  ready: (status: Status = 'I'): Buffer => frame('Z', Buffer.from(status)),
  rowDescription: (...columns: readonly string[]): Buffer =>
    frame(
      'T',
      int16(columns.length),
      ...columns.flatMap((name) => [name, int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)]),
    ),
  row: (...values: readonly string[]): Buffer => frame('D', int16(values.length), ...values.map(valueBytes)),
  complete: (tag: string): Buffer => frame('C', tag),
  emptyQuery: (): Buffer => frame('I'),
  error: (text: ErrorText): Buffer => frame('E', errorBody(text)),
  notice: (text: ErrorText): Buffer => frame('N', errorBody({ severity: 'NOTICE', code: '00000', ...text })),
  notification: (pid: number, channel: string, payload = ''): Buffer => frame('A', int32(pid), channel, payload),
  parseComplete: (): Buffer => frame('1'),
  bindComplete: (): Buffer => frame('2'),
  closeComplete: (): Buffer => frame('3'),
  portalSuspended: (): Buffer => frame('s'),
  noData: (): Buffer => frame('n'),
  parameterDescription: (): Buffer => frame('t', int16(0)),
  functionResult: (value: string): Buffer => frame('V', valueBytes(value)),
  copyIn: (): Buffer => frame('G', Buffer.of(0), int16(1), int16(0)),
  copyOut: (): Buffer => frame('H', Buffer.of(0), int16(1), int16(0)),
  copyBoth: (): Buffer => frame('W', Buffer.of(0), int16(0)),
  negotiate: (minor: number, ...options: readonly string[]): Buffer =>
    frame('v', int32(VERSION_3_0 | minor), int32(options.length), ...options),
};

/** Cuts a stream of typed messages. Everything stays in memory: it is for tests. */
export class MessageReader {
  #bytes: Buffer = Buffer.alloc(0);

  /** Bytes of a message that is not complete. */
  get pendingBytes(): number {
    return this.#bytes.length;
  }

  push(chunk: Buffer): WireMessage[] {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const messages: WireMessage[] = [];
    let at = 0;
    while (bytes.length - at >= 5) {
      const length = bytes.readUInt32BE(at + 1);
      if (length < 4) throw new Error(`a message of length ${length}`);
      if (bytes.length - at < 1 + length) break;
      const body = Buffer.from(bytes.subarray(at + 5, at + 1 + length));
      messages.push({ type: String.fromCharCode(bytes[at]!), body });
      at += 1 + length;
    }
    this.#bytes = Buffer.from(bytes.subarray(at));
    return messages;
  }
}

/** Decodes a whole stream; throws if it ends inside a message. */
export function decode(bytes: Buffer): WireMessage[] {
  const reader = new MessageReader();
  const messages = reader.push(bytes);
  if (reader.pendingBytes > 0) throw new Error(`${reader.pendingBytes} bytes of an incomplete message at the end`);
  return messages;
}

export function encode({ type, body }: WireMessage): Buffer {
  return frame(type, body);
}

/** The NUL-terminated strings that a body begins with. */
export function strings(body: Buffer, from = 0): string[] {
  const texts = body.toString('utf8', from).split('\0');
  texts.pop();
  return texts;
}

/** Fields of ErrorResponse or NoticeResponse by their letter. */
export function errorFields(message: WireMessage): ReadonlyMap<string, string> {
  return new Map(
    strings(message.body)
      .filter((text) => text !== '')
      .map((text) => [text[0]!, text.slice(1)]),
  );
}

/** The columns of a DataRow as text. */
export function rowValues({ body }: WireMessage): (string | null)[] {
  const values: (string | null)[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}

/** Name and value of each ParameterStatus among `messages`; of two the later one. */
export function parametersIn(messages: readonly WireMessage[]): ReadonlyMap<string, string> {
  return new Map(
    messages
      .filter(({ type }) => type === 'S')
      .map(({ body }) => {
        const [name = '', value = ''] = strings(body);
        return [name, value];
      }),
  );
}
