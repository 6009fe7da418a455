/**
 * How the ledger packs what is owed for one message, or for many equal ones, into a number: the kind of message, for whom its
 * reply is, whether somebody waits for it, and how many there are.
 */

/** For whom a reply is: the linked client, nobody (we asked), or the client but with our own error in place of the server's. */
export const TO_CLIENT = 0;
export const TO_NOBODY = 1;
export const SUBSTITUTE = 2;
/** We asked so that what the client asks for can be done: nobody needs to know, unless it fails. */
export const ERROR_TO_CLIENT = 3;
export type Destination = typeof TO_CLIENT | typeof TO_NOBODY | typeof SUBSTITUTE | typeof ERROR_TO_CLIENT;

// Kinds of entry. From READY_KINDS on, a ReadyForQuery ends them.
export const PARSE = 0;
export const BIND = 1;
export const DESCRIBE = 2;
export const EXECUTE = 3;
export const CLOSE = 4;
/** A CopyDone or CopyFail that went out before its COPY was answered. It owes nothing. */
export const COPY_MARK = 5;
/** What the server was not asked, and we answer when everything before it has been answered. */
export const OWN_PARSE = 6;
export const OWN_CLOSE = 7;
export const SYNC = 8;
export const QUERY = 9;
export const FUNCTION = 10;
export const READY_KINDS = 8;

// An entry is kind | destination << 4 | noted | count << 8, so that a thousand equal messages take one.
export const KIND_MASK = 0x0f;
export const DESTINATION_SHIFT = 4;
const DESTINATION_MASK = 0x03;
export const NOTED = 0x40;
export const ENTRY_MASK = 0xff;
export const ONE = 1 << 8;
export const MAX_COUNT = (1 << 23) - 1;

export function destinationOf(entry: number): Destination {
  return ((entry >> DESTINATION_SHIFT) & DESTINATION_MASK) as Destination;
}

export function isSubstitute(entry: number): boolean {
  return destinationOf(entry) === SUBSTITUTE;
}
