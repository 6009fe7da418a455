/**
 * Makes transports out of TCP sockets, accepted and dialed ones. It is the one file that knows how an accepted socket is
 * made to read into given memory, which Node offers only for dialed ones.
 */
import { connect, type NetConnectOpts, type OnReadOpts, Socket } from 'node:net';
import type { SocketAddress } from '../base/environment.ts';
import type { Transport, TransportHandler } from '../base/transport.ts';
import { DirectWriter } from './direct-writer.ts';
import type { AcceptedHandle } from './listener.ts';
import { PlainTransport, type PlainTransportOptions } from './plain-transport.ts';
import { ReadBuffer } from './read-buffer.ts';
import { StreamTransport } from './stream-transport.ts';

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
  readonly #options: SocketFactoryOptions;
  readonly #writer: DirectWriter | null;
  /** What plain clients share: they all read into one memory, whose bytes are copied or gone when the callback returns. */
  readonly #clients: { readonly options: PlainTransportOptions; readonly onread: OnReadOpts } | null;

  constructor(options: SocketFactoryOptions) {
    this.#options = options;
    this.#writer = options.direct ? DirectWriter.create() : null;
    this.#clients = this.#writer === null ? null : sharedMemory(this.#writer, options.poison);
  }

  /** Whether sockets are written to directly (else through Node's streams). */
  get isDirect(): boolean {
    return this.#writer !== null;
  }

  accept(connection: AcceptedHandle, handler: TransportHandler): Transport {
    const peer: { address?: string; port?: number } = {};
    connection.getpeername(peer);
    const remote = { host: peer.address ?? '', port: peer.port ?? 0 };
    if (this.#clients === null) {
      const socket = adopt(connection, { highWaterMark: STREAM_HIGH_WATER_MARK });
      return new StreamTransport(socket, handler, remote);
    }
    const { options, onread } = this.#clients;
    return new PlainTransport(adopt(connection, { onread }), options, handler, remote);
  }

  dial(address: SocketAddress, handler: TransportHandler): Transport {
    const { keepAlive, keepAliveDelayMs, poison } = this.#options;
    const common = {
      host: address.host,
      port: address.port,
      noDelay: true,
      keepAlive,
      keepAliveInitialDelay: keepAliveDelayMs,
      allowHalfOpen: true,
    };
    if (this.#writer === null) {
      const options = { ...common, highWaterMark: STREAM_HIGH_WATER_MARK } as NetConnectOpts;
      return new StreamTransport(connect(options), handler, address);
    }
    const readBuffer = new ReadBuffer();
    const socket = connect({ ...common, onread: PlainTransport.onread(readBuffer, true) });
    return new PlainTransport(socket, { writer: this.#writer, readBuffer, poison }, handler, address);
  }
}

function sharedMemory(writer: DirectWriter, poison: boolean): { options: PlainTransportOptions; onread: OnReadOpts } {
  const readBuffer = new ReadBuffer();
  return { options: { writer, readBuffer, poison }, onread: PlainTransport.onread(readBuffer, false) };
}

function adopt(handle: AcceptedHandle, options: { onread?: OnReadOpts; highWaterMark?: number }): Socket {
  // `handle` is an option of the constructor that Node's types leave out.
  return new Socket({ handle, allowHalfOpen: true, ...options } as ConstructorParameters<typeof Socket>[0]);
}
