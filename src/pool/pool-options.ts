/** What a pool is made of. It does nothing. */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { Resolver } from '../net/resolver.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import type { Budget } from '../server/lease.ts';
import type { ServerCredentials } from '../server/server-login.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { PoolConfig } from './pool-config.ts';

/** With the configuration that it begins with. */
export interface PoolOptions extends PoolConfig {
  readonly environment: Environment;
  readonly log: Logger;
  readonly budget: Budget;
  readonly keys: DerivedKeys;
  readonly resolver: Resolver;
  /** The name that clients use. */
  readonly databaseName: string;
  /** Asked for each login, so that a changed password reaches the next one. */
  readonly credentials: (config: PoolConfig) => ServerCredentials;
  readonly unguessable: string;
  readonly statements: StatementRegistry;
  readonly security: ServerSecurity;
}
