/**
 * What a configuration is once it was read: one deeply frozen value. It knows neither files nor formats, and nobody
 * reads it from a global: it is passed in, and a reload passes a new one.
 */
import type { ConfigProblem } from './config-error.ts';
import type { ValuesOf } from './setting.ts';
import type { databaseSettings, peerSettings, Settings, userSettings } from './settings.ts';

export interface Config {
  readonly settings: Settings;
  /** By the name that clients ask for; without the fallback. */
  readonly databases: ReadonlyMap<string, DatabaseConfig>;
  /** The entry `*`: for every other name. */
  readonly fallbackDatabase: DatabaseConfig | null;
  readonly users: ReadonlyMap<string, UserConfig>;
  /** The other poolers of a group, by their `peer_id`. */
  readonly peers: ReadonlyMap<number, PeerConfig>;
  /** What was accepted and does not do what it says, for the log. */
  readonly warnings: readonly ConfigProblem[];
  /** Absolute path of the file that it came from; null for an object. */
  readonly path: string | null;
}

/** Null in a field means "as in the settings"; see `databaseSettings`. `dbname` null: the name the client asked for. */
export interface DatabaseConfig extends ValuesOf<typeof databaseSettings> {
  /** `*` in the fallback. */
  readonly name: string;
}

/** Null in a field means "as in the database or the settings"; see `userSettings`. */
export interface UserConfig extends ValuesOf<typeof userSettings> {
  readonly name: string;
}

export interface PeerConfig extends Omit<ValuesOf<typeof peerSettings>, 'host'> {
  readonly id: number;
  readonly host: string;
}
