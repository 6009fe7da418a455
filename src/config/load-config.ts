/**
 * The ways in: a file, YAML text, an object. All of them give the same frozen value or throw one ConfigError with every
 * problem. It knows no setting.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from './config.ts';
import { ConfigError, type ConfigProblem } from './config-error.ts';
import type { MappingEntry } from './config-tree.ts';
import { type Variables, withGiven } from './given-settings.ts';
import { type FileReader, IniTreeBuilder } from './ini-tree-builder.ts';
import { Interpolation } from './interpolation.ts';
import { ObjectTreeBuilder } from './object-tree-builder.ts';
import { ProblemList } from './problem-list.ts';
import { readConfig } from './read-config.ts';
import { YamlTreeBuilder } from './yaml-tree-builder.ts';

/** Thousands of databases fit; anything larger is not a configuration. */
const MAX_FILE_BYTES = 1024 * 1024;
const TOO_LARGE = `larger than ${MAX_FILE_BYTES} bytes, which is too large for a configuration`;

export interface LoadOptions {
  /** For `${NAME}` in YAML; by default the process's. */
  readonly variables?: Variables;
  /** Settings that win over those of the file (`given-settings.ts`). */
  readonly given?: readonly MappingEntry[];
}

/** Reads the file at `path`, synchronously: it is called at start and at reload only. */
export function loadConfig(path: string, options: LoadOptions = {}): Config {
  const text = readText(path);
  return isIni(path, text) ? parseIniConfig(text, path, options) : parseYamlConfig(text, path, options);
}

/** By the name's ending or, where that says nothing, by the first line that is not empty or a comment. */
function isIni(path: string, text: string): boolean {
  if (/\.(?:ini|ya?ml|json)$/i.test(path)) return path.toLowerCase().endsWith('.ini');
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, end).trim();
    if (line !== '' && !/^[;#]/.test(line)) return /^(?:\[\w+\]|%include\s)/.test(line);
    start = end + 1;
  }
  return false;
}

/** `fileName` is for messages and for `Config.path`; the paths in the text start at its folder. */
export function parseYamlConfig(text: string, fileName: string, options: LoadOptions = {}): Config {
  checkText(text, fileName);
  if (/^\[(?:pgbouncer|databases|users|peers)\]/m.test(text)) {
    throw fileProblem(fileName, "this is PgBouncer's .ini format; give it a name that ends in .ini");
  }
  const problems = new ProblemList();
  const tree = new YamlTreeBuilder(fileName, problems).build(text);
  const path = resolve(fileName);
  const folder = dirname(path);
  const { variables = process.env, given = [] } = options;
  const interpolation = new Interpolation({ variables, folder, readFile: readText }, problems);
  return readConfig(withGiven(tree, given), path, { format: 'yaml', folder, problems, warnings: [], interpolation });
}

/** A `pgbouncer.ini`, with PgBouncer's defaults. Paths in it start at the current folder, as for PgBouncer. */
export function parseIniConfig(
  text: string,
  fileName: string,
  { given = [], readFile = readText }: Pick<LoadOptions, 'given'> & { readonly readFile?: FileReader } = {},
): Config {
  checkText(text, fileName);
  const problems = new ProblemList();
  const warnings: ConfigProblem[] = [];
  const tree = new IniTreeBuilder(problems, warnings, readFile).build(text, fileName);
  const folder = resolve('.');
  return readConfig(withGiven(tree, given), resolve(fileName), {
    format: 'ini',
    folder,
    problems,
    warnings,
    interpolation: null,
  });
}

/** An object in the YAML's shape. Paths in it start at the current folder. */
export function configFromObject(value: unknown): Config {
  const problems = new ProblemList();
  const tree = new ObjectTreeBuilder(problems).build(value);
  return readConfig(tree, null, { format: 'yaml', folder: resolve('.'), problems, warnings: [], interpolation: null });
}

function checkText(text: string, fileName: string): void {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) throw fileProblem(fileName, TOO_LARGE);
  const nul = text.indexOf('\0');
  if (nul === -1) return;
  const before = text.slice(0, nul).split('\n');
  throw problemAt(fileName, before.length, before.at(-1)!.length + 1, 'a NUL character; this is not a text');
}

function fileProblem(file: string, message: string): ConfigError {
  return problemAt(file, null, null, message);
}

function problemAt(file: string, line: number | null, column: number | null, message: string): ConfigError {
  return new ConfigError([Object.freeze({ file, line, column, path: null, message })]);
}

/** Never reads more than the limit, whatever the file says its size is: it may be a pipe or a device. */
function readText(path: string): string {
  const buffer = Buffer.allocUnsafe(MAX_FILE_BYTES + 1);
  let length = 0;
  try {
    const file = openSync(path, 'r');
    try {
      for (let read = -1; read !== 0 && length < buffer.length; length += read) {
        read = readSync(file, buffer, length, buffer.length - length, null);
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw fileProblem(path, `cannot be read: ${readFailure(error)}`);
  }
  if (length > MAX_FILE_BYTES) throw fileProblem(path, TOO_LARGE);
  const text = decode(buffer.subarray(0, length), path);
  checkText(text, path);
  return text;
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // No character of UTF-8 has a newline in it, so that lines can be looked at by themselves.
    let line = 1;
    for (let start = 0; start < bytes.length; line++) {
      const newline = bytes.indexOf(0x0a, start);
      const end = newline === -1 ? bytes.length : newline;
      if (!isUtf8(bytes.subarray(start, end))) break;
      start = end + 1;
    }
    throw problemAt(path, line, 1, 'not valid UTF-8');
  }
}

function readFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EISDIR':
      return 'it is a directory';
    case 'EACCES':
      return 'permission denied';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
