/** For whom the next server connection of a pool is opened: a choice over lists, which changes nothing. */
import type { ServerConnection } from '../server/server-connection.ts';
import { StartupSet } from '../server/startup-set.ts';
import type { Waiter } from './waiter.ts';

/** The set of the first who waits and has none of the servers that are `coming` to it; the empty one if all have. */
export function nextStartup(waiting: Iterable<Waiter>, coming: Iterable<ServerConnection>): StartupSet {
  const left = new Map<string, number>();
  for (const { startup } of coming) left.set(startup.key, (left.get(startup.key) ?? 0) + 1);
  for (const { startup } of waiting) {
    const count = left.get(startup.key) ?? 0;
    if (count === 0) return startup;
    left.set(startup.key, count - 1);
  }
  return StartupSet.NONE;
}
