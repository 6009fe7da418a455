/** SCRAM-SHA-256 from RFC 5802 and RFC 7677, both sides, in as few lines as it takes: the other end of `src/auth`. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

const hmac = (key: Buffer, text: string | Buffer): Buffer => createHmac('sha256', key).update(text).digest();
const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, i) => byte ^ b[i]!));

function attribute(message: string, name: string): string {
  return new RegExp(`(?:^|,)${name}=([^,]*)`).exec(message)?.[1] ?? '';
}

export class ScramPeerClient {
  readonly #password: string;
  readonly #nonce = 'rOprNGfwEbeRWgbNEkqO';
  readonly #header: string;
  readonly #bound: Buffer;
  #authMessage = '';
  #saltedPassword = Buffer.alloc(0);

  /** `bound` is what the header `p=…,,` binds to. */
  constructor(password: string, header = 'n,,', bound: Buffer = Buffer.alloc(0)) {
    this.#password = password;
    this.#header = header;
    this.#bound = bound;
  }

  first(): Buffer {
    return Buffer.from(`${this.#header}n=,r=${this.#nonce}`);
  }

  final(serverFirst: string): Buffer {
    const salt = Buffer.from(attribute(serverFirst, 's'), 'base64');
    this.#saltedPassword = pbkdf2Sync(this.#password, salt, Number(attribute(serverFirst, 'i')), 32, 'sha256');
    const binding = Buffer.concat([Buffer.from(this.#header), this.#bound]).toString('base64');
    const withoutProof = `c=${binding},r=${attribute(serverFirst, 'r')}`;
    this.#authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    const clientKey = hmac(this.#saltedPassword, 'Client Key');
    const proof = xor(clientKey, hmac(hash(clientKey), this.#authMessage));
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** StoredKey and ServerKey, as in a stored verifier, with the salt of the last challenge. */
  get verifierKeys(): string {
    const storedKey = hash(hmac(this.#saltedPassword, 'Client Key'));
    return `${storedKey.toString('base64')}:${hmac(this.#saltedPassword, 'Server Key').toString('base64')}`;
  }

  /** Whether the server has the verifier, too. */
  accepts(serverFinal: string): boolean {
    const signature = hmac(hmac(this.#saltedPassword, 'Server Key'), this.#authMessage);
    return attribute(serverFinal, 'v') === signature.toString('base64');
  }
}

export class ScramPeerServer {
  readonly #saltedPassword: Buffer;
  readonly #salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  /** gs2-header of the client, as it came. */
  header = '';
  /** What the client has bound the exchange to, header and all. */
  binding = Buffer.alloc(0);
  #clientFirst = '';
  #serverFirst = '';

  constructor(password: string) {
    this.#saltedPassword = pbkdf2Sync(password, this.#salt, 4096, 32, 'sha256');
  }

  first(clientFirst: string): Buffer {
    this.header = /^[^,]*,[^,]*,/.exec(clientFirst)?.[0] ?? '';
    this.#clientFirst = clientFirst.slice(this.header.length);
    this.#serverFirst = `r=${attribute(clientFirst, 'r')}ServerNonce,s=${this.#salt.toString('base64')},i=4096`;
    return Buffer.from(this.#serverFirst);
  }

  /** The server's signature; null for a proof that is wrong. */
  final(clientFinal: string): Buffer | null {
    const authMessage = `${this.#clientFirst},${this.#serverFirst},${clientFinal.replace(/,p=.*$/, '')}`;
    const clientKey = hmac(this.#saltedPassword, 'Client Key');
    const expected = xor(clientKey, hmac(hash(clientKey), authMessage));
    this.binding = Buffer.from(attribute(clientFinal, 'c'), 'base64');
    if (attribute(clientFinal, 'p') !== expected.toString('base64')) return null;
    return Buffer.from(`v=${hmac(hmac(this.#saltedPassword, 'Server Key'), authMessage).toString('base64')}`);
  }
}
