/**
 * The bodies of a client's `p` messages: PasswordMessage, SASLInitialResponse (PostgreSQL, "Message Formats"). A
 * SASLResponse is its body. It knows nothing of what they prove. What it returns is in memory of its own.
 */

/** PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH: a cloud's tokens fit, what only fills memory does not. */
export const MAX_AUTHENTICATION_MESSAGE_BYTES = 65_535;

const NO_INITIAL_RESPONSE = 0xffff_ffff;

/** The password without its NUL, or null if that is missing, not at the end, or the message too long. */
export function parsePasswordMessage(body: Buffer): Buffer | null {
  if (body.length > MAX_AUTHENTICATION_MESSAGE_BYTES) return null;
  const end = body.indexOf(0);
  if (end === -1 || end !== body.length - 1) return null;
  return Buffer.from(body.subarray(0, end));
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** null: the client sent none (length −1) and waits for an empty challenge. */
  readonly data: Buffer | null;
}

/** A mechanism's name, a length, as many bytes and nothing after them; or null. */
export function parseSaslInitialResponse(body: Buffer): SaslInitialResponse | null {
  if (body.length > MAX_AUTHENTICATION_MESSAGE_BYTES) return null;
  const end = body.indexOf(0);
  if (end === -1 || body.length - end - 1 < 4) return null;
  const mechanism = body.toString('latin1', 0, end);
  // Unsigned, and compared with what is there: as a sum it wrapped around (CVE-2026-6664).
  const length = body.readUInt32BE(end + 1);
  const available = body.length - end - 5;
  if (length === NO_INITIAL_RESPONSE) return available === 0 ? { mechanism, data: null } : null;
  if (length !== available) return null;
  return { mechanism, data: Buffer.from(body.subarray(end + 5)) };
}
