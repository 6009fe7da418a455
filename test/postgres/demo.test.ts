import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { Logger } from '../../src/base/logger.ts';
import { configFromObject } from '../../src/config/load-config.ts';
import { type Demo, demoBanner, startDemo } from '../../src/demo.ts';
import { createPooler } from '../../src/pooler.ts';
import { makeClusterDirectory } from '../support/cluster-directory.ts';
import { itWith } from '../support/system-clients.ts';

const run = promisify(execFile);
const ignore = (): void => {};
const log: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

let directory: string;
let demo: Demo;

function start(): Promise<Demo> {
  return startDemo({ log, environment: { randomBytes }, directory });
}

beforeAll(async () => {
  directory = await makeClusterDirectory();
  demo = await start();
});

afterAll(async () => {
  await demo.stop();
  await rm(directory, { recursive: true });
});

it('is a config in the shape of the YAML file', () => {
  const server = { host: '127.0.0.1', port: expect.any(Number) };
  expect(demo.config).toEqual({
    pgbouncer: {
      listen_addr: '127.0.0.1',
      listen_port: 6432,
      pool_mode: 'transaction',
      auth_type: 'scram-sha-256',
      auth_file: join(directory, 'users.txt'),
      admin_users: 'postgres',
      http_port: 9127,
    },
    databases: { postgres: server, '*': server },
  });
  expect(() => configFromObject(demo.config)).not.toThrow();
});

it('has a password, in a file for nobody else, and lets nobody in without it', async () => {
  const { auth_file } = demo.config.pgbouncer;
  expect(demo.password).toMatch(/^[\w-]{24}$/);
  expect(await readFile(auth_file, 'utf8')).toBe(`"postgres" "${demo.password}"\n`);
  expect((await stat(auth_file)).mode & 0o777).toBe(0o600);
  const client = new Client({ ...demo.config.databases['postgres'], user: 'postgres', password: 'wrong' });
  await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
});

it('prints lines that can be pasted', async () => {
  const pooler = { host: '127.0.0.1', port: demo.config.databases['postgres']?.port ?? 0 };
  const banner = demoBanner(demo, { pooler, metrics: { host: '127.0.0.1', port: 9127 } });
  expect(banner).toContain(`  psql postgres://postgres:${demo.password}@127.0.0.1:${pooler.port}/postgres\n`);
  expect(banner).toContain('http://127.0.0.1:9127/metrics');
  const command = /^ +(node .*)$/m.exec(banner)?.[1] ?? '';
  const { stdout, stderr } = await run('/bin/sh', ['-c', command]);
  expect(stderr).toBe('');
  expect(stdout).toContain(`PostgreSQL ${demo.version}`);
});

itWith('psql')('has a console, where the printed line says', async () => {
  const { pgbouncer, databases } = demo.config;
  const pooler = await createPooler({ pgbouncer: { ...pgbouncer, listen_port: 0, http_port: 0 }, databases }, { log });
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  const banner = demoBanner(demo, { pooler: pooler.address, metrics: null });
  const command = /^ +(psql .*\/pgbouncer -c .*)$/m.exec(banner)?.[1] ?? '';
  const { stdout } = await run('/bin/sh', ['-c', command]);
  expect(stdout).toMatch(/^ database +\| +user +\| cl_active/);
  expect(stdout).toMatch(/^ pgbouncer \| pgbouncer \| +1 /m);
});

it('keeps its password from start to start, and does not start without it', async () => {
  const { password } = demo;
  await demo.stop();
  demo = await start();
  expect(demo.password).toBe(password);
  await demo.stop();

  await unlink(join(directory, 'users.txt'));
  for (let tries = 0; tries < 2; tries++) await expect(start()).rejects.toThrow(/users\.txt is gone/);
});
