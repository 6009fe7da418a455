/**
 * pg_ident.conf in PgBouncer's form: which name from outside (a certificate's, the operating system's) may log in as which
 * user. It knows nothing of files.
 */
import { readRuleLines } from './rule-lines.ts';
import type { RuleProblem } from './rule-problem.ts';

interface MapEntry {
  readonly systemName: string;
  /** Null: `all`. */
  readonly userName: string | null;
}

export class IdentMaps {
  readonly #maps: ReadonlyMap<string, readonly MapEntry[]>;

  private constructor(maps: ReadonlyMap<string, readonly MapEntry[]>) {
    this.#maps = maps;
  }

  /** Every broken line is a problem: to leave out one would let in, or keep out, whom nobody meant. */
  static parse(text: string, file: string): { readonly maps: IdentMaps; readonly problems: readonly RuleProblem[] } {
    const maps = new Map<string, MapEntry[]>();
    const problems: RuleProblem[] = [];
    for (const entry of readRuleLines(text)) {
      const { line } = entry;
      if ('problem' in entry) {
        problems.push({ file, line, message: entry.problem });
        continue;
      }
      const [map, systemName, user] = entry.fields.map((field) => field[0]!);
      if (entry.fields.length !== 3 || entry.fields.some((field) => field.length !== 1)) {
        problems.push({ file, line, message: 'a line is a map name, a system user name and a database user name' });
      } else if (!systemName!.quoted && systemName!.text.startsWith('/')) {
        problems.push({ file, line, message: 'regular expressions are not supported' });
      } else if (!user!.quoted && /^[+/]/.test(user!.text)) {
        problems.push({ file, line, message: 'groups and regular expressions are not supported' });
      } else {
        const isAll = !user!.quoted && user!.text === 'all';
        const entries = maps.get(map!.text) ?? [];
        entries.push({ systemName: systemName!.text, userName: isAll ? null : user!.text });
        maps.set(map!.text, entries);
      }
    }
    return { maps: new IdentMaps(maps), problems };
  }

  has(name: string): boolean {
    return this.#maps.has(name);
  }

  /** Whether `systemName` may be `userName`. Without a map (null) it must be the same name. */
  allows(map: string | null, systemName: string, userName: string): boolean {
    if (map === null) return systemName === userName;
    const entries = this.#maps.get(map) ?? [];
    return entries.some(
      (entry) => entry.systemName === systemName && (entry.userName === null || entry.userName === userName),
    );
  }
}
