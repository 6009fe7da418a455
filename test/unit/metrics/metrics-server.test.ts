/** The HTTP server over real sockets: endpoints, clients that are slow, broken or many, and the end. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Environment, Timer } from '../../../src/base/environment.ts';
import type { LogFields, Logger } from '../../../src/base/logger.ts';
import { MetricsServer, type MetricsServerOptions } from '../../../src/metrics/metrics-server.ts';
import { NodeEnvironment } from '../../../src/net/node-environment.ts';
import type { PoolerSnapshot } from '../../../src/pool/snapshot.ts';
import { handMadePool, handMadeSnapshot } from './hand-made-snapshot.ts';
import { ManualEnvironment } from './manual-environment.ts';
import { parseTextFormat } from './text-format-parser.ts';

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Started {
  readonly server: MetricsServer;
  readonly port: number;
  readonly url: string;
  readonly log: { readonly level: string; readonly message: string; readonly fields: LogFields }[];
  /** How often a snapshot was taken. */
  snapshots: number;
  snapshot: () => PoolerSnapshot;
  isReady: boolean;
}

async function start(options: Partial<MetricsServerOptions> = {}): Promise<Started> {
  const log: Started['log'] = [];
  const at = (level: string) => (fields: LogFields, message: string) => void log.push({ level, fields, message });
  const logger: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const started = { log, snapshots: 0, snapshot: () => handMadeSnapshot, isReady: true };
  const server = new MetricsServer({
    environment: new NodeEnvironment(() => {
      throw new Error('nothing is dialed');
    }),
    log: logger,
    host: '127.0.0.1',
    port: 0,
    snapshot: () => {
      started.snapshots++;
      return started.snapshot();
    },
    isReady: () => started.isReady,
    ...options,
  });
  await server.listen();
  closers.push(() => server.close());
  const { port } = server.address!;
  return Object.assign(started, { server, port, url: `http://127.0.0.1:${port}` });
}

/** A connection that is gone at the end of the test, and whatever happens to it is no error of the test's. */
async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Sends `bytes` and resolves with all that comes until the server closes. */
async function exchange(port: number, bytes: string | Buffer): Promise<string> {
  const socket = await open(port);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = once(socket, 'close');
  socket.write(bytes);
  await closed;
  return Buffer.concat(chunks).toString('latin1');
}

const GET_METRICS = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n';

