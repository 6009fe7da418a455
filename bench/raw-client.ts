/**
 * A client of PostgreSQL on a bare socket: logs in, sends simple queries, copies. It looks at as little as possible of
 * what comes, for its own CPU competes with that of the pooler. It refuses TLS and rows.
 */
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { ScramClient } from '../src/auth/scram-client.ts';
import { MessageScanner } from './message-scanner.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** Shared by all clients: what is read is looked at before the callback returns. */
const readMemory = Buffer.allocUnsafeSlow(256 * 1024);

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);
const PROTOCOL_3_0 = 196_608;

interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class RawClient {
  readonly #endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #closed: Promise<void>;
  readonly #parameters = new Map<string, string>();
  #scram: ScramClient | null = null;
  #pending: Pending | null = null;
  #failure: Error | null = null;
  #copyData: Buffer | null = null;
  #isLost = false;
  #isClosing = false;

  private constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    const scanner = new MessageScanner((type, body) => this.#onMessage(type, body));
    this.#socket = connect({
      host: endpoint.host,
      port: endpoint.port,
      noDelay: true,
      onread: {
        buffer: readMemory,
        callback: (bytes, memory) => {
          scanner.feed(memory.subarray(0, bytes));
          return true;
        },
      },
    });
    this.#socket.on('connect', () => this.#socket.write(startupPacket(endpoint)));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#closed = new Promise((resolve) => {
      this.#socket.on('close', () => {
        this.#isLost ||= !this.#isClosing;
        this.#fail(new Error('the connection was closed'));
        resolve();
      });
    });
    this.#socket.resume(); // or its end would not be noticed
  }

  /** Resolves when the server is ready for queries. */
  static async login(endpoint: Endpoint): Promise<RawClient> {
    const client = new RawClient(endpoint);
    try {
      await client.#untilReady();
    } catch (error) {
      client.#isClosing = true;
      client.#socket.destroy();
      throw error;
    }
    return client;
  }

  /** Whether the other side has closed the connection by itself. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Of ParameterStatus, such as `server_version`. */
  parameter(name: string): string | undefined {
    return this.#parameters.get(name);
  }

  /** Rejects with the message of an ErrorResponse. */
  query(sql: string): Promise<void> {
    const ready = this.#untilReady();
    this.#socket.write(message('Q', Buffer.from(`${sql}\0`)));
    return ready;
  }

  /** `COPY … FROM STDIN`; `copyData` is a row of complete CopyData messages. */
  copyIn(sql: string, copyData: Buffer): Promise<void> {
    this.#copyData = copyData;
    return this.query(sql);
  }

  /** Says goodbye; resolves when the connection is closed. */
  close(): Promise<void> {
    this.#isClosing = true;
    this.#socket.end(TERMINATE);
    return this.#closed;
  }

  #untilReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
    });
  }

  #onMessage(type: number, body: Buffer): void {
    switch (String.fromCharCode(type)) {
      case 'R':
        this.#onAuthentication(body);
        break;
      case 'S': {
        const [name = '', value = ''] = body.toString().split('\0');
        this.#parameters.set(name, value);
        break;
      }
      case 'E':
        this.#failure ??= new Error(errorText(body));
        break;
      case 'G':
        if (this.#copyData !== null) this.#socket.write(this.#copyData);
        this.#socket.write(COPY_DONE);
        this.#copyData = null;
        break;
      case 'Z':
        this.#onReady();
        break;
      default:
    }
  }

  #onReady(): void {
    const { resolve, reject } = this.#pending ?? {};
    const failure = this.#failure;
    this.#pending = null;
    this.#failure = null;
    if (failure === null) resolve?.();
    else reject?.(failure);
  }

  /** An error that the server has sent before it closed says more than the close. */
  #fail(error: Error): void {
    this.#pending?.reject(this.#failure ?? error);
    this.#pending = null;
  }

  #onAuthentication(body: Buffer): void {
    const { password } = this.#endpoint;
    const rest = body.subarray(4);
    switch (body.readInt32BE(0)) {
      case 3:
        this.#socket.write(message('p', Buffer.from(`${password}\0`)));
        break;
      case 10: {
        this.#scram = new ScramClient({ nonce: randomBytes(18).toString('base64'), binding: { flag: 'n' } });
        const first = this.#scram.clientFirst();
        const length = Buffer.alloc(4);
        length.writeInt32BE(first.length);
        this.#socket.write(message('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), length, first])));
        break;
      }
      case 11: {
        const challenge = this.#scram?.serverFirst(rest);
        if (challenge?.ok !== true) return this.#refuse('SCRAM failed');
        const key = pbkdf2Sync(password, challenge.salt, challenge.iterations, 32, 'sha256');
        this.#socket.write(message('p', this.#scram!.proof(key)));
        break;
      }
      case 0:
      case 12:
        break;
      default:
        this.#refuse('the server asks for a kind of password that the benchmark does not know');
    }
  }

  #refuse(reason: string): void {
    this.#socket.destroy(new Error(reason));
  }
}

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

function startupPacket({ user, database }: Endpoint): Buffer {
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0application_name\0bench\0\0`);
  const header = Buffer.alloc(8);
  header.writeInt32BE(parameters.length + 8);
  header.writeInt32BE(PROTOCOL_3_0, 4);
  return Buffer.concat([header, parameters]);
}

/** Field M of an ErrorResponse. */
function errorText(body: Buffer): string {
  const field = body
    .toString()
    .split('\0')
    .find((text) => text.startsWith('M'));
  return field?.slice(1) ?? 'an error without a message';
}

/** `data` cut into CopyData messages of `size` bytes. */
export function copyDataMessages(data: Buffer, size: number): Buffer {
  const messages: Buffer[] = [];
  for (let at = 0; at < data.length; at += size) messages.push(message('d', data.subarray(at, at + size)));
  return Buffer.concat(messages);
}
