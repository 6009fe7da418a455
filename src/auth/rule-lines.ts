/**
 * The lines of pg_hba.conf, pg_ident.conf and the files that they name with `@`: fields between spaces, each a list
 * between commas. It knows how they are written (PostgreSQL's documentation, "The pg_hba.conf File") and not what they mean.
 */

export interface RuleWord {
  readonly text: string;
  /** Written in quotes, and so a name and never a keyword. */
  readonly quoted: boolean;
}

export interface RuleLine {
  /** Where it begins, counted from 1. */
  readonly line: number;
  /** None is empty. */
  readonly fields: readonly (readonly RuleWord[])[];
}

export interface BrokenLine {
  readonly line: number;
  readonly problem: string;
}

/** Never throws; takes time in proportion to the text. Lines without a field are left out. */
export function readRuleLines(text: string): (RuleLine | BrokenLine)[] {
  const lines: (RuleLine | BrokenLine)[] = [];
  let started = 0;
  let joined = '';
  for (const [index, raw] of text
    .replace(/^\u{feff}/u, '')
    .split('\n')
    .entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (joined === '') started = index + 1;
    // A backslash at the end continues a line, in quotes and comments too.
    if (line.endsWith('\\')) {
      joined += line.slice(0, -1);
      continue;
    }
    addLine(lines, started, joined + line);
    joined = '';
  }
  addLine(lines, started, joined);
  return lines;
}

function addLine(lines: (RuleLine | BrokenLine)[], line: number, text: string): void {
  const fields = fieldsOf(text);
  if (typeof fields === 'string') lines.push({ line, problem: fields });
  else if (fields.length > 0) lines.push({ line, fields });
}

/** The fields of one line, or what is wrong with it. */
function fieldsOf(line: string): RuleWord[][] | string {
  const fields: RuleWord[][] = [];
  let isList = false; // a comma was the last thing seen: the next word belongs to the same field
  let at = 0;
  while (at < line.length) {
    const character = line[at]!;
    if (/\s/.test(character)) {
      at++;
    } else if (character === '#') {
      break;
    } else if (character === ',') {
      if (fields.length === 0 || isList) return 'a comma with no name before it';
      isList = true;
      at++;
    } else {
      const word = wordAt(line, at);
      if (word === null) return 'a quote is not closed';
      if (word.text.includes('\0')) return 'it holds a NUL character';
      if (isList) fields.at(-1)!.push(word);
      else fields.push([word]);
      isList = false;
      at = word.end;
    }
  }
  return isList ? 'a comma with no name behind it' : fields;
}

/** The word that begins at `at`: `name="two words"` is one. Null if a quote is not closed. */
function wordAt(line: string, at: number): (RuleWord & { readonly end: number }) | null {
  const quoted = line[at] === '"';
  let text = '';
  let inQuotes = false;
  let end = at;
  for (; end < line.length; end++) {
    const character = line[end]!;
    if (character === '"') {
      if (inQuotes && line[end + 1] === '"') {
        text += '"';
        end++;
      } else {
        inQuotes = !inQuotes;
      }
    } else if (!inQuotes && /[\s,#]/.test(character)) {
      break;
    } else {
      text += character;
    }
  }
  return inQuotes ? null : { text, quoted, end };
}
