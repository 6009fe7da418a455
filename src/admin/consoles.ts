/**
 * All clients of the console: who may come in, who is there, and what they are shown of each other. It knows no message
 * and no command.
 */
import { CLIENT_CLOSE_REASONS, type ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import { CONSOLE_DATABASE, type ConsoleGuest, type ConsoleHandler } from '../client/console-handler.ts';
import type { ClientConnectionSnapshot, DetailSnapshot } from '../client/detail-snapshot.ts';
import type { Config } from '../config/config.ts';
import type { PeerSnapshot } from '../pool/peers.ts';
import type { PoolerSnapshot } from '../pool/snapshot.ts';
import type { CommandContext } from './admin-commands.ts';
import { AdminConsole, type ConsoleOwner } from './admin-console.ts';
import { type ConsoleRight, rightOf } from './console-right.ts';
import type { ConsolesSnapshot } from './show-source.ts';
import { TrafficAverages } from './traffic-averages.ts';

export interface ConsolesOptions extends Omit<CommandContext, 'source'> {
  readonly environment: Environment;
  readonly version: string;
  config(): Config;
  snapshot(): PoolerSnapshot;
  details(): DetailSnapshot;
  peers(): readonly PeerSnapshot[];
}

/** They are not counted in max_client_conn, so they have a bound of their own. */
const MAX_CONSOLES = 100;

export class Consoles implements ConsoleHandler, ConsoleOwner {
  readonly context: CommandContext;
  readonly environment: Environment;
  readonly version: string;
  readonly #options: ConsolesOptions;
  readonly #consoles = new Set<AdminConsole>();
  readonly #averages: TrafficAverages;
  #closedWith: ErrorReport | null = null;
  #logins = 0;
  #queries = 0;

  constructor(options: ConsolesOptions) {
    const { environment, control, suspension } = options;
    this.#options = options;
    this.environment = environment;
    this.version = options.version;
    this.#averages = new TrafficAverages(environment.now());
    this.context = {
      ...options,
      source: {
        snapshot: () => options.snapshot(),
        details: () => options.details(),
        config: () => options.config(),
        consoles: () => this.#snapshot(),
        peers: () => options.peers(),
        average: (database) => this.#averages.of(database),
        get pauseState() {
          if (suspension.isActive) return 'suspended';
          return control.isEverythingPaused ? 'paused' : 'active';
        },
      },
    };
  }

  /** Called now and then: takes the averages of a period that has ended. */
  onRound(nowMs: number): void {
    const { statsPeriodMs } = this.#options.config().settings;
    this.#averages.check(nowMs, statsPeriodMs, () => this.#options.snapshot().databases);
  }

  /** Ends all of them; whoever comes later hears the same. */
  close(report: ErrorReport): void {
    this.#closedWith = report;
    for (const console of this.#consoles) console.close('shutdown', report);
  }

  // ConsoleHandler

  refusal(user: string): ErrorReport | null {
    if (this.rightOf(user) === null) return errors.consoleNotAllowed();
    if (this.#closedWith !== null) return this.#closedWith;
    return this.#consoles.size >= MAX_CONSOLES ? errors.tooManyConsoles(MAX_CONSOLES) : null;
  }

  enter(guest: ConsoleGuest): void {
    const console = new AdminConsole(this, guest);
    this.#consoles.add(console);
    this.#options.registry.cancelKeys.add(guest.cancelKey, console);
    this.#logins++;
    console.begin();
  }

  // ConsoleOwner

  rightOf(user: string): ConsoleRight | null {
    return rightOf(user, this.#options.config().settings);
  }

  onQuery(): void {
    this.#queries++;
  }

  onConsoleClosed(console: AdminConsole, reason: ClientCloseReason): void {
    const { registry, log } = this.#options;
    const { user, wire, cancelKey } = console.guest;
    this.#consoles.delete(console);
    registry.cancelKeys.remove(cancelKey);
    // As in PgBouncer: with the last console everybody would be left hanging.
    if (this.#consoles.size === 0) this.#options.suspension.end();
    if (!this.#options.config().settings.logDisconnections) return;
    log.info(
      { client: `${wire.remoteAddress}:${wire.remotePort}`, user, database: CONSOLE_DATABASE, reason },
      `closing because: ${CLIENT_CLOSE_REASONS[reason]}`,
    );
  }

  onConsoleGone(): void {
    this.#options.registry.onClientGone();
  }

  #snapshot(): ConsolesSnapshot {
    const clients = [...this.#consoles].map((console) => this.#describe(console));
    return { clients, logins: this.#logins, queries: this.#queries };
  }

  #describe(console: AdminConsole): ClientConnectionSnapshot {
    const { environment, ids } = this.#options;
    const { wire, user, applicationName, connectedAtMs } = console.guest;
    const connectedAtEpochMs = environment.epochMs() - (environment.now() - connectedAtMs);
    return {
      database: CONSOLE_DATABASE,
      user,
      replication: 'none',
      address: wire.remoteAddress,
      port: wire.remotePort,
      localAddress: wire.localAddress,
      localPort: wire.localPort,
      connectedAtEpochMs,
      requestedAtEpochMs: connectedAtEpochMs,
      id: ids.of(console),
      linkId: null,
      security: wire.security,
      applicationName,
      preparedStatements: 0,
      unsentBytes: wire.unsentBytes,
      keptBytes: wire.keptBytes,
      state: 'linked',
      waitedMs: 0,
    };
  }
}
