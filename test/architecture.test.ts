/** Holds the plan of the house against the import statements: who may import whom, and where each package lives. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '..', 'src');

/** What each room may import besides itself. The top level (main, pooler, demo …) may import all. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  base: [],
  protocol: ['base'],
  config: ['base'],
  net: ['base', 'protocol', 'config'],
  auth: ['base', 'protocol', 'config'],
  server: ['base', 'protocol', 'config', 'net', 'auth'],
  pool: ['base', 'protocol', 'config', 'net', 'auth', 'server'],
  client: ['base', 'protocol', 'config', 'net', 'auth', 'server', 'pool'],
  admin: ['base', 'protocol', 'config', 'net', 'auth', 'server', 'pool', 'client'],
  metrics: ['base', 'protocol', 'config', 'net', 'auth', 'server', 'pool', 'client'],
};

/** Where else than in its home nobody imports it, not even its types. */
const HOMES: Readonly<Record<string, string>> = {
  yaml: 'config/',
  pino: 'base/logger.ts',
  'prom-client': 'metrics/',
  'node:net': 'net/',
  'node:tls': 'net/',
  'node:http': 'metrics/',
  'node:dns': 'net/node-environment.ts',
  'node:perf_hooks': 'net/node-environment.ts',
};

/** Time, timers, chance: only the environment has them, or no test could be exact. */
const ENVIRONMENT = 'net/node-environment.ts';
const FORBIDDEN =
  /\b(?:Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process\.nextTick|Math\.random|randomBytes(?=[,\s}].*node:crypto)|randomUUID|randomInt|pbkdf2)\b/g;

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const files: readonly SourceFile[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(SRC, path), 'utf8');
    const imports = [...text.matchAll(/^(?:import|export)\b[^'";]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm)];
    return { path, text, imports: imports.map((match) => match[1] ?? match[2] ?? '') };
  });

function roomOf(path: string): string | null {
  const [room, file] = path.split('/');
  return file === undefined ? null : room!;
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/\/\/.*$/gm, '');
}

describe('the house', () => {
  it('reads its own files', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap((file) => file.imports).length).toBeGreaterThan(200);
  });

  it.each(files)('$path imports downwards only', ({ path, imports }) => {
    const room = roomOf(path);
    const allowed = room === null ? null : BELOW[room];
    expect(allowed, `${room} is no room of the plan`).not.toBeUndefined();
    for (const target of imports.filter((name) => name.startsWith('.'))) {
      expect(target, 'relative imports name the file').toMatch(/\.ts$/);
      const to = roomOf(relative(SRC, join(SRC, path, '..', target)));
      if (allowed !== null && to !== room) expect(allowed, `${path} imports ${target}`).toContain(to);
    }
  });

  it.each(files)('$path imports packages only where they live', ({ path, imports }) => {
    for (const name of imports) {
      const home = HOMES[name];
      if (home !== undefined) expect(path, `imports ${name}`).toMatch(new RegExp(`^${home}`));
    }
  });

  it.each(files.filter(({ path }) => path !== ENVIRONMENT))(
    '$path takes time and chance from the environment',
    ({ text }) => {
      expect(withoutComments(text).match(FORBIDDEN) ?? []).toEqual([]);
    },
  );

  it('has one class in a file, named after it, and no two files of one name', () => {
    const names = files.map(({ path }) => basename(path));
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
    expect(names.filter((name) => /^(?:index|utils?|types?|helpers?)\.ts$/.test(name))).toEqual([]);
    for (const { path, text } of files) {
      const classes = [...text.matchAll(/^export (?:abstract )?class (\w+)/gm)].map((match) => match[1]!);
      expect(classes.length, `${path} has several classes`).toBeLessThan(2);
      const [name] = classes;
      if (name === undefined || name.endsWith('Error')) continue;
      expect(basename(path), path).toBe(`${name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase()}.ts`);
    }
  });
});
