/**
 * Everything that is known of users' secrets, in one order: `users:` of the configuration, auth_file, auth_query. It says
 * what a client must prove to have, and what we can prove to a server as the same user. It judges no proof.
 */
import { PassThroughKeys } from '../auth/pass-through-keys.ts';
import { PasswordCommands } from '../auth/password-commands.ts';
import { parseSecret, type Secret } from '../auth/secret.ts';
import type { SecretSource } from '../auth/secret-source.ts';
import { FloodLog } from '../base/flood-log.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import type { ServerSecret } from '../server/server-secret.ts';
import { AuthQueries, type AuthQueriesOptions } from './auth-queries.ts';

/** auth_file, as it is now. */
export interface LocalUsers {
  lookup(userName: string): Secret | null;
  /** The kind that most of them have. */
  readonly usualKind: Secret['kind'];
  readonly size: number;
  userNames(): Iterable<string>;
}

export interface SecretDirectoryOptions extends Omit<AuthQueriesOptions, 'secretOf' | 'onSecret'> {
  readonly users: LocalUsers;
}

/** Who has a password under `users:`. */
interface ConfiguredUsers {
  readonly names: readonly string[];
  readonly usualKind: Secret['kind'];
}

/** The source of keys whose verifiers are configured here. */
const LOCAL = '';

export class SecretDirectory {
  readonly queries: AuthQueries;
  readonly #users: LocalUsers;
  readonly #log: SecretDirectoryOptions['log'];
  readonly #commands: PasswordCommands;
  readonly #passThrough = new PassThroughKeys();
  #config: Config;
  #configured: ConfiguredUsers;

  constructor({ users, ...options }: SecretDirectoryOptions) {
    this.#users = users;
    // Whoever names users and databases need not have proven anything.
    this.#log = new FloodLog(options.environment, options.log);
    this.#commands = new PasswordCommands(options.environment, options.log);
    this.#config = options.config;
    this.#configured = configuredIn(options.config);
    this.queries = new AuthQueries({
      ...options,
      log: this.#log,
      secretOf: (authUser) => this.#configuredFor(authUser),
      onSecret: (laneKey, userName, secret) =>
        this.#passThrough.onSecrets(laneKey, userName, secret === null ? [] : [secret]),
    });
  }

  /** How many users have secrets that are configured here. */
  get userCount(): number {
    return this.#users.size + this.#configured.names.filter((name) => this.#users.lookup(name) === null).length;
  }

