/** One TCP address that is listened on. It hands out connections and knows nothing of what they say. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly backlog: number;
  /** With an IPv6 address: not IPv4 as well. */
  readonly ipv6Only: boolean;
  readonly keepAlive: boolean;
  readonly keepAliveDelayMs: number;
}

/** An accepted connection that nothing was read from, as libuv's wrapper has it; `SocketFactory` makes a transport of it. */
export interface AcceptedHandle {
  setNoDelay(enable: boolean): void;
  setKeepAlive(enable: boolean, delaySeconds: number): void;
  /** Fills in `address` and `port`; not 0 if the peer has gone already. */
  getpeername(out: { address?: string; port?: number }): number;
}

/** What Node does not declare: the listening handle, and what it calls for each connection. */
interface ServerInside {
  readonly _handle: { onconnection?: (status: number, connection: AcceptedHandle | undefined) => void } | null;
}

interface SocketInside {
  _handle: AcceptedHandle | null;
}

export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #onConnection: (connection: AcceptedHandle) => void;
  readonly #onError: (error: Error) => void;
  #address: AddressInfo | null = null;

  /**
   * `onConnection` gets each connection unread. `onError` hears what goes wrong while listening (out of descriptors); the
   * listener goes on.
   */
  constructor(
    options: ListenerOptions,
    onConnection: (connection: AcceptedHandle) => void,
    onError: (error: Error) => void,
  ) {
    this.#options = options;
    this.#onConnection = onConnection;
    this.#onError = onError;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (shell) => this.#onShell(shell));
    this.#server.on('error', onError);
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES, EADDRNOTAVAIL …). */
  async listen(): Promise<void> {
    const { host, port, backlog, ipv6Only } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, backlog, ipv6Only }, () => {
        this.#server.removeListener('error', reject);
        resolve();
      });
    });
    this.#address = this.#server.address() as AddressInfo;
    // Before Node wraps a connection in a socket that would be thrown away. Where this is missing, `#onShell` serves.
    const { _handle: listening } = this.#server as unknown as ServerInside;
    if (listening?.onconnection === undefined) return;
    listening.onconnection = (status, connection) => {
      if (connection === undefined) this.#onError(new Error(`accept failed (errno ${-status})`));
      else this.#accept(connection);
    };
  }

  /** Where it listens; the real port if 0 was asked for. */
  get address(): { readonly host: string; readonly port: number } {
    if (this.#address === null) throw new Error('not listening');
    return { host: this.#address.address, port: this.#address.port };
  }

  /** Accepts nothing more. Connections that were accepted stay. Resolves when the port is free. */
  close(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** The handle moves out of the shell, which is destroyed, or the server would count it for ever and never close. */
  #onShell(shell: Socket): void {
    const inside = shell as unknown as SocketInside;
    const handle = inside._handle;
    inside._handle = null;
    shell.destroy();
    if (handle !== null) this.#accept(handle);
  }

  #accept(connection: AcceptedHandle): void {
    const { keepAlive, keepAliveDelayMs } = this.#options;
    connection.setNoDelay(true);
    if (keepAlive) connection.setKeepAlive(true, Math.round(keepAliveDelayMs / 1000));
    this.#onConnection(connection);
  }
}
