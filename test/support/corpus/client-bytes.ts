/**
 * What a client writes, message by message, made from the protocol's documentation alone and by nothing of `src/`: a
 * mistake that both had in common could not be seen. Bodies may be given raw, so that malformed ones can be written too.
 */

/** A value of a Bind or a FunctionCall; null is NULL. */
export type Value = string | Buffer | null;

export function message(type: string, ...body: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(body);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(4 + bytes.length), bytes]);
}

/** A header whose length field is a lie. */
export function lyingHeader(type: string, length: number): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length)]);
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value & 0xffff);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

export const VERSION_3_0 = 0x0003_0000;
export const VERSION_3_2 = 0x0003_0002;

/** `code` is the protocol's version or one of the special requests. */
export function startupPacket(code: number, body: Buffer): Buffer {
  return Buffer.concat([int32(8 + body.length), int32(code), body]);
}

export function startup(parameters: Readonly<Record<string, string>>, version = VERSION_3_0): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [text(name), text(value)]);
  return startupPacket(version, Buffer.concat([...pairs, Buffer.of(0)]));
}

export const sslRequest = startupPacket(80_877_103, Buffer.alloc(0));
export const gssencRequest = startupPacket(80_877_104, Buffer.alloc(0));

/** `key` is the body of BackendKeyData. */
export function cancelRequest(key: Buffer): Buffer {
  return startupPacket(80_877_102, key);
}

export const password = (value: string): Buffer => message('p', text(value));
export const query = (sql: string): Buffer => message('Q', text(sql));

export function parse(sql: string, name = '', types: readonly number[] = []): Buffer {
  return message('P', text(name), text(sql), int16(types.length), ...types.map(int32));
}

export interface BindOptions {
  readonly portal?: string;
  readonly statement?: string;
  readonly values?: readonly Value[];
  /** 1 for binary, for all values and all results. */
  readonly valueFormat?: 0 | 1;
  readonly resultFormat?: 0 | 1;
}

export function bind(options: BindOptions = {}): Buffer {
  const { portal = '', statement = '', values = [], valueFormat, resultFormat } = options;
  const formats = (format: 0 | 1 | undefined): Buffer =>
    format === undefined ? int16(0) : Buffer.concat([int16(1), int16(format)]);
  return message(
    'B',
    text(portal),
    text(statement),
    formats(valueFormat),
    int16(values.length),
    ...values.map(lengthAndValue),
    formats(resultFormat),
  );
}

function lengthAndValue(value: Value): Buffer {
  if (value === null) return int32(-1);
  const bytes = Buffer.from(value as Buffer);
  return Buffer.concat([int32(bytes.length), bytes]);
}

/** `S` is a statement, `P` a portal. */
export const describe = (kind: 'S' | 'P', name = ''): Buffer => message('D', Buffer.from(kind), text(name));
export const close = (kind: 'S' | 'P', name = ''): Buffer => message('C', Buffer.from(kind), text(name));
export const execute = (portal = '', maxRows = 0): Buffer => message('E', text(portal), int32(maxRows));
export const sync = message('S');
export const flush = message('H');
export const terminate = message('X');

/** A FunctionCall with values in text format, and its result in text format. */
export function functionCall(oid: number, ...values: readonly Value[]): Buffer {
  return message('F', int32(oid), int16(0), int16(values.length), ...values.map(lengthAndValue), int16(0));
}

export const copyData = (data: string | Buffer): Buffer => message('d', Buffer.from(data as Buffer));
export const copyDone = message('c');
export const copyFail = (reason: string): Buffer => message('f', text(reason));

/** A whole statement in the extended protocol, without Sync. */
export function extended(sql: string, ...values: readonly Value[]): Buffer {
  return Buffer.concat([parse(sql), bind({ values }), describe('P'), execute()]);
}

export function repeat(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
}
