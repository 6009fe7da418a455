/**
 * Numbers as PgBouncer reads them in its files, for kinds that know ours. What is no such number stays as it is: the
 * kind takes it (`15s`, `yes`) or refuses it. It knows no setting.
 *
 * Tried with PgBouncer 1.18: the main section reads whole numbers by strtol with base 0 (`0x10`, `010` is 8), booleans
 * are such numbers, times come from strtod (`1e3`); entries of other sections read by atoi, and less than 0 is "not set".
 */
import type { TreeNode } from './config-tree.ts';
import type { Kind } from './setting-kinds.ts';
import type { SectionName } from './settings.ts';

export function readIniScalar(node: TreeNode, type: Kind<unknown>['type'], section: SectionName): TreeNode {
  if (node.kind !== 'scalar' || node.text === null) return node;
  const number = numberIn(node.text, type, section);
  if (number === null) return node;
  if (section !== 'pgbouncer' && number < 0) return { ...node, value: null, text: null };
  return type === 'boolean' ? { ...node, value: number !== 0 } : { ...node, value: number, text: String(number) };
}

function numberIn(text: string, type: Kind<unknown>['type'], section: SectionName): number | null {
  switch (type) {
    case 'duration':
      return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$/.test(text) ? Number(text) : null;
    case 'boolean':
    case 'integer':
    case 'size':
      return section === 'pgbouncer' ? wholeNumber(text) : decimalNumber(text);
    default:
      return null;
  }
}

function wholeNumber(text: string): number | null {
  const match = /^([+-]?)(?:0x([\da-f]{1,12})|0([0-7]{1,15})|(0|[1-9]\d{0,14}))$/i.exec(text);
  if (match === null) return null;
  const [, sign, hexadecimal, octal, decimal] = match;
  const amount =
    hexadecimal === undefined ? parseInt(octal ?? decimal!, octal === undefined ? 10 : 8) : parseInt(hexadecimal, 16);
  return sign === '-' && amount !== 0 ? -amount : amount;
}

function decimalNumber(text: string): number | null {
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : null;
}
