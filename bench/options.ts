/** The command line. It knows which scenarios there are, but starts nothing. */
import { parseArgs } from 'node:util';
import { CONTENDERS, type ContenderName, type RunOptions } from './bench-result.ts';
import { type Scenario, scenarios } from './scenarios.ts';

export const USAGE = `usage: npm run bench -- [OPTIONS] [SCENARIO ...]

Without a name all scenarios are run; a name may hold * for any text.

  --list               say which scenarios there are
  --only A,B           the same as naming them
  --contenders A,B     of direct, relay, pgbouncer, tsbouncer (all)
  --quick              3 rounds of 1 s
  --pairs N            rounds (9); in each, every contender is measured once
  --seconds S          length of a measurement (3)
  --warmup S           of load before it (2)
  --rest S             before memory is read (12)
  --pin                give the pooler a CPU of its own, and all others the rest (taskset)
  --seed N             of the order in which contenders are measured (1)
  --json               print the result as JSON
  --markdown           print the tables as Markdown
  --out FILE           where to keep the result (bench/results/<date>.json)
  --show FILE          measure nothing, print a result that was kept
  --strict             exit code 1 when a bar is missed

In the environment: PGBOUNCER=path of another PgBouncer than that on the PATH, BENCH_PG=postgres://… for a server that is
there already, TSBOUNCER=path of another dist/main.js.
`;

/** What is wrong with the command line, for the one who wrote it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export interface BenchOptions {
  readonly action: 'run' | 'list' | 'help' | 'show';
  readonly run: RunOptions;
  readonly scenarios: readonly Scenario[];
  readonly contenders: readonly ContenderName[];
  readonly output: 'plain' | 'markdown' | 'json';
  readonly isQuick: boolean;
  readonly isStrict: boolean;
  /** The file to write, or to show. Null: named after the date. */
  readonly file: string | null;
}

const FULL = { pairs: 9, seconds: 3, warmup: 2, rest: 12 } as const;
const QUICK = { pairs: 3, seconds: 1, warmup: 1, rest: 3 } as const;

export function readOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parse(args);
  const defaults = values.quick ? QUICK : FULL;
  const names = [...positionals, ...list(values.only)];
  return {
    action: values.help ? 'help' : values.list ? 'list' : values.show === undefined ? 'run' : 'show',
    run: {
      pairs: wholeNumber('pairs', values.pairs, defaults.pairs),
      // pgbench counts in whole seconds.
      seconds: wholeNumber('seconds', values.seconds, defaults.seconds),
      warmupSeconds: wholeNumber('warmup', values.warmup, defaults.warmup),
      restSeconds: wholeNumber('rest', values.rest, defaults.rest),
      seed: wholeNumber('seed', values.seed, 1),
      isPinned: values.pin,
    },
    scenarios: names.length === 0 ? scenarios : scenarios.filter(({ name }) => matchers(names).some((is) => is(name))),
    contenders: values.contenders === undefined ? CONTENDERS : list(values.contenders).map(contender),
    output: values.json ? 'json' : values.markdown ? 'markdown' : 'plain',
    isQuick: values.quick,
    isStrict: values.strict,
    file: values.show ?? values.out ?? null,
  };
}

function parse(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { ...flag, short: 'h' },
        list: flag,
        quick: flag,
        pin: flag,
        json: flag,
        markdown: flag,
        strict: flag,
        only: text,
        contenders: text,
        pairs: text,
        seconds: text,
        warmup: text,
        rest: text,
        seed: text,
        out: text,
        show: text,
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function list(text: string | undefined): string[] {
  return (text ?? '').split(',').filter((name) => name !== '');
}

function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`--${name} takes a whole number above 0, not "${text}"`);
  return Number(text);
}

function contender(name: string): ContenderName {
  const found = CONTENDERS.find((known) => known === name);
  if (found === undefined) throw new UsageError(`no contender "${name}"; there are ${CONTENDERS.join(', ')}`);
  return found;
}

/** For each name or pattern a test; throws for one that no scenario passes. */
function matchers(names: readonly string[]): ((name: string) => boolean)[] {
  return names.map((wanted) => {
    const escaped = wanted.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*');
    const pattern = new RegExp(`^${escaped}$`);
    if (!scenarios.some(({ name }) => pattern.test(name))) {
      throw new UsageError(`no scenario "${wanted}"; --list says which there are`);
    }
    return (name) => pattern.test(name);
  });
}
