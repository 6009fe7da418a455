/**
 * Base64 that has exactly one spelling for each value. It knows nothing of what the bytes mean.
 *
 * Node's decoder takes line breaks, the URL alphabet, missing padding and stray bits; a proof or a salt with two
 * spellings is a difference between what was signed and what was checked.
 */

/** The bytes that `text` encodes (RFC 4648 §4, padded, canonical), or null. */
export function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}
