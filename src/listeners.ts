/** Everything that the pooler listens on: addresses, a Unix socket, or the sockets that it was started with. */
import type { Logger } from './base/logger.ts';
import type { Settings } from './config/settings.ts';
import { Listener } from './net/listener.ts';
import type { SocketHandle } from './net/socket-binding.ts';
import { UnixListener } from './net/unix-listener.ts';

export interface PoolerAddress {
  readonly host: string;
  readonly port: number;
}

export class Listeners {
  readonly #log: Logger;
  readonly #onConnection: (connection: SocketHandle, unixPort: number | null) => void;
  readonly #listeners: Listener[] = [];
  #unixListener: UnixListener | null = null;

  /** `onConnection` is told the port in the name of a Unix socket; null for a connection by TCP. */
  constructor(log: Logger, onConnection: (connection: SocketHandle, unixPort: number | null) => void) {
    this.#log = log;
    this.#onConnection = onConnection;
  }

  /** In the order of listen_addr. */
  get addresses(): readonly PoolerAddress[] {
    return this.#listeners.flatMap(({ address }) => (address === null ? [] : [address]));
  }

  /** For people to read. */
  get words(): readonly string[] {
    const words = this.#listeners.map(({ address, path }) =>
      address === null ? (path ?? '') : `${address.host}:${address.port}`,
    );
    return this.#unixListener === null ? words : [...words, this.#unixListener.path];
  }

  /** On what the settings say, or, if there are any, on `sockets` instead (descriptors). */
  async listen(settings: Settings, sockets: readonly number[]): Promise<void> {
    if (sockets.length > 0) await this.#listenOnSockets(settings, sockets);
    else await this.#listenUnixSocket(settings, await this.#listenOnAddresses(settings));
  }

  /** Resolves when the addresses are free; Unix sockets stay. */
  async closeAddresses(): Promise<void> {
    await Promise.all(this.#listeners.filter(({ path }) => path === null).map((listener) => listener.close()));
  }

  /** Closes the Unix sockets, too. */
  async close(): Promise<void> {
    await Promise.all([this.#unixListener?.close(), ...this.#listeners.map((listener) => listener.close())]);
  }

  async #listenOnSockets({ listenBacklog: backlog, listenPort }: Settings, sockets: readonly number[]): Promise<void> {
    for (const fd of sockets) {
      const listener: Listener = new Listener(
        { fd, backlog },
        (connection) => this.#onConnection(connection, listener.address === null ? listenPort : null),
        (error) => this.#log.error({ descriptor: fd, error: error.message }, 'listening socket failed'),
      );
      await listener.listen();
      this.#listeners.push(listener);
    }
  }

  /** Returns the port, which the system may have chosen. */
  async #listenOnAddresses({ listenAddr, listenPort, listenBacklog, soReuseport }: Settings): Promise<number> {
    let port = listenPort;
    for (const host of listenAddr.flatMap((address) => (address === '*' ? ['0.0.0.0', '::'] : [address]))) {
      const listener = new Listener(
        { host, port, backlog: listenBacklog, ipv6Only: true, reusePort: soReuseport },
        (connection) => this.#onConnection(connection, null),
        (error) => this.#log.error({ host, error: error.message }, 'listening socket failed'),
      );
      try {
        await listener.listen();
      } catch (error) {
        // A machine without IPv6 is no reason not to serve IPv4, unless IPv6 was asked for by name.
        if (host === '::' && listenAddr.includes('*') && isWithoutIpv6(error)) {
          this.#log.warn({ error: String(error) }, 'IPv6 is not available');
          continue;
        }
        throw error;
      }
      this.#listeners.push(listener);
      // Several addresses share the port that the system chose for the first.
      port = listener.address?.port ?? port;
    }
    return port;
  }

  /** Its name holds the port. */
  async #listenUnixSocket(settings: Settings, port: number): Promise<void> {
    const { unixSocketDir: folder, unixSocketMode: mode, unixSocketGroup: group, listenBacklog } = settings;
    if (folder === null) return;
    const listener = new UnixListener(
      { folder, port, mode, group, backlog: listenBacklog },
      (connection) => this.#onConnection(connection, port),
      (error) => this.#log.error({ path: listener.path, error: error.message }, 'listening socket failed'),
    );
    await listener.listen();
    this.#unixListener = listener;
  }
}

function isWithoutIpv6(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
}
