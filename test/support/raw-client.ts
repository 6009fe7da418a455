/**
 * A client of the protocol that does exactly what a test says, over memory or over TCP: it sends bytes, collects
 * messages, and never does anything by itself. Waiting is by promises; in memory they are kept at once.
 */
import { connect } from 'node:net';
import type { ByteStream } from './byte-stream.ts';
import { client, errorFields, MessageReader, parametersIn, rowValues, type WireMessage } from './wire.ts';
import { summary, trace } from './wire-trace.ts';

export interface LoginOptions {
  readonly user?: string;
  readonly database?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** Of the protocol, as in the startup packet; 3.0 if it is not said. */
  readonly version?: number;
}

export class RawClient {
  readonly stream: ByteStream;
  /** Every byte that has come. */
  readonly chunks: Buffer[] = [];
  /** Messages that nobody has taken. */
  messages: WireMessage[] = [];
  /** The other side has sent its FIN, or a RST. */
  isEnded = false;
  isClosed = false;
  /** Process id and secret of BackendKeyData. */
  key: Buffer = Buffer.alloc(0);
  /** What the last login was told. */
  parameters: ReadonlyMap<string, string> = new Map();
  /** Answers to SSLRequest and GSSENCRequest come as single bytes. */
  #expectsByte = false;
  readonly bytes: string[] = [];
  readonly #reader = new MessageReader();
  #waiting: (() => void)[] = [];

  constructor(stream: ByteStream) {
    this.stream = stream;
    stream.onData = (chunk) => this.#onData(chunk);
    stream.onEnd = () => this.#onEnd();
    stream.onClose = () => {
      this.isClosed = true;
      this.#onEnd();
    };
  }

  /** A connection over TCP, not logged in. */
  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const stream: ByteStream = {
      onData: () => {},
      onEnd: () => {},
      onClose: () => {},
      write: (bytes) => {
        socket.write(bytes);
      },
      end: () => {
        socket.end();
      },
      destroy: () => {
        socket.destroy();
      },
      reset: () => {
        socket.resetAndDestroy();
      },
      pause: () => {
        socket.pause();
      },
      resume: () => {
        socket.resume();
      },
    };
    socket.on('data', (chunk: Buffer) => stream.onData(chunk));
    socket.on('end', () => stream.onEnd());
    socket.on('close', () => stream.onClose());
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    // Later errors show as the end of the stream.
    socket.on('error', () => {});
    return new RawClient(stream);
  }

  send(...messages: readonly Buffer[]): void {
    this.stream.write(Buffer.concat(messages));
  }

  sendStartup({ user = 'app', database = 'app', parameters = {}, version }: LoginOptions = {}): void {
    this.send(client.startup({ user, database, ...parameters }, version));
  }

  /** Asks for TLS or GSS encryption; the answer is one byte, in `bytes`. */
  sendNegotiation(what: 'ssl' | 'gssenc'): void {
    this.#expectsByte = true;
    this.send(client[what]());
  }

  /** Says Terminate and closes. */
  terminate(): void {
    this.send(client.terminate());
    this.stream.end();
  }

  /** Takes what has come. */
  take(): WireMessage[] {
    const taken = this.messages;
    this.messages = [];
    return taken;
  }

  /** Takes what has come, in one line. */
  takeSummary(): string {
    return summary(this.take());
  }

  /** Logs in by trust; throws with the server's words if it is refused. */
  async login(options: LoginOptions = {}): Promise<void> {
    this.sendStartup(options);
    this.acceptLogin(await this.readUntilReady());
  }

  /** Keeps what the messages of a login say. */
  acceptLogin(messages: readonly WireMessage[]): void {
    if (messages.at(-1)?.type !== 'Z') throw new Error(`not logged in:\n${trace('B', messages)}`);
    this.key = messages.find(({ type }) => type === 'K')?.body ?? Buffer.alloc(0);
    this.parameters = parametersIn(messages);
  }

  /** The messages up to the `count`-th ReadyForQuery from here; also what came before the end, if that is first. */
  async readUntilReady(count = 1): Promise<WireMessage[]> {
    await this.#until(() => this.messages.filter(({ type }) => type === 'Z').length >= count || this.isEnded);
    let left = count;
    const last = this.messages.findIndex(({ type }) => type === 'Z' && --left === 0);
    return this.messages.splice(0, last < 0 ? this.messages.length : last + 1);
  }

  /** The next message; null at the end of the stream. */
  async read(): Promise<WireMessage | null> {
    await this.#until(() => this.messages.length > 0 || this.isEnded);
    return this.messages.shift() ?? null;
  }

  /** Everything up to the end of the stream. */
  async readToEnd(): Promise<WireMessage[]> {
    await this.#until(() => this.isEnded);
    return this.take();
  }

  /** Sends `messages` and reads up to the ReadyForQuery of the last of them. */
  async ask(...messages: readonly Buffer[]): Promise<WireMessage[]> {
    this.send(...messages);
    return this.readUntilReady();
  }

  /** The first column of all rows of a simple query; throws for an error. */
  async values(sql: string): Promise<(string | null)[]> {
    return valuesIn(await this.ask(client.query(sql)));
  }

  #until(isTrue: () => boolean): Promise<void> {
    if (isTrue()) return Promise.resolve();
    return new Promise((resolve) => {
      const check = (): void => {
        if (isTrue()) resolve();
        else this.#waiting.push(check);
      };
      this.#waiting.push(check);
    });
  }

  #onData(chunk: Buffer): void {
    this.chunks.push(chunk);
    let rest = chunk;
    if (this.#expectsByte) {
      this.bytes.push(chunk.toString('latin1', 0, 1));
      this.#expectsByte = false;
      rest = chunk.subarray(1);
    }
    this.messages.push(...this.#reader.push(rest));
    this.#notify();
  }

  #onEnd(): void {
    this.isEnded = true;
    this.#notify();
  }

  #notify(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const check of waiting) check();
  }
}

/** The first column of each row; throws for an ErrorResponse. */
export function valuesIn(messages: readonly WireMessage[]): (string | null)[] {
  const error = messages.find(({ type }) => type === 'E');
  if (error !== undefined) throw new Error(`the server says ${[...errorFields(error).values()].join(' ')}`);
  return messages.filter(({ type }) => type === 'D').map((row) => rowValues(row)[0] ?? null);
}
