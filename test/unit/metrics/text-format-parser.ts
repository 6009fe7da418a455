/**
 * A second opinion on Prometheus' text format 0.0.4, written from its description and from nothing of ours. It throws
 * for whatever a strict reader could take offence at.
 */

interface ParsedSample {
  /** The whole name, with a histogram's `_bucket`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedMetric {
  readonly help: string;
  readonly type: string;
  readonly samples: ParsedSample[];
}

const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*/;
const VALUE = /^(?:[+-]?Inf|NaN|[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

export function parseTextFormat(text: string): Map<string, ParsedMetric> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const metrics = new Map<string, ParsedMetric>();
  const series = new Set<string>();
  let help: { name: string; text: string } | null = null;
  let current: (ParsedMetric & { name: string }) | null = null;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment;
      if (kind === 'HELP') {
        help = { name, text: rest };
        continue;
      }
      if (metrics.has(name)) throw new Error(`${name} comes twice`);
      if (help?.name !== name) throw new Error(`${name} has no help before its type`);
      current = { name, help: help.text, type: rest, samples: [] };
      metrics.set(name, current);
      continue;
    }
    const sample = parseSample(line);
    if (current === null || !belongs(sample.name, current.name, current.type)) {
      throw new Error(`a sample where it does not belong: ${line}`);
    }
    const key = JSON.stringify([sample.name, Object.entries(sample.labels).map(String).sort()]);
    if (series.has(key)) throw new Error(`a series comes twice: ${line}`);
    series.add(key);
    current.samples.push(sample);
  }
  return metrics;
}

function belongs(sample: string, metric: string, type: string): boolean {
  if (type !== 'histogram') return sample === metric;
  return ['_bucket', '_sum', '_count'].some((suffix) => sample === `${metric}${suffix}`);
}

function parseSample(line: string): ParsedSample {
  const name = METRIC_NAME.exec(line)?.[0];
  if (name === undefined) throw new Error(`no name: ${JSON.stringify(line)}`);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = Object.create(null) as Record<string, string>;
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    while (!rest.startsWith('}')) {
      const label = LABEL_NAME.exec(rest)?.[0];
      if (label === undefined || label in labels) throw new Error(`no new label: ${JSON.stringify(line)}`);
      rest = rest.slice(label.length);
      if (!rest.startsWith('="')) throw new Error(`no value of ${label}: ${JSON.stringify(line)}`);
      const [value, length] = unquote(rest.slice(1), line);
      labels[label] = value;
      rest = rest.slice(1 + length);
      if (rest.startsWith(',')) rest = rest.slice(1);
      else if (!rest.startsWith('}')) throw new Error(`no comma: ${JSON.stringify(line)}`);
    }
    rest = rest.slice(1);
  }
  if (!rest.startsWith(' ') || !VALUE.test(rest.slice(1))) throw new Error(`no number: ${JSON.stringify(line)}`);
  const number = rest.slice(1);
  return { name, labels: { ...labels }, value: Number(number.replace('Inf', 'Infinity')) };
}

/** What is between the quote at the start of `text` and the next one that counts, and how long that is with both. */
function unquote(text: string, line: string): [value: string, length: number] {
  let value = '';
  for (let at = 1; at < text.length; at++) {
    const char = text[at]!;
    if (char === '"') return [value, at + 1];
    if (char !== '\\') {
      value += char;
      continue;
    }
    const escaped = { n: '\n', '"': '"', '\\': '\\' }[text[++at] ?? ''];
    if (escaped === undefined) throw new Error(`an unknown escape: ${JSON.stringify(line)}`);
    value += escaped;
  }
  throw new Error(`a value without an end: ${JSON.stringify(line)}`);
}
