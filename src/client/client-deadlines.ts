/**
 * When a client that holds a server has held it too long: PgBouncer's query, transaction and idle-transaction timeouts,
 * and client_write_timeout. It only judges; who is closed, and how, is the session's business.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { Wire } from '../net/wire.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { ServerConnection } from '../server/server-connection.ts';

export type MissedDeadline = Extract<
  ClientCloseReason,
  'query_timeout' | 'transaction_timeout' | 'idle_transaction_timeout' | 'write_timeout'
>;

export class ClientDeadlines {
  #limits: PoolSettings;
  #writeTimeoutMs: number;
  /** Since when bytes wait for the client without any leaving, and how many had left by then. */
  #stuckSinceMs = 0;
  #leftBytes = 0;
  #leavingSinceMs = 0;

  constructor(limits: PoolSettings, writeTimeoutMs: number) {
    this.#limits = limits;
    this.#writeTimeoutMs = writeTimeoutMs;
  }

  configure(limits: PoolSettings, writeTimeoutMs: number): void {
    this.#limits = limits;
    this.#writeTimeoutMs = writeTimeoutMs;
  }

  /** The first deadline that the client has missed, or null. To be asked now and then. */
  missed(server: ServerConnection, wire: Wire, nowMs: number): MissedDeadline | null {
    const { queryTimeoutMs, idleTransactionTimeoutMs, transactionTimeoutMs } = this.#limits;
    const { busySinceMs, transactionSinceMs, answeredAtMs } = server.times;
    const inTransaction = server.status !== STATUS_IDLE || server.ledger.batchOpen;
    if (isOver(busySinceMs, queryTimeoutMs, nowMs)) return 'query_timeout';
    if (isOver(transactionSinceMs, transactionTimeoutMs, nowMs)) return 'transaction_timeout';
    if (inTransaction && busySinceMs === 0 && isOver(answeredAtMs, idleTransactionTimeoutMs, nowMs)) {
      return 'idle_transaction_timeout';
    }
    return this.isStuck(wire, this.#writeTimeoutMs, nowMs) ? 'write_timeout' : null;
  }

  /** The client has taken leave. */
  leaves(nowMs: number): void {
    this.#leavingSinceMs = nowMs;
  }

  /** A client that has taken leave is sent its answers, but nobody has to wait for it for long: why it goes now, or null. */
  outstayed(
    reason: ClientCloseReason,
    wire: Wire,
    { abandonedQueryTimeoutMs, serverRecoveryTimeoutMs }: Settings,
    nowMs: number,
  ): ClientCloseReason | null {
    if (abandonedQueryTimeoutMs > 0 && nowMs - this.#leavingSinceMs >= abandonedQueryTimeoutMs) {
      return 'abandoned_query_timeout';
    }
    return this.isStuck(wire, serverRecoveryTimeoutMs, nowMs) ? reason : null;
  }

  /** Whether the client has taken nothing for `limitMs` although something waits for it. 0 is no limit. */
  isStuck(wire: Wire, limitMs: number, nowMs: number): boolean {
    const { unsentBytes } = wire;
    const leftBytes = wire.bytesSent - unsentBytes;
    if (unsentBytes > 0 && leftBytes === this.#leftBytes) return isOver(this.#stuckSinceMs, limitMs, nowMs);
    this.#leftBytes = leftBytes;
    this.#stuckSinceMs = nowMs;
    return false;
  }
}

/** Both may be 0: nothing has begun, or nothing is limited. */
function isOver(sinceMs: number, limitMs: number, nowMs: number): boolean {
  return limitMs > 0 && sinceMs > 0 && nowMs - sinceMs >= limitMs;
}
