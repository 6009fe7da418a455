/**
 * The real Environment, and the only place in the house where time, timers, chance, DNS and expensive keys come from
 * Node. It decides nothing about them, and does not know how a socket is opened: `dial` is given to it.
 *
 * Timers keep the process alive, on purpose: the pooler cancels its own when it closes, and one that was forgotten shows
 * as a process that does not end, where an unref'ed one would go unseen.
 */
import { pbkdf2, randomBytes } from 'node:crypto';
import { lookup, type RecordWithTtl, Resolver } from 'node:dns';
import { readFile, stat } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import {
  type CommandLimits,
  type DnsAnswer,
  DnsError,
  type Environment,
  type SocketAddress,
  type Timer,
} from '../base/environment.ts';
import type { Transport, TransportHandler } from '../base/transport.ts';
import { runCommand } from './run-command.ts';

export type Dial = (address: SocketAddress, handler: TransportHandler) => Transport;

/** Beyond this Node fires a timer at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

const pbkdf2Async = promisify(pbkdf2);

export class NodeEnvironment implements Environment {
  readonly #dial: Dial;

  constructor(dial: Dial) {
    this.#dial = dial;
  }

  now(): number {
    return performance.now();
  }

  epochMs(): number {
    return Date.now();
  }

  /** Longer delays than Node's are waited for in several steps. */
  startTimer(delayMs: number, callback: () => void, repeat?: 'repeat'): Timer {
    if (delayMs > MAX_DELAY_MS) return startLongTimer(delayMs, callback, repeat);
    if (repeat === 'repeat') {
      const interval = setInterval(callback, delayMs);
      return { cancel: () => clearInterval(interval) };
    }
    const timeout = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  }

  nextTick(callback: () => void): void {
    process.nextTick(callback);
  }

  randomBytes(size: number): Buffer {
    return randomBytes(size);
  }

  randomNumber(): number {
    return Math.random();
  }

  deriveKey(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    return pbkdf2Async(password, salt, iterations, 32, 'sha256');
  }

  /**
   * A Resolver of its own for each question (20 µs): `cancel()` ends all questions of a Resolver, and it must end this one
   * at its time, for c-ares stretches the `timeout` that it is given (50 ms became 290, 300 ms sometimes 600).
   */
  queryDns(name: string, type: 'A' | 'AAAA', timeoutMs: number, servers?: readonly string[]): Promise<DnsAnswer[]> {
    return new Promise((resolve, reject) => {
      let resolver: Resolver;
      try {
        resolver = new Resolver({ timeout: Math.ceil(timeoutMs / (servers?.length ?? 1)), tries: 1 });
        if (servers !== undefined) resolver.setServers(checkedServers(servers));
      } catch (error) {
        reject(toDnsError(error));
        return;
      }
      let timedOut = false;
      const deadline = setTimeout(() => {
        timedOut = true;
        resolver.cancel();
      }, timeoutMs);
      const done = (error: NodeJS.ErrnoException | null, records: RecordWithTtl[]): void => {
        clearTimeout(deadline);
        if (timedOut) reject(new DnsError('unreachable', `query${type} ${name}: no answer within ${timeoutMs} ms`));
        else if (error !== null) reject(toDnsError(error));
        // A CNAME that leads nowhere is no error to c-ares.
        else if (records.length === 0) reject(new DnsError('not-found', `query${type} ${name}: no address`));
        else resolve(records.map(({ address, ttl }) => ({ address, ttlSeconds: ttl })));
      };
      if (type === 'A') resolver.resolve4(name, { ttl: true }, done);
      else resolver.resolve6(name, { ttl: true }, done);
    });
  }

  /** Occupies one of libuv's four threads until the system's resolver gives up; the caller bounds how many. */
  lookup(name: string): Promise<string[]> {
    return new Promise((resolve, reject) => {
      lookup(name, { all: true, order: 'verbatim' }, (error, addresses) => {
        if (error === null) resolve(addresses.map(({ address }) => address));
        else reject(toDnsError(error));
      });
    });
  }

  readTextFile(path: string): Promise<string> {
    return readFile(path, 'utf8');
  }

  async fileVersion(path: string): Promise<string> {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  }

  runCommand(words: readonly string[], limits: CommandLimits): Promise<string> {
    return runCommand(words, limits, this);
  }

  dial(address: SocketAddress, handler: TransportHandler): Transport {
    return this.#dial(address, handler);
  }
}

function startLongTimer(delayMs: number, callback: () => void, repeat: 'repeat' | undefined): Timer {
  let remainingMs = delayMs;
  let timeout: NodeJS.Timeout;
  const arm = (): void => {
    const stepMs = Math.min(remainingMs, MAX_DELAY_MS);
    timeout = setTimeout(() => {
      remainingMs -= stepMs;
      if (remainingMs <= 0) {
        if (repeat === 'repeat') {
          remainingMs = delayMs;
          arm(); // before the call, which may cancel it
        }
        callback();
      } else arm();
    }, stepMs);
  };
  arm();
  return { cancel: () => clearTimeout(timeout) };
}

/** Node 20 aborts the whole process on an IPv4 server with port 0, and wraps ports above 65535 around. */
function checkedServers(servers: readonly string[]): readonly string[] {
  for (const server of servers) {
    const port = /^(?:\[.*\]|[^:]*):(\d+)$/.exec(server)?.[1];
    if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) throw new Error(`bad port: ${server}`);
  }
  return servers;
}

/**
 * ENOTFOUND: no such name; ENODATA: no such record; EBADNAME: a name that cannot be (a label of 64 bytes), of which no
 * server is asked. Everything else means that nobody could tell.
 */
function toDnsError(error: unknown): DnsError {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  const notFound = code === 'ENOTFOUND' || code === 'ENODATA' || code === 'EBADNAME';
  return new DnsError(notFound ? 'not-found' : 'unreachable', error instanceof Error ? error.message : String(error));
}
