/**
 * Puts environment variables and the texts of files into the values of a YAML file. What came out of one may be a secret:
 * the nodes say so, and no message here holds any of it. It knows no setting.
 */
import { resolve } from 'node:path';
import type { Place } from './config-error.ts';
import { quote, type ScalarNode, type TreeNode } from './config-tree.ts';
import type { Variables } from './given-settings.ts';
import type { ProblemList } from './problem-list.ts';

export interface InterpolationSources {
  readonly variables: Variables;
  /** Where relative paths start. */
  readonly folder: string;
  /** Throws an error whose message says why the file cannot be read. */
  readonly readFile: (path: string) => string;
}

/** All that is put in together: a small file could name a large one many times. */
const MAX_EXPANDED_CHARS = 1024 * 1024;
const SYNTAX = 'expected ${NAME}, ${NAME:-default} or ${file:path} ("$${" stands for "${")';

type Escape = (text: string) => string;

export class Interpolation {
  readonly #sources: InterpolationSources;
  readonly #problems: ProblemList;
  #charsLeft = MAX_EXPANDED_CHARS;

  constructor(sources: InterpolationSources, problems: ProblemList) {
    this.#sources = sources;
    this.#problems = problems;
  }

  /** The scalar, or the list of scalars, with its references replaced. */
  expand(node: TreeNode): TreeNode {
    if (node.kind === 'list') return { ...node, items: node.items.map((item) => this.expand(item)) };
    return node.kind === 'scalar' ? this.#expandScalar(node, () => asItIs) : node;
  }

  /**
   * A connection string in which each value stays one value, whatever is in it. Only a reference with which the string
   * begins may hold more: a whole URL.
   */
  expandConnectionString(node: TreeNode): TreeNode {
    if (node.kind !== 'scalar') return node;
    let inner: Escape = isUrl(node.text ?? '') ? encodeURIComponent : escapeInPair;
    return this.#expandScalar(node, (start) => {
      if (start !== 0) return inner;
      return (text) => {
        if (isUrl(text)) inner = encodeURIComponent;
        return text;
      };
    });
  }

  #expandScalar(node: ScalarNode, escapeAt: (start: number) => Escape): ScalarNode {
    if (typeof node.value !== 'string' || !node.value.includes('${')) return node;
    let reference: string | null = null;
    const text = node.value.replaceAll(
      /\$\$\{|\$\{([^}]*)(\}?)/g,
      (written: string, inside: string | undefined, end: string, start: number) => {
        if (inside === undefined) return '${';
        const found = end === '' ? this.#refuse(node.place, SYNTAX) : this.#valueOf(inside, node.place);
        if (found === null) return written;
        reference ??= found.reference;
        return escapeAt(start)(found.text);
      },
    );
    return reference === null ? { ...node, value: text, text } : { ...node, value: text, text, reference };
  }

  /** Null after a problem. */
  #valueOf(inside: string, place: Place): { readonly reference: string; readonly text: string } | null {
    const match = /^(?:file:(.+)|([A-Za-z_]\w*)(?::-(.*))?)$/s.exec(inside);
    if (match === null) return this.#refuse(place, SYNTAX);
    const [, path, name = '', fallback] = match;
    if (path !== undefined) return this.#fileText(path, place);
    const given = this.#sources.variables[name];
    const text = given === undefined || given === '' ? (fallback ?? given) : given;
    if (text === undefined) return this.#refuse(place, `the environment variable ${quote(name)} is not set`);
    this.#charsLeft -= text.length;
    if (this.#charsLeft < 0)
      return this.#refuse(place, `references stand for more than ${MAX_EXPANDED_CHARS} characters`);
    return { reference: `\${${name}}`, text };
  }

  #fileText(path: string, place: Place): { readonly reference: string; readonly text: string } | null {
    const reference = `\${file:${path}}`;
    // More would be read for nothing.
    if (this.#charsLeft < 0) return { reference, text: '' };
    try {
      // The newline at the end is the editor's, not the secret's.
      const text = this.#sources.readFile(resolve(this.#sources.folder, path)).replace(/\r?\n$/, '');
      this.#charsLeft -= text.length;
      if (this.#charsLeft >= 0) return { reference, text };
      return this.#refuse(place, `references stand for more than ${MAX_EXPANDED_CHARS} characters`);
    } catch (error) {
      return this.#refuse(place, error instanceof Error ? error.message : String(error));
    }
  }

  #refuse(place: Place, message: string): null {
    this.#problems.add(place, message);
    return null;
  }
}

function isUrl(text: string): boolean {
  return /^[a-z][a-z\d+.-]*:\/\//i.test(text);
}

function asItIs(text: string): string {
  return text;
}

/** For `key=value`, in quotes and without. */
function escapeInPair(text: string): string {
  return text.replaceAll(/[\s'\\]/g, String.raw`\$&`);
}
