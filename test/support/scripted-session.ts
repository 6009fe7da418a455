/**
 * One connection at a scripted PostgreSQL. It logs the client in and then behaves as the model does, until a test takes
 * it over: holds its replies back, scripts them, or ends it.
 */
import type { MemoryStream } from './memory-stream.ts';
import { SqlError } from './model-database.ts';
import { ModelSession } from './model-session.ts';
import type { ScriptedServer } from './scripted-server.ts';
import { MessageReader, server, strings, type WireMessage } from './wire.ts';
import { traceLine } from './wire-trace.ts';

/** What a startup packet says besides. */
const NOT_PARAMETERS: ReadonlySet<string> = new Set(['user', 'database', 'replication', 'options']);
const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;
const TLS_HANDSHAKE = 0x16;

export class ScriptedSession {
  readonly stream: MemoryStream;
  pid = 0;
  secret = Buffer.alloc(0);
  /** Of its startup packet. */
  startup: ReadonlyMap<string, string> = new Map();
  /** It has shaken hands (see `memory-tls.ts`). */
  isSecured = false;
  /** The version of protocol 3 that it asks for. */
  minor = 0;
  /** Every message after the startup packet, also while it is scripted. */
  readonly received: WireMessage[] = [];
  /** The model does not see messages: the test answers with `send`. */
  scripted = false;
  /** What goes on when the client has gone: a backend in a statement does not notice FIN or RST. */
  ignoresEnd = false;
  model: ModelSession | null = null;
  readonly #server: ScriptedServer;
  readonly #reader = new MessageReader();
  #startupBytes = Buffer.alloc(0);
  #phase: 'startup' | 'authentication' | 'session' | 'over' = 'startup';
  #held: Buffer[] | null = null;
  #seen = 0;
  #gone = false;

  private constructor(server: ScriptedServer, stream: MemoryStream) {
    this.#server = server;
    this.stream = stream;
    stream.onData = (chunk) => this.#onData(chunk);
    stream.onEnd = () => this.#onEnd();
    stream.onClose = () => this.#onEnd();
    stream.onDrain = () => stream.resume();
  }

  /** Listens to a connection that was accepted. It makes itself known to `server` with its startup packet. */
  static begin(server: ScriptedServer, stream: MemoryStream): ScriptedSession {
    return new ScriptedSession(server, stream);
  }

  /** The backend has exited. */
  get isGone(): boolean {
    return this.#gone;
  }

  get isLoggedIn(): boolean {
    return this.#phase === 'session';
  }

  get status(): string {
    return this.model?.transaction.status ?? '?';
  }

