/** What a server says: each message as text with named fields, for people and for comparison. */
import { BodyReader } from './body-reader.ts';

export interface ServerMessage {
  readonly type: string;
  readonly body: Buffer;
}

export interface DecodedMessage {
  readonly name: string;
  readonly fields: Record<string, string>;
}

/** Long values are shortened to their ends, their length and a checksum of all bytes. */
const LONGEST_SHOWN = 200;

const NAMES: Readonly<Record<string, string>> = {
  R: 'Authentication',
  S: 'ParameterStatus',
  K: 'BackendKeyData',
  Z: 'ReadyForQuery',
  T: 'RowDescription',
  D: 'DataRow',
  C: 'CommandComplete',
  E: 'ErrorResponse',
  N: 'NoticeResponse',
  A: 'NotificationResponse',
  '1': 'ParseComplete',
  '2': 'BindComplete',
  '3': 'CloseComplete',
  I: 'EmptyQueryResponse',
  n: 'NoData',
  s: 'PortalSuspended',
  t: 'ParameterDescription',
  G: 'CopyInResponse',
  H: 'CopyOutResponse',
  W: 'CopyBothResponse',
  d: 'CopyData',
  c: 'CopyDone',
  V: 'FunctionCallResponse',
  v: 'NegotiateProtocolVersion',
};

export function decode({ type, body }: ServerMessage): DecodedMessage {
  const name = NAMES[type] ?? `type ${type}`;
  const reader = new BodyReader(body);
  switch (type) {
    case 'S':
      return { name, fields: { parameter: reader.text(), value: reader.text() } };
    case 'K':
      return { name, fields: { processId: String(reader.int32()), secret: body.subarray(4).toString('hex') } };
    case 'Z':
      return { name, fields: { status: String.fromCharCode(reader.byte()) } };
    case 'C':
      return { name, fields: { tag: reader.text() } };
    case 'A':
      return { name, fields: { processId: String(reader.int32()), channel: reader.text(), payload: reader.text() } };
    case 'E':
    case 'N':
      return { name, fields: errorFields(body) };
    case 'T':
      return { name, fields: decodeRowDescription(reader) };
    case 'D':
      return { name, fields: decodeRow(reader) };
    default:
      return { name, fields: body.length === 0 ? {} : { body: shortened(body) } };
  }
}

/** The fields of an ErrorResponse or NoticeResponse by their one-letter names. */
export function errorFields(body: Buffer): Record<string, string> {
  const reader = new BodyReader(body);
  const fields: Record<string, string> = {};
  while (reader.hasMore) {
    const code = reader.byte();
    if (code === 0) break;
    fields[String.fromCharCode(code)] = shortened(Buffer.from(reader.text()));
  }
  return fields;
}

/** The columns of a DataRow. */
export function rowValues(body: Buffer): (string | null)[] {
  const reader = new BodyReader(body);
  return Array.from({ length: reader.int16() }, () => {
    const length = reader.int32();
    return length < 0 ? null : reader.bytes(length).toString('utf8');
  });
}

function decodeRow(reader: BodyReader): Record<string, string> {
  const values = Array.from({ length: reader.int16() }, () => {
    const length = reader.int32();
    return length < 0 ? 'NULL' : `'${shortened(reader.bytes(length))}'`;
  });
  return { values: values.join(', ') };
}

function decodeRowDescription(reader: BodyReader): Record<string, string> {
  const fields: Record<string, string> = {};
  const columns = Array.from({ length: reader.int16() }, (_, index) => {
    const column = reader.text();
    fields[`table${index}`] = String(reader.int32());
    const attribute = reader.int16();
    return `${column} attribute=${attribute} type=${reader.int32()} ${reader.int16()} ${reader.int32()} format=${reader.int16()}`;
  });
  return { columns: columns.join(', '), ...fields };
}

function shortened(bytes: Buffer): string {
  if (bytes.length <= LONGEST_SHOWN) return bytes.toString('latin1');
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) >>> 0;
  return `${bytes.toString('latin1', 0, 20)}…${bytes.toString('latin1', bytes.length - 20)} (${bytes.length} bytes, ${sum})`;
}

export function asText({ name, fields }: DecodedMessage): string {
  return [name, ...Object.entries(fields).map(([field, value]) => `${field}=${value}`)].join(' ');
}
