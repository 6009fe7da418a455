/**
 * From the proof of who a client is to its session: limits, the pool, and what a server says of itself, or a server. It
 * reads nothing of the client's and knows nothing of secrets. From here on errors may be plain.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import { resolvePoolSettings } from '../config/pool-settings.ts';
import type { Wire } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { LoginWaiter } from '../pool/waiter.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { StartupSet } from '../server/startup-set.ts';
import type { Setting } from './adjustment.ts';
import type { ClientIdentity } from './client.ts';
import { ClientParameters } from './client-parameters.ts';
import type { Login } from './client-registry.ts';
import { ClientSession } from './client-session.ts';
import { CONSOLE_DATABASE } from './console-handler.ts';
import { type AttachmentListener, type Greeting, LoginAttachment } from './login-attachment.ts';
import type { LoginContext } from './login-context.ts';
import { ReplicationSession } from './replication-session.ts';
import { replicationParameters, settingsBeside, startupSettings } from './startup-settings.ts';
import { welcome } from './welcome.ts';

/** The login that a client has come through. */
export interface ProvenLogin extends Login {
  /** Ends it with an error, and calls `end`. */
  refuse(report: ErrorReport, reason: ClientCloseReason): void;
  /** Ends it: somebody else reads the wire from now on. */
  end(): void;
}

/** What a login has found out. */
export interface ProvenClient {
  readonly identity: ClientIdentity;
  readonly wire: Wire;
  /** Where it comes from, in PgBouncer's form. */
  readonly address: string;
  readonly startup: ReadonlyMap<string, string>;
  readonly isReplication: boolean;
  /** Of protocol 3, as negotiated. */
  readonly minor: number;
  /** What proves to it that it is in; it is sent together with what follows. */
  readonly acceptance: readonly Buffer[];
  /** Servers that did not let us in before may do so now: its login has left us more to prove. */
  readonly canProveMore: boolean;
}

export class ClientAdmission implements LoginWaiter, AttachmentListener {
  readonly #context: LoginContext;
  readonly #login: ProvenLogin;
  readonly #client: ProvenClient;
  #settings: readonly Setting[] = [];
  /** What its servers are to be opened with. */
  #set = StartupSet.NONE;
  #pool: Pool | null = null;
  #attachment: LoginAttachment | null = null;

  constructor(context: LoginContext, login: ProvenLogin, client: ProvenClient) {
    this.#context = context;
    this.#login = login;
    this.#client = client;
  }

  get acceptedAtMs(): number {
    return this.#login.acceptedAtMs;
  }

  /** Whether it waits because no server answers. Who waits for one of many servers waits in a queue. */
  get isServerDown(): boolean {
    return this.#pool !== null && (this.#attachment === null || this.#pool.servers.alive === 0);
  }

  /** Lets the client in, refuses it, or has it wait, until `end`. */
  start(): void {
    const { config, router, registry } = this.#context;
    const { identity, address, startup: packet, isReplication } = this.#client;
    const { user, database: name } = identity;
    if (name === CONSOLE_DATABASE) return this.#enterConsole();
    const database = router.database(name);
    if (database === null) return this.#refuse(errors.noSuchDatabase(name), 'no_such_database');
    if (router.states.isDisabled(name)) return this.#refuse(errors.databaseDisabled(name), 'no_such_database');
    if (config.settings.authType === 'any' && database.user === null) {
      return this.#refuse(errors.noForcedUser(), 'authentication_failed');
    }
    const startup = startupSettings(packet, config.settings, address);
    if ('refusal' in startup) return this.#refuse(startup.refusal, 'startup_refused');
    this.#settings = startup.settings;
    const refusal = registry.refusal(name, user, resolvePoolSettings(config, database, user));
    if (refusal !== null) return this.#refuse(refusal, 'limit_reached');
    const pool = router.pool(database, name, user);
    this.#pool = pool;
    if (this.#client.canProveMore) pool.health.retryNow();
    const why = isReplication ? (pool.stopped?.report ?? null) : pool.refusal;
    if (why !== null) return this.#refuse(why, 'server_unavailable');
    if (isReplication) this.#replicate(pool);
    else this.#await(pool);
  }

  /** The login has ended, well or not. */
  end(): void {
    this.#pool?.stopAwaiting(this);
    this.#attachment?.end();
  }

  // LoginWaiter

  onServerParameters(parameters: ReadonlyMap<string, string>): void {
    this.#finish(this.#pool!, parameters, null);
  }

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.#refuse(report, reason);
  }

