/** What npm would publish: packed, installed without development packages in an empty folder, run and imported there. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const cluster = sharedCluster(18);
let folder: string;
let database: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-package-'));
  database = await cluster.createDatabase();
  // `npm test` has built dist/; packing must not build it again under the other tests' feet.
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: PROJECT });
  const [tarball] = await readdir(folder);
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  await run('npm', ['install', '--omit=dev', '--omit=optional', '--no-audit', '--no-fund', join(folder, tarball!)], {
    cwd: folder,
  });
  await writeFile(join(folder, 'users.txt'), `"alice" "${users.alice.password}"\n`);
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Starts `command`, waits for the first line that says where it listens, and asks it a question. */
async function ask(command: string, args: readonly string[], address: RegExp): Promise<unknown> {
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  try {
    let port: string | undefined;
    for await (const line of createInterface({ input: child.stdout })) {
      port = address.exec(line)?.[1];
      if (port !== undefined) break;
    }
    const { password } = users.alice;
    const client = new Client({ host: '127.0.0.1', port: Number(port), user: 'alice', password, database });
    await client.connect();
    const { rows } = await client.query<{ name: string }>('SELECT current_database() AS name');
    await client.end();
    return rows[0]?.name;
  } finally {
    child.kill('SIGTERM');
    expect(await gone).toBe(0);
  }
}

describe('the package', () => {
  test('holds the program, the library with its types, the example, and nothing of the tests', async () => {
    const files = await readdir(join(folder, 'node_modules', 'tsbouncer'), { recursive: true });
    expect(files).toEqual(expect.arrayContaining(['dist/main.js', 'dist/pooler.js', 'dist/pooler.d.ts', 'LICENSE']));
    expect(files).toContain('pgbouncer.example.yaml');
    expect(files.filter((file) => /^(?:src|test|bench|docs)\b/.test(file))).toEqual([]);
  });

  test('runs the program', async () => {
    const config = [
      'pgbouncer: { listen_port: 0, pool_mode: transaction, auth_type: scram-sha-256, auth_file: users.txt }',
      `databases: { "${database}": { host: ${cluster.host}, port: ${cluster.port} } }`,
    ];
    await writeFile(join(folder, 'my.yaml'), config.join('\n'));
    const program = join(folder, 'node_modules', '.bin', 'tsbouncer');
    expect(await ask(program, ['my.yaml'], /"addresses":\["127\.0\.0\.1:(\d+)"\]/)).toBe(database);
  });

  test('is imported as a library', async () => {
    const script = `
      import { createPooler } from 'tsbouncer';
      const pooler = await createPooler({
        pgbouncer: { listen_port: 0, pool_mode: 'transaction', auth_type: 'md5', auth_file: 'users.txt', log_level: 'error' },
        databases: { '${database}': { host: '${cluster.host}', port: ${cluster.port} } },
      });
      process.on('SIGTERM', () => pooler.close());
      console.log('port ' + pooler.address.port);`;
    await writeFile(join(folder, 'library.js'), script);
    expect(await ask(process.execPath, ['library.js'], /^port (\d+)$/)).toBe(database);
  });
});
