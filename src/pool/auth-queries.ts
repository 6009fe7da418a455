/**
 * Where auth_query runs for whom: a lane for each place that can be asked, made when it is first needed. A client can choose
 * the name of its database and nothing else, and one that does not exist must not show before a password is proven.
 */
import type { Secret } from '../auth/secret.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { resolvePoolSettings } from '../config/pool-settings.ts';
import type { ServerSecret } from '../server/server-secret.ts';
import { AuthLane, type AuthLaneOptions, type AuthPlace, type SharedServer } from './auth-lane.ts';
import { LoginGate } from './login-gate.ts';
import { ServerHealth } from './server-health.ts';

export interface AuthQueriesOptions
  extends Pick<AuthLaneOptions, 'environment' | 'log' | 'budget' | 'keys' | 'resolver' | 'security'> {
  readonly config: Config;
  /** How auth_user logs in. */
  readonly secretOf: (authUser: string) => ServerSecret | null | Promise<ServerSecret | null>;
  /** Whether the console has paused a database. */
  readonly isPaused: (databaseName: string) => boolean;
  /** PostgreSQL has said what it has stored for a user of a lane. */
  readonly onSecret: (laneKey: string, userName: string, secret: Secret | null) => void;
}

/** The pooler's own console, which is no database that could be asked. */
const CONSOLE = 'pgbouncer';

/** Databases that come from the fallback are named by clients: only so many are asked at a time. */
const MAX_FALLBACK_LANES = 50;
const UNUSED_LANE_MS = 60_000;
/** All of them together log in so many at a time. */
const FALLBACK_LOGINS = 2;

export class AuthQueries {
  readonly #options: AuthQueriesOptions;
  readonly #lanes = new Map<string, AuthLane>();
  /** Of an earlier configuration; they finish what they were asked. */
  readonly #retired = new Set<AuthLane>();
  /** All fallback databases are at one server. */
  #shared = newSharedServer();
  #config: Config;
  #isStopped = false;

