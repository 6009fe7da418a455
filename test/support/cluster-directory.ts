/**
 * Where test clusters keep their data: in memory if there is enough of it, and removed by the next run if this one
 * was killed. It knows nothing of PostgreSQL.
 */
import { constants } from 'node:fs';
import { access, chmod, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'tsbouncer-test-';
const SHARED_MEMORY = '/dev/shm';

/** Docker gives a container 64 MB of shared memory by default: two clusters do not fit. */
const ENOUGH_BYTES = 2 ** 30;

async function hasRoom(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize >= ENOUGH_BYTES;
  } catch {
    return false;
  }
}

/** A new folder, in memory if possible. Its name holds our process id, so that others know when nobody needs it. */
export async function makeClusterDirectory(): Promise<string> {
  return makeDirectory((await hasRoom(SHARED_MEMORY)) ? SHARED_MEMORY : tmpdir());
}

/** A new folder for programs: shared memory is often mounted so that nothing in it can be executed. */
export async function makeProgramsDirectory(): Promise<string> {
  return makeDirectory(tmpdir());
}

async function makeDirectory(parent: string): Promise<string> {
  const directory = await mkdtemp(join(parent, `${PREFIX}${process.pid}-`));
  await chmod(directory, 0o711); // root lets another user run PostgreSQL
  return directory;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Removes what ended processes have left behind. */
export async function sweepClusterDirectories(): Promise<void> {
  for (const parent of [SHARED_MEMORY, tmpdir()]) {
    for (const name of await readdir(parent).catch(() => [])) {
      const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN;
      // That of another user stays: it is not ours to remove.
      if (pid > 0 && !isAlive(pid)) await rm(join(parent, name), { recursive: true, force: true }).catch(() => {});
    }
  }
}
