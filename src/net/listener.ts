/** One TCP address that is listened on. It hands out sockets and knows nothing of what they say. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** A connection that nothing was read from; `SocketFactory` makes a transport of it. */
export type AcceptedSocket = Socket;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly backlog: number;
  /** With an IPv6 address: not IPv4 as well. */
  readonly ipv6Only: boolean;
  readonly keepAlive: boolean;
  readonly keepAliveDelayMs: number;
}

export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  #address: AddressInfo | null = null;

  /**
   * `onSocket` gets each connection unread. `onError` hears what goes wrong while listening (out of descriptors); the
   * listener goes on.
   */
  constructor(options: ListenerOptions, onSocket: (socket: AcceptedSocket) => void, onError: (error: Error) => void) {
    this.#options = options;
    const { keepAlive, keepAliveDelayMs } = options;
    this.#server = createServer(
      {
        pauseOnConnect: true,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive,
        keepAliveInitialDelay: keepAliveDelayMs,
      },
      onSocket,
    );
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
}
