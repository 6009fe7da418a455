/** Says at start whether the system's limit of descriptors allows what the configuration promises. */
import { readFileSync } from 'node:fs';
import type { Logger } from './base/logger.ts';
import type { Config } from './config/config.ts';

/** Listeners, log, epoll, DNS, files that are read now and then. */
const OWN_DESCRIPTORS = 50;

export function reportDescriptorLimit(config: Config, log: Logger): void {
  const limit = descriptorLimit();
  const needed = neededDescriptors(config);
  if (limit === null) {
    log.info({ needed }, 'descriptors needed; the limit is not known');
  } else if (limit < needed) {
    log.warn({ limit, needed }, `descriptor limit ${limit} is below max_client_conn and servers (${needed})`);
  } else {
    log.info({ limit, needed }, `descriptor limit ${limit} allows max_client_conn and servers (${needed})`);
  }
}

/** Clients, logins in progress, and one full pool for each database entry. */
function neededDescriptors({ settings, databases, fallbackDatabase }: Config): number {
  const entries = fallbackDatabase === null ? [...databases.values()] : [...databases.values(), fallbackDatabase];
  const servers = entries.reduce(
    (sum, database) =>
      sum + (database.poolSize ?? settings.defaultPoolSize) + (database.reservePoolSize ?? settings.reservePoolSize),
    0,
  );
  const logins = settings.maxLoginClients || Math.ceil(settings.maxClientConn / 2);
  return settings.maxClientConn + logins + servers + OWN_DESCRIPTORS;
}

/** The soft limit of this process, which Node has raised to the hard one at start; null where Linux' /proc is missing. */
export function descriptorLimit(): number | null {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    if (line?.[1] === undefined) return null;
    return line[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line[1]);
  } catch {
    return null;
  }
}