  // AttachmentListener

  onAttached(server: ServerConnection): void {
    const pool = this.#pool!;
    this.#finish(pool, pool.learned.known ?? server.reported, server);
  }

  #await(pool: Pool): void {
    const { registry } = this.#context;
    const { sessionStartup, sessionAttach } = pool.globals;
    const isSession = pool.settings.poolMode === 'session';
    if (isSession && sessionStartup === 'own') this.#set = StartupSet.of(this.#settings) ?? StartupSet.NONE;
    if (isSession && sessionAttach === 'login') {
      registry.enter(this.#login);
      this.#attachment = new LoginAttachment(pool, this.#set, this);
      this.#attachment.start();
      return;
    }
    const parameters = pool.awaitParameters(this);
    if (parameters === null) registry.enter(this.#login);
    else this.#finish(pool, parameters, null);
  }

  /** `reported` is what servers have; the client is let in at once, or with `server`. */
  #finish(pool: Pool, reported: ReadonlyMap<string, string>, server: ServerConnection | null): void {
    const { environment, config, registry, statements } = this.#context;
    const { identity, wire, acceptance, minor } = this.#client;
    registry.endLogin(this.#login);
    // Others may have come in while this one was waiting, or the limits have changed.
    const limits = resolvePoolSettings(config, pool.database, identity.user);
    const refusal = registry.refusal(identity.database, identity.user, limits);
    if (refusal !== null) return this.#refuse(refusal, 'limit_reached');
    const { parameterTable: table, canonical } = pool;
    const startup = settingsBeside(this.#set, this.#settings, pool).map(({ name, value }) => ({
      name,
      value: canonical.of(name, value),
    }));
    const parameters = new ClientParameters(table, reported, startup);
    const cancelKey = registry.cancelKeys.create(minor, server?.backendPid ?? 0);
    const greeting: Greeting = (said) =>
      Buffer.concat([
        ...acceptance,
        ...welcome(parameters, table, said, cancelKey, config.settings.loginNotifyMessage),
      ]);
    this.#login.end();
    if (server === null) wire.send(greeting(reported));
    const client = new ClientSession({
      identity,
      wire,
      pool,
      environment,
      limits,
      parameters,
      startup: this.#set,
      statements,
      cancelKey,
      connectedAtMs: this.acceptedAtMs,
      listener: registry,
    });
    registry.add(client);
    // What came behind the password while it was being checked is the session's.
    if (server === null) wire.release();
    else client.enter(server, greeting);
    this.#logEntry({});
  }

  /** Neither limits on clients nor a pause are for it: it is where both can be lifted. */
  #enterConsole(): void {
    const { console, registry } = this.#context;
    const { identity, wire, acceptance, minor, startup } = this.#client;
    const { user } = identity;
    const refusal = console.refusal(user);
    if (refusal !== null) return this.#refuse(refusal, 'console_refused');
    this.#login.end();
    console.enter({
      user,
      wire,
      acceptance,
      cancelKey: registry.cancelKeys.create(minor),
      applicationName: startup.get('application_name') ?? '',
      connectedAtMs: this.acceptedAtMs,
    });
    this.#logEntry({});
  }

  /** From here on the client is let in, or not, by a server of its own. */
  #replicate(pool: Pool): void {
    const { environment, config, registry } = this.#context;
    const { identity, wire, acceptance, minor, startup } = this.#client;
    this.#login.end();
    const client = new ReplicationSession({
      identity,
      wire,
      pool,
      environment,
      limits: resolvePoolSettings(config, pool.database, identity.user),
      startup: replicationParameters(startup),
      acceptance,
      cancelKey: registry.cancelKeys.create(minor),
      connectedAtMs: this.acceptedAtMs,
      listener: registry,
    });
    registry.add(client);
    this.#logEntry({ replication: true });
    pool.dedicated.request(client);
  }

  #refuse(report: ErrorReport, reason: ClientCloseReason): void {
    this.#login.refuse(report, reason);
  }

  #logEntry(fields: object): void {
    const { log, config } = this.#context;
    const { identity, wire } = this.#client;
    if (!config.settings.logConnections) return;
    const { security } = wire;
    const tls = security === null ? 'no' : `${security.version}/${security.cipher}`;
    log.info({ client: `${wire.remoteAddress}:${wire.remotePort}`, ...identity, tls, ...fields }, 'login');
  }
}