describe('endpoints', () => {
  it('/metrics is the page, in its content type', async () => {
    const { url } = await start();
    const response = await fetch(`${url}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const metrics = parseTextFormat(await response.text());
    expect(metrics.get('pgbouncer_users')?.samples[0]?.value).toBe(401);
  });

  it('/metrics is UTF-8 whose length is counted in bytes', async () => {
    const started = await start();
    started.snapshot = () => ({ ...handMadeSnapshot, pools: [{ ...handMadePool, database: 'größe 🐘' }] });
    const text = await (await fetch(`${started.url}/metrics`)).text();
    expect(parseTextFormat(text).get('tsbouncer_pools_size')?.samples[0]?.labels['database']).toBe('größe 🐘');
  });

  it('/metrics takes a new snapshot for each scrape', async () => {
    const started = await start();
    const users = async () => {
      const page = await (await fetch(`${started.url}/metrics`)).text();
      return parseTextFormat(page).get('pgbouncer_users')?.samples[0]?.value;
    };
    expect(await users()).toBe(401);
    started.snapshot = () => ({ ...handMadeSnapshot, users: 7 });
    expect(await users()).toBe(7);
  });

  it('/healthz is ok as long as somebody answers', async () => {
    const started = await start();
    started.isReady = false;
    const response = await fetch(`${started.url}/healthz`);
    expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
  });

  it('/readyz is 503 while no clients are accepted', async () => {
    const started = await start();
    started.isReady = false;
    expect((await fetch(`${started.url}/readyz`)).status).toBe(503);
    started.isReady = true;
    const response = await fetch(`${started.url}/readyz`);
    expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
    started.isReady = false;
    expect((await fetch(`${started.url}/readyz`)).status).toBe(503);
  });

  it.each(['/healthz', '/readyz'])('%s takes no snapshot: probes stay cheap', async (path) => {
    const started = await start();
    await fetch(`${started.url}${path}`);
    expect(started.snapshots).toBe(0);
  });

  it.each(['/', '/metric', '/metrics/', '/metrics/../metrics/x', '/%6detrics', '//metrics', '/METRICS'])(
    '%s is not there',
    async (path) => {
      const { port } = await start();
      const answer = await exchange(port, `GET ${path} HTTP/1.0\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 404 /);
      expect(answer).toContain('/metrics, /healthz and /readyz');
    },
  );

  it('a query string changes nothing', async () => {
    const { url } = await start();
    expect((await fetch(`${url}/healthz?probe=1?`)).status).toBe(200);
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s is not allowed', async (method) => {
    const { url } = await start();
    const response = await fetch(`${url}/metrics`, { method });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  it('HEAD is GET without the body', async () => {
    const { url } = await start();
    const response = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect([response.status, await response.text()]).toEqual([200, '']);
    expect(Number(response.headers.get('content-length'))).toBeGreaterThan(1000);
  });

  it('are served on every address with *', async () => {
    const { server } = await start({ host: '*' });
    expect(['::', '0.0.0.0']).toContain(server.address?.host);
  });

  it('tell whoever starts it why it cannot listen', async () => {
    const { port } = await start();
    const second = new MetricsServer({ ...OPTIONS, port });
    await expect(second.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(second.address).toBeNull();
    await second.close();
  });
});

function nothing(): void {}

const OPTIONS: MetricsServerOptions = {
  environment: new ManualEnvironment(),
  log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
  host: '127.0.0.1',
  port: 0,
  snapshot: () => handMadeSnapshot,
  isReady: () => true,
};

describe('a snapshot that cannot be taken', () => {
  it('is a 500 and a line in the log, and passes', async () => {
    const started = await start();
    started.snapshot = () => {
      throw new Error('a defect of ours');
    };
    expect((await fetch(`${started.url}/metrics`)).status).toBe(500);
    expect(started.log).toEqual([
      { level: 'error', message: 'metrics could not be collected', fields: { error: 'Error: a defect of ours' } },
    ]);
    expect((await fetch(`${started.url}/healthz`)).status).toBe(200);
    started.snapshot = () => handMadeSnapshot;
    expect((await fetch(`${started.url}/metrics`)).status).toBe(200);
  });
});

describe('broken requests', () => {
  const TLS_HELLO = Buffer.from('16030100c8010000c40303', 'hex');
  const PG_STARTUP = Buffer.from('0000000804d2162f', 'hex');

  it.each<[string, string | Buffer, RegExp]>([
    ['a request line that is none', 'metrics please\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a TLS hello', TLS_HELLO, /^HTTP\/1\.1 400 /],
    ['a PostgreSQL SSLRequest', PG_STARTUP, /^HTTP\/1\.1 400 /],
    ['NULs', Buffer.alloc(100), /^HTTP\/1\.1 400 /],
    ['a header without a colon', 'GET /metrics HTTP/1.1\r\nHost x\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['no host', 'GET /metrics HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['two lengths', 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a header of 20 KB', `GET / HTTP/1.1\r\nHost: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['a path of 20 KB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', /^$/],
  ])('%s', async (_what, bytes, expected) => {
    const started = await start();
    expect(await exchange(started.port, bytes)).toMatch(expected);
    expect((await fetch(`${started.url}/healthz`)).status).toBe(200);
    expect(started.snapshots).toBe(0);
  });

  it('an upgrade is answered as if it had not been asked for', async () => {
    const { port } = await start();
    const request = 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n';
    expect(await exchange(port, request)).toMatch(/^HTTP\/1\.1 200 [^]*ok\n$/);
  });

  it('a client that resets its connection in the middle of its request is nobody’s problem', async () => {
    const started = await start();
    const socket = await open(started.port);
    socket.write('GET /metrics HTTP/1.1\r\nHost');
    await new Promise((resolve) => setImmediate(resolve));
    socket.resetAndDestroy();
    await once(socket, 'close');
    expect((await fetch(`${started.url}/healthz`)).status).toBe(200);
    expect(started.log).toEqual([]);
  });
});

describe('slow clients', () => {
  const limits = { requestMs: 100, checkMs: 20 };

  it.each<[string, string]>([
    ['says nothing', ''],
    ['stops in its request line', 'GET /met'],
    ['stops in its header', 'GET /metrics HTTP/1.1\r\nHost: x\r\n'],
    ['promises a body and sends none', 'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n'],
  ])('one that %s is closed', async (_what, bytes) => {
    const { port, url } = await start({ limits });
    await exchange(port, bytes);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  it('one that sends its header byte by byte is closed', async () => {
    const { port } = await start({ limits });
    const socket = await open(port);
    const header = setInterval(() => socket.write('x'), 10);
    closers.push(() => clearInterval(header));
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\nX: ');
    socket.resume();
    await once(socket, 'close');
  });

  it('one that does not read its page is closed', async () => {
    const environment = new ManualEnvironment();
    const started = await start({ environment });
    // More than the kernel takes off our hands.
    const long = 'x'.repeat(500_000);
    started.snapshot = () => ({ ...handMadeSnapshot, pools: [{ ...handMadePool, database: long, user: long }] });
    expect((await (await fetch(`${started.url}/metrics`)).text()).length).toBeGreaterThan(15_000_000);
    const socket = await open(started.port);
    socket.write(GET_METRICS);
    await once(socket, 'readable');
    environment.fire(10_000);
    let received = 0;
    socket.on('data', (chunk: Buffer) => (received += chunk.length));
    await once(socket, 'close');
    expect(received).toBeLessThan(15_000_000);
  });

  it('one that asks for nothing more is told when it will be closed', async () => {
    const { url } = await start();
    expect((await fetch(`${url}/healthz`)).headers.get('keep-alive')).toBe('timeout=5, max=100');
  });

  it('too many are turned away, and make room when they go', async () => {
    const { port, url } = await start({ limits: { connections: 2 } });
    const [first, second, third] = [await open(port), await open(port), await open(port)];
    await once(third, 'close');
    first.destroy();
    second.destroy();
    const status = () => fetch(`${url}/healthz`).then((response) => response.status, String);
    await expect.poll(status, { timeout: 10_000 }).toBe(200);
  });

  it('one that asks too often in one connection has to make a new one', async () => {
    const { port } = await start({ limits: { requestsPerConnection: 3 } });
    const socket = await open(port);
    let answers = '';
    socket.on('data', (chunk: Buffer) => (answers += chunk.toString('latin1')));
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(5));
    const statuses = () => answers.match(/^HTTP\/1\.1 \d+/gm)?.map((line) => line.slice(9));
    await expect.poll(statuses, { timeout: 10_000 }).toEqual(['200', '200', '200', '503', '503']);
  });
});

describe('frequent scrapes', () => {
  it('get the last page again when too much time went into pages, until the second is over', async () => {
    const environment = new ManualEnvironment();
    const started = await start({ environment });
    started.snapshot = () => {
      environment.nowMs += 150;
      return { ...handMadeSnapshot, users: started.snapshots };
    };
    const users = async () => {
      const page = await (await fetch(`${started.url}/metrics`)).text();
      return parseTextFormat(page).get('pgbouncer_users')?.samples[0]?.value;
    };
    expect([await users(), await users(), await users(), await users()]).toEqual([1, 2, 2, 2]);
    environment.nowMs += 1000;
    expect([await users(), await users(), await users()]).toEqual([3, 4, 4]);
  });

  it('that come while a page is being made share it', async () => {
    const environment = new SlowEnvironment();
    const started = await start({ environment });
    const answer = exchange(
      started.port,
      GET_METRICS + GET_METRICS.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
    );
    await environment.untilPaused();
    environment.finish();
    expect((await answer).match(/^HTTP\/1\.1 200 /gm)).toHaveLength(2);
    expect(started.snapshots).toBe(1);
  });

  it('outlive whoever asked for the page and left', async () => {
    const environment = new SlowEnvironment();
    const started = await start({ environment });
    const socket = await open(started.port);
    socket.write(GET_METRICS);
    await environment.untilPaused();
    socket.resetAndDestroy();
    // The timer of the answer ends with its connection.
    await expect.poll(() => environment.timersOf(10_000), { timeout: 10_000 }).toBe(0);
    environment.finish();
    expect((await fetch(`${started.url}/metrics`)).status).toBe(200);
    expect(started.log).toEqual([]);
  });
});

/** One in which a page does not get done before `finish()`. */
class SlowEnvironment extends ManualEnvironment implements Environment {
  #isHeld = true;
  #onPause: (() => void) | null = null;

  override now(): number {
    return (this.nowMs += this.#isHeld ? 10 : 0);
  }

  override startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer {
    const timer = super.startTimer(delayMs, callback, repeat);
    if (delayMs === 0) this.#onPause?.();
    return timer;
  }

  timersOf(delayMs: number): number {
    return [...this.timers].filter((timer) => timer.delayMs === delayMs).length;
  }

  untilPaused(): Promise<void> {
    return new Promise((resolve) => {
      this.#onPause = resolve;
    });
  }

  finish(): void {
    this.#isHeld = false;
    this.fire(0);
  }
}

describe('the end', () => {
  it('closes connections in every state at once, and frees the port', async () => {
    const { server, port } = await start();
    const silent = await open(port);
    const half = await open(port);
    half.write('GET /metrics HTTP/1.1\r\nHost:');
    const idle = await open(port);
    idle.write(GET_METRICS);
    await once(idle, 'data');
    const all = [silent, half, idle].map((socket) => once(socket.resume(), 'close'));
    await server.close();
    await Promise.all(all);
    expect(server.address).toBeNull();
    const late = connect(port, '127.0.0.1');
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  it('does not wait for a page that is being made', async () => {
    const environment = new SlowEnvironment();
    const { server, port, log } = await start({ environment });
    const answer = exchange(port, GET_METRICS);
    await environment.untilPaused();
    await server.close();
    expect(await answer).toBe('');
    environment.finish();
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual([]);
    expect(environment.timers.size).toBe(0);
  });

  it('may come twice, or before the start', async () => {
    const { server } = await start();
    await Promise.all([server.close(), server.close()]);
    await new MetricsServer(OPTIONS).close();
  });

  it('is not here yet while the pooler drains: who asks is told so', async () => {
    const started = await start();
    started.isReady = false;
    started.snapshot = () => ({ ...handMadeSnapshot, state: 'draining', pools: [], databases: [], budgets: [] });
    const page = await (await fetch(`${started.url}/metrics`)).text();
    expect(parseTextFormat(page).get('tsbouncer_ready')?.samples[0]?.value).toBe(0);
    expect((await fetch(`${started.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${started.url}/healthz`)).status).toBe(200);
  });
});
