/** Debian's PgBouncer 1.18, to be compared with: started with a file, and gone with the test. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { SystemProcess } from './system-clients.ts';

/** It does not run as root, and whom it becomes must be able to read its files. */
const AS_NOBODY = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];

/** A folder of the test's own, which it and PgBouncer may read. */
export function sharedFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-beside-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  return folder;
}

/** A file of it. */
export function sharedFile(folder: string, name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode: 0o644 });
  return path;
}

/** Resolves when it serves; rejects with what it has said if it does not want to. */
export async function startPgBouncer(iniFile: string): Promise<SystemProcess> {
  const started = new SystemProcess('pgbouncer', [...AS_NOBODY, iniFile]);
  await started.complains('process up');
  return started;
}

/** Nobody listens there a moment later. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
