/**
 * A configuration before anybody knows what it means: mappings, lists and scalars, each with its place. YAML, objects
 * and connection strings all become this, so that there is one reader. It knows no setting.
 */
import type { Place } from './config-error.ts';
import { printable } from './printable.ts';

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly place: Place;
  readonly value: string | number | boolean | null;
  /** As it was written, so that an unquoted `0123` can be a password; null where a text must be a string. */
  readonly text: string | null;
  /** Such as `${NAME}`: what to show instead of a value that was put in for it, which may be a secret. */
  readonly reference?: string;
}

interface ListNode {
  readonly kind: 'list';
  readonly place: Place;
  readonly items: readonly TreeNode[];
}

export interface MappingEntry {
  readonly key: string;
  /** What the key itself was put in for (`ScalarNode.reference`). */
  readonly keyReference?: string;
  readonly place: Place;
  readonly value: TreeNode;
}

/** Keys are unique; entries, not an object, because a key may be `__proto__`. */
export interface MappingNode {
  readonly kind: 'mapping';
  readonly place: Place;
  readonly entries: readonly MappingEntry[];
}

/** What only an object can hold: a function, a symbol, a Date … */
interface ForeignNode {
  readonly kind: 'foreign';
  readonly place: Place;
  readonly description: string;
}

export type TreeNode = ScalarNode | ListNode | MappingNode | ForeignNode;

const MAX_QUOTED_CHARS = 60;

/** For messages: in double quotes, on one line, and never longer than that. */
export function quote(text: string): string {
  return printable(JSON.stringify(text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text));
}

/** The node in words, without showing any of its text. */
export function describeType(node: TreeNode): string {
  if (node.kind === 'foreign') return node.description;
  if (node.kind !== 'scalar') return `a ${node.kind}`;
  if (node.value === null) return 'nothing';
  return typeof node.value === 'string' ? 'text' : `a ${typeof node.value}`;
}

/** The node in words, with its value if it has one. */
export function describeNode(node: TreeNode): string {
  if (node.kind !== 'scalar' || node.value === null) return describeType(node);
  return typeof node.value === 'string' ? quote(node.value) : String(node.value);
}
