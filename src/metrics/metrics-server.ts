/**
 * The HTTP server for Prometheus and for health checks: the one place besides `net/` that has sockets, for they are
 * `node:http`'s. It knows the pooler by a snapshot and one word, and no client of it by anything.
 *
 * Whoever can reach it must not be able to hurt the pooler: connections, headers, the time that a request or an answer
 * takes and the processor time spent on pages are all bounded.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { PoolerSnapshot } from '../pool/snapshot.ts';
import { PrometheusMetrics } from './prometheus-metrics.ts';

export interface MetricsServerOptions {
  readonly environment: Environment;
  readonly log: Logger;
  /** An address or a name; `*` is every address. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly snapshot: () => PoolerSnapshot;
  /** Whether clients are accepted: the answer of `/readyz`. */
  readonly isReady: () => boolean;
  /** Only tests have others. */
  readonly limits?: Partial<MetricsServerLimits>;
}

/** What bounds whoever asks. Times in milliseconds. */
export interface MetricsServerLimits {
  readonly connections: number;
  readonly headerBytes: number;
  readonly requestsPerConnection: number;
  /** For a request from its first to its last byte, and for a connection to send that first one. */
  readonly requestMs: number;
  /** From the request to the last byte of the answer. */
  readonly answerMs: number;
  readonly keepAliveMs: number;
  /** How often Node looks for requests that take too long. */
  readonly checkMs: number;
  /** How much of a second may be spent on pages; after it the last one is served again. */
  readonly pagesMs: number;
}

const LIMITS: MetricsServerLimits = {
  connections: 64,
  headerBytes: 8192,
  requestsPerConnection: 100,
  requestMs: 5000,
  answerMs: 10_000,
  keepAliveMs: 5000,
  checkMs: 1000,
  pagesMs: 200,
};

const PAGE_WINDOW_MS = 1000;

const PLAIN = 'text/plain; charset=utf-8';

export class MetricsServer {
  readonly #options: MetricsServerOptions;
  readonly #limits: MetricsServerLimits;
  readonly #metrics: PrometheusMetrics;
  readonly #server: Server;
  /** The last page, or the one that is being made. */
  #page: Promise<Buffer> | null = null;
  #isRendering = false;
  #windowStartMs = 0;
  #spentMs = 0;

  /** Opens nothing. */
  constructor(options: MetricsServerOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#metrics = new PrometheusMetrics(options.environment);
    const { headerBytes, requestMs, keepAliveMs, checkMs, connections, requestsPerConnection } = this.#limits;
    this.#server = createServer(
      {
        maxHeaderSize: headerBytes,
        requestTimeout: requestMs,
        keepAliveTimeout: keepAliveMs,
        connectionsCheckingInterval: checkMs,
      },
      (request, response) => this.#onRequest(request, response),
    );
    this.#server.maxConnections = connections;
    this.#server.maxRequestsPerSocket = requestsPerConnection;
    // Out of descriptors, mostly: it goes on when there are some again.
    this.#server.on('error', (error) => {
      if (this.#server.listening) options.log.warn({ error: error.message }, 'metrics socket failed');
    });
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES, EADDRNOTAVAIL …). */
  async listen(): Promise<void> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, ...(host === '*' ? {} : { host }) }, () => {
        this.#server.removeListener('error', reject);
        resolve();
      });
    });
  }

  /** Where it listens; null while it does not. */
  get address(): { readonly host: string; readonly port: number } | null {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? null : { host: address.address, port: address.port };
  }

  /** Ends every connection. Resolves when the port is free. May be called again. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const timer = this.#options.environment.startTimer(this.#limits.answerMs, () => response.destroy());
    response.on('close', () => timer.cancel());
    const [path] = (request.url ?? '').split('?', 1);
    if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') {
      answer(response, 404, PLAIN, 'not found: there are /metrics, /healthz and /readyz\n');
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      answer(response, 405, PLAIN, 'only GET and HEAD\n');
    } else if (path === '/metrics') {
      void this.#onScrape(response);
    } else if (path === '/healthz') {
      // Whoever answers is alive.
      answer(response, 200, PLAIN, 'ok\n');
    } else {
      this.#onReadiness(response);
    }
  }

  /**
   * Ready is who accepts clients, whether PostgreSQL is up or not: all poolers in front of one PostgreSQL would become
   * unready at once, and its clients would get a refused connection where the pooler lets them wait or tells them why.
   */
  #onReadiness(response: ServerResponse): void {
    if (this.#options.isReady()) answer(response, 200, PLAIN, 'ok\n');
    else answer(response, 503, PLAIN, 'not accepting clients\n');
  }

  async #onScrape(response: ServerResponse): Promise<void> {
    try {
      answer(response, 200, this.#metrics.contentType, await this.#currentPage());
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'metrics could not be collected');
      answer(response, 500, PLAIN, 'metrics could not be collected\n');
    }
  }

  /** A new page, unless one is being made, or too much time went into pages lately. */
  #currentPage(): Promise<Buffer> {
    const nowMs = this.#options.environment.now();
    if (nowMs - this.#windowStartMs >= PAGE_WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#spentMs = 0;
    }
    const mayRender = !this.#isRendering && this.#spentMs < this.#limits.pagesMs;
    if (this.#page === null || mayRender) this.#page = this.#render(nowMs);
    return this.#page;
  }

  async #render(startMs: number): Promise<Buffer> {
    this.#isRendering = true;
    try {
      return Buffer.from(await this.#metrics.render(this.#options.snapshot()));
    } finally {
      this.#isRendering = false;
      this.#spentMs += this.#options.environment.now() - startMs;
    }
  }
}

/** A response that was destroyed meanwhile takes it and does nothing. */
function answer(response: ServerResponse, status: number, contentType: string, body: string | Buffer): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(body);
}
