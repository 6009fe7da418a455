/** What the backends of one modelled PostgreSQL share: what is committed, and which values parameters take. */

/** An error that a statement raises. */
export class SqlError extends Error {
  readonly code: string;
  readonly severity: 'ERROR' | 'FATAL';
  /** Where PostgreSQL raises it, if that matters. */
  readonly routine: string | undefined;

  constructor(code: string, message: string, severity: 'ERROR' | 'FATAL' = 'ERROR', routine?: string) {
    super(message);
    this.code = code;
    this.severity = severity;
    this.routine = routine;
  }
}

/** Reported parameters in PostgreSQL's spelling, with the values of a fresh session. */
const DEFAULT_PARAMETERS: readonly (readonly [string, string])[] = [
  ['in_hot_standby', 'off'],
  ['integer_datetimes', 'on'],
  ['TimeZone', 'Etc/UTC'],
  ['IntervalStyle', 'postgres'],
  ['is_superuser', 'off'],
  ['application_name', ''],
  ['default_transaction_read_only', 'off'],
  ['scram_iterations', '4096'],
  ['DateStyle', 'ISO, MDY'],
  ['standard_conforming_strings', 'on'],
  ['session_authorization', 'app'],
  ['client_encoding', 'UTF8'],
  ['server_version', '18.0'],
  ['server_encoding', 'UTF8'],
];

/** Parameters that are not reported. */
const UNREPORTED: readonly (readonly [string, string])[] = [
  ['search_path', '"$user", public'],
  ['statement_timeout', '0'],
  ['extra_float_digits', '1'],
  ['work_mem', '4MB'],
];

/** How values are reported that clients write in another way. */
const CANONICAL: Readonly<Record<string, string>> = {
  'DateStyle=ISO': 'ISO, MDY',
  'DateStyle=German': 'German, DMY',
  'TimeZone=utc': 'UTC',
  'client_encoding=utf8': 'UTF8',
  'client_encoding=latin1': 'LATIN1',
};

export class ModelDatabase {
  /** Tokens of committed INSERTs and COPYs, in the order of their commits. */
  readonly rows: string[] = [];
  /** Of the columns of the one table, which ALTER changes at once. */
  tableVersion = 1;
  readonly parameters = new Map(DEFAULT_PARAMETERS);
  readonly unreported = new Map(UNREPORTED);

  /** The parameter's own spelling; null if there is none. A name with a dot is anybody's. */
  parameterName(name: string): string | null {
    const folded = name.toLowerCase();
    for (const known of [...this.parameters.keys(), ...this.unreported.keys()]) {
      if (known.toLowerCase() === folded) return known;
    }
    return /^\w+(?:\.\w+)+$/.test(name) ? folded : null;
  }

  /** What a session begins with: `given` in `parameters`. Throws for what PostgreSQL refuses. */
  set(parameters: Map<string, string>, given: string, value: string): void {
    const name = this.parameterName(given);
    if (name === null) throw new SqlError('42704', `unrecognized configuration parameter "${given}"`);
    parameters.set(name, this.canonical(name, value));
  }

  /** How `value` is reported. Throws 22023 for one that the parameter cannot have. */
  canonical(name: string, value: string): string {
    if (value.startsWith('invalid')) throw new SqlError('22023', `invalid value for parameter "${name}": "${value}"`);
    return CANONICAL[`${name}=${value}`] ?? value;
  }
}
