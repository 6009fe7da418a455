/** Reads a DataRow (PostgreSQL, "Message Formats"). It knows no types: a value is its bytes as UTF-8 text. */

/**
 * The columns of `buffer[from, to)`, the message's body, in memory of their own; null stands for NULL. Returns null for a
 * body that is not exactly such a row. Lengths are compared with what is there, never added up first.
 */
export function parseDataRow(buffer: Buffer, from: number, to: number): (string | null)[] | null {
  if (to - from < 2) return null;
  const columns: (string | null)[] = [];
  let at = from + 2;
  for (let left = buffer.readUInt16BE(from); left > 0; left--) {
    if (to - at < 4) return null;
    const length = buffer.readInt32BE(at);
    at += 4;
    if (length < -1 || length > to - at) return null;
    columns.push(length === -1 ? null : buffer.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return at === to ? columns : null;
}
