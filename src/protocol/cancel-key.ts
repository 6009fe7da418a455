/**
 * What the bytes of a client's cancel key mean. Before protocol 3.2 it has 8 bytes, in PgBouncer's own layout so that its
 * peers understand it: byte 0 random with the top bit clear (libpq reads the process id as signed); 1–2 peer id,
 * little-endian; 3 worker; 4–7 random, but the two low bits of byte 7 are the hops that the key may still travel. Since 3.2
 * it may have 32, of which no peer hears: 0–3 are the process id alone, random with the top bit clear as long as there is
 * no real one to be told; 4–5 peer id; 6 worker; 7–31 random.
 */

export const SHORT_KEY_BYTES = 8;
export const LONG_KEY_BYTES = 32;

/** Peer id and worker; there is but one worker. */
const ROUTING_BYTES = 3;
const SHORT_ROUTING_AT = 1;
const LONG_ROUTING_AT = 4;

const HOPS_AT = 7;
const HOPS_MASK = 0x03;

/** Where a short key comes from, and how far it may go. */
export interface KeyRoute {
  readonly peerId: number;
  readonly hops: number;
}

/** Writes into a key of either length whose it is; all hops are left. */
export function setRoute(key: Buffer, peerId: number): void {
  const at = key.length === SHORT_KEY_BYTES ? SHORT_ROUTING_AT : LONG_ROUTING_AT;
  key.fill(0, at, at + ROUTING_BYTES);
  key.writeUInt16LE(peerId, at);
  setHops(key);
}

/** All hops that there can be: keys are issued so, and looked up so, whatever a peer has counted down. Only a short key counts them. */
export function setHops(key: Buffer): void {
  if (key.length === SHORT_KEY_BYTES) key[HOPS_AT] = key[HOPS_AT]! | HOPS_MASK;
}

/** Null for a key of another length: no peer has issued it. */
export function routeOf(key: Buffer): KeyRoute | null {
  if (key.length !== SHORT_KEY_BYTES) return null;
  return { peerId: key.readUInt16LE(SHORT_ROUTING_AT), hops: key[HOPS_AT]! & HOPS_MASK };
}

/** A copy of a short key that has hops left, with one less. */
export function withOneHopLess(key: Buffer): Buffer {
  const passed = Buffer.from(key);
  passed[HOPS_AT]! -= 1;
  return passed;
}
