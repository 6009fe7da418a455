/** Who may do what: two rights, and whom the settings give them. Names are compared whole, never as parts of others. */
import type { Settings } from '../config/settings.ts';

/** `admin` includes `stats`. */
export type ConsoleRight = 'admin' | 'stats';

/** Null for a user who has no business here. */
export function rightOf(user: string, settings: Pick<Settings, 'adminUsers' | 'statsUsers'>): ConsoleRight | null {
  if (settings.adminUsers.includes(user)) return 'admin';
  return settings.statsUsers.includes(user) ? 'stats' : null;
}

/** Whether somebody with `held` may do what needs `needed`. */
export function allows(held: ConsoleRight, needed: ConsoleRight): boolean {
  return held === 'admin' || needed === 'stats';
}
