/** The program as a service: what systemd hands over and hears, another user, the files that say that it runs. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { configurationOf } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { type PoolerProcess, poolerProcess, runProgram } from './pooler-process.ts';

const cluster = sharedCluster(18);
const GONE = { code: 0, signal: null };

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-service-'));
  // Another user must find what is in it.
  chmodSync(path, 0o777);
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** A `systemd-notify` that writes down what it is told; its variables. */
function fakeNotify(extra: Readonly<Record<string, string>> = {}) {
  const path = folder();
  const said = join(path, 'said');
  writeFileSync(join(path, 'systemd-notify'), `#!/bin/sh\nprintf '%s\\n' "$*" >> ${said}\n`, { mode: 0o755 });
  const variables = { PATH: `${path}:${process.env['PATH'] ?? ''}`, NOTIFY_SOCKET: '/nowhere', ...extra };
  return { variables, said: () => (existsSync(said) ? readFileSync(said, 'utf8').trim().split('\n') : []) };
}

async function reloaded(pool: PoolerProcess): Promise<void> {
  const count = (): number => pool.log.filter((line) => line.includes('"reloaded')).length;
  const before = count();
  pool.signal('SIGHUP');
  while (count() === before) await (await pool.raw()).leave();
}

it('tells systemd that it is ready, reloads, is alive, and stops', async () => {
  const { variables, said } = fakeNotify({ WATCHDOG_USEC: '200000' });
  const pool = await poolerProcess({ cluster }, 0, { variables });
  const client = await pool.raw();
  while (!said().includes('WATCHDOG=1')) await client.query('select 1');
  await reloaded(pool);
  while (said().filter((line) => line.startsWith('READY=1')).length < 2) await client.query('select 1');
  await client.leave();
  pool.signal('SIGTERM');
  expect(await pool.ended).toEqual(GONE);
  const lines = said().filter((line) => line !== 'WATCHDOG=1');
  expect(lines[0]).toBe('READY=1 STATUS=serving');
  expect(lines[1]).toMatch(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
  expect(lines[2]).toBe('READY=1 STATUS=serving');
});

it('starts without systemd-notify, and says so once', async () => {
  const variables = { PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere' };
  const pool = await poolerProcess({ cluster }, 0, { variables });
  await reloaded(pool);
  expect(pool.log.filter((line) => line.includes('systemd cannot be told'))).toHaveLength(1);
});

/** A socket that nobody accepts from but those who are given it: ours is closed when they have it. */
async function listening(): Promise<{ readonly server: Server; readonly fd: number; readonly port: number }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { _handle: handle } = server as unknown as { readonly _handle: { readonly fd: number } };
  const address = server.address();
  return { server, fd: handle.fd, port: typeof address === 'object' && address !== null ? address.port : 0 };
}

it('is restarted on a socket that it was given, without one connection that is refused', async () => {
  const { server, fd, port } = await listening();
  const database = await cluster.createDatabase();
  const path = join(folder(), 'pooler.yaml');
  writeFileSync(path, JSON.stringify(configurationOf({ cluster, listen_port: 1, pool_mode: 'transaction' }, database)));
  // Both have the socket; each begins when it is told to.
  const first = await runProgram([path], 0, { socket: fd });
  const second = await runProgram([path], 0, { socket: fd });
  server.close();
  const start = ({ process: child }: typeof first): Promise<void> =>
    new Promise((resolve) => {
      child.stdout!.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('"listening"')) resolve();
      });
      child.stdin!.end('go\n');
    });
  await start(first);
  const phase = { isOver: false };
  let served = 0;
  let told = 0;
  const load = async (): Promise<void> => {
    while (!phase.isOver) {
      // A connection that were refused would reject here.
      const client = await TcpClient.connect({ host: '127.0.0.1', port });
      client.send(bytes.startup({ user: 'dave', database }), bytes.query('select 1'), bytes.terminate);
      const messages = await client.rest();
      if (messages.some(({ type }) => type === 'D')) served++;
      else if (messages.some(({ type, body }) => type === 'E' && errorFields(body)['C'] === '57P01')) told++;
      else throw new Error(`neither served nor told: ${messages.map(({ type }) => type).join('')}`);
      await client.drop();
    }
  };
  const clients = [load(), load(), load(), load()];
  await reach(() => served > 50);
  await start(second);
  first.process.kill('SIGTERM');
  expect(await first.ended).toEqual(GONE);
  const before = served;
  await reach(() => served > before + 50);
  phase.isOver = true;
  await Promise.all(clients);
  expect(told).toBeLessThan(served);
  second.process.kill('SIGTERM');
  expect(await second.ended).toEqual(GONE);
});

it('becomes another user when it listens, and takes its files along', async () => {
  const place = folder();
  const [pidfile, logfile] = [join(place, 'pid'), join(place, 'log')];
  const path = join(place, 'pooler.yaml');
  const pgbouncer = { listen_port: 0, auth_type: 'trust', user: 'nobody', pidfile, logfile };
  writeFileSync(path, JSON.stringify({ pgbouncer, databases: { app: { host: cluster.host, port: cluster.port } } }));
  const program = await runProgram([path]);
  if (process.getuid?.() !== 0) {
    expect((await program.ended).code).toBe(1);
    expect(program.stderr()).toContain('only root can become user nobody');
    return;
  }
  await reach(() => existsSync(logfile) && readFileSync(logfile, 'utf8').includes('running as user nobody'));
  const pid = Number(readFileSync(pidfile, 'utf8'));
  expect(pid).toBe(program.process.pid);
  expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\s+(?!0\b)(\d+)\s+\1\s+\1\s+\1$/m);
  const second = await runProgram([path]);
  expect((await second.ended).code).toBe(1);
  expect(second.stderr()).toContain(`another tsbouncer is running with process id ${pid}`);
  program.process.kill('SIGHUP');
  await reach(() => readFileSync(logfile, 'utf8').includes('reloaded'));
  program.process.kill('SIGTERM');
  expect(await program.ended).toEqual(GONE);
  expect(existsSync(pidfile)).toBe(false);
});

/** Resolves when it is so; looks again after each turn of the event loop. */
async function reach(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
