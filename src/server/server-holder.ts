/** What a server connection says upward: to the client that holds it, and to the pool that owns it. */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { WriteResult } from '../base/transport.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import type { SessionState } from '../protocol/statement-peek.ts';
import type { ServerConnection } from './server-connection.ts';
import type { LoginFailure } from './server-login.ts';
import type { ServerState } from './server-state.ts';
import type { TrafficCounters } from './traffic-counters.ts';

/** How a server was lost to the client that held it. */
export interface ServerLoss {
  readonly reason: ServerCloseReason;
  /** The server's own last error, if it said why. */
  readonly fatal: ErrorFields | null;
  /** That error has been forwarded: nothing more is to be said. */
  readonly told: boolean;
  /** The client has been sent part of a message, and its rest will never come: nothing more *can* be said. */
  readonly midMessage: boolean;
}

/** The client session that a server answers. */
export interface ServerHolder {
  /** Bytes for the client. With `own` their memory is never overwritten; else it is lent for as long as the result says. */
  onServerBytes(buffer: Buffer, from: number, to: number, own: boolean): WriteResult;
  /** The server reported the parameter of this place; the message itself follows among the bytes. */
  onServerParameter(place: number): void;
  /** A ReadyForQuery has been handed over, and it answers everything that was sent. `status` is I, T or E. */
  onServerReady(status: number): void;
  /** It may have no transaction that lasts longer than a statement. */
  readonly forbidsTransactions: boolean;
  /** It has one nevertheless, and more of what it asked is to be answered. */
  onServerTransaction(): void;
  /** A simple Query of the holder's has ended, and with it the unnamed statement. */
  onServerQueryEnded(): void;
  /** The holder has run RESET ALL or DISCARD ALL (`all`), or a RESET of something. */
  onServerReset(what: 'all' | 'some'): void;
  /** All prepared statements of the session are gone. */
  onServerDeallocatedAll(): void;
  /**
   * The holder has left something in the session that will not be there for its next transaction. Returns whether it has
   * something to say about that; `onServerGap` follows.
   */
  onServerDirty(state: SessionState): boolean;
  /** Between two messages of the server. */
  onServerGap(): void;
  /** What the holder calls the statement that the server knows as `pooledName`: bytes as characters; null if it has none. */
  statementName(pooledName: string): string | null;
  /** Replies have come: what the ledger could not decide may be decidable now. */
  onServerProgress(): void;
  /** The server takes bytes again. */
  onServerDrain(): void;
  /** The error that the pooler forced on the server has come: the holder sends `report` in its place. */
  onServerRefused(report: ErrorReport): void;
  /**
   * The first Bind of `batch`, which is what the holder has sent, was refused because the result of its statement has
   * changed. Returns whether the holder has sent it again: then nobody hears the error.
   */
  onServerPlanChanged(batch: Buffer): boolean;
  onServerLost(loss: ServerLoss): void;
  /** The server is to be closed as soon as the holder gives it back. */
  onServerOutdated(): void;
  /** Some tenths of a second have passed: what took too long ends. */
  onTick(nowMs: number): void;
}

/** Why a connection never became usable. */
export type ServerFailure =
  | LoginFailure
  /** Refused, unreachable, reset, timed out: the system's words. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** It could not be secured: in our words, for the server has not proven who it is. */
  | { readonly kind: 'not-secured'; readonly reason: string };

/** The pool. */
export interface ServerOwner {
  readonly traffic: TrafficCounters;
  onServerLoggedIn(server: ServerConnection): void;
  /** It never got to its first ReadyForQuery. */
  onServerFailed(server: ServerConnection, failure: ServerFailure): void;
  /** Nobody needs it, nothing is owed, no transaction is open, no chunk is being read. */
  onServerFree(server: ServerConnection): void;
  /** A statement that was left running has to be stopped. */
  onServerNeedsCancel(server: ServerConnection): void;
  /** The last cancel for a closed server is over. */
  onCancelsEnded(server: ServerConnection): void;
  onServerMoved(server: ServerConnection, to: ServerState): void;
  /** `confirmed`: PostgreSQL has closed its side, so the backend is gone or going. */
  onServerClosed(server: ServerConnection, confirmed: boolean): void;
}
