/** Turns a JavaScript value into a tree, with paths for places. It knows nothing of what the keys mean. */
import type { Place } from './config-error.ts';
import { type MappingEntry, quote, type TreeNode } from './config-tree.ts';
import type { ProblemList } from './problem-list.ts';

/** A configuration needs five levels; more is a mistake or a cycle. */
const MAX_DEPTH = 16;
/** An object that holds itself twice doubles at each level: the depth alone does not bound the work. */
const MAX_NODES = 250_000;

export class ObjectTreeBuilder {
  readonly #problems: ProblemList;
  #nodesLeft = MAX_NODES;

  constructor(problems: ProblemList) {
    this.#problems = problems;
  }

  /** A property that is undefined counts as absent, except directly below `databases`. */
  build(value: unknown): TreeNode {
    return this.#convert(value, '', 0);
  }

  #convert(value: unknown, path: string, depth: number): TreeNode {
    const place: Place = Object.freeze({ file: null, line: null, column: null, path });
    if (this.#nodesLeft-- === 0) {
      this.#problems.add(place, 'the configuration is too large');
      this.#problems.throwIfAny();
    }
    if (value === null) return { kind: 'scalar', place, value: null, text: null };
    if (typeof value === 'string') return { kind: 'scalar', place, value, text: value };
    if (typeof value === 'number' || typeof value === 'boolean') return { kind: 'scalar', place, value, text: null };
    if (typeof value !== 'object') {
      return { kind: 'foreign', place, description: value === undefined ? 'undefined' : `a ${typeof value}` };
    }
    if (depth === MAX_DEPTH) {
      this.#problems.add(place, 'nested too deeply');
      return { kind: 'mapping', place, entries: [] };
    }
    const properties = ownProperties(value);
    if (properties === null) return { kind: 'foreign', place, description: 'an object that is not a plain one' };
    if (!Array.isArray(value)) return { kind: 'mapping', place, entries: this.#entries(properties, path, depth + 1) };
    const items = properties.map(([index, item]) => this.#convert(item, `${path}[${index}]`, depth + 1));
    return { kind: 'list', place, items };
  }

  #entries(properties: readonly (readonly [string, unknown])[], path: string, depth: number): MappingEntry[] {
    const entries: MappingEntry[] = [];
    for (const [key, property] of properties) {
      // An undefined setting is one that was not given. An undefined database (an environment variable that is not
      // set, say) would be silently missing, and is reported instead.
      if (property === undefined && path !== 'databases') continue;
      const value = this.#convert(property, appendKey(path, key), depth);
      entries.push({ key, place: value.place, value });
    }
    return entries;
  }
}

/** Null for what has a class of its own (a Map, a Date, a Promise would look empty here) and what cannot be read. */
function ownProperties(value: object): [string, unknown][] | null {
  try {
    const prototype: unknown = Object.getPrototypeOf(value);
    const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
    return isPlain || Array.isArray(value) ? Object.entries(value) : null;
  } catch {
    return null;
  }
}

function appendKey(path: string, key: string): string {
  if (!/^[\w*-]{1,64}$/.test(key)) return `${path}[${quote(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
