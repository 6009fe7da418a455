/** What the console asks of the whole pooler. Declared here, and plugged in by the composition root. */
import type { ErrorReport } from '../base/errors.ts';

export type ShutdownKind = 'now' | 'wait_for_servers' | 'wait_for_clients';

export interface ConsoleActions {
  /** Reads the configuration again. Resolves when it is in force, or with what was wrong. */
  reload(): Promise<ErrorReport | null>;
  /** Gives a setting of the section `pgbouncer` another value; resolves when it is in force, or with what was wrong. */
  set(name: string, value: string): Promise<ErrorReport | null>;
  shutdown(kind: ShutdownKind): void;
  isShuttingDown(): boolean;
}
