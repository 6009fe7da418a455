/**
 * Node's sockets and streams cost more than the system calls inside them when a message is sixty bytes long or a
 * connection lives for a millisecond. This file is the way around them: libuv's handle of a socket, used directly.
 *
 * It rests on names inside Node that are the same from Node 20 to 26. Where one is missing there is no binding, and
 * `StreamTransport` serves instead, in public API only; both run the same tests (`docs/decisions/0002-direct-handles.md`).
 */
import { getSystemErrorName } from 'node:util';

/** libuv's wrapper of a socket. Results are 0 or a negative errno. What is optional TCP sockets have and Unix ones do not. */
export interface SocketHandle {
  /** Called for each read; `SocketBinding.lastRead` says what came. Returns the memory for the next read, if it changes. */
  onread: (this: SocketHandle) => Uint8Array | undefined;
  /** Whose socket it is; ours, for `onread`. */
  owner: HandleOwner | undefined;
  readonly writeQueueSize: number;
  useUserBuffer(memory: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  /** 1: nothing had to be waited for. */
  shutdown(request: ShutdownRequest): number;
  close(callback: () => void): void;
  reset?(callback: () => void): number;
  setNoDelay?(enable: boolean): void;
  setKeepAlive?(enable: boolean, delaySeconds: number): void;
  getpeername?(out: Endpoint): number;
  getsockname?(out: Endpoint): number;
}

export interface Endpoint {
  address?: string;
  port?: number;
}

/** Who hears what happens on a handle. */
export interface HandleOwner {
  /** Returns the memory for the next read, or undefined for the same. */
  onRead(bytes: number): Uint8Array | undefined;
  /** A write that had to wait is done (0) or has failed (a negative errno). */
  onWriteDone(status: number): void;
  /** FIN has been sent behind all that was written. */
  onShutdownDone(): void;
}

interface WriteRequest {
  owner: HandleOwner;
  /** Keeps the memory alive that libuv points into. */
  bytes: Uint8Array;
  oncomplete: (this: WriteRequest, status: number) => void;
}

interface ShutdownRequest {
  owner: HandleOwner;
  oncomplete: (this: ShutdownRequest) => void;
}

interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly ShutdownWrap: new () => ShutdownRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

/** What `write` says: everything has left, or some of it waits and `onWriteDone` will follow; below 0 an errno. */
export const WRITTEN = 0;
export const WAITING = 1;

/** libuv's number for the end of the stream. */
export const END_OF_FILE = -4095;

const REQUIRED = ['WriteWrap', 'ShutdownWrap', 'streamBaseState', 'kReadBytesOrError', 'kLastWriteWasAsync'] as const;

export class SocketBinding {
  readonly #binding: StreamBinding;
  readonly #state: Int32Array;
  readonly #onRead: SocketHandle['onread'];
  /** A request that no write has kept: one that ends at once does not look at it, so it serves again and again. */
  #spare: WriteRequest;

  private constructor(binding: StreamBinding) {
    this.#binding = binding;
    this.#state = binding.streamBaseState;
    this.#spare = new binding.WriteWrap();
    const { streamBaseState, kReadBytesOrError } = binding;
    this.#onRead = function onRead(this: SocketHandle) {
      return this.owner?.onRead(streamBaseState[kReadBytesOrError]!);
    };
  }

  /** Null where this Node does not have what it takes. */
  static create(): SocketBinding | null {
    const { binding } = process as unknown as { binding?: (name: string) => Partial<StreamBinding> };
    try {
      const found = binding?.('stream_wrap') ?? {};
      if (REQUIRED.some((name) => found[name] === undefined)) return null;
      return new SocketBinding(found as StreamBinding);
    } catch {
      return null;
    }
  }

  /** Reads from `handle` into `memory` from now on, for `owner`. Returns 0 or an errno. */
  start(handle: SocketHandle, memory: Uint8Array, owner: HandleOwner): number {
    handle.owner = owner;
    handle.onread = this.#onRead;
    handle.useUserBuffer(memory);
    return handle.readStart();
  }

  write(handle: SocketHandle, bytes: Uint8Array, owner: HandleOwner): number {
    const request = this.#spare;
    const status = handle.writeBuffer(request, bytes);
    if (status === 0 && this.#state[this.#binding.kLastWriteWasAsync] === 0) return WRITTEN;
    this.#spare = new this.#binding.WriteWrap();
    if (status !== 0) return status;
    request.owner = owner;
    request.bytes = bytes;
    request.oncomplete = onWriteComplete;
    return WAITING;
  }

  /** FIN behind all that was written. */
  shutdown(handle: SocketHandle, owner: HandleOwner): void {
    const request = new this.#binding.ShutdownWrap();
    request.owner = owner;
    request.oncomplete = onShutdownComplete;
    // Done at once, or impossible because the connection is gone: reading will tell which.
    if (handle.shutdown(request) !== 0) owner.onShutdownDone();
  }
}

/** `-104` → an Error that says `read ECONNRESET`, with its `code`, as Node's own sockets make them. */
export function systemError(operation: string, errno: number): Error {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${operation} ${code}`), { code });
}

function onWriteComplete(this: WriteRequest, status: number): void {
  this.owner.onWriteDone(status);
}

function onShutdownComplete(this: ShutdownRequest): void {
  this.owner.onShutdownDone();
}
