/**
 * Who can be at the other end of a Unix socket. Node has no SO_PEERCRED; but in a folder that only our own user can enter,
 * nobody else can connect (root can, who needs no password anywhere).
 */
import { statSync } from 'node:fs';
import { userInfo } from 'node:os';

/** The name of our own user if `folder` is his and has mode 0700; else null. */
export function onlyUserOf(folder: string): string | null {
  try {
    const { uid, mode } = statSync(folder);
    return uid === process.geteuid?.() && (mode & 0o777) === 0o700 ? userInfo().username : null;
  } catch {
    return null; // no such folder, or a user without a name
  }
}
