/** How sessions end: what the client is told, and what becomes of its server. A table, not a mechanism. */
import type { ClientCloseReason, ServerCloseReason } from '../base/close-reason.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import { fatalReport } from '../protocol/error-fields.ts';
import type { ServerLoss } from '../server/server-holder.ts';
import type { MissedDeadline } from './client-deadlines.ts';

/** Why a session ends, and what the client is told, if anything. */
export interface LastWords {
  readonly reason: ClientCloseReason;
  readonly report: ErrorReport | null;
}

/** Nobody is there to read, or somebody who does not. */
export const CLIENT_IS_GONE: ReadonlySet<ClientCloseReason> = new Set([
  'eof',
  'connection_error',
  'write_timeout',
  'abandoned_query_timeout',
]);

/** Timeouts that end the server along with the client, as in PgBouncer. */
export const SERVER_ENDS_WITH: ReadonlyMap<ClientCloseReason, ServerCloseReason> = new Map([
  ['query_timeout', 'query_timeout'],
  ['idle_transaction_timeout', 'idle_transaction_timeout'],
  ['transaction_timeout', 'transaction_timeout'],
] as const);

const DEADLINE_REPORTS: Readonly<Record<MissedDeadline, () => ErrorReport | null>> = {
  query_timeout: errors.queryTimeout,
  idle_transaction_timeout: errors.idleTransactionTimeout,
  transaction_timeout: errors.transactionTimeout,
  // A client that does not read cannot be told anything.
  write_timeout: () => null,
};

export function deadlineWords(missed: MissedDeadline): LastWords {
  return { reason: missed, report: DEADLINE_REPORTS[missed]() };
}

/** The server's own last error comes before anything that we could say. */
export function lossWords({ reason, fatal, told, midMessage }: ServerLoss): LastWords {
  if (told || midMessage) return { reason: 'server_lost', report: null };
  if (fatal !== null) return { reason: 'server_lost', report: fatalReport(fatal) };
  switch (reason) {
    case 'eof':
    case 'fatal_error':
      return { reason: 'server_lost', report: errors.serverLost() };
    case 'out_of_sync':
      return { reason: 'server_lost', report: errors.serverOutOfSync() };
    case 'shutdown':
      return { reason: 'shutdown', report: errors.shuttingDown() };
    default:
      return { reason: 'server_closed', report: errors.serverClosedByPooler(reason.replaceAll('_', ' ')) };
  }
}
