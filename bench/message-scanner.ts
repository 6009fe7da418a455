/**
 * Finds the messages of a server in the bytes that it sends, and keeps the bodies only of those that a login or an error
 * needs. It checks nothing, and knows not what a message means.
 */
const HEADER_BYTES = 5;

/** AuthenticationX, ErrorResponse, ParameterStatus. */
const KEPT: ReadonlySet<number> = new Set(Buffer.from('RES'));

const NOTHING = Buffer.alloc(0);

export class MessageScanner {
  readonly #onMessage: (type: number, body: Buffer) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #remaining = 0;
  #kept: Buffer[] | null = null;

  /** `body` is empty for messages whose body is not kept. */
  constructor(onMessage: (type: number, body: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  feed(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        this.#header[this.#headerBytes++] = bytes[at++]!;
        if (this.#headerBytes === HEADER_BYTES) this.#begin();
        continue;
      }
      const end = Math.min(bytes.length, at + this.#remaining);
      this.#kept?.push(Buffer.from(bytes.subarray(at, end)));
      this.#remaining -= end - at;
      at = end;
      if (this.#remaining === 0) this.#finish();
    }
  }

  #begin(): void {
    this.#type = this.#header[0]!;
    this.#remaining = this.#header.readInt32BE(1) - 4;
    this.#kept = KEPT.has(this.#type) ? [] : null;
    if (this.#remaining === 0) this.#finish();
  }

  #finish(): void {
    const body = this.#kept === null ? NOTHING : Buffer.concat(this.#kept);
    this.#headerBytes = 0;
    this.#kept = null;
    this.#onMessage(this.#type, body);
  }
}
