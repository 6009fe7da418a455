/** What a setting is, and how one is written down. It knows no setting by name. */
import { type Kind, optional } from './setting-kinds.ts';

/** `reload`: a new value applies when the configuration is read again; `restart`: only when the process starts. */
type Applies = 'restart' | 'reload';

/** A `pgbouncer.ini` gets PgBouncer's defaults; YAML, objects and the environment get ours. */
export type ConfigFormat = 'yaml' | 'ini';

export interface Setting<Key extends string = string, Value = unknown> {
  /** PgBouncer's spelling, or ours in the same style: how files and people call it. */
  readonly name: string;
  /** How the code calls it: in camelCase, `Ms` and `Bytes` say the unit. */
  readonly key: Key;
  readonly kind: Kind<Value>;
  readonly default: Value;
  /** PgBouncer's default, for its own files; mostly the same. */
  readonly iniDefault: Value;
  readonly applies: Applies;
  /** What happens instead, for a setting that is accepted and has no effect; null for all others. */
  readonly instead: string | null;
  readonly documentation: string;
}

/** What the settings of a table are read into. */
export type ValuesOf<Table extends readonly Setting[]> = {
  readonly [Entry in Table[number] as Entry['key']]: Entry['default'];
};

/** A setting that still lacks its documentation. */
interface Draft<Key extends string, Value> {
  /** Where PgBouncer's default is another. */
  inIni(value: Value): Draft<Key, Value>;
  /** Accepted, with a warning that says this. */
  withoutEffect(instead: string): Draft<Key, Value>;
  documented(documentation: string): Setting<Key, Value>;
}

export function setting<const Key extends string, Value>(
  name: string,
  key: Key,
  kind: Kind<Value>,
  defaultValue: NoInfer<Value>,
  applies: Applies = 'reload',
): Draft<Key, Value> {
  const values = { default: defaultValue, iniDefault: defaultValue };
  return draft({ name, key, kind, ...values, applies, instead: null, documentation: '' });
}

function draft<Key extends string, Value>(unfinished: Setting<Key, Value>): Draft<Key, Value> {
  return {
    inIni: (iniDefault) => draft({ ...unfinished, iniDefault }),
    withoutEffect: (instead) => draft({ ...unfinished, instead }),
    documented: (documentation) => Object.freeze({ ...unfinished, documentation }),
  };
}

/** A setting of a database or a user: null where it is not given. */
export function optionalSetting<const Key extends string, Value>(
  name: string,
  key: Key,
  kind: Kind<Value>,
): Draft<Key, Value | null> {
  return setting<Key, Value | null>(name, key, optional(kind), null);
}

export function defaultIn(format: ConfigFormat, { default: ours, iniDefault }: Setting): unknown {
  return format === 'ini' ? iniDefault : ours;
}
