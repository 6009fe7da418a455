/**
 * A conversation as text, for golden tests and for people who read why a test failed: line by line in the style of
 * libpq's PQtrace, or in one line of type bytes with what matters of each.
 */
import { errorFields, rowValues, strings, type WireMessage } from './wire.ts';

export type Direction = 'F' | 'B';

const CLIENT_NAMES: Readonly<Record<string, string>> = {
  B: 'Bind',
  C: 'Close',
  D: 'Describe',
  E: 'Execute',
  F: 'FunctionCall',
  H: 'Flush',
  P: 'Parse',
  Q: 'Query',
  S: 'Sync',
  X: 'Terminate',
  c: 'CopyDone',
  d: 'CopyData',
  f: 'CopyFail',
  p: 'Password',
};

const SERVER_NAMES: Readonly<Record<string, string>> = {
  '1': 'ParseComplete',
  '2': 'BindComplete',
  '3': 'CloseComplete',
  A: 'NotificationResponse',
  C: 'CommandComplete',
  D: 'DataRow',
  E: 'ErrorResponse',
  G: 'CopyInResponse',
  H: 'CopyOutResponse',
  I: 'EmptyQueryResponse',
  K: 'BackendKeyData',
  N: 'NoticeResponse',
  R: 'Authentication',
  S: 'ParameterStatus',
  T: 'RowDescription',
  V: 'FunctionCallResponse',
  W: 'CopyBothResponse',
  Z: 'ReadyForQuery',
  c: 'CopyDone',
  d: 'CopyData',
  n: 'NoData',
  s: 'PortalSuspended',
  t: 'ParameterDescription',
  v: 'NegotiateProtocolVersion',
};

const LONGEST_TEXT = 60;

function quoted(text: string): string {
  const short = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
  return JSON.stringify(short);
}

/** One line: direction (F from the client, B from the server), length as PQtrace counts it, name, contents. */
export function traceLine(direction: Direction, message: WireMessage): string {
  const names = direction === 'F' ? CLIENT_NAMES : SERVER_NAMES;
  const name = names[message.type] ?? `Unknown(${JSON.stringify(message.type)})`;
  const contents = direction === 'F' ? clientContents(message) : serverContents(message);
  return [direction, message.body.length + 4, name, contents].join('\t').trimEnd();
}

export function trace(direction: Direction, messages: readonly WireMessage[]): string {
  return messages.map((message) => traceLine(direction, message)).join('\n');
}

function clientContents({ type, body }: WireMessage): string {
  switch (type) {
    case 'Q':
    case 'f':
      return strings(body).map(quoted).join(' ');
    case 'P':
    case 'B':
      return strings(body).slice(0, 2).map(quoted).join(' ');
    case 'D':
    case 'C':
      return `${String.fromCharCode(body[0] ?? 0x3f)} ${strings(body, 1).map(quoted).join(' ')}`;
    case 'E':
      return `${quoted(strings(body)[0] ?? '')} ${body.readInt32BE(body.length - 4)}`;
    case 'd':
      return quoted(body.toString('latin1'));
    default:
      return '';
  }
}

function serverContents(message: WireMessage): string {
  const { type, body } = message;
  switch (type) {
    case 'E':
    case 'N':
      return [...errorFields(message)].map(([field, text]) => `${field} ${quoted(text)}`).join(' ');
    case 'D':
      return rowValues(message)
        .map((value) => (value === null ? 'NULL' : `'${value.slice(0, LONGEST_TEXT)}'`))
        .join(' ');
    case 'C':
    case 'S':
      return strings(body).map(quoted).join(' ');
    case 'A':
      return `${body.readInt32BE(0)} ${strings(body, 4).map(quoted).join(' ')}`;
    case 'Z':
      return body.toString();
    case 'R':
      return body.readInt32BE(0).toString();
    case 'd':
      return quoted(body.toString('latin1'));
    default:
      return '';
  }
}

/** All in one line, such as `T D(1) C(SELECT 1) Z(I)`; many equal rows in a row are counted. */
export function summary(messages: readonly WireMessage[]): string {
  const words: string[] = [];
  let repeated = 1;
  for (const message of messages) {
    const word = summaryWord(message);
    if (word === words.at(-1)?.replace(/×\d+$/, '')) {
      repeated++;
      words[words.length - 1] = `${word}×${repeated}`;
    } else {
      repeated = 1;
      words.push(word);
    }
  }
  return words.join(' ');
}

function summaryWord(message: WireMessage): string {
  const { type, body } = message;
  switch (type) {
    case 'E':
      return `E(${errorFields(message).get('C')})`;
    case 'N':
      return `N(${errorFields(message).get('M')})`;
    case 'D':
      return `D(${rowValues(message)
        .map((value) => value?.slice(0, 24) ?? 'NULL')
        .join(',')})`;
    case 'C':
      return `C(${strings(body)[0]})`;
    case 'S':
      return `S(${strings(body).join('=')})`;
    case 'Z':
      return `Z(${body.toString()})`;
    default:
      return type;
  }
}
