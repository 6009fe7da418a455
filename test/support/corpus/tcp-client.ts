/** A client that writes bytes and reads messages over TCP: no driver's habits are between a test and the protocol. */
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as secure, TLSSocket } from 'node:tls';
import * as bytes from './client-bytes.ts';
import { MessageReader } from './message-reader.ts';
import { decode, errorFields, rowValues, type ServerMessage } from './server-message.ts';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

interface Wish {
  readonly isMet: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly what: string;
}

export interface QueryOutcome {
  readonly rows: (string | null)[][];
  readonly tags: string[];
  /** SQLSTATE of the last error; null without one. */
  readonly sqlstate: string | null;
  /** Of the last ReadyForQuery. */
  readonly status: string;
}

export class TcpClient {
  /** Everything that came and was not taken yet. */
  readonly messages: ServerMessage[] = [];
  /** The error that ended the connection, if one did. */
  error: NodeJS.ErrnoException | null = null;
  ended = false;
  closed = false;
  bytesReceived = 0;
  /** Body of BackendKeyData, after `login`. */
  cancelKey: Buffer = Buffer.alloc(0);
  readonly #socket: Socket;
  /** The TCP socket: the same one, without TLS. */
  readonly #below: Socket;
  readonly #reader = new MessageReader();
  #wishes: Wish[] = [];
  /** Answers to SSLRequest and GSSENCRequest are no messages: how many such bytes are expected. */
  #loneBytes = 0;
  readonly #answers: string[] = [];
  /** Count only: for results that are not to be kept. */
  #counting = false;

