/**
 * The rules of pg_hba.conf: which method a connection has to log in by. The first rule that matches decides, and without
 * one nobody gets in. It knows neither files nor how a method works.
 */
import { parseIpAddress } from '../base/ip-address.ts';
import type { Network } from './network.ts';

export type HbaMethod = 'trust' | 'reject' | 'plain' | 'md5' | 'scram-sha-256' | 'cert' | 'peer';

export interface HbaConnection {
  readonly kind: 'unix' | 'plain' | 'tls';
  /** Where the client comes from; of no meaning with `unix`. */
  readonly address: string;
  readonly database: string;
  readonly user: string;
  /** A physical replication connection, which is to no database. */
  readonly isPhysicalReplication: boolean;
}

/** What a column for databases or users matches. */
export interface NameList {
  readonly names: ReadonlySet<string>;
  readonly all: boolean;
  readonly sameUser: boolean;
  readonly replication: boolean;
}

export interface HbaRule {
  readonly line: number;
  readonly kinds: ReadonlySet<HbaConnection['kind']>;
  readonly databases: NameList;
  readonly users: NameList;
  /** Null: any address, or none at all. */
  readonly network: Network | null;
  readonly method: HbaMethod;
  /** Of `map=`, for `cert` and `peer`. */
  readonly map: string | null;
}

export class HbaRules {
  readonly rules: readonly HbaRule[];

  constructor(rules: readonly HbaRule[]) {
    this.rules = rules;
  }

  /** The first rule for this connection; null if there is none, which means that it is refused. */
  match(connection: HbaConnection): HbaRule | null {
    const address = connection.kind === 'unix' ? null : parseIpAddress(connection.address);
    return this.rules.find((rule) => matches(rule, connection, address)) ?? null;
  }
}

function matches(rule: HbaRule, connection: HbaConnection, address: Buffer | null): boolean {
  if (!rule.kinds.has(connection.kind)) return false;
  if (rule.network !== null && (address === null || !rule.network.contains(address))) return false;
  const { all, names } = rule.users;
  if (!all && !names.has(connection.user)) return false;
  return matchesDatabase(rule.databases, connection);
}

/** As in PostgreSQL: a physical replication connection is matched by `replication` only, and by nothing else. */
function matchesDatabase(databases: NameList, connection: HbaConnection): boolean {
  if (connection.isPhysicalReplication) return databases.replication;
  const { database, user } = connection;
  return databases.all || (databases.sameUser && database === user) || databases.names.has(database);
}
