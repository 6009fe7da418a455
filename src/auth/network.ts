/** A range of IP addresses, as in the address column of pg_hba.conf. It knows neither rules nor files. */
import { parseIpAddress } from '../base/ip-address.ts';

export class Network {
  readonly #base: Buffer;
  readonly #mask: Buffer;

  private constructor(base: Buffer, mask: Buffer) {
    this.#base = base;
    this.#mask = mask;
  }

  /** `10.0.0.0/8`, `fe80::/10`. Null if it is none; `bits` beyond the address's own are none. */
  static fromCidr(text: string): Network | null {
    const slash = text.indexOf('/');
    const base = slash === -1 ? null : parseIpAddress(text.slice(0, slash));
    const digits = text.slice(slash + 1);
    if (base === null || !/^\d{1,3}$/.test(digits)) return null;
    // `::ffff:10.0.0.0/104` is an IPv4 network.
    const bits = Number(digits) - (base.length === 4 && text.includes(':') ? 96 : 0);
    if (bits < 0 || bits > base.length * 8) return null;
    return new Network(base, maskOf(bits, base.length));
  }

  /** `10.0.0.0` and `255.0.0.0`: the older form, in two columns. Null if they are none, or not of one family. */
  static fromMask(address: string, mask: string): Network | null {
    const base = parseIpAddress(address);
    const bits = parseIpAddress(mask);
    return base === null || bits === null || base.length !== bits.length ? null : new Network(base, bits);
  }

  /** Bits of the base that the mask leaves out do not count (as in PostgreSQL; PgBouncer would match nothing). */
  contains(address: Buffer): boolean {
    if (address.length !== this.#base.length) return false;
    return this.#base.every((byte, index) => (address[index]! & this.#mask[index]!) === (byte & this.#mask[index]!));
  }
}

function maskOf(bits: number, length: number): Buffer {
  const mask = Buffer.alloc(length);
  for (let index = 0; index < length; index++) {
    const ones = Math.min(Math.max(bits - index * 8, 0), 8);
    mask[index] = 0xff00 >> ones;
  }
  return mask;
}
