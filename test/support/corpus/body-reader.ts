/** The fields of one message body, one after the other. */

export class BodyReader {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get hasMore(): boolean {
    return this.#at < this.#body.length;
  }

  byte(): number {
    return this.#body.readUInt8(this.#at++);
  }

  int16(): number {
    this.#at += 2;
    return this.#body.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#body.readInt32BE(this.#at - 4);
  }

  text(): string {
    const end = this.#body.indexOf(0, this.#at);
    const value = this.#body.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return value;
  }

  bytes(length: number): Buffer {
    this.#at += length;
    return this.#body.subarray(this.#at - length, this.#at);
  }
}
