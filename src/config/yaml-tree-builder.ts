/**
 * Turns YAML 1.2 text into a tree with lines and columns; the home of the package `yaml`. It knows nothing of what the
 * keys mean, and shows nothing of the text in its messages: what YAML trips over is often a password.
 */
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type YAMLError,
} from 'yaml';
import type { Place } from './config-error.ts';
import { type MappingEntry, type MappingNode, quote, type TreeNode } from './config-tree.ts';
import type { ProblemList } from './problem-list.ts';

/**
 * Both the parser's stack and ours. It must be checked before the package composes its nodes: it recurses, and a stack
 * that overflows within a regular expression ends the whole process.
 */
const MAX_DEPTH = 64;
/** What all aliases together may stand for: ten aliases of ten aliases of … grow without bound ("billion laughs"). */
const MAX_ALIASED_NODES = 100_000;

/** A node and how many it holds, itself included. */
interface Built {
  readonly node: TreeNode;
  readonly size: number;
}

export class YamlTreeBuilder {
  readonly #fileName: string;
  readonly #problems: ProblemList;
  readonly #lines = new LineCounter();
  readonly #anchors = new Map<string, Built>();
  #aliasedNodesLeft = MAX_ALIASED_NODES;

  constructor(fileName: string, problems: ProblemList) {
    this.#fileName = fileName;
    this.#problems = problems;
  }

  /** The tree of the one document in `text`. Throws a ConfigError with every problem if it is no YAML. */
  build(text: string): TreeNode {
    const document = this.#compose(text);
    for (const error of document.errors) this.#problems.add(this.#place(error.pos[0]), yamlMessage(error));
    // A tag or a directive that is not understood is only a warning to the package; here nothing is half understood.
    for (const warning of document.warnings) this.#problems.add(this.#place(warning.pos[0]), yamlMessage(warning));
    this.#problems.throwIfAny();
    const { node } = this.#convert(document.contents, 0, 0);
    this.#problems.throwIfAny();
    return node;
  }

  #compose(text: string): Document.Parsed {
    // Unique keys are checked below: the package's own check compares each key with every other one.
    const options = {
      schema: 'core',
      merge: false,
      stringKeys: true,
      uniqueKeys: false,
      resolveKnownTags: false,
      prettyErrors: false,
      lineCounter: this.#lines,
    } as const;
    const composer = new Composer(options);
    let first: Document.Parsed | null = null;
    for (const document of composer.compose(this.#tokens(text), true, text.length)) {
      if (first !== null) {
        this.#problems.add(this.#place(document.range[0]), 'a second YAML document; a configuration is one');
        this.#problems.throwIfAny();
      }
      first = document;
    }
    return first!; // compose(…, true) yields a document even for an empty text
  }

  *#tokens(text: string): Generator<Parameters<Composer['next']>[0], void> {
    this.#lines.addNewLine(0);
    const parser = new Parser(this.#lines.addNewLine);
    for (const lexeme of new Lexer().lex(text)) {
      yield* parser.next(lexeme);
      if (parser.stack.length > MAX_DEPTH) {
        this.#problems.add(this.#place(Math.min(parser.offset, text.length)), 'nested too deeply');
        this.#problems.throwIfAny();
      }
    }
    yield* parser.end();
  }

  #convert(node: unknown, offset: number, depth: number): Built {
    const start = rangeStart(node) ?? offset;
    const place = this.#place(start);
    if (isAlias(node)) return this.#dereference(node.source, place);
    let built: Built;
    if (isMap(node)) built = this.#convertMapping(node.items, place, start, depth);
    else if (isSeq(node)) {
      const items = node.items.map((item) => this.#convert(item, start, depth + 1));
      const size = items.reduce((sum, item) => sum + item.size, 1);
      built = { node: { kind: 'list', place, items: items.map((item) => item.node) }, size };
    } else built = { node: scalarNode(node, place), size: 1 };
    if (hasAnchor(node)) this.#anchors.set(node.anchor, built);
    return built;
  }

