/** What a pool is made of, and the limits that follow from it. It does nothing. */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { Resolver } from '../net/resolver.ts';
import type { Budget, BudgetScope } from '../server/lease.ts';
import type { ServerCredentials } from '../server/server-login.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { LoginGate } from './login-gate.ts';

export interface PoolOptions {
  readonly environment: Environment;
  readonly log: Logger;
  readonly budget: Budget;
  readonly keys: DerivedKeys;
  readonly resolver: Resolver;
  readonly settings: Settings;
  readonly poolSettings: PoolSettings;
  readonly database: DatabaseConfig;
  /** The name that clients use. */
  readonly databaseName: string;
  /** Who the pool is at the server. */
  readonly userName: string;
  /** Asked for each login, so that a changed password reaches the next one. */
  readonly credentials: () => ServerCredentials;
  readonly unguessable: string;
  readonly statements: StatementRegistry;
  readonly gate: LoginGate;
}

/** What each connection of the pool counts against. */
export function budgetScopes({ databaseName, userName, poolSettings }: PoolOptions): readonly BudgetScope[] {
  const { maxDbConnections, maxUserConnections, maxServerConnections, budgetKey } = poolSettings;
  return [
    { key: `database ${databaseName}`, limit: maxDbConnections },
    { key: `user ${userName}`, limit: maxUserConnections },
    { key: `postgres ${budgetKey}`, limit: maxServerConnections },
  ];
}
