/** The server connections of one pool, one list for each state: being in a list is the state. */
import { LinkedList } from '../base/linked-list.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { SERVER_STATES, type ServerState } from '../server/server-state.ts';

export class ServerLists {
  readonly #lists = new Map(SERVER_STATES.map((state) => [state, new LinkedList<ServerConnection>()]));
  /** Kept apart because every transaction uses them. */
  readonly idle: LinkedList<ServerConnection>;
  readonly linked: LinkedList<ServerConnection>;

  constructor() {
    this.idle = this.in('idle');
    this.linked = this.in('linked');
  }

  in(state: ServerState): LinkedList<ServerConnection> {
    return this.#lists.get(state)!;
  }

  /** `server` is now in `state`. A closed one is in no list. */
  move(server: ServerConnection, state: ServerState): void {
    if (state === 'idle') this.idle.push(server);
    else if (state === 'linked') this.linked.push(server);
    else if (state === 'closed') server.list?.remove(server);
    else this.in(state).push(server);
  }

  count(...states: readonly ServerState[]): number {
    return states.reduce((sum, state) => sum + this.in(state).size, 0);
  }

  /** All that may hold a slot in PostgreSQL, from connecting to closing. */
  get total(): number {
    let sum = 0;
    for (const list of this.#lists.values()) sum += list.size;
    return sum;
  }

  /** Those that have logged in, are not on their way out, and come back to the pool. */
  get alive(): number {
    return this.total - this.count('connecting', 'closing', 'dedicated');
  }

  *[Symbol.iterator](): Generator<ServerConnection> {
    for (const list of this.#lists.values()) yield* list;
  }
}