  #convertMapping(
    pairs: readonly { key: unknown; value: unknown }[],
    place: Place,
    offset: number,
    depth: number,
  ): Built {
    const entries: MappingEntry[] = [];
    const seen = new Map<string, Place>();
    let size = 1;
    for (const pair of pairs) {
      const keyPlace = this.#place(rangeStart(pair.key) ?? offset);
      // Other keys than strings were refused by the composer (`stringKeys`).
      const key = isScalar(pair.key) && typeof pair.key.value === 'string' ? pair.key.value : '';
      const earlier = seen.get(key);
      if (earlier !== undefined) {
        this.#problems.add(keyPlace, `duplicate key ${quote(key)}, first given in line ${earlier.line}`);
        continue;
      }
      seen.set(key, keyPlace);
      const value = this.#convert(pair.value, rangeStart(pair.key) ?? offset, depth + 1);
      entries.push({ key, place: keyPlace, value: value.node });
      size += value.size;
    }
    const node: MappingNode = { kind: 'mapping', place, entries };
    return { node, size };
  }

  /** The anchored node itself, not a copy. An anchor is known when its node is complete: there can be no cycle. */
  #dereference(name: string, place: Place): Built {
    const target = this.#anchors.get(name);
    const nothing: Built = { node: { kind: 'scalar', place, value: null, text: null }, size: 1 };
    if (target === undefined) {
      this.#problems.add(place, 'alias without an anchor before it (a value that starts with "*" must be quoted)');
      return nothing;
    }
    this.#aliasedNodesLeft -= target.size;
    if (this.#aliasedNodesLeft >= 0) return target;
    this.#problems.add(place, `aliases stand for more than ${MAX_ALIASED_NODES} values`);
    this.#problems.throwIfAny();
    return nothing;
  }

  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return Object.freeze({ file: this.#fileName, line, column: col, path: null });
  }
}

function rangeStart(node: unknown): number | null {
  const isNode = isMap(node) || isSeq(node) || isScalar(node) || isAlias(node);
  return isNode ? (node.range?.[0] ?? null) : null;
}

function hasAnchor(node: unknown): node is { anchor: string } {
  return (isMap(node) || isSeq(node) || isScalar(node)) && node.anchor !== undefined;
}

function scalarNode(node: unknown, place: Place): TreeNode {
  const value: unknown = isScalar(node) ? node.value : null;
  if (typeof value === 'string') return { kind: 'scalar', place, value, text: value };
  if (typeof value === 'number' || typeof value === 'boolean') {
    return { kind: 'scalar', place, value, text: isScalar(node) ? (node.source ?? String(value)) : null };
  }
  return { kind: 'scalar', place, value: null, text: null };
}

/** The package's message where it says only what is wrong, or words of our own where it would show the text. */
function yamlMessage({ code, message }: YAMLError): string {
  const ownWords = OWN_WORDS.get(code);
  if (ownWords !== undefined) return ownWords;
  // `Unexpected … token in YAML document: "…"`
  return `YAML: ${code === 'UNEXPECTED_TOKEN' ? message.split(': ', 1)[0] : message}`;
}

const NO_TAGS = 'YAML tags are not supported (a value that starts with "!" must be quoted)';
const OWN_WORDS: ReadonlyMap<YAMLError['code'], string> = new Map<YAMLError['code'], string>([
  ['TAG_RESOLVE_FAILED', NO_TAGS],
  ['BAD_COLLECTION_TYPE', NO_TAGS],
  ['BAD_ALIAS', 'bad YAML anchor or alias (a value that starts with "&" or "*" must be quoted)'],
  ['BAD_DIRECTIVE', 'bad YAML directive (a value that starts with "%" must be quoted)'],
  ['BAD_DQ_ESCAPE', 'invalid escape sequence in a double-quoted text'],
]);
