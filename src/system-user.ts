/** Becomes another user of the system, for good. It knows no setting. */
import { execFileSync } from 'node:child_process';
import { chownSync } from 'node:fs';
import type { Logger } from './base/logger.ts';
import { StartError } from './start-error.ts';

/**
 * Drops what root may do, if `user` is not null; `files` are given to that user first. Throws a StartError if it
 * cannot be done. That root goes on as root is said in the log.
 */
export function becomeUser(user: string | null, files: readonly string[], log: Logger): void {
  const isRoot = process.getuid?.() === 0;
  if (user === null) {
    if (isRoot) log.warn({}, 'running as root, which is not needed: the setting user names who to become');
    return;
  }
  const [userId = -1] = idsOf(user, '-u');
  const [groupId = -1] = idsOf(user, '-g');
  if (!isRoot) {
    if (userId === process.getuid?.()) return;
    throw new StartError(`only root can become user ${user}`);
  }
  for (const file of files) chownSync(file, userId, groupId);
  process.setgroups?.(idsOf(user, '-G'));
  process.setgid?.(groupId);
  process.setuid?.(userId);
  log.info({ user }, `running as user ${user}`);
}

/** Asked of the system, whose users may come from anywhere. */
function idsOf(user: string, option: '-u' | '-g' | '-G'): readonly number[] {
  try {
    const text = execFileSync('id', [option, '--', user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return text.trim().split(' ').map(Number);
  } catch {
    throw new StartError(`there is no user ${user}`);
  }
}
