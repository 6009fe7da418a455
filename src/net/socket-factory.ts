/**
 * Makes transports out of sockets, accepted and dialed ones: direct ones where this Node lets us at the handle, else
 * by its streams.
 */
import { connect, type NetConnectOpts, Socket } from 'node:net';
import type { SocketAddress } from '../base/environment.ts';
import { type Transport, type TransportHandler, UNIX_ADDRESS } from '../base/transport.ts';
import { isUnixFolder, unixSocketPath } from '../base/unix-path.ts';
import { PlainTransport, type PlainTransportOptions } from './plain-transport.ts';
import { ReadBuffer } from './read-buffer.ts';
import { type Endpoint, SocketBinding, type SocketHandle } from './socket-binding.ts';
import { StreamTransport } from './stream-transport.ts';
import { takeHandle } from './take-handle.ts';

export interface SocketFactoryOptions {
  /** False: public stream API only, as on a Node where the direct way is missing. */
  readonly direct: boolean;
  /** Overwrite each chunk after its callback (tests). */
  readonly poison: boolean;
  readonly keepAlive: boolean;
  /** Idle time before the first keepalive probe; 0 leaves it to the system. */
  readonly keepAliveDelayMs: number;
}

/** See `StreamTransport`: with this each write that waits is followed by a 'drain'. */
const STREAM_HIGH_WATER_MARK = 1;

export class SocketFactory {
  #options: SocketFactoryOptions;
  readonly #binding: SocketBinding | null;
  /** All plain clients share one: they read into one memory, whose bytes are copied or gone when the callback returns. */
  readonly #clientOptions: PlainTransportOptions | null;

  constructor(options: SocketFactoryOptions) {
    this.#options = options;
    this.#binding = options.direct ? SocketBinding.create() : null;
    this.#clientOptions = this.#binding === null ? null : this.#plain(this.#binding);
  }

  /** What a reload can change, for sockets that are made from now on. */
  configure(options: Pick<SocketFactoryOptions, 'keepAlive' | 'keepAliveDelayMs'>): void {
    this.#options = { ...this.#options, ...options };
  }

  /** `unixPort`: the port in the name of the Unix socket that it came by, for the log; null if it came by TCP. */
  accept(handle: SocketHandle, handler: TransportHandler, unixPort: number | null = null): Transport {
    const { keepAlive, keepAliveDelayMs } = this.#options;
    const peer: Endpoint = {};
    handle.getpeername?.(peer);
    handle.setNoDelay?.(true);
    if (keepAlive) handle.setKeepAlive?.(true, Math.round(keepAliveDelayMs / 1000));
    const remote =
      unixPort === null ? { host: peer.address ?? '', port: peer.port ?? 0 } : { host: UNIX_ADDRESS, port: unixPort };
    if (this.#clientOptions === null) {
      // `handle` is an option of the constructor that Node's types leave out: it must not stand in the call itself.
      const options = { handle, allowHalfOpen: true, highWaterMark: STREAM_HIGH_WATER_MARK };
      return new StreamTransport(new Socket(options), handler, remote);
    }
    const transport = new PlainTransport(this.#clientOptions, handler, remote);
    transport.attach(handle);
    return transport;
  }

  dial(address: SocketAddress, handler: TransportHandler): Transport {
    const { keepAlive, keepAliveDelayMs } = this.#options;
    const { host, port } = address;
    const options = {
      ...(isUnixFolder(host) ? { path: unixSocketPath(host, port) } : { host, port }),
      noDelay: true,
      keepAlive,
      keepAliveInitialDelay: keepAliveDelayMs,
      allowHalfOpen: true,
      highWaterMark: STREAM_HIGH_WATER_MARK,
    };
    const socket = connect(options as NetConnectOpts);
    if (this.#binding === null) return new StreamTransport(socket, handler, address);
    const transport = new PlainTransport(this.#plain(this.#binding), handler, address);
    // Node connects; when the connection stands, its socket is left behind and the handle is ours.
    transport.connecting(() => socket.destroy());
    let failure: Error | null = null;
    socket.once('error', (error) => {
      failure = error;
    });
    socket.once('close', () => transport.closedBeforeConnect(failure));
    socket.once('connect', () => {
      socket.removeAllListeners('close');
      transport.attach(takeHandle(socket)!);
      handler.onTransportConnect();
    });
    return transport;
  }

  #plain(binding: SocketBinding): PlainTransportOptions {
    return { binding, readBuffer: new ReadBuffer(), poison: this.#options.poison };
  }
}
