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

/** `cancelKey` are the 8 bytes of protocol 3.0: four that go as process id, four as secret. */
export function welcome(
  parameters: SessionParameters,
  reported: ReadonlyMap<string, string>,
  cancelKey: Buffer,
  notice: string,
): Buffer[] {
  const messages: Buffer[] = [];
  for (const [name, value] of reported) {
    const place = trackedIndex(name);
    messages.push(parameterStatus(name, place < 0 ? value : (parameters.get(place) ?? value)));
  }
  messages.push(backendKeyData(cancelKey.readUInt32BE(0), cancelKey.subarray(4)));
  if (notice !== '') messages.push(noticeResponse('NOTICE', { sqlstate: '00000', message: notice }));
  messages.push(readyForQuery(STATUS_IDLE));
  return messages;
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
