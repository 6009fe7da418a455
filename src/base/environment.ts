/**
 * Everything that makes two runs differ — clock, timers, chance, the network, expensive keys — behind one interface
 * that is passed by constructor. `net/node-environment.ts` is its only real implementation; tests bring their own.
 */
import type { Transport, TransportHandler } from './transport.ts';

export interface Timer {
  cancel(): void;
}

export interface SocketAddress {
  /** A literal IPv4 or IPv6 address, or the absolute path of the folder of a Unix socket (`.s.PGSQL.<port>` in it, as in libpq). */
  readonly host: string;
  readonly port: number;
}

export interface DnsAnswer {
  readonly address: string;
  readonly ttlSeconds: number;
}

/** Why a DNS question has no answer: the name does not exist (or has no such record), or nobody said. */
export class DnsError extends Error {
  readonly kind: 'not-found' | 'unreachable';

  constructor(kind: 'not-found' | 'unreachable', message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface CommandLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface Environment {
  /** Milliseconds on a monotonic clock, with fractions. */
  now(): number;
  /** Milliseconds since 1970 on the wall clock: for people to read, never for a timeout. */
  epochMs(): number;
  /** `delayMs` is clamped to what the platform can wait; `repeat` starts it again after each call. */
  startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer;
  /** Runs `callback` after the current one has returned, before any further input is read. */
  nextTick(callback: () => void): void;
  /** Unpredictable bytes: keys, salts, nonces. */
  randomBytes(size: number): Buffer;
  /** A number in [0, 1), for choices that need not be unpredictable. */
  randomNumber(): number;
  /** PBKDF2 with HMAC-SHA-256, 32 bytes (RFC 5802's Hi). */
  deriveKey(password: string, salt: Buffer, iterations: number): Promise<Buffer>;
  /** One question to the name servers of resolv.conf (or to `servers`, as `address` or `address:port`). Rejects with a DnsError. */
  queryDns(name: string, type: 'A' | 'AAAA', timeoutMs: number, servers?: readonly string[]): Promise<DnsAnswer[]>;
  /** The platform's own resolver (`getaddrinfo`). Rejects with a DnsError. */
  lookup(name: string): Promise<string[]>;
  readTextFile(path: string): Promise<string>;
  /** Changes when the file's content may have changed. Rejects with the system's error. */
  fileVersion(path: string): Promise<string>;
  /**
   * Runs a program without a shell and returns what it writes to standard output, as UTF-8. Rejects if it cannot be
   * started, fails, or takes longer or writes more than allowed; then it, and what it has started, is killed. The error
   * holds neither its arguments nor anything that it wrote.
   */
  runCommand(words: readonly string[], limits: CommandLimits): Promise<string>;
  /** Starts to connect; `handler` hears `onTransportConnect` or `onTransportClose`. */
  dial(address: SocketAddress, handler: TransportHandler): Transport;
}
