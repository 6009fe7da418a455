/** Starting and stopping the whole pooler on real sockets, without a PostgreSQL. */
import { createServer, type ListenOptions, type Server } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { configFromObject } from '../../src/config/load-config.ts';
import { Listener } from '../../src/net/listener.ts';
import { createPooler, Pooler } from '../../src/pooler.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { RecordingLogger } from '../support/recording-logger.ts';

type Settings = Readonly<Record<string, unknown>>;

function configuration(settings: Settings): object {
  return { pgbouncer: { listen_port: 0, ...settings }, databases: { app: 'host=127.0.0.1 port=1' } };
}

/** Resolves to the port. */
async function listen(server: Server, options: ListenOptions): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    server.listen(options, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function start(settings: Settings): Promise<Pooler> {
  const pooler = await createPooler(configuration(settings), { log: new RecordingLogger() });
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  return pooler;
}

test('shutdown_timeout ends the wait that SIGTERM begins', async () => {
  const pooler = await start({ shutdown_timeout: 0.1 });
  const silent = await TcpClient.connect(pooler.address);
  await pooler.terminate();
  await silent.rest();
  await silent.drop();
});

test('with listen_addr * a port that is taken on IPv6 only is no missing IPv6: nothing starts', async () => {
  const other = createServer();
  onTestFinished(() => void other.close());
  const port = await listen(other, { host: '::', port: 0, ipv6Only: true });
  await expect(start({ listen_addr: '*', listen_port: port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  const again = createServer();
  onTestFinished(() => void again.close());
  expect(await listen(again, { host: '0.0.0.0', port })).toBe(port);
});

test('with listen_addr * a machine without IPv6 serves IPv4', async () => {
  const listening = vi.spyOn(Listener.prototype, 'listen');
  onTestFinished(() => listening.mockRestore());
  const pooler = new Pooler(configFromObject(configuration({ listen_addr: '*' })), { log: new RecordingLogger() });
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  const noIpv6 = Object.assign(new Error('no IPv6'), { code: 'EAFNOSUPPORT' });
  const real = listening.getMockImplementation();
  listening.mockImplementationOnce(real!).mockRejectedValueOnce(noIpv6);
  await pooler.start();
  expect(pooler.addresses).toEqual([{ host: '0.0.0.0', port: expect.any(Number) }]);
});

test('shutdown_delay: not ready any more, but clients are still let in for a while', async () => {
  const pooler = await start({ shutdown_delay: 0.2 });
  const done = pooler.waitForClients();
  expect(pooler.snapshot().state).toBe('draining');
  const client = await TcpClient.connect(pooler.address);
  await client.drop();
  await done;
  await expect(TcpClient.connect(pooler.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('shutdown_delay does not keep a close waiting', async () => {
  const pooler = await start({ shutdown_delay: 3600 });
  const done = pooler.waitForClients();
  await pooler.close();
  await done;
});