  constructor(options: AuthQueriesOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  get lanes(): readonly AuthLane[] {
    return [...this.#lanes.values(), ...this.#retired];
  }

  get isEmpty(): boolean {
    return this.lanes.every((lane) => lane.isEmpty);
  }

  /**
   * The lane for a client (or, with its user, a server) of `databaseName`, and its key; null if nobody is to be asked.
   * `full` if too many are asked already.
   */
  laneOf(databaseName: string): { readonly key: string; readonly lane: AuthLane } | 'full' | null {
    const place = this.#placeOf(databaseName);
    if (place === null || this.#isStopped) return null;
    const key = [place.databaseName, place.authUser, place.sql].join('\0');
    const known = this.#lanes.get(key);
    if (known !== undefined) return { key, lane: known };
    if (!this.#config.databases.has(place.databaseName) && !this.#makeRoom()) return 'full';
    const lane = this.#create(key, place);
    this.#lanes.set(key, lane);
    return { key, lane };
  }

  /** A new configuration: what was asked before is answered, and nothing that was found out before counts any more. */
  reload(config: Config): void {
    this.#config = config;
    this.#shared = newSharedServer();
    for (const [key, lane] of this.#lanes) this.#retire(key, lane);
  }

  /** `databaseName` null: all of them. What runs in it has been paused, or is to run on other connections. */
  replace(databaseName: string | null): void {
    for (const lane of this.#lanesIn(databaseName)) lane.replace();
  }

  /** Connections to a database that are open; null: to all. */
  alive(databaseName: string | null): number {
    return this.#lanesIn(databaseName).reduce((sum, { alive }) => sum + alive, 0);
  }

  /** Those of them that `replace` has not ended yet. */
  outdated(databaseName: string | null): number {
    return this.#lanesIn(databaseName).reduce((sum, { outdated }) => sum + outdated, 0);
  }

  tick(nowMs: number): void {
    for (const lane of this.lanes) lane.tick(nowMs);
    for (const lane of this.#retired) if (lane.isEmpty) this.#retired.delete(lane);
    for (const [key, lane] of this.#lanes) {
      const isUnused = lane.isEmpty && nowMs - lane.lastUsedMs >= UNUSED_LANE_MS;
      if (isUnused && !this.#config.databases.has(lane.place.databaseName)) this.#lanes.delete(key);
    }
  }

  stop(): void {
    this.#isStopped = true;
    for (const lane of this.lanes) lane.stop();
  }

  #lanesIn(databaseName: string | null): readonly AuthLane[] {
    return this.lanes.filter(({ place }) => databaseName === null || place.databaseName === databaseName);
  }

  #placeOf(databaseName: string): AuthPlace | null {
    const { databases, fallbackDatabase, settings } = this.#config;
    const database = databaseName === CONSOLE ? null : (databases.get(databaseName) ?? fallbackDatabase);
    if (database === null) return this.#placeOfUnknown(databaseName);
    const authUser = database.authUser ?? settings.authUser;
    if (authUser === null) return null;
    const name = database.authDbname ?? settings.authDbname ?? databaseName;
    return this.#place(name, authUser, database.authQuery ?? settings.authQuery);
  }

  /**
   * Who asks for a database that does not exist is asked for its password as others are, and told only then. That takes
   * any place; but the console believes nobody whom its administrator has not named.
   */
  #placeOfUnknown(databaseName: string): AuthPlace | null {
    const { databases, settings } = this.#config;
    if (settings.authDbname !== null) {
      return settings.authUser === null
        ? null
        : this.#place(settings.authDbname, settings.authUser, settings.authQuery);
    }
    if (databaseName === CONSOLE) return null;
    for (const { name, authUser } of databases.values()) {
      if ((authUser ?? settings.authUser) !== null) return this.#placeOf(name);
    }
    return null;
  }

  #place(databaseName: string, authUser: string, sql: string): AuthPlace | null {
    const database = this.#config.databases.get(databaseName) ?? this.#config.fallbackDatabase;
    return database === null ? null : { databaseName, database, authUser, sql };
  }

  #create(key: string, place: AuthPlace): AuthLane {
    const { config: _config, secretOf, onSecret, isPaused, ...shared } = this.#options;
    const { settings } = this.#config;
    return new AuthLane({
      ...shared,
      settings,
      place,
      shared: this.#config.databases.has(place.databaseName) ? null : this.#shared,
      poolSettings: resolvePoolSettings(this.#config, place.database, place.authUser),
      credentials: () => ({
        user: place.authUser,
        database: nameAtServer(place),
        secret: () => secretOf(place.authUser),
        requireAuth: place.database.serverRequireAuth ?? settings.serverRequireAuth,
        channelBinding: settings.serverChannelBinding,
        // None of a client's, and none of the database's: nothing that could change what the query means.
        parameters: [],
      }),
      isPaused: () => isPaused(place.databaseName),
      onSecret: (userName, secret) => onSecret(key, userName, secret),
    });
  }

  /** Whether there is room for one more. */
  #makeRoom(): boolean {
    const fallback = [...this.#lanes].filter(([, { place }]) => !this.#config.databases.has(place.databaseName));
    if (fallback.length < MAX_FALLBACK_LANES) return true;
    const resting = fallback.filter(([, { isAtRest }]) => isAtRest);
    const [first] = resting.toSorted(([, a], [, b]) => a.lastUsedMs - b.lastUsedMs);
    if (first === undefined) return false;
    const [key, lane] = first;
    if (lane.connectionCount > 0) {
      this.#retire(key, lane);
    } else {
      // What it holds of the budget while it waits for its turn is not for the dead.
      this.#lanes.delete(key);
      lane.stop();
    }
    return true;
  }

  #retire(key: string, lane: AuthLane): void {
    this.#lanes.delete(key);
    this.#retired.add(lane);
    lane.retire();
  }
}

function newSharedServer(): SharedServer {
  return { gate: new LoginGate(FALLBACK_LOGINS), health: new ServerHealth() };
}

function nameAtServer({ database, databaseName }: { database: DatabaseConfig; databaseName: string }): string {
  return database.dbname ?? databaseName;
}
