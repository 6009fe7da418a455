/**
 * The ways in: a file, YAML text, an object. All of them give the same frozen value or throw one ConfigError with every
 * problem. It knows no setting.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { ObjectTreeBuilder } from './object-tree-builder.ts';
import { ProblemList } from './problem-list.ts';
import { readConfig } from './read-config.ts';
import { YamlTreeBuilder } from './yaml-tree-builder.ts';

/** Thousands of databases fit; anything larger is not a configuration. */
const MAX_FILE_BYTES = 1024 * 1024;
const TOO_LARGE = `larger than ${MAX_FILE_BYTES} bytes, which is too large for a configuration`;

/** Reads the file at `path`, synchronously: it is called at start and at reload only. */
export function loadConfig(path: string): Config {
  return parseYamlConfig(readText(path), path);
}

/** `fileName` is for messages and for `Config.path`; the paths in the text start at its folder. */
export function parseYamlConfig(text: string, fileName: string): Config {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) throw fileProblem(fileName, TOO_LARGE);
  if (/^\[(?:pgbouncer|databases|users|peers)\]/m.test(text)) {
    throw fileProblem(fileName, "this is PgBouncer's .ini format, which is not supported yet; write it in YAML");
  }
  const problems = new ProblemList();
  const tree = new YamlTreeBuilder(fileName, problems).build(text);
  const path = resolve(fileName);
  return readConfig(tree, path, { folder: dirname(path), problems });
}

/** An object in the YAML's shape. Paths in it start at the current folder. */
export function configFromObject(value: unknown): Config {
  const problems = new ProblemList();
  const tree = new ObjectTreeBuilder(problems).build(value);
  return readConfig(tree, null, { folder: resolve('.'), problems });
}

function fileProblem(file: string, message: string): ConfigError {
  return new ConfigError([Object.freeze({ file, line: null, column: null, path: null, message })]);
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
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch {
    throw fileProblem(path, 'not valid UTF-8');
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
