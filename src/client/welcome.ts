/**
 * What a client is told when it is in: the ParameterStatus set of a real server with the client's own wishes over it,
 * its cancel key, and that it may begin.
 */
import type { Pool } from '../pool/pool.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import { backendKeyData, noticeResponse, parameterStatus, readyForQuery } from '../protocol/server-messages.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { SessionParameters, TRACKED_PARAMETERS, trackedIndex } from '../server/session-parameters.ts';

/** `startup` is what the client asked for, `reported` what servers of its pool have. */
export function clientParameters(
  startup: ReadonlyMap<string, string>,
  reported: ReadonlyMap<string, string>,
  pool: Pool,
): SessionParameters {
  const parameters = new SessionParameters();
  for (const [name, value] of reported) {
    const place = trackedIndex(name);
    if (place >= 0) parameters.set(place, value);
  }
  for (const [name, value] of startup) {
    const place = trackedIndex(name);
    if (place >= 0) parameters.set(place, pool.canonical.of(TRACKED_PARAMETERS[place]!, value));
  }
  return parameters;
}

const USED_ELSEWHERE: ReadonlySet<string> = new Set(['user', 'database', 'replication']);

/** The names of startup parameters that nothing is done with yet. */
export function unusedParameters(startup: ReadonlyMap<string, string>): string[] {
  return [...startup.keys()].filter((name) => trackedIndex(name) < 0 && !USED_ELSEWHERE.has(name));
}

/** `cancelKey`: its first four bytes go as process id, the others as secret. */
export function welcome(
  parameters: SessionParameters,
  reported: ReadonlyMap<string, string>,
  cancelKey: Buffer,
  notice: string,
): Buffer[] {
  const messages = templateOf(reported).map((part) => (Buffer.isBuffer(part) ? part : statusOf(part, parameters)));
  messages.push(backendKeyData(cancelKey.readUInt32BE(0), cancelKey.subarray(4)));
  if (notice !== '') messages.push(noticeResponse('NOTICE', { sqlstate: '00000', message: notice }));
  messages.push(READY);
  return messages;
}

const READY = readyForQuery(STATUS_IDLE);

/** A parameter that may be the client's own, and its value where it is not. */
interface Place {
  readonly index: number;
  readonly reported: string;
}

/** The messages of one server's parameters, in its order: bytes that are the same for every client, and places that are not. */
type Template = readonly (Buffer | Place)[];

/** Logins come in thousands, and sets of parameters by the dozen. */
const templates = new WeakMap<ReadonlyMap<string, string>, Template>();

function templateOf(reported: ReadonlyMap<string, string>): Template {
  const known = templates.get(reported);
  if (known !== undefined) return known;
  const parts: (Buffer | Place)[] = [];
  for (const [name, value] of reported) {
    const index = trackedIndex(name);
    const last = parts.at(-1);
    if (index >= 0) parts.push({ index, reported: value });
    else if (Buffer.isBuffer(last)) parts[parts.length - 1] = Buffer.concat([last, parameterStatus(name, value)]);
    else parts.push(parameterStatus(name, value));
  }
  templates.set(reported, parts);
  return parts;
}

/** The last message for each place: most clients of a pool ask for the same. */
const lastStatus = new Map<number, { readonly value: string; readonly message: Buffer }>();

function statusOf({ index, reported }: Place, parameters: SessionParameters): Buffer {
  const value = parameters.get(index) ?? reported;
  const last = lastStatus.get(index);
  if (last?.value === value) return last.message;
  const message = parameterStatus(TRACKED_PARAMETERS[index]!, value);
  lastStatus.set(index, { value, message });
  return message;
}

/**
 * After SETs for `places` the server's spelling of a value replaces the client's, or every transaction would begin with
 * the same SET. Returns the ParameterStatus messages that tell the client.
 */
export function adoptReported(
  parameters: SessionParameters,
  server: ServerConnection,
  places: readonly number[],
  pool: Pool,
): Buffer[] {
  const messages: Buffer[] = [];
  for (const place of places) {
    const own = parameters.get(place);
    const reported = server.parameters.get(place);
    if (own === null || reported === null || own === reported) continue;
    const name = TRACKED_PARAMETERS[place]!;
    pool.canonical.learn(name, own, reported);
    parameters.set(place, reported);
    messages.push(parameterStatus(name, reported));
  }
  return messages;
}
