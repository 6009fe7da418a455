/**
 * What a pool's connections need from time to time: every timeout of servers and of those who wait for them. It walks
 * servers and waiters, never all clients.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Settings } from '../config/settings.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerState } from '../server/server-state.ts';
import type { Pool } from './pool.ts';

/** How long to wait for a cancel to show before the next one: each costs PostgreSQL a fork. */
const CANCEL_AGAIN_MS = 1000;

/** States in which the server owes a short answer to a query of ours. */
const ANSWERING: readonly ServerState[] = ['testing', 'preparing', 'resetting'];

export function upkeep(pool: Pool, settings: Settings, nowMs: number): void {
  refuseLongWaiters(pool, nowMs);
  for (const server of pool.servers.linked) server.holder?.onTick(nowMs);
  for (const server of pool.servers.in('dedicated')) server.holder?.onTick(nowMs);
  closeSpareServers(pool, nowMs);
  closeSilentServers(pool, settings, nowMs);
  pool.cancels.checkDeadlines(nowMs, settings.cancelWaitTimeoutMs);
  repeatCancels(pool, nowMs);
  pool.tick(nowMs);
}

/** Waiters are in the order of their arrival, so the first that may stay ends the walk. */
function refuseLongWaiters(pool: Pool, nowMs: number): void {
  const { queryWaitTimeoutMs, queryWaitNotifyMs } = pool.settings;
  for (const waiter of pool.waiting) {
    const waitedMs = nowMs - waiter.waitingSinceMs;
    if (queryWaitTimeoutMs > 0 && waitedMs >= queryWaitTimeoutMs) {
      pool.leave(waiter);
      waiter.onNoServer(waitedTooLong(pool, waitedMs), 'query_wait_timeout');
    } else if (queryWaitNotifyMs > 0 && waitedMs >= queryWaitNotifyMs) {
      if (!waiter.waitNotified) waiter.onLongWait();
      waiter.waitNotified = true;
    } else {
      break;
    }
  }
  // They are still in their login, where nobody expects a notice.
  for (const waiter of pool.dedicated.waiting) {
    const waitedMs = nowMs - waiter.waitingSinceMs;
    if (queryWaitTimeoutMs === 0 || waitedMs < queryWaitTimeoutMs) return;
    pool.dedicated.leave(waiter);
    waiter.onNoServer(waitedTooLong(pool, waitedMs), 'query_wait_timeout');
  }
}

function waitedTooLong({ databaseName, userName, servers, settings }: Pool, waitedMs: number): ErrorReport {
  const used = servers.count('linked', 'dedicated');
  const detail = `Pool ${databaseName}/${userName} has ${used} of ${settings.poolSize} server connections in use.`;
  return errors.queryWaitTimeout(waitedMs, detail);
}

/** The longest idle is first. What min_pool_size asks for stays, unless it has come to its age. */
function closeSpareServers(pool: Pool, nowMs: number): void {
  const { serverIdleTimeoutMs, minPoolSize } = pool.settings;
  let spare = pool.servers.alive - minPoolSize;
  for (const server of pool.servers.idle) {
    if (serverIdleTimeoutMs > 0 && spare > 0 && nowMs - server.times.stateSinceMs >= serverIdleTimeoutMs) {
      server.close('idle_timeout');
      spare--;
    } else if (pool.retirement.isLifeOver(server, nowMs)) {
      server.close('lifetime');
      spare--;
    }
  }
}

function closeSilentServers(pool: Pool, settings: Settings, nowMs: number): void {
  const { serverConnectTimeoutMs, serverCloseTimeoutMs, abandonedQueryTimeoutMs, serverRecoveryTimeoutMs } = settings;
  for (const server of pool.servers.in('connecting')) {
    if (serverConnectTimeoutMs > 0 && nowMs - server.times.stateSinceMs >= serverConnectTimeoutMs) {
      server.close('connect_timeout');
    }
  }
  for (const state of ANSWERING) {
    for (const server of pool.servers.in(state)) {
      if (serverConnectTimeoutMs > 0 && nowMs - server.times.stateSinceMs >= serverConnectTimeoutMs) {
        server.close('not_answering');
      }
    }
  }
  for (const server of pool.servers.in('recovering')) {
    server.recovery?.checkDeadlines(nowMs, abandonedQueryTimeoutMs, serverRecoveryTimeoutMs);
  }
  for (const server of pool.servers.in('closing')) {
    if (nowMs - server.times.stateSinceMs >= serverCloseTimeoutMs) server.destroy();
  }
}

/** A cancel that overtakes its query on the way hits an idle backend and is lost: what still runs is cancelled again. */
function repeatCancels(pool: Pool, nowMs: number): void {
  const isDue = (server: ServerConnection): boolean =>
    nowMs - server.cancelAskedAtMs >= CANCEL_AGAIN_MS && !pool.cancels.has(server);
  for (const server of pool.servers.in('recovering')) {
    if (server.recovery?.needsCancel === true && isDue(server)) server.needCancel();
  }
  for (const server of pool.servers.in('closing')) {
    if (!server.ledger.idle && isDue(server)) server.needCancel();
  }
}
