/**
 * Runs on a server that has become free what its session needs before anybody else gets it, as `ResetPolicy` says. Who
 * gets it is not its business.
 */
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { ResetPolicy } from './reset-policy.ts';

export class ServerCleaner {
  #policy: ResetPolicy;
  readonly #onClean: (server: ServerConnection) => void;

  constructor(settings: Settings, poolSettings: PoolSettings, onClean: (server: ServerConnection) => void) {
    this.#policy = new ResetPolicy(settings, poolSettings);
    this.#onClean = onClean;
  }

  configure(settings: Settings, poolSettings: PoolSettings): void {
    this.#policy = new ResetPolicy(settings, poolSettings);
  }

  /** `onClean` is called with it, perhaps before this returns, unless it has to be closed. */
  clean(server: ServerConnection): void {
    if (this.#policy.isSpoilt(server)) {
      server.close('dirty');
      return;
    }
    const query = this.#policy.query(server);
    server.dirt.clear();
    if (query === '') this.#onClean(server);
    else this.#run(server, query);
  }

  #run(server: ServerConnection, query: string): void {
    server.run('resetting', query, (error) => this.#onReset(server, query, error));
  }

  #onReset(server: ServerConnection, query: string, error: ErrorFields | null): void {
    server.parameters.onReset(this.#policy.reach(query));
    const again = error === null ? this.#policy.again(query) : null;
    if (again !== null) this.#run(server, again);
    else if (error === null && server.status === STATUS_IDLE) this.#onClean(server);
    else server.close('reset_failed');
  }
}