  private constructor(socket: Socket, below = socket) {
    this.#socket = socket;
    this.#below = below;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => {
      this.error ??= error;
    });
    socket.on('end', () => {
      this.ended = true;
      this.#look();
    });
    socket.on('close', () => {
      this.ended = true;
      this.closed = true;
      this.#look();
    });
  }

  /** `receiveBytes` limits nothing but asks for small steps: see `pause`. */
  static async connect({ host, port }: TcpAddress): Promise<TcpClient> {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const client = new TcpClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  /** Connects with TLS, asked for or (`direct`) begun at once; nothing is verified unless `options` say so. */
  static async connectTls(
    { host, port }: TcpAddress,
    options: ConnectionOptions = {},
    how: 'asked' | 'direct' = 'asked',
  ): Promise<TcpClient> {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    if (how === 'asked') {
      socket.write(bytes.sslRequest);
      const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
      if (answer.toString() !== 'S') throw new Error(`the answer to SSLRequest is ${answer.toString()}`);
    }
    const secured = secure({ rejectUnauthorized: false, ALPNProtocols: ['postgresql'], ...options, socket });
    const client = new TcpClient(secured, socket);
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve);
      secured.once('error', reject);
      secured.once('close', () => reject(new Error('closed during the handshake')));
    });
    return client;
  }

  /** Connects and logs in without a password, or with `password` in clear text. */
  static async login(
    address: TcpAddress,
    parameters: Readonly<Record<string, string>>,
    password?: string,
    version = bytes.VERSION_3_0,
  ): Promise<TcpClient> {
    const client = await TcpClient.connect(address);
    await client.logIn(parameters, password, version);
    return client;
  }

  async logIn(
    parameters: Readonly<Record<string, string>>,
    password?: string,
    version = bytes.VERSION_3_0,
  ): Promise<void> {
    this.send(bytes.startup(parameters, version));
    if (password !== undefined) {
      await this.next('R');
      this.send(bytes.password(password));
    }
    await this.take('Z');
  }

  /** Null without TLS. */
  get tlsVersion(): string | null {
    return this.#tls?.getProtocol() ?? null;
  }

  /** DER of what the other side has shown. */
  get peerCertificate(): Buffer | undefined {
    return this.#tls?.getPeerX509Certificate()?.raw;
  }

  /** To come back with; undefined if the other side has offered none. */
  get tlsSession(): Buffer | undefined {
    return this.#tls?.getSession();
  }

  get isTlsSessionReused(): boolean {
    return this.#tls?.isSessionReused() ?? false;
  }

  /** Asks for another handshake on the same connection (TLS 1.2). */
  renegotiate(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#tls?.renegotiate({}, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  get #tls(): TLSSocket | null {
    return this.#socket instanceof TLSSocket ? this.#socket : null;
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  send(...parts: readonly Buffer[]): void {
    this.#socket.write(parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts));
  }

  /** Sends and waits until the kernel has taken it all. */
  async sendAll(part: Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.write(part, () => resolve()));
  }

  /** The one byte that answers a negotiation request. */
  async negotiate(request: Buffer): Promise<string> {
    this.#loneBytes++;
    const { length } = this.#answers;
    this.send(request);
    await this.#until(() => this.#answers.length > length || this.ended, 'an answer to a negotiation request');
    return this.#answers[length] ?? '';
  }

  /** The next message; throws if it has another type than one of `types`. */
  async next(types?: string): Promise<ServerMessage> {
    await this.#until(() => this.messages.length > 0 || this.ended, `a message ${types ?? ''}`);
    const first = this.messages.shift();
    if (first === undefined) throw new Error(`the connection ended instead of ${types ?? 'a message'}`);
    if (types !== undefined && !types.includes(first.type)) {
      throw new Error(`${JSON.stringify(decode(first))} instead of ${types}`);
    }
    return first;
  }

  /** Takes everything up to the `count`th message of `type`; throws if the connection ends before. */
  async take(type: string, count = 1): Promise<ServerMessage[]> {
    const isThere = (): boolean => this.#indexOf(type, count) >= 0;
    await this.#until(() => isThere() || this.ended, `${count} × ${type}`);
    if (!isThere()) {
      const got = this.messages.map((message) => JSON.stringify(decode(message))).join('\n');
      throw new Error(`the connection ended before ${count} × ${type}:\n${got.slice(-2000)}`);
    }
    const taken = this.messages.splice(0, this.#indexOf(type, count) + 1);
    for (const { type, body } of taken) if (type === 'K') this.cancelKey = body;
    return taken;
  }

  /** Waits like `take`, or for the end of the connection, and leaves everything where it is. */
  async reach(type: string, count: number): Promise<void> {
    await this.#until(() => this.#indexOf(type, count) >= 0 || this.ended, `${count} × ${type}`);
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<ServerMessage[]> {
    await this.#until(() => this.ended, 'the end of the connection');
    return this.messages.splice(0);
  }

  async query(sql: string): Promise<QueryOutcome> {
    this.send(bytes.query(sql));
    return outcome(await this.take('Z'));
  }

  /** SQLSTATE of the error that ends the connection. */
  async fatal(): Promise<string> {
    const last = (await this.rest()).findLast(({ type }) => type === 'E');
    return last === undefined ? 'none' : (errorFields(last.body)['C'] ?? '');
  }

  /** From now on what comes is counted and dropped. */
  countOnly(): void {
    this.#counting = true;
  }

  async received(total: number): Promise<void> {
    await this.#until(() => this.bytesReceived >= total || this.ended, `${total} bytes`);
  }

  /** Reads no more. What the kernel takes in the meantime is a few hundred KB at most. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** FIN; reading goes on. */
  finish(): void {
    this.#socket.end();
  }

  /** Terminate, FIN, and the other side's. */
  async leave(): Promise<void> {
    if (this.closed) return;
    this.#counting = true;
    this.#socket.resume();
    this.#socket.end(bytes.terminate);
    await this.#until(() => this.ended, 'the end of the connection');
    this.#socket.destroy();
    await this.#until(() => this.closed, 'the close of the socket');
  }

  /** Closes the socket as a program that exits does: FIN, or RST if there is unread input. */
  async drop(how: 'fin' | 'rst' = 'fin'): Promise<void> {
    if (how === 'fin') this.#socket.destroy();
    else this.#below.resetAndDestroy();
    await this.#until(() => this.closed, 'the close of the socket');
  }

  #indexOf(type: string, count: number): number {
    let left = count;
    return this.messages.findIndex((message) => message.type === type && --left === 0);
  }

  #onData(chunk: Buffer): void {
    this.bytesReceived += chunk.length;
    let rest = chunk;
    while (this.#loneBytes > 0 && rest.length > 0 && rest[0] !== 0x45) {
      this.#answers.push(String.fromCharCode(rest[0] ?? 0));
      this.#loneBytes--;
      rest = rest.subarray(1);
    }
    if (!this.#counting) this.messages.push(...this.#reader.push(rest));
    this.#look();
  }

  #until(isMet: () => boolean, what: string): Promise<void> {
    if (isMet()) return Promise.resolve();
    if (this.closed) return Promise.reject(new Error(`the connection closed before ${what}`));
    return new Promise((resolve, reject) => {
      this.#wishes.push({ isMet, resolve, reject, what });
    });
  }

  #look(): void {
    const wishes = this.#wishes;
    this.#wishes = [];
    for (const wish of wishes) {
      if (wish.isMet()) wish.resolve();
      else if (this.closed) wish.reject(new Error(`the connection closed before ${wish.what}`));
      else this.#wishes.push(wish);
    }
  }
}

/** What a series of messages says about a query. */
export function outcome(messages: readonly ServerMessage[]): QueryOutcome {
  const error = messages.findLast(({ type }) => type === 'E');
  const ready = messages.findLast(({ type }) => type === 'Z');
  return {
    rows: messages.filter(({ type }) => type === 'D').map(({ body }) => rowValues(body)),
    tags: messages.filter(({ type }) => type === 'C').map(({ body }) => body.toString('utf8', 0, body.length - 1)),
    sqlstate: error === undefined ? null : (errorFields(error.body)['C'] ?? ''),
    status: ready === undefined ? '' : ready.body.toString(),
  };
}
