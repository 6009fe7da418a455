/** What the program is asked to do, read from its arguments as getopt does. It knows no configuration and does nothing. */

export interface RunOptions {
  /** The configuration; null: whatever the environment says, or a PostgreSQL to try the pooler on. */
  readonly path: string | null;
  /** No log on standard output. */
  readonly quiet: boolean;
  /** How often `-v` was given. */
  readonly verbose: number;
  /** In the background. */
  readonly daemon: boolean;
  /** Whom to become. */
  readonly user: string | null;
}

export type CommandLine =
  | { readonly command: 'help' | 'version' }
  | { readonly command: 'wrong'; readonly problem: string }
  | { readonly command: 'convert' | 'check'; readonly path: string }
  | ({ readonly command: 'run' } & RunOptions);

export const USAGE = `usage: tsbouncer [OPTION]... [CONFIG]
       tsbouncer check CONFIG          say what is wrong with it, and whether PostgreSQL has room for its pools
       tsbouncer convert PGBOUNCER_INI print it as YAML

CONFIG is a pgbouncer.ini or a YAML file (see pgbouncer.example.yaml). Without one, tsbouncer pools what DATABASE_URL or
PGHOST names; without these it starts a PostgreSQL of its own to try it on.

  -d, --daemon     run in the background (needs pidfile, and logfile or syslog)
  -q, --quiet      log nothing to standard output
  -v, --verbose    log more; may be repeated
  -u, --user=NAME  become that user after start
  -V, --version    show the version
  -h, --help       show this
`;

const LONG: ReadonlyMap<string, string> = new Map([
  ['daemon', 'd'],
  ['quiet', 'q'],
  ['verbose', 'v'],
  ['user', 'u'],
  ['version', 'V'],
  ['help', 'h'],
  ['reboot', 'R'],
]);
const NO_REBOOT =
  '-R (online restart) is not supported: start a second process on the same port, by so_reuseport or socket activation, and send the first SIGTERM';

/** Options may stand before and after the file; `--` ends them. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const [command, path, ...more] = args;
  if (command === 'check' || command === 'convert') {
    if (path === '-h' || path === '--help') return { command: 'help' };
    if (path === undefined || more.length > 0) return wrong(`${command} needs one file`);
    if (path.startsWith('-') && path !== '-') return wrong(`unknown option ${path}`);
    return { command, path };
  }
  const read = readOptions(args);
  if (typeof read === 'string') return wrong(read);
  const { options, files } = read;
  const has = (letter: string): boolean => options.some((option) => option.letter === letter);
  if (has('h')) return { command: 'help' };
  if (has('V')) return { command: 'version' };
  if (has('R')) return wrong(NO_REBOOT);
  if (files.length > 1) return wrong('more than one CONFIG');
  return {
    command: 'run',
    path: files[0] ?? null,
    quiet: has('q'),
    verbose: options.filter(({ letter }) => letter === 'v').length,
    daemon: has('d'),
    user: options.findLast(({ letter }) => letter === 'u')?.value ?? null,
  };
}

function wrong(problem: string): CommandLine {
  return { command: 'wrong', problem };
}

interface Option {
  readonly letter: string;
  /** Of `-u`. */
  readonly value: string | null;
}

/** A text: what is wrong. */
function readOptions(args: readonly string[]): string | { readonly options: Option[]; readonly files: string[] } {
  const options: Option[] = [];
  const files: string[] = [];
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === '--') {
      files.push(...rest);
      break;
    }
    if (argument === '-' || !argument.startsWith('-')) files.push(argument);
    else {
      const problem = argument.startsWith('--')
        ? readLong(argument.slice(2), rest, options)
        : readShort(argument.slice(1), rest, options);
      if (problem !== null) return problem;
    }
  }
  return { options, files };
}

/** `-qv`, `-u name`, `-uname`. */
function readShort(letters: string, rest: string[], options: Option[]): string | null {
  for (let at = 0; at < letters.length; at++) {
    const letter = letters[at]!;
    if (letter === 'u') {
      const value = letters.slice(at + 1) || rest.shift();
      if (value === undefined || value === '') return 'option -u needs a name';
      options.push({ letter, value });
      return null;
    }
    if (![...LONG.values()].includes(letter)) return `unknown option -${letter}`;
    options.push({ letter, value: null });
  }
  return null;
}

/** `--user name`, `--user=name`. */
function readLong(text: string, rest: string[], options: Option[]): string | null {
  const equals = text.indexOf('=');
  const name = equals === -1 ? text : text.slice(0, equals);
  const letter = LONG.get(name);
  if (letter === undefined) return `unknown option --${name}`;
  if (letter !== 'u') {
    if (equals !== -1) return `option --${name} takes no value`;
    options.push({ letter, value: null });
    return null;
  }
  const value = equals === -1 ? rest.shift() : text.slice(equals + 1);
  if (value === undefined || value === '') return 'option --user needs a name';
  options.push({ letter, value });
  return null;
}
