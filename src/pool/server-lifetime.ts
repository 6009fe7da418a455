/** When a server connection has come to its age (server_lifetime). It closes none, and knows no pool. */
import type { PoolSettings } from '../config/pool-settings.ts';
import type { ServerConnection } from '../server/server-connection.ts';

export class ServerLifetime {
  #lastOverMs = 0;

  /** Whether `server` has lived for its time, and none was said to have shortly before. Who is told so closes it. */
  isOver(server: ServerConnection, nowMs: number, { serverLifetimeMs, poolSize }: PoolSettings): boolean {
    if (serverLifetimeMs === 0) return server.uses > 0;
    if (nowMs - server.times.connectedAtMs < serverLifetimeMs) return false;
    // A cohort that was opened together is not closed together.
    const gapMs = poolSize > 0 ? serverLifetimeMs / poolSize : 0;
    if (nowMs - this.#lastOverMs < gapMs) return false;
    this.#lastOverMs = nowMs;
    return true;
  }
}
