/**
 * The configuration in force, and the only way to another one: read, checked and prepared first, then put into force as
 * a whole. What goes wrong before that changes nothing. It knows no pool and no client.
 */
import { dirname, resolve } from 'node:path';
import type { Logger } from './base/logger.ts';
import type { Config } from './config/config.ts';
import { type ConfigDiff, diffConfig, type EntriesDiff } from './config/config-diff.ts';
import { ConfigError, formatProblem } from './config/config-error.ts';
import type { Setting } from './config/setting.ts';
import { sections } from './config/settings.ts';

export type ReloadResult =
  | { readonly ok: true; readonly diff: ConfigDiff }
  /** Nothing has changed. `message` says why, with the place of the mistake in the file; it is in the log already. */
  | { readonly ok: false; readonly message: string };

export interface LiveConfigOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Reads it again; null if it came from nowhere that could be read. */
  readonly read: (() => Config) | null;
  /**
   * Reads what a configuration refers to (auth_file); throws if it cannot. Returns what puts all of it into force, at
   * once: that may not fail.
   */
  readonly prepare: (config: Config) => () => void;
}

export class LiveConfig {
  readonly #options: LiveConfigOptions;
  #current: Config;

  constructor(options: LiveConfigOptions) {
    this.#options = options;
    this.#current = options.config;
  }

  get current(): Config {
    return this.#current;
  }

  /** Reads the file again that the configuration came from. It is in force when this returns. */
  reload(): ReloadResult {
    const { read } = this.#options;
    return read === null ? this.#fail(new Error('the configuration did not come from a file')) : this.#try(read);
  }

  /** Puts `config` into force, but for settings that need a restart. */
  apply(config: Config): ReloadResult {
    return this.#try(() => config);
  }

  /** Changes one setting of the section `pgbouncer`, as it stands in a file, until the next reload. */
  set(name: string, value: string): ReloadResult {
    return this.#try(() => this.#with(name, value));
  }

  #try(read: () => Config): ReloadResult {
    let diff: ConfigDiff;
    try {
      const config = read();
      diff = diffConfig(this.#current, config);
      const next = keepUntilRestart(this.#current, config, diff);
      const putIntoForce = this.#options.prepare(next);
      this.#current = next;
      putIntoForce();
    } catch (error) {
      if (isExpected(error)) return this.#fail(error);
      throw error;
    }
    for (const warning of this.#current.warnings) this.#options.log.warn({}, formatProblem(warning));
    this.#report(diff);
    return { ok: true, diff };
  }

  #with(name: string, value: string): Config {
    const setting: Setting | undefined = sections.pgbouncer.find((known) => known.name === name);
    if (setting === undefined) throw new ConfigError([problem(`unknown parameter: ${name}`)]);
    if (setting.applies === 'restart') throw new ConfigError([problem(`${name} cannot be changed while running`)]);
    const { path, settings } = this.#current;
    const place = { file: null, line: null, column: null, path: name };
    const node = { kind: 'scalar', place, value, text: value } as const;
    const outcome = setting.kind.parse(node, path === null ? resolve('.') : dirname(path));
    if ('problem' in outcome) throw new ConfigError([problem(`bad value for ${name}: ${outcome.problem}`)]);
    return Object.freeze({
      ...this.#current,
      settings: Object.freeze({ ...settings, [setting.key]: outcome.value }),
    });
  }

  #fail(error: Error): ReloadResult {
    const problems = error instanceof ConfigError ? error.problems.map(formatProblem) : [error.message];
    const message = problems.join('; ');
    this.#options.log.error({ file: this.#current.path, problems }, `reload failed, nothing has changed: ${message}`);
    return { ok: false, message };
  }

  /** Names only: values may be secrets. */
  #report({ settings, restart, databases, users, peers }: ConfigDiff): void {
    const { log } = this.#options;
    if (restart.length > 0) {
      const names = namesOf(restart);
      log.warn({ settings: names }, `not changed, for it needs a restart: ${names.join(', ')}`);
    }
    const fields = {
      ...(settings.length > 0 ? { settings: namesOf(settings) } : {}),
      ...countsOf('databases', databases),
      ...countsOf('users', users),
      ...countsOf('peers', peers),
    };
    log.info(fields, Object.keys(fields).length === 0 ? 'reloaded: nothing has changed' : 'reloaded');
  }
}

function namesOf(changes: ConfigDiff['settings']): readonly string[] {
  return changes.map(({ setting }) => setting.name);
}

function countsOf(section: string, { added, removed, changed }: EntriesDiff<unknown>): object {
  if (added.length + removed.length + changed.length === 0) return {};
  return { [section]: { added: added.length, removed: removed.length, changed: changed.length } };
}

/** `config` with the values of `running` where only a restart could change them. */
function keepUntilRestart(running: Config, config: Config, { restart }: ConfigDiff): Config {
  const kept = Object.fromEntries(restart.map(({ setting, before }) => [setting.key, before]));
  const settings = Object.freeze({ ...config.settings, ...kept });
  return Object.freeze({ ...config, path: config.path ?? running.path, settings });
}

function problem(message: string) {
  return { file: null, line: null, column: null, path: null, message };
}

/** What a file can do to us; anything else is a defect of ours. */
function isExpected(error: unknown): error is Error {
  return error instanceof ConfigError || (error instanceof Error && 'syscall' in error);
}
