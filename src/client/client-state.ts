/** Where a logged-in client is: one word, and the moves that exist (`docs/architecture.md`, "States"). */

export type ClientState =
  /** Between two transactions, without a server. */
  | 'idle'
  /** Wants a server: queued in its pool, or a server is being prepared for it. */
  | 'waiting'
  /** Has a server. */
  | 'linked'
  | 'closed';

const MOVES: Readonly<Record<ClientState, readonly ClientState[]>> = {
  idle: ['waiting', 'linked', 'closed'],
  waiting: ['linked', 'idle', 'closed'],
  linked: ['idle', 'closed'],
  closed: [],
};

/** The same, for a look-up on the data path. */
const ALLOWED: ReadonlyMap<string, ReadonlySet<ClientState>> = new Map(
  Object.entries(MOVES).map(([from, to]) => [from, new Set(to)]),
);

/** Throws for a move that is not in the table: a defect of ours, never of a peer. */
export function assertClientMove(from: ClientState, to: ClientState): void {
  if (ALLOWED.get(from)?.has(to) !== true) throw new Error(`a client cannot go from ${from} to ${to}`);
}