  /** Their names, those of auth_file first. */
  get userNames(): readonly string[] {
    return [...new Set([...this.#users.userNames(), ...this.#configured.names])];
  }

  /** What clients of this database are held against. */
  sourceFor(databaseName: string): SecretSource {
    const asked = this.#lane(databaseName);
    const lane = asked === 'full' ? null : (asked?.lane ?? null);
    return {
      usualKind: lane?.usualKind ?? this.#usualKind,
      lookup: (userName, asker) => {
        const local = this.#local(userName);
        if (local.length > 0) return local;
        if (lane === null) return asked === 'full' ? 'unavailable' : local;
        const found = lane.lookup(userName, asker);
        return found instanceof Promise ? found.catch(() => 'unavailable' as const) : found;
      },
    };
  }

  /**
   * A client has proven to be this user by `secret`. Returns whether we can prove more than before to servers, so that a
   * failed login there is worth another try.
   */
  onProven(databaseName: string, userName: string, secret: Secret | null, clientKey: Buffer | null): boolean {
    if (secret?.kind !== 'scram' || clientKey === null) return false;
    return this.#passThrough.remember(this.#sourceOf(databaseName, userName), userName, secret, clientKey);
  }

  /** A client's proof for this user, who may not exist, was wrong. */
  onRefused(databaseName: string, userName: string): void {
    const asked = this.#local(userName).length > 0 ? null : this.#lane(databaseName);
    if (asked !== null && asked !== 'full') asked.lane.onRefused(userName);
  }

  /** What we have to log in with as `userName` at the server of `database`, by the name `databaseName`. Never rejects. */
  forServer(
    database: DatabaseConfig,
    databaseName: string,
    userName: string,
  ): ServerSecret | null | Promise<ServerSecret | null> {
    if (database.password !== null) return { kind: 'plain', password: database.password };
    if (database.passwordCommand !== null) return this.#written(database.passwordCommand);
    const configured = this.#configuredFor(userName);
    if (configured !== null) return configured;
    const asked = this.#lane(databaseName);
    // auth_user's own secret is not asked for by logging in as auth_user.
    if (asked === null || asked === 'full' || asked.lane.place.authUser === userName) return null;
    const found = asked.lane.lookupForServer(userName);
    if (!(found instanceof Promise)) return this.#provable(asked.key, userName, found);
    return found.then(
      (secret) => this.#provable(asked.key, userName, secret),
      () => null,
    );
  }

  /** auth_file has been read again. */
  onUsersChanged(): void {
    this.#passThrough.onSourceChanged(LOCAL, (userName) => this.#local(userName));
  }

  /** A new configuration. */
  reload(config: Config): void {
    this.#config = config;
    this.#configured = configuredIn(config);
    this.#commands.forget();
    this.queries.reload(config);
    this.onUsersChanged();
  }

  /** What is configured here for logging in at servers; of several secrets the first. */
  #configuredFor(userName: string): ServerSecret | null | Promise<ServerSecret | null> {
    const command = this.#config.users.get(userName)?.passwordCommand ?? null;
    if (command !== null) return this.#written(command);
    const [first] = this.#local(userName);
    return first === undefined ? null : this.#provable(LOCAL, userName, first);
  }

  /** What a password_command writes. */
  #written(words: readonly string[]): ServerSecret | null | Promise<ServerSecret | null> {
    const { passwordCommandTtlMs: ttlMs, passwordCommandTimeoutMs: timeoutMs } = this.#config.settings;
    const password = this.#commands.password(words, { ttlMs, timeoutMs });
    return password instanceof Promise ? password.then(plain) : plain(password);
  }

  /** What is configured here. */
  #local(userName: string): readonly Secret[] {
    const passwords = this.#config.users.get(userName)?.password ?? null;
    if (passwords !== null) return passwords.map(parseSecret);
    const secret = this.#users.lookup(userName);
    return secret === null ? [] : [secret];
  }

  get #usualKind(): Secret['kind'] {
    const { names, usualKind } = this.#configured;
    return names.length > this.#users.size ? usualKind : this.#users.usualKind;
  }

  #provable(source: string, userName: string, secret: Secret | null): ServerSecret | null {
    if (secret?.kind !== 'scram') return secret;
    const clientKey = this.#passThrough.find(source, userName, secret);
    return clientKey === null ? secret : { kind: 'pass-through', verifier: secret, clientKey };
  }

  #sourceOf(databaseName: string, userName: string): string {
    const asked = this.#local(userName).length > 0 ? null : this.#lane(databaseName);
    return asked === null || asked === 'full' ? LOCAL : asked.key;
  }

  #lane(databaseName: string): ReturnType<AuthQueries['laneOf']> {
    const asked = this.queries.laneOf(databaseName);
    if (asked === 'full') {
      const cause = 'auth_query is not run';
      const message = `${cause}: too many databases of the fallback "*" are asked, set auth_dbname`;
      this.#log.warn({ database: databaseName, cause }, message);
    }
    return asked;
  }
}

/** Of all who have a password in the configuration, by what servers would get of it. */
function configuredIn({ users }: Config): ConfiguredUsers {
  const counts: Record<Secret['kind'], number> = { plain: 0, md5: 0, scram: 0 };
  const names: string[] = [];
  for (const { name, password } of users.values()) {
    if (password?.[0] === undefined) continue;
    names.push(name);
    counts[parseSecret(password[0]).kind]++;
  }
  if (counts.scram * 2 > names.length) return { names, usualKind: 'scram' };
  return { names, usualKind: counts.md5 * 2 > names.length ? 'md5' : 'plain' };
}

function plain(password: string | null): ServerSecret | null {
  return password === null ? null : { kind: 'plain', password };
}
