/**
 * SASLprep (RFC 4013) as PostgreSQL applies it to passwords before SCRAM hashes them. It knows nothing of SCRAM.
 *
 * PostgreSQL's dialect (`src/common/saslprep.c`), which both ends must share or logins fail: a password that cannot be
 * prepared is used as it is instead of being refused, and the checks look at the mapped string, not at the normalized.
 */
import {
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACES,
  PROHIBITED,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from './stringprep-tables.ts';

/**
 * Longer passwords that are not ASCII are used as they are. Normalization takes quadratic time on a string of combining
 * characters: what fits into one PasswordMessage would stop the event loop for half a second, before any login.
 */
const MAX_PREPARED_LENGTH = 2048;

const ASCII = /^[\0-\x7f]*$/;

/** The prepared password, or `password` itself where PostgreSQL would use the raw bytes. Never throws. */
export function saslprep(password: string): string {
  if (ASCII.test(password) || password.length > MAX_PREPARED_LENGTH) return password;

  // RFC 3454 §3: map. U+200B is in both tables; as in PostgreSQL the space wins.
  let mapped = '';
  const codes: number[] = [];
  for (const character of password) {
    const code = character.codePointAt(0)!;
    const isSpace = contains(NON_ASCII_SPACES, code);
    if (!isSpace && contains(MAPPED_TO_NOTHING, code)) continue;
    mapped += isSpace ? ' ' : character;
    codes.push(isSpace ? 0x20 : code);
  }
  if (codes.length === 0) return password;

  // RFC 3454 §5 and §7: prohibit, and refuse what Unicode 3.2 did not know.
  if (codes.some((code) => contains(PROHIBITED, code) || contains(UNASSIGNED, code))) return password;
  if (!isBidirectionallySound(codes)) return password;
  return mapped.normalize('NFKC');
}

/** RFC 3454 §6: with a right-to-left character, it must begin and end with one and have no left-to-right one. */
function isBidirectionallySound(codes: readonly number[]): boolean {
  if (!codes.some((code) => contains(RIGHT_TO_LEFT, code))) return true;
  return (
    contains(RIGHT_TO_LEFT, codes[0]!) &&
    contains(RIGHT_TO_LEFT, codes[codes.length - 1]!) &&
    !codes.some((code) => contains(LEFT_TO_RIGHT, code))
  );
}

/** Binary search in a flat list of inclusive ranges. */
function contains(ranges: readonly number[], code: number): boolean {
  let low = 0;
  let high = ranges.length / 2 - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (code < ranges[2 * middle]!) high = middle - 1;
    else if (code > ranges[2 * middle + 1]!) low = middle + 1;
    else return true;
  }
  return false;
}
