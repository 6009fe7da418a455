/** The far end of a memory connection: it takes what comes, and queues what does not fit. */
import type { TransportHandler } from '../../src/base/transport.ts';
import type { ByteStream } from './byte-stream.ts';
import { MemoryTransport, type MemoryTransportOptions } from './memory-transport.ts';
import type { VirtualEnvironment } from './virtual-environment.ts';

export class MemoryStream implements ByteStream, TransportHandler {
  onData: (chunk: Buffer) => void = () => {};
  onEnd: () => void = () => {};
  onClose: () => void = () => {};
  onDrain: () => void = () => {};
  readonly transport: MemoryTransport;
  /** The other side has sent its FIN, or a RST. */
  ended = false;
  closed = false;
  closeError: Error | null = null;

  constructor(
    environment: VirtualEnvironment,
    local: MemoryTransportOptions,
    remote: { readonly address: string; readonly port: number },
  ) {
    this.transport = new MemoryTransport(environment, this, local, remote);
  }

  write(bytes: Buffer): void {
    this.transport.write(Buffer.from(bytes));
  }

  end(): void {
    this.transport.end();
  }

  destroy(): void {
    this.transport.destroy();
  }

  reset(): void {
    this.transport.reset();
  }

  pause(): void {
    this.transport.pause();
  }

  resume(): void {
    this.transport.resume();
  }

  onTransportConnect(): void {}

  onTransportData(buffer: Buffer, start: number, end: number): void {
    this.onData(Buffer.from(buffer.subarray(start, end)));
  }

  onTransportDrain(): void {
    this.onDrain();
  }

  onTransportEnd(): void {
    this.ended = true;
    this.onEnd();
  }

  onTransportClose(error: Error | null): void {
    this.ended = true;
    this.closed = true;
    this.closeError = error;
    this.onClose();
  }
}
