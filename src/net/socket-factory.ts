/**
 * Makes transports out of TCP sockets, accepted and dialed ones. It is the one file that knows how an accepted socket is
 * made to read into given memory, which Node offers only for dialed ones.
 */
import { connect, type NetConnectOpts, type OnReadOpts, Socket } from 'node:net';
import type { SocketAddress } from '../base/environment.ts';
import type { Transport, TransportHandler } from '../base/transport.ts';
import { DirectWriter } from './direct-writer.ts';
import { PlainTransport } from './plain-transport.ts';
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

/** What this file needs of a socket that Node does not declare. */
interface SocketWithHandle {
  _handle: unknown;
}

/** See `StreamTransport`: with this each write that waits is followed by a 'drain'. */
const STREAM_HIGH_WATER_MARK = 1;

export class SocketFactory {
  readonly #options: SocketFactoryOptions;
  readonly #writer: DirectWriter | null;
  /** Every plain client reads into this one: its bytes are copied or gone when the callback returns. */
  readonly #clientMemory = new ReadBuffer();

  constructor(options: SocketFactoryOptions) {
    this.#options = options;
    this.#writer = options.direct ? DirectWriter.create() : null;
  }

  /** Whether sockets are written to directly (else through Node's streams). */
  get isDirect(): boolean {
    return this.#writer !== null;
  }

  /**
   * Takes over `shell`, a socket as `net.Server` with `pauseOnConnect` hands it out: unread. The handle moves to a socket
   * that has `onread`; the shell is destroyed, or the server would count it for ever and never close.
   */
  accept(shell: Socket, handler: TransportHandler): Transport {
    const remote = { host: shell.remoteAddress ?? '', port: shell.remotePort ?? 0 };
    const owner = shell as unknown as SocketWithHandle;
    const handle = owner._handle;
    owner._handle = null;
    shell.destroy();
    if (this.#writer === null) {
      const socket = this.#adopt(handle, { highWaterMark: STREAM_HIGH_WATER_MARK });
      return new StreamTransport(socket, handler, remote);
    }
    const socket = this.#adopt(handle, { onread: PlainTransport.onread(this.#clientMemory, false) });
    const { poison } = this.#options;
    return new PlainTransport(
      socket,
      { writer: this.#writer, readBuffer: this.#clientMemory, poison },
      handler,
      remote,
    );
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

  #adopt(handle: unknown, options: { onread?: OnReadOpts; highWaterMark?: number }): Socket {
    // `handle` is an option of the constructor that Node's types leave out.
    return new Socket({ handle, allowHalfOpen: true, ...options } as ConstructorParameters<typeof Socket>[0]);
  }
}
