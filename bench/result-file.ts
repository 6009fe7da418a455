/** Keeps results as JSON: one file for each run, small enough to be committed. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BenchResult } from './bench-result.ts';

/** More digits than this say nothing. */
const DIGITS = 5;

export async function writeResult(path: string, result: BenchResult): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, renderResult(result));
}

/** A sample per line. */
export function renderResult(result: BenchResult): string {
  const text = JSON.stringify(result, rounded, 2);
  const dense = text.replaceAll(/\{\s+("(?:perSecond|kbPerClient)[^{}]*?)\s+\}/g, (_all, inside: string) => {
    return `{ ${inside.replaceAll(/\s+/g, ' ')} }`;
  });
  return `${dense}\n`;
}

export async function readResult(path: string): Promise<BenchResult> {
  const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
  if (typeof parsed !== 'object' || parsed === null || !('scenarios' in parsed) || !('environment' in parsed)) {
    throw new Error(`${path} is not a result of this benchmark`);
  }
  return parsed as BenchResult;
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value;
}
