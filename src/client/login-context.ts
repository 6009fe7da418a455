/** What all logins of a process share. A reload puts other things in it, which hold from the next step of each login on. */
import type { AuthPolicy } from '../auth/auth-policy.ts';
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { BoundedLog } from '../base/bounded-log.ts';
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { Config } from '../config/config.ts';
import type { ClientSecurity } from '../net/client-security.ts';
import type { Router } from '../pool/router.ts';
import type { SecretDirectory } from '../pool/secret-directory.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { CancelRouter } from './cancel-router.ts';
import type { ClientRegistry } from './client-registry.ts';
import type { ConsoleHandler } from './console-handler.ts';

export interface LoginContext {
  readonly environment: Environment;
  readonly log: Logger;
  config: Config;
  readonly router: Router;
  readonly registry: ClientRegistry;
  readonly cancels: CancelRouter;
  readonly keys: DerivedKeys;
  policy: AuthPolicy;
  /** Who is at the other end of our Unix socket; null if that cannot be known. */
  readonly systemUser: string | null;
  readonly secrets: SecretDirectory;
  readonly statements: StatementRegistry;
  readonly console: ConsoleHandler;
  readonly security: ClientSecurity;
  /** For what anybody can make happen as often as they like. */
  readonly boundedLog: BoundedLog;
}
