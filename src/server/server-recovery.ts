/**
 * Brings a server back to a boundary after its client has left in the middle of something, so that it can serve the
 * next one. What the client had not finished must not take effect, and the server must never be given away while it
 * still owes a reply or may be hit by a cancel.
 *
 *   after a lost connection: cancel what runs          (a server in COPY IN hears no cancel before CopyFail)
 *   Flush if a batch is open → owed replies, or CopyInResponse → CopyFail
 *   a batch still open → a Bind that must fail, and Sync    (a bare Sync would commit)
 *   all answered and the cancel gone → ROLLBACK if in a transaction → done
 */
import type { Environment } from '../base/environment.ts';
import { copyFail, SYNC_MESSAGE } from '../protocol/client-messages.ts';
import * as type from '../protocol/message-type.ts';
import { TO_NOBODY } from './reply-entry.ts';
import type { ServerConnection } from './server-connection.ts';

export class ServerRecovery {
  readonly #server: ServerConnection;
  readonly #environment: Environment;
  readonly #startedMs: number;
  /** From when server_recovery_timeout counts: not while a statement runs that its client let run. */
  #countsFromMs: number | null = null;
  /** After Terminate what was sent runs to its end, as in PostgreSQL; what a lost client has left is stopped. */
  #cancel: 'unwanted' | 'wanted' | 'asked';
  #flushed = false;
  #rollingBack = false;

  constructor(server: ServerConnection, environment: Environment, left: 'terminated' | 'lost') {
    this.#server = server;
    this.#environment = environment;
    this.#startedMs = environment.now();
    this.#cancel = left === 'terminated' ? 'unwanted' : 'wanted';
    if (left === 'lost') this.#countsFromMs = this.#startedMs;
  }

  /** Does what can be done now. Called at the start, after each chunk, and when a cancel has ended. */
  step(): void {
    const { ledger } = this.#server;
    if (this.#rollingBack) return;
    if (this.#cancel === 'wanted' && ledger.owed > 0 && !ledger.copyIn) this.#askCancel();
    if (ledger.copyIn) {
      ledger.admit(type.COPY_FAIL);
      this.#server.requests.send(copyFail('the client has left'));
      return;
    }
    if (ledger.batchOpen && !this.#flushed) {
      this.#flushed = true;
      this.#server.requests.flush();
    }
    if (ledger.owed > 0) return;
    this.#countsFromMs ??= this.#environment.now();
    if (ledger.batchOpen) {
      ledger.admit(type.BIND, TO_NOBODY);
      ledger.admit(type.SYNC, TO_NOBODY);
      this.#server.requests.send(Buffer.concat([this.#server.requests.impossibleBind, SYNC_MESSAGE]));
      return;
    }
    if (this.#server.cancelsInFlight > 0) return;
    if (this.#server.status === type.STATUS_IDLE) {
      this.#server.recovered();
      return;
    }
    this.#rollingBack = true;
    this.#server.sendRollback((error) => {
      if (error === null && this.#server.status === type.STATUS_IDLE) this.#server.recovered();
      else this.#server.close('abandoned');
    });
  }

  /** Called now and then. Both limits in milliseconds; 0 for `abandonedQueryTimeoutMs` is none. */
  checkDeadlines(nowMs: number, abandonedQueryTimeoutMs: number, recoveryTimeoutMs: number): void {
    if (this.#countsFromMs !== null) {
      if (nowMs - this.#countsFromMs >= recoveryTimeoutMs) this.#server.close('recovery_timeout');
    } else if (abandonedQueryTimeoutMs > 0 && nowMs - this.#startedMs >= abandonedQueryTimeoutMs) {
      this.#countsFromMs = nowMs;
      this.#askCancel();
    }
  }

  /** A statement is to be stopped, and still runs. */
  get needsCancel(): boolean {
    const { ledger } = this.#server;
    return this.#cancel === 'asked' && ledger.owed > 0 && !ledger.copyIn && !this.#rollingBack;
  }

  #askCancel(): void {
    this.#cancel = 'asked';
    this.#server.needCancel();
  }
}
