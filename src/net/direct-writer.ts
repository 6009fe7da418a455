/**
 * Node's stream layer costs more than the system call that it wraps when a message is sixty bytes long. This file is the
 * way around it: one write straight to the socket's handle, which tells at once whether the kernel has taken everything.
 *
 * It rests on three names inside Node (`WriteWrap`, `streamBaseState`, `kLastWriteWasAsync`), the same from Node 20 to
 * 26. Where one of them is missing there is no writer, and `StreamTransport` serves instead, in public API only; both
 * run the same tests. What it saves is in `bench/README.md`.
 */

/** What libuv's wrapper of a TCP socket offers. Results are 0 or a negative errno. */
export interface SocketHandle {
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  readonly writeQueueSize: number;
  useUserBuffer(memory: Uint8Array): void;
}

export interface WriteOwner {
  /** A write that had to wait is done (0) or has failed (a negative errno). */
  onWriteDone(status: number): void;
}

interface WriteRequest {
  owner: WriteOwner;
  /** Keeps the memory alive that libuv points into. */
  bytes: Uint8Array;
  oncomplete: (this: WriteRequest, status: number) => void;
}

interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kLastWriteWasAsync: number;
}

/** What `write` says: everything has left, or some of it waits and `onWriteDone` will follow; below 0 an errno. */
export const WRITTEN = 0;
export const WAITING = 1;

export class DirectWriter {
  readonly #binding: StreamBinding;
  /** A request that no write has kept: one that ends at once does not look at it, so it serves again and again. */
  #spare: WriteRequest;

  private constructor(binding: StreamBinding) {
    this.#binding = binding;
    this.#spare = new binding.WriteWrap();
  }

  /** Null where this Node does not have what it takes. */
  static create(): DirectWriter | null {
    const { binding } = process as unknown as { binding?: (name: string) => Partial<StreamBinding> };
    try {
      const { WriteWrap, streamBaseState, kLastWriteWasAsync } = binding?.('stream_wrap') ?? {};
      if (WriteWrap === undefined || streamBaseState === undefined || kLastWriteWasAsync === undefined) return null;
      return new DirectWriter({ WriteWrap, streamBaseState, kLastWriteWasAsync });
    } catch {
      return null;
    }
  }

  write(handle: SocketHandle, bytes: Uint8Array, owner: WriteOwner): number {
    const request = this.#spare;
    const status = handle.writeBuffer(request, bytes);
    if (status === 0 && this.#binding.streamBaseState[this.#binding.kLastWriteWasAsync] === 0) return WRITTEN;
    this.#spare = new this.#binding.WriteWrap();
    if (status !== 0) return status;
    request.owner = owner;
    request.bytes = bytes;
    request.oncomplete = onComplete;
    return WAITING;
  }
}

function onComplete(this: WriteRequest, status: number): void {
  this.owner.onWriteDone(status);
}
