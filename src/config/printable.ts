/** Makes any text safe to show in a line of a message. It knows nothing of what the text is. */

/**
 * Escapes what a terminal might obey: controls (U+009B begins a sequence as ESC [ does), marks of direction and other
 * characters without a shape, line ends.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, escape);
}

function escape(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
