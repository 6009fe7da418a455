/** How PostgreSQL calls a Unix socket: a folder stands where a host would, and the port is in the file's name. */
import { join } from 'node:path';

/** What the kernel takes, less its NUL. */
export const MAX_UNIX_PATH_BYTES = 107;

/** Whether a host is the folder of a Unix socket (libpq's `host=/run/postgresql`). */
export function isUnixFolder(host: string): boolean {
  return host.startsWith('/');
}

export function unixSocketPath(folder: string, port: number): string {
  return join(folder, `.s.PGSQL.${port}`);
}
