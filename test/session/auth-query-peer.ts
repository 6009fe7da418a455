/** A PostgreSQL that answers auth_query: whoever logs in as `auth` is asked by nobody else, everybody else gets the model. */
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionBench } from '../support/session-fixture.ts';
import { bytesOf, server as s, strings, type WireMessage } from '../support/wire.ts';

/** Rows, or messages to be sent as they are; `silence` never comes to an end. */
export type AuthReply = readonly (readonly (string | null)[])[] | Buffer | 'silence';

export const AUTH_USER = 'auth';

export class AuthQueryPeer {
  /** Sessions of auth_user, in order. */
  readonly sessions: ScriptedSession[] = [];
  /** The names that were asked for, in order. */
  readonly names: string[] = [];
  reply: (name: string) => AuthReply;

  constructor(bench: SessionBench, reply: (name: string) => AuthReply) {
    this.reply = reply;
    for (const postgres of bench.servers) {
      postgres.onStartup = (session) => {
        session.login();
        if (session.startup.get('user') === AUTH_USER) this.#take(session);
      };
    }
  }

  /** Everything that the session of auth_user has been sent, one letter a message. */
  types(session = 0): string {
    return this.sessions[session]!.received.map(({ type }) => type).join('');
  }

  #take(session: ScriptedSession): void {
    this.sessions.push(session);
    session.takeOver();
    const { onData } = session.stream;
    let seen = 0;
    session.stream.onData = (chunk) => {
      onData(chunk);
      for (const message of session.received.slice(seen)) {
        seen++;
        this.#answer(session, message);
      }
    };
  }

  #answer(session: ScriptedSession, { type, body }: WireMessage): void {
    if (type === 'X') session.die('exit');
    if (type === 'Q') session.send(s.complete('SET'), s.complete('SET'), s.ready());
    if (type !== 'B') return;
    // Portal, statement, no formats, one value.
    const length = body.readInt32BE(6);
    const name = body.toString('utf8', 10, 10 + length);
    this.names.push(name);
    const reply = this.reply(name);
    if (reply === 'silence') return;
    if (Buffer.isBuffer(reply)) return session.send(s.parseComplete(), s.bindComplete(), reply);
    const rows = reply.map(rowOf);
    session.send(s.parseComplete(), s.bindComplete(), ...rows, s.complete(`SELECT ${rows.length}`), s.ready());
  }
}

function rowOf(values: readonly (string | null)[]): Buffer {
  const columns = values.map((value) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value));
    return value === null ? length : Buffer.concat([length, Buffer.from(value)]);
  });
  const count = Buffer.alloc(2);
  count.writeInt16BE(values.length);
  const body = bytesOf(count, ...columns);
  const header = Buffer.alloc(5);
  header.write('D');
  header.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

/** The statement of a Parse. */
export function parsedText({ body }: WireMessage): string {
  return strings(body)[1] ?? '';
}
