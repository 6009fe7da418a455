/**
 * The minor versions of protocol 3 that we speak. 3.1 was never made: who names it gets what 3.0 is, as PostgreSQL 18
 * gives it. What is negotiated with whom is the logins' business.
 */
export const OLDEST_MINOR = 0;
export const NEWEST_MINOR = 2;

/** From here on a cancel key may be longer than four bytes; those of older protocols may not. */
export const LONG_KEYS_MINOR = 2;

/** As it stands in a message. */
export function protocolVersion(minor: number): number {
  return (3 << 16) | minor;
}
