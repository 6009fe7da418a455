/** Where a server connection is: one word, and the moves that exist (`docs/architecture.md`, "States"). */

export type ServerState =
  /** Dialing and logging in. */
  | 'connecting'
  /** Runs what has to be done before a client can use it: connect_query, or the parameters of the client that it is for. */
  | 'preparing'
  /** Logged in, clean, nobody's. */
  | 'idle'
  /** Was idle for long: runs server_check_query. */
  | 'testing'
  /** Answers one client. */
  | 'linked'
  /** Belongs to one client (replication) until either of them ends; nobody else ever gets it. */
  | 'dedicated'
  /** Its client has left it in the middle of something, which is brought to an end. */
  | 'recovering'
  /** Clean, but a cancel for it is still on its way and must hit nobody else. */
  | 'cancelling'
  /** Runs the reset query. */
  | 'resetting'
  /** On its way out. PostgreSQL may still have the backend, so the lease is held. */
  | 'closing'
  | 'closed';

export const SERVER_STATES: readonly ServerState[] = [
  'connecting',
  'preparing',
  'idle',
  'testing',
  'linked',
  'dedicated',
  'recovering',
  'cancelling',
  'resetting',
  'closing',
  'closed',
];

const MOVES: Readonly<Record<ServerState, readonly ServerState[]>> = {
  connecting: ['preparing', 'idle', 'dedicated', 'closing', 'closed'],
  preparing: ['idle', 'linked', 'recovering', 'closing', 'closed'],
  idle: ['testing', 'preparing', 'linked', 'closing', 'closed'],
  testing: ['idle', 'closing', 'closed'],
  linked: ['recovering', 'resetting', 'cancelling', 'idle', 'closing', 'closed'],
  dedicated: ['closing', 'closed'],
  recovering: ['resetting', 'cancelling', 'idle', 'closing', 'closed'],
  cancelling: ['resetting', 'idle', 'closing', 'closed'],
  resetting: ['cancelling', 'idle', 'closing', 'closed'],
  closing: ['closed'],
  closed: [],
};

/** The same, for a look-up on the data path. */
const ALLOWED: ReadonlyMap<string, ReadonlySet<ServerState>> = new Map(
  Object.entries(MOVES).map(([from, to]) => [from, new Set(to)]),
);

/** Throws for a move that is not in the table: a defect of ours, never of a peer. */
export function assertServerMove(from: ServerState, to: ServerState): void {
  if (ALLOWED.get(from)?.has(to) !== true) throw new Error(`a server connection cannot go from ${from} to ${to}`);
}
