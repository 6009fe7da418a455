/**
 * What the pooler keeps count of, cancels, drains and shows of a logged-in client, whatever kind of session it has. It
 * knows nothing of bytes.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Wire } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ClientState } from './client-state.ts';

/** Who the client has proven to be. Fixed at its first startup packet. */
export interface ClientIdentity {
  readonly user: string;
  readonly database: string;
}

export interface ClientOptions {
  readonly identity: ClientIdentity;
  readonly wire: Wire;
  readonly pool: Pool;
  /** The client's own limits, to begin with: with a forced user they are not the pool's. */
  readonly limits: PoolSettings;
  /** See `CancelKeys`. */
  readonly cancelKey: Buffer;
  readonly connectedAtMs: number;
}

/** What only people want to know of a client. */
export interface ClientDetails {
  readonly replication: 'none' | 'logical' | 'physical';
  readonly applicationName: string;
  readonly preparedStatements: number;
  /** Since when it waits for a server; 0 while it does not. */
  readonly waitingSinceMs: number;
}

export interface Client {
  readonly options: ClientOptions;
  readonly state: ClientState;
  /** Its own limits, which a reload may change. */
  readonly limits: PoolSettings;
  /** The server that answers it, or is being prepared for it. */
  readonly server: ServerConnection | null;
  /** Where it comes from, for people to read. */
  readonly address: string;
  /** Made when somebody asks. */
  readonly details: ClientDetails;
  /**
   * A CancelRequest with this client's key has come. `onOver` is called once, when it can no longer hit anything that the
   * client says: only then may its sender see the connection close, for that is what libpq waits for.
   */
  cancel(onOver: () => void): void;
  /** Its pool has other settings, and it has other limits. */
  configure(limits: PoolSettings): void;
  /** The session ends now, or when it stands between two requests outside a transaction. */
  drain(report: ErrorReport, reason: ClientCloseReason): void;
  /** Ends the session now; the client is told `report`, if there is one and it can be told. */
  close(reason: ClientCloseReason, report: ErrorReport | null): void;
}

/** Who keeps count of clients. */
export interface ClientListener {
  onClientIdle(client: Client): void;
  onClientBusy(client: Client): void;
  /** It serves no more; its socket may still be there. */
  onClientClosed(client: Client, reason: ClientCloseReason): void;
  /** Its socket is gone. */
  onClientGone(): void;
}
