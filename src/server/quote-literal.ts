/** Writes texts into SQL. It knows no statement, and trusts no text. */

/**
 * A string literal that means `text` whatever standard_conforming_strings, backslash_quote and client_encoding are: it
 * is pure ASCII, and what is not plain goes by escapes.
 */
export function quoteLiteral(text: string): string {
  if (/^[ -&(-[\]-~]*$/.test(text)) return `'${text}'`;
  let body = '';
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (character === "'" || character === '\\') body += character + character;
    else if (code >= 0x20 && code < 0x7f) body += character;
    else if (code < 0x20 || code === 0x7f) body += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (code <= 0xffff) body += `\\u${code.toString(16).padStart(4, '0')}`;
    else body += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return `E'${body}'`;
}