  /** The messages that have come since the last call, as type bytes. */
  takeTypes(): string {
    const types = this.received.slice(this.#seen).map(({ type }) => type);
    this.#seen = this.received.length;
    return types.join('');
  }

  /** Everything that it was ever sent, as readable lines. */
  get trace(): string[] {
    return this.received.map((message) => traceLine('F', message));
  }

  /** The texts of all Querys that it was sent. */
  get queries(): string[] {
    return this.received.filter(({ type }) => type === 'Q').map(({ body }) => strings(body)[0] ?? '');
  }

  /** The next message that no `expect` has seen; throws if it is another one, or none. */
  expect(type: string, text?: string): WireMessage {
    const message = this.received[this.#seen];
    if (message === undefined) throw new Error(`expected ${type}, but nothing has come`);
    if (message.type !== type) throw new Error(`expected ${type}, but got ${traceLine('F', message)}`);
    if (text !== undefined && !message.body.includes(text)) {
      throw new Error(`expected ${type} with ${text}, but got ${traceLine('F', message)}`);
    }
    this.#seen++;
    return message;
  }

  send(...messages: readonly Buffer[]): void {
    this.stream.write(Buffer.concat(messages));
  }

  /** From now on the test answers: replies to nothing by itself. */
  takeOver(): this {
    this.scripted = true;
    this.#seen = this.received.length;
    return this;
  }

  /** Replies wait (the network is slow) until `releaseReplies`. */
  holdReplies(): void {
    this.#held ??= [];
  }

  releaseReplies(): void {
    const held = this.#held ?? [];
    this.#held = null;
    if (held.length > 0) this.#write(Buffer.concat(held));
  }

  /** Ends a SLEEP. */
  finish(): void {
    this.model!.finish();
    if (this.stream.ended) this.#onEnd();
  }

  /** The signal of a CancelRequest. */
  cancel(): void {
    this.model?.cancel();
    if (this.stream.ended) this.#onEnd();
  }

  /** The backend ends: with FIN (an exit), or with a RST (a crash of the machine). */
  die(how: 'exit' | 'reset', lastWords: Buffer = Buffer.alloc(0)): void {
    if (lastWords.length > 0) this.stream.write(lastWords);
    this.#exit();
    if (how === 'reset') this.stream.reset();
    else this.#leave();
  }

  // Login

  /** Says that no password is needed, and everything that follows. */
  login(): void {
    const server_ = this.#server;
    this.identify();
    const { database } = server_;
    const parameters = new Map(database.parameters);
    try {
      for (const [given, value] of this.startup) if (!NOT_PARAMETERS.has(given)) database.set(parameters, given, value);
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      this.refuseLogin(error.code, error.message);
      return;
    }
    this.model = new ModelSession(database, this.pid, parameters, {
      onReplies: (bytes) => this.#reply(bytes),
      onExit: () => this.#onExit(),
    });
    this.#phase = 'session';
    const { newestMinor } = server_;
    this.send(
      ...(this.minor > newestMinor ? [server.negotiate(newestMinor)] : []),
      server.authentication(0),
      ...[...parameters]
        .filter(([name]) => database.parameters.has(name))
        .map(([name, value]) => server.parameter(name, value)),
      server.keyData(Buffer.concat([this.#pidBytes(), this.secret])),
      server.ready('I'),
    );
  }

  /** Makes up process id and secret, as long as the protocol allows, for those who script the login. */
  identify(): void {
    this.pid = this.#server.nextPid();
    const isLong = Math.min(this.minor, this.#server.newestMinor) >= 2;
    const short = Buffer.from([0xca, 0xfe, this.pid >> 8, this.pid & 0xff]);
    this.secret = isLong ? Buffer.concat([short, Buffer.alloc(28, 0x32)]) : short;
  }

  /** A login that the server refuses. */
  refuseLogin(code: string, message = 'no'): void {
    this.die('exit', server.error({ severity: 'FATAL', code, message }));
  }

  #pidBytes(): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.pid);
    return bytes;
  }

  // Bytes

  #onData(chunk: Buffer): void {
    if (this.#phase === 'over') return;
    let bytes = chunk;
    if (this.#phase === 'startup') {
      bytes = this.#onStartupBytes(chunk);
      if (bytes.length === 0) return;
    }
    for (const message of this.#reader.push(bytes)) {
      this.received.push(message);
      if (!this.scripted) this.model?.receive(message);
    }
  }

  /** Returns what follows the startup packet. */
  #onStartupBytes(chunk: Buffer): Buffer {
    this.#startupBytes = Buffer.concat([this.#startupBytes, chunk]);
    if (this.#startupBytes[0] === TLS_HANDSHAKE) {
      this.#startupBytes = Buffer.alloc(0);
      this.isSecured = true;
      this.#answer(this.#server.hello);
      return Buffer.alloc(0);
    }
    if (this.#startupBytes.length < 4) return Buffer.alloc(0);
    const length = this.#startupBytes.readUInt32BE(0);
    if (this.#startupBytes.length < length) return Buffer.alloc(0);
    const rest = Buffer.from(this.#startupBytes.subarray(length));
    const body = this.#startupBytes.subarray(4, length);
    if (body.readUInt32BE(0) === SSL_REQUEST) {
      this.#server.sslRequests++;
      this.#startupBytes = Buffer.alloc(0);
      this.#answer(this.#server.sslAnswer);
      return Buffer.alloc(0);
    }
    if (body.readUInt32BE(0) === CANCEL_REQUEST) {
      this.#phase = 'over';
      this.#gone = true;
      this.#server.onCancelRequest(this.stream, Buffer.from(body.subarray(4)), this.isSecured);
      return Buffer.alloc(0);
    }
    this.minor = body.readUInt16BE(2);
    const texts = strings(body, 4);
    this.startup = new Map(Array.from({ length: texts.length >> 1 }, (_, i) => [texts[2 * i]!, texts[2 * i + 1]!]));
    this.#phase = 'authentication';
    this.#server.onSessionStarted(this);
    return rest;
  }

  /** In a negotiation. */
  #answer(bytes: Buffer | 'close' | 'nothing'): void {
    if (bytes === 'nothing') return;
    if (bytes !== 'close') {
      this.stream.write(bytes);
      return;
    }
    this.#exit();
    this.#leave();
  }

  #reply(bytes: Buffer): void {
    if (this.#held === null) this.#write(bytes);
    else this.#held.push(bytes);
  }

  /** A backend that cannot write does not read either. */
  #write(bytes: Buffer): void {
    this.stream.write(bytes);
    if (this.stream.transport.unsentBytes > 0) this.stream.pause();
  }

  /** The model says that the backend exits. */
  #onExit(): void {
    this.releaseReplies();
    this.#exit();
    this.#leave();
  }

  #onEnd(): void {
    if (this.#phase === 'over') return;
    if (this.ignoresEnd || this.model?.isSleeping === true) return;
    this.#exit();
    this.#leave();
  }

  /** What it has written still goes out: a backend cannot exit before the kernel has taken it. */
  #leave(): void {
    if (this.stream.transport.unsentBytes > 0) this.stream.end();
    else this.stream.destroy();
  }

  #exit(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#phase = 'over';
    this.model?.abort();
  }
}
