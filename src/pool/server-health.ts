/**
 * What a pool knows about getting connections at all: the last failure, what clients are told because of it, and when
 * the next try is due. It opens nothing.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import { fatalReport } from '../protocol/error-fields.ts';
import type { ServerFailure } from '../server/server-holder.ts';

/** How soon to try again after an answer that says "not now". */
const TEMPORARY_RETRY_MS = 1000;

/** The server is there, but starts, stops, recovers, or has no slot: who waits goes on waiting. */
const TEMPORARY_SQLSTATES: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '53300']);

export class ServerHealth {
  #failure: ServerFailure | null = null;
  #retryAtMs = 0;

  /** A login has succeeded. */
  succeeded(): void {
    this.#failure = null;
  }

  /** `retryMs`: server_login_retry. */
  failed(failure: ServerFailure, nowMs: number, retryMs: number): void {
    this.#failure = failure;
    const pauseMs = this.isTemporary ? Math.min(TEMPORARY_RETRY_MS, retryMs) : retryMs;
    // Never in the same instant: what fails at once would be tried for ever.
    this.#retryAtMs = nowMs + Math.max(1, pauseMs);
  }

  /** What it failed with may be mended: the next try is due at once. */
  retryNow(): void {
    this.#retryAtMs = 0;
  }

  get isFailing(): boolean {
    return this.#failure !== null;
  }

  /** The failure is one that passes by itself. */
  get isTemporary(): boolean {
    return this.#failure?.kind === 'refused' && TEMPORARY_SQLSTATES.has(this.#failure.fields.sqlstate);
  }

  /** Whether a connection may be tried now. While it is failing, `underWay` other tries forbid it: one probe at a time. */
  mayTry(nowMs: number, underWay: number): boolean {
    if (this.#failure === null) return true;
    return underWay === 0 && nowMs >= this.#retryAtMs;
  }

  /** What happened, in words for the log and for clients. */
  get words(): string {
    return this.#failure === null ? '' : failureWords(this.#failure);
  }

  /** For those who were waiting when it happened: the server's own error where there is one. */
  reportForWaiters(): ErrorReport {
    return this.#failure === null ? errors.connectFailed('') : failureReport(this.#failure);
  }

  /** For those who come while it lasts: that it is an old error, and which. */
  reportForNewcomers(): ErrorReport {
    const { sqlstate } = this.reportForWaiters();
    return { ...errors.serverUnavailable(this.words), sqlstate };
  }
}

export function failureWords(failure: ServerFailure): string {
  return failure.kind === 'refused' ? failure.fields.message : failure.reason;
}

/** The server's own error where there is one. */
export function failureReport(failure: ServerFailure): ErrorReport {
  return failure.kind === 'refused' ? fatalReport(failure.fields) : errors.connectFailed(failure.reason);
}

/** Classes of SQLSTATE in which a server says that it serves nobody, or not this user: appendix A of PostgreSQL. */
const NOBODYS_FAULT: ReadonlySet<string> = new Set(['08', '28', '3D', '53', '57', '58', 'XX', 'F0']);
const STILL_A_VALUES: ReadonlySet<string> = new Set(['57014']);
const DATABASE_IS_CLOSED = '55000';

/** Whether a login was refused for the parameters of its startup packet, so that another's may succeed. */
export function blamesParameters(failure: ServerFailure): boolean {
  if (failure.kind !== 'refused') return false;
  const { sqlstate } = failure.fields;
  // A statement_timeout can end its own login.
  if (STILL_A_VALUES.has(sqlstate)) return true;
  return sqlstate !== DATABASE_IS_CLOSED && !NOBODYS_FAULT.has(sqlstate.slice(0, 2));
}
