/**
 * What a client is told when it is in: the ParameterStatus set of a real server with the client's own wishes over it,
 * its cancel key, and that it may begin.
 */
import { STATUS_IDLE } from '../protocol/message-type.ts';
import { backendKeyData, noticeResponse, parameterStatus, readyForQuery } from '../protocol/server-messages.ts';
import type { ParameterTable } from '../server/parameter-table.ts';
import type { ClientParameters } from './client-parameters.ts';

/** `cancelKey`: its first four bytes go as process id, the others as secret. */
export function welcome(
  parameters: ClientParameters,
  table: ParameterTable,
  reported: ReadonlyMap<string, string>,
  cancelKey: Buffer,
  notice: string,
): Buffer[] {
  const messages = templateOf(reported, table).map((part) =>
    Buffer.isBuffer(part) ? part : statusOf(part, parameters),
  );
  messages.push(backendKeyData(cancelKey.readUInt32BE(0), cancelKey.subarray(4)));
  if (notice !== '') messages.push(noticeResponse('NOTICE', { sqlstate: '00000', message: notice }));
  messages.push(READY);
  return messages;
}

/** What a client is told that waits for longer than query_wait_notify, in PgBouncer's words. */
export const QUEUED_NOTICE = noticeResponse('NOTICE', {
  sqlstate: '00000',
  message: 'No server connection available in postgres backend, client being queued',
});

const READY = readyForQuery(STATUS_IDLE);

/** A parameter that may be the client's own, and its value where it is not. */
interface Place {
  readonly place: number;
  readonly name: string;
  readonly reported: string;
}

/** The messages of one server's parameters, in its order: bytes that are the same for every client, and places that are not. */
type Template = readonly (Buffer | Place)[];

/** Logins come in thousands, and sets of parameters by the dozen. */
const templates = new WeakMap<ReadonlyMap<string, string>, Template>();

function templateOf(reported: ReadonlyMap<string, string>, table: ParameterTable): Template {
  const known = templates.get(reported);
  if (known !== undefined) return known;
  const parts: (Buffer | Place)[] = [];
  for (const [name, value] of reported) {
    const place = table.find(name);
    const last = parts.at(-1);
    if (place >= 0) parts.push({ place, name, reported: value });
    else if (Buffer.isBuffer(last)) parts[parts.length - 1] = Buffer.concat([last, parameterStatus(name, value)]);
    else parts.push(parameterStatus(name, value));
  }
  templates.set(reported, parts);
  return parts;
}

/** The last message for each parameter: most clients ask for the same. */
const lastStatus = new Map<string, { readonly value: string; readonly message: Buffer }>();
/** Servers make up names, too. */
const MAX_STATUSES = 100;

function statusOf({ place, name, reported }: Place, parameters: ClientParameters): Buffer {
  const value = parameters.get(place) ?? reported;
  const last = lastStatus.get(name);
  if (last?.value === value) return last.message;
  const message = parameterStatus(name, value);
  if (last !== undefined || lastStatus.size < MAX_STATUSES) lastStatus.set(name, { value, message });
  return message;
}
