/**
 * Puts statements where a client's messages need them: on the server at hand, before what it sends there. It knows what is
 * there already and what has to give way, and neither names nor messages of clients.
 */
import { closeMessage } from '../protocol/client-messages.ts';
import * as type from '../protocol/message-type.ts';
import type { ReplyNote } from '../server/note-queue.ts';
import { type PooledStatement, parseMessage } from '../server/pooled-statement.ts';
import type { PreparedStatement } from '../server/prepared-statement.ts';
import { ERROR_TO_CLIENT, TO_CLIENT } from '../server/reply-entry.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { TrafficCounters } from '../server/traffic-counters.ts';
import { type UnnamedKeeper, UnnamedNote } from '../server/unnamed-note.ts';
import { bothNotes } from './both-notes.ts';

export const UNNAMED = Buffer.of(0);
const CLOSE_UNNAMED = closeMessage(UNNAMED);

export class StatementPlacement {
  readonly #perServer: number;
  readonly #traffic: TrafficCounters;

  /** `perServer`: how many statements a server may have (max_prepared_statements). */
  constructor(perServer: number, traffic: TrafficCounters) {
    this.#perServer = perServer;
    this.#traffic = traffic;
  }

  /** Makes sure that `statement` is on `server` when what follows gets there. */
  ensure(server: ServerConnection, statement: PooledStatement): PreparedStatement {
    const prepared = server.prepared.find(statement);
    if (prepared === null || prepared.isStale) return this.prepare(server, statement, null);
    server.prepared.use(prepared);
    return prepared;
  }

  /** `note`: the Parse is the client's own; it is told the answer, and the note, too. */
  prepare(server: ServerConnection, statement: PooledStatement, note: ReplyNote | null): PreparedStatement {
    const { prepared: all, ledger } = server;
    const stale = all.find(statement);
    if (stale !== null) this.#close(server, stale);
    while (all.size >= this.#perServer && all.leastUsed !== null) this.#close(server, all.leastUsed);
    this.#traffic.serverParses++;
    const prepared = all.prepare(statement, ledger.batch);
    const preparing = all.preparing(prepared);
    const both = note === null ? preparing : bothNotes(note, preparing);
    const destination = note === null ? ERROR_TO_CLIENT : TO_CLIENT;
    server.requests.add(type.PARSE, statement.parseMessage(), both, destination);
    return prepared;
  }

  /** The server has another unnamed statement than `keeper`: it gets the keeper's, or none. */
  placeUnnamed(server: ServerConnection, keeper: UnnamedKeeper): void {
    const body = keeper.unnamed;
    const isKept = body?.includes('\0') === true;
    server.requests.add(
      isKept ? type.PARSE : type.CLOSE,
      isKept ? parseMessage(UNNAMED, body) : CLOSE_UNNAMED,
      new UnnamedNote(isKept ? body : null, keeper, server.prepared),
    );
  }

  #close(server: ServerConnection, prepared: PreparedStatement): void {
    const note = server.prepared.closing(prepared, server.ledger.batch);
    server.requests.add(type.CLOSE, closeMessage(prepared.statement.nameBytes), note);
  }
}
