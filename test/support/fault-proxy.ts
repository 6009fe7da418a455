/**
 * A TCP proxy between a pooler and its PostgreSQL that can hold bytes back, let them go, and cut. It knows no protocol.
 * What is held is not read either, so its sender feels it.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface ProxiedConnection {
  readonly client: Socket;
  readonly server: Socket;
}

export class FaultProxy {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** How many connections came in all. */
  accepted = 0;
  /** How much each of them has sent to PostgreSQL. */
  readonly bytesToServer: number[] = [];
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #open = new Set<ProxiedConnection>();
  readonly #held = new Set<Socket>();
  #holdsNew = false;
  #refuses = false;
  #wishes: (() => void)[] = [];

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => this.#onConnection(client));
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FaultProxy(server, target);
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Resolves when `count` connections have come since the beginning. */
  async connected(count: number): Promise<void> {
    while (this.accepted < count) await new Promise<void>((resolve) => this.#wishes.push(resolve));
  }

  /** Resolves when no more than `count` connections are open. */
  async closed(count: number): Promise<void> {
    while (this.#open.size > count) await new Promise<void>((resolve) => this.#wishes.push(resolve));
  }

  /** Connections that come from now on pass nothing on to PostgreSQL until `release`. */
  holdNewConnections(): void {
    this.#holdsNew = true;
  }

  /** Nothing passes any more, in `direction`, on the connections that are open. */
  stall(direction: 'to server' | 'to client'): void {
    for (const { client, server } of this.#open) this.#hold(direction === 'to server' ? client : server);
  }

  /** What was held goes on. */
  release(): void {
    this.#holdsNew = false;
    for (const socket of this.#held) socket.resume();
    this.#held.clear();
  }

  /** Connections that come from now on are reset at once. */
  refuse(refuses: boolean): void {
    this.#refuses = refuses;
  }

  /** Ends every connection on the pooler's side; PostgreSQL sees the same. */
  cut(how: 'fin' | 'rst'): void {
    for (const { client, server } of this.#open) {
      if (how === 'rst') {
        client.resetAndDestroy();
        server.resetAndDestroy();
      } else {
        client.end();
        server.end();
      }
    }
  }

  /** Cuts when `count` more bytes have gone to the pooler, in the middle of whatever they are. */
  cutAfterBytesToClient(count: number, how: 'fin' | 'rst'): void {
    for (const { client, server } of this.#open) {
      let left = count;
      server.removeAllListeners('data');
      server.on('data', (chunk: Buffer) => {
        client.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) this.cut(how);
      });
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const { client, server } of this.#open) {
      client.destroy();
      server.destroy();
    }
    await closed;
  }

  #onConnection(client: Socket): void {
    const index = this.accepted++;
    this.bytesToServer.push(0);
    if (this.#refuses) {
      client.resetAndDestroy();
      this.#wake();
      return;
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const pair = { client, server };
    this.#open.add(pair);
    client.on('data', (chunk) => {
      this.bytesToServer[index] = this.bytesToServer[index]! + chunk.length;
    });
    forward(client, server);
    forward(server, client);
    for (const socket of [client, server]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#open.delete(pair);
        client.destroy();
        server.destroy();
        this.#wake();
      });
    }
    if (this.#holdsNew) this.#hold(client);
    else client.resume();
    this.#wake();
  }

  #hold(socket: Socket): void {
    socket.pause();
    this.#held.add(socket);
  }

  #wake(): void {
    for (const wake of this.#wishes.splice(0)) wake();
  }
}

function forward(from: Socket, to: Socket): void {
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
  from.on('end', () => to.end());
}
