/** One address, of TCP or a Unix socket, that is listened on. It hands out connections and knows nothing of what they say. */
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { SocketHandle } from './socket-binding.ts';
import { takeHandle } from './take-handle.ts';

export type ListenerOptions = { readonly backlog: number } & (
  | TcpOptions
  | { readonly path: string }
  | { readonly fd: number }
);

interface TcpOptions {
  readonly host: string;
  readonly port: number;
  /** With an IPv6 address: not IPv4 as well. */
  readonly ipv6Only: boolean;
  /** Other processes may listen on the same port (Node.js 22.12). */
  readonly reusePort: boolean;
}

/** What Node does not declare: the listening handle, and what it calls for each connection. */
interface ServerInside {
  readonly _handle: { onconnection?: (status: number, connection: SocketHandle | undefined) => void } | null;
}

export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #onConnection: (connection: SocketHandle) => void;
  readonly #onError: (error: Error) => void;
  #address: AddressInfo | string | null = null;

  /**
   * `onConnection` gets each connection unread. `onError` hears what goes wrong while listening (out of descriptors); the
   * listener goes on.
   */
  constructor(
    options: ListenerOptions,
    onConnection: (connection: SocketHandle) => void,
    onError: (error: Error) => void,
  ) {
    this.#options = options;
    this.#onConnection = onConnection;
    this.#onError = onError;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (shell) => {
      const connection = takeHandle(shell);
      if (connection !== null) onConnection(connection);
    });
    this.#server.on('error', onError);
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES, EADDRNOTAVAIL …). */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options, () => {
        this.#server.removeListener('error', reject);
        resolve();
      });
    });
    this.#address = this.#server.address();
    // Before Node wraps a connection in a socket that would be thrown away. Where this is missing, it is done above.
    const { _handle: listening } = this.#server as unknown as ServerInside;
    if (listening?.onconnection === undefined) return;
    listening.onconnection = (status, connection) => {
      if (connection === undefined) this.#onError(new Error(`accept failed (errno ${-status})`));
      else this.#onConnection(connection);
    };
  }

  /** Where it listens; the real port if 0 was asked for. Null for a Unix socket, and before. */
  get address(): { readonly host: string; readonly port: number } | null {
    const address = this.#address;
    return address === null || typeof address === 'string' ? null : { host: address.address, port: address.port };
  }

  /** Of a Unix socket. */
  get path(): string | null {
    return typeof this.#address === 'string' ? this.#address : null;
  }

  /** Accepts nothing more. Connections that were accepted stay. Resolves when the port is free. */
  close(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
