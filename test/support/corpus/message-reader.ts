/** Cuts what a server sends into messages, of whatever length and however it comes. It knows no message. */
import type { ServerMessage } from './server-message.ts';

export class MessageReader {
  #chunks: Buffer[] = [];
  #length = 0;
  #needed = 5;

  /** Bytes of a message that is not complete. */
  get pendingBytes(): number {
    return this.#length;
  }

  push(chunk: Buffer): ServerMessage[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return [];
    const messages: ServerMessage[] = [];
    const all = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#length);
    let at = 0;
    this.#needed = 5;
    while (all.length - at >= 5) {
      const length = 1 + all.readUInt32BE(at + 1);
      if (all.length - at < length) {
        this.#needed = length;
        break;
      }
      messages.push({ type: String.fromCharCode(all[at] ?? 0), body: Buffer.from(all.subarray(at + 5, at + length)) });
      at += length;
    }
    this.#chunks = [all.subarray(at)];
    this.#length = all.length - at;
    return messages;
  }
}
