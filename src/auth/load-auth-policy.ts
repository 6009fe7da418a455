/**
 * The files behind `auth_type`: reads them when the pooler starts and when it reloads, all or nothing. A rule that could
 * never be kept is a problem as much as one that cannot be read.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError } from '../config/config-error.ts';
import type { Settings } from '../config/settings.ts';
import { AuthPolicy } from './auth-policy.ts';
import { parseHba } from './hba-parser.ts';
import { type HbaRule, HbaRules } from './hba-rules.ts';
import { IdentMaps } from './ident-maps.ts';
import type { RuleProblem } from './rule-problem.ts';

/** Thousands of rules fit; anything larger is a mistake. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * `systemUser` is who is at the other end of our Unix socket, null if that cannot be known. Throws a ConfigError with every
 * problem.
 */
export function loadAuthPolicy(
  settings: Pick<Settings, 'authType' | 'authHbaFile' | 'authIdentFile'>,
  systemUser: string | null,
): AuthPolicy {
  const { authType, authHbaFile, authIdentFile } = settings;
  if (authType !== 'hba') return new AuthPolicy({ authType, rules: new HbaRules([]), maps: noMaps() });
  if (authHbaFile === null) throw configError([{ file: '', line: null, message: 'auth_type hba needs auth_hba_file' }]);
  const problems: RuleProblem[] = [];
  const hba = read(authHbaFile, problems);
  const ident = authIdentFile === null ? '' : read(authIdentFile, problems);
  const parsedIdent = IdentMaps.parse(ident, authIdentFile ?? '');
  const parsedHba = parseHba(hba, authHbaFile, (name, namedIn) => {
    const path = resolve(dirname(namedIn), name);
    return { path, text: readText(path) };
  });
  problems.push(...parsedIdent.problems, ...parsedHba.problems);
  for (const rule of parsedHba.rules) {
    const message = unkeepable(rule, parsedIdent.maps, systemUser);
    if (message !== null) problems.push({ file: authHbaFile, line: rule.line, message });
  }
  if (problems.length > 0) throw configError(problems);
  return new AuthPolicy({ authType, rules: new HbaRules(parsedHba.rules), maps: parsedIdent.maps });
}

function unkeepable({ method, map }: HbaRule, maps: IdentMaps, systemUser: string | null): string | null {
  if (map !== null && !maps.has(map)) return `there is no map "${map}" in auth_ident_file`;
  if (method === 'peer' && systemUser === null) {
    return 'method "peer" works where unix_socket_dir is a folder of our own user with mode 0700: elsewhere nobody can tell who connects';
  }
  return null;
}

function noMaps(): IdentMaps {
  return IdentMaps.parse('', '').maps;
}

function read(path: string, problems: RuleProblem[]): string {
  try {
    return readText(path);
  } catch (error) {
    problems.push({
      file: path,
      line: null,
      message: `cannot be read: ${error instanceof Error ? error.message : ''}`,
    });
    return '';
  }
}

function readText(path: string): string {
  const bytes = readFileSync(path);
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function configError(problems: readonly RuleProblem[]): ConfigError {
  return new ConfigError(
    problems.map(({ file, line, message }) => ({
      file: file === '' ? null : file,
      line,
      column: null,
      path: null,
      message,
    })),
  );
}
