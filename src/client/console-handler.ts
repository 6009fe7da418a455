/**
 * The console as logins see it: whom it takes, and that it takes over a connection. It is declared here because logins
 * lead to it, and plugged in by the composition root.
 */
import type { ErrorReport } from '../base/errors.ts';
import type { Wire } from '../net/wire.ts';

/** PgBouncer's name for it. No entry of the configuration may have it. */
export const CONSOLE_DATABASE = 'pgbouncer';

export interface ConsoleGuest {
  /** Who it has proven to be. */
  readonly user: string;
  readonly wire: Wire;
  /** The messages that tell the client that it is in; they are sent together with what follows. */
  readonly acceptance: readonly Buffer[];
  /** See `CancelKeys`. */
  readonly cancelKey: Buffer;
  readonly applicationName: string;
  readonly connectedAtMs: number;
}

export interface ConsoleHandler {
  /** Why `user`, whose identity is proven, cannot come in; null if it can. */
  refusal(user: string): ErrorReport | null;
  /** Takes over a connection for whose user there is no refusal. */
  enter(guest: ConsoleGuest): void;
}
