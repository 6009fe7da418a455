/**
 * The pooler's side of TLS with clients, over real sockets and without a pooler: whoever connects is asked for nothing,
 * secured at once, and shows up here.
 */
import { onTestFinished } from 'vitest';
import type { Transport, TransportHandler } from '../../src/base/transport.ts';
import type { TransportSecurity } from '../../src/base/transport-security.ts';
import { configFromObject } from '../../src/config/load-config.ts';
import type { Settings } from '../../src/config/settings.ts';
import { Listener } from '../../src/net/listener.ts';
import { SocketFactory } from '../../src/net/socket-factory.ts';
import { TlsContexts } from '../../src/net/tls-contexts.ts';
import { Wire, type WireReader } from '../../src/net/wire.ts';

export interface TlsListenerOptions {
  readonly settings: Readonly<Record<string, unknown>>;
  /** False: over Node's streams instead of the handle. */
  readonly directIo?: boolean;
}

/** Begins a handshake; `first` is what an accepted connection began with. */
type Secure = (plain: Transport, handler: TransportHandler, first: Buffer | null) => Transport;

/** One connection, as its reader sees it. */
export class SecuredConnection implements WireReader {
  readonly received: Buffer[] = [];
  security: TransportSecurity | null = null;
  error: Error | null = null;
  isEnded = false;
  isClosed = false;
  drains = 0;
  wire!: Wire;
  readonly #secure: Secure;
  readonly #events: (() => void)[] = [];

  constructor(secure: Secure) {
    this.#secure = secure;
  }

  get text(): string {
    return Buffer.concat(this.received).toString();
  }

  /** Resolves when `isTrue`, which is looked at after each event. */
  async until(isTrue: (connection: this) => boolean): Promise<void> {
    while (!isTrue(this)) await new Promise<void>((resolve) => this.#events.push(resolve));
  }

  onConnected(): void {
    // A dialed one is told twice.
    if (this.wire.security === null) this.wire.secure((plain, handler) => this.#secure(plain, handler, null));
    this.security = this.wire.security;
    this.#tell();
  }

  onBytes(buffer: Buffer, start: number, end: number): number {
    if (this.security === null) {
      const first = Buffer.from(buffer.subarray(start, end));
      this.wire.secure((plain, handler) => this.#secure(plain, handler, first));
      return end;
    }
    this.received.push(Buffer.from(buffer.subarray(start, end)));
    this.#tell();
    return end;
  }

  onDrain(): void {
    this.drains++;
    this.#tell();
  }

  onEnd(): void {
    this.isEnded = true;
    this.#tell();
  }

  onClosed(error: Error | null): void {
    this.isClosed = true;
    this.error = error;
    this.#tell();
  }

  #tell(): void {
    for (const resolve of this.#events.splice(0)) resolve();
  }
}

export class TlsListener {
  readonly contexts: TlsContexts;
  readonly connections: SecuredConnection[] = [];
  readonly #listener: Listener;
  readonly #settings: Settings;
  #waiting: (() => void)[] = [];

  private constructor({ settings, directIo = true }: TlsListenerOptions) {
    this.#settings = configFromObject({ pgbouncer: settings, databases: { '*': 'host=127.0.0.1' } }).settings;
    this.contexts = new TlsContexts(this.#settings);
    const factory = new SocketFactory({ direct: directIo, poison: true, keepAlive: false, keepAliveDelayMs: 0 });
    this.#listener = new Listener(
      { host: '127.0.0.1', port: 0, backlog: 10, ipv6Only: true, reusePort: false },
      (handle) => {
        const connection = new SecuredConnection((plain, handler, first) =>
          this.contexts.accept(plain, handler, first),
        );
        connection.wire = new Wire(connection, (handler) => factory.accept(handle, handler));
        this.connections.push(connection);
        for (const resolve of this.#waiting.splice(0)) resolve();
      },
      () => {},
    );
  }

  static async open(options: TlsListenerOptions): Promise<TlsListener> {
    const opened = new TlsListener(options);
    await opened.#listener.listen();
    onTestFinished(async () => {
      for (const { wire } of opened.connections) wire.destroy();
      await opened.#listener.close();
    });
    return opened;
  }

  /** As a reload does it. */
  reload(): void {
    this.contexts.prepare(this.#settings)();
  }

  get port(): number {
    return this.#listener.address?.port ?? 0;
  }

  /** The one that came as the n-th (from 0). */
  async connection(index = 0): Promise<SecuredConnection> {
    while (this.connections.length <= index) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.connections[index]!;
  }
}
