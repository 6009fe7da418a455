/**
 * Reads `options` of a startup packet, which PostgreSQL takes for a command line: words are split as `pg_split_opts`
 * splits them, and of its switches only those are known that name a parameter. What a value means is not known here.
 */

export interface StartupOptions {
  /** In their order, up to the first thing that is wrong. */
  readonly settings: readonly { readonly name: string; readonly value: string }[];
  /** What PostgreSQL says (42601); null if nothing is wrong. */
  readonly problem: { readonly message: string; readonly hint?: string } | null;
}

/** isspace() in the C locale. */
const WORD = /(?:\\[^]|[^\\ \t\n\v\f\r])+/g;

/** Words end at white space; a backslash takes away the meaning of whatever follows it. The last one may stand alone. */
function split(options: string): string[] {
  const words = options.match(WORD) ?? [];
  return words.map((word) => word.replaceAll(/\\([^])/g, '$1'));
}

export function parseStartupOptions(options: string): StartupOptions {
  const settings: { name: string; value: string }[] = [];
  const words = split(options);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    // getopt: the end of all switches, behind which nothing may follow.
    const isEnd = word === '--' && i === words.length - 1;
    if (isEnd) break;
    const isShort = word.startsWith('-c');
    const hasArgument = isShort ? word.length > 2 || i + 1 < words.length : word.startsWith('--') && word !== '--';
    if (!hasArgument) return { settings, problem: invalid(word === '--' ? words[i + 1]! : word) };
    const argument = word.length > 2 ? word.slice(2) : words[++i]!;
    const equals = argument.indexOf('=');
    if (equals === -1) {
      return { settings, problem: { message: `${isShort ? '-c ' : '--'}${argument} requires a value` } };
    }
    settings.push({ name: argument.slice(0, equals).replaceAll('-', '_'), value: argument.slice(equals + 1) });
  }
  return { settings, problem: null };
}

function invalid(word: string): StartupOptions['problem'] {
  return {
    message: `invalid command-line argument for server process: ${word}`,
    hint: 'Try "postgres --help" for more information.',
  };
}
