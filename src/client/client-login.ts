/**
 * One connection from accept to its first ReadyForQuery: negotiation, startup packet, authentication, limits, and the
 * parameters of a real server. Who the client is gets fixed by its first startup packet. Before a password is proven,
 * nothing that it is told depends on whether a user, a database or a secret exists.
 */
import type { AuthPolicy } from '../auth/auth-policy.ts';
import { type AuthenticationStep, Authenticator } from '../auth/authenticator.ts';
import { channelBindingOf } from '../auth/channel-binding.ts';
import type { DerivedKeys } from '../auth/derived-keys.ts';
import { MAX_AUTHENTICATION_MESSAGE_BYTES } from '../auth/password-message.ts';
import type { BoundedLog } from '../base/bounded-log.ts';
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment, Timer } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import type { Logger } from '../base/logger.ts';
import { type Transport, type TransportHandler, UNIX_ADDRESS } from '../base/transport.ts';
import type { Config } from '../config/config.ts';
import { resolvePoolSettings } from '../config/pool-settings.ts';
import type { ClientSecurity } from '../net/client-security.ts';
import { Farewell } from '../net/farewell.ts';
import { Wire, type WireReader } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { Router } from '../pool/router.ts';
import type { SecretDirectory } from '../pool/secret-directory.ts';
import type { LoginWaiter } from '../pool/waiter.ts';
import * as type from '../protocol/message-type.ts';
import { NEWEST_MINOR } from '../protocol/protocol-version.ts';
import { asksForReplication } from '../protocol/replication-value.ts';
import * as message from '../protocol/server-messages.ts';
import { parseStartupPacket, type StartupPacket, startupPacketLength } from '../protocol/startup-packet.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { Setting } from './adjustment.ts';
import { authenticationMessage } from './authentication-message.ts';
import type { CancelRouter } from './cancel-router.ts';
import type { ClientIdentity } from './client.ts';
import { ClientEncryption } from './client-encryption.ts';
import { ClientParameters } from './client-parameters.ts';
import type { ClientRegistry, Login } from './client-registry.ts';
import { ClientSession } from './client-session.ts';
import { CONSOLE_DATABASE, type ConsoleHandler } from './console-handler.ts';
import { ReplicationSession } from './replication-session.ts';
import { startupSettings } from './startup-settings.ts';
import { welcome } from './welcome.ts';

/** What all logins share. */
export interface LoginContext {
  readonly environment: Environment;
  readonly log: Logger;
  /** A reload brings another one. */
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

type LoginState =
  /** Negotiation and startup packet. */
  | 'startup'
  /** A TLS handshake is under way. */
  | 'securing'
  /** The client has been asked something. */
  | 'authenticating'
  /** We compute, or wait for the first server's parameters. */
  | 'waiting'
  /** No login at all: a CancelRequest, which is under way. The connection closes when it is over. */
  | 'cancelling'
  | 'over';

const PASSWORD_HEADER_BYTES = 5;

/** PostgreSQL's NAMEDATALEN for databases; PgBouncer's limit for users. */
const MAX_DATABASE_BYTES = 63;
const MAX_USER_BYTES = 127;

export class ClientLogin implements WireReader, Login, LoginWaiter {
  list: LinkedList<Login> | null = null;
  previous: Login | null = null;
  next: Login | null = null;
  readonly acceptedAtMs: number;

  readonly #context: LoginContext;
  readonly #wire: Wire;
  readonly #encryption: ClientEncryption;
  #state: LoginState = 'startup';
  #isSilent = true;
  #owesSinceMs: number;
  #identity: ClientIdentity | null = null;
  #packet: ReadonlyMap<string, string> = new Map();
  #startup: readonly Setting[] = [];
  /** Of protocol 3, as negotiated. */
  #minor = 0;
  #isReplication = false;
  #authenticator: Authenticator | null = null;
  /** The login is refused, but does not know yet. */
  #delayedAnswer: Timer | null = null;
  /** What proves to the client that it is in; it is sent together with what follows. */
  #acceptance: Buffer[] = [];
  /** Servers that did not let us in before may do so now. */
  #canProveMore = false;
  #pool: Pool | null = null;

  private constructor(context: LoginContext, connect: (handler: TransportHandler) => Transport) {
    this.#context = context;
    this.acceptedAtMs = context.environment.now();
    this.#owesSinceMs = this.acceptedAtMs;
    this.#wire = new Wire(this, connect);
    this.#encryption = new ClientEncryption(this.#wire, context.security);
  }

  /** Receives a client. `connect` makes the transport of its accepted socket. */
  static begin(context: LoginContext, connect: (handler: TransportHandler) => Transport): void {
    const login = new ClientLogin(context, connect);
    const refusal = context.registry.admitLogin(login);
    if (refusal !== null) login.#refuse(refusal, 'limit_reached');
  }

  /** Half a handshake is no sign of good will either; and a cancel needs nothing more of us. */
  get isSilent(): boolean {
    return this.#isSilent || this.#isDeaf || this.#delayedAnswer !== null;
  }

  get owesSinceMs(): number | null {
    return this.#state === 'waiting' || this.#state === 'cancelling' ? null : this.#owesSinceMs;
  }

  // WireReader

  /** The connection is secured. Nothing has been read of it yet. */
  onConnected(): void {
    if (this.#state !== 'securing') return;
    this.#state = 'startup';
    const refusal = this.#encryption.refusal;
    if (refusal !== null) this.#refuse(refusal, 'authentication_failed');
  }

  onBytes(buffer: Buffer, start: number, end: number, own: boolean): number {
    const isFirst = this.#isSilent;
    this.#isSilent = false;
    if (isFirst && this.#encryption.isDirect(buffer[start])) {
      this.#state = 'securing';
      this.#encryption.begin(Buffer.from(buffer.subarray(start, end)));
      return end;
    }
    let at = start;
    while (at < end) {
      if (this.#state === 'waiting') {
        this.#wire.hold();
        return at;
      }
      if (this.#state === 'cancelling') return end;
      if (this.#state === 'over') {
        // Whoever reads now gets the rest of the chunk. After a cancel that is nobody.
        const { reader } = this.#wire;
        return reader === this ? end : reader.onBytes(buffer, at, end, own);
      }
      const used = this.#state === 'startup' ? this.#onStartup(buffer, at, end) : this.#onPassword(buffer, at, end);
      if (used === at) return at;
      at = used;
    }
    return at;
  }

  onDrain(): void {}

  onEnd(): void {
    this.#leave();
  }

  onClosed(error: Error | null): void {
    if (this.#state === 'securing') {
      this.#context.boundedLog.warn({ client: this.#address }, error?.message ?? 'TLS handshake failed');
    }
    this.#end();
    this.#context.registry.onClientGone();
  }

  // Login

  onLoginTimeout(): void {
    const serverDown = this.#pool !== null;
    this.#refuse(serverDown ? errors.clientLoginTimeoutServerDown() : errors.clientLoginTimeout(), 'login_timeout');
  }

  onEvicted(report: ErrorReport): void {
    const isDeaf = this.#isSilent || this.#isDeaf;
    this.#end();
    // Who has said nothing hears nothing, nor can who is shaking hands; and nobody is waited for.
    if (!isDeaf) {
      this.#context.registry.countRefused(report);
      this.#wire.send(message.errorResponse(report));
    }
    this.#wire.destroy();
  }

  onShutdown(report: ErrorReport): void {
    this.#refuse(report, 'shutdown');
  }

  // LoginWaiter

  onServerParameters(parameters: ReadonlyMap<string, string>): void {
    this.#finish(parameters);
  }

  onNoServer(report: ErrorReport, reason: ClientCloseReason): void {
    this.#refuse(report, reason);
  }

  #onStartup(buffer: Buffer, at: number, end: number): number {
    const length = startupPacketLength(buffer, at, end);
    if (length === 'malformed') {
      this.#refuse(errors.invalidStartupPacket('invalid length of startup packet'), 'startup_refused');
      return end;
    }
    if (length === null || length > end - at) return at;
    this.#onPacket(parseStartupPacket(buffer, at, at + length), at + length < end);
    return at + length;
  }

  /** `followed`: more bytes came together with the packet. */
  #onPacket(packet: StartupPacket, followed: boolean): void {
    switch (packet.kind) {
      case 'ssl':
        return this.#onNegotiation('SSL', followed);
      case 'gssenc':
        return this.#onNegotiation('GSSAPI encryption', followed);
      case 'cancel':
        return this.#cancel(packet.key);
      case 'startup':
        this.#negotiate(packet.minor, packet.protocolOptions);
        return this.#onStartupMessage(packet.parameters);
      case 'old-protocol':
        return this.#refuse(errors.oldProtocol(), 'startup_refused');
      case 'unsupported':
        return this.#refuse(errors.unsupportedProtocol(packet.major, packet.minor), 'startup_refused');
      case 'malformed':
        return this.#refuse(errors.invalidStartupPacket(packet.why), 'startup_refused');
    }
  }

  /**
   * No answer, whether the key is anybody's or not. The end of the connection says that the client's next statement is
   * safe from this request.
   */
  #cancel(key: Buffer): void {
    this.#state = 'cancelling';
    this.#context.cancels.cancel(key, () => this.#leave());
  }

  #onNegotiation(what: 'SSL' | 'GSSAPI encryption', followed: boolean): void {
    const answer = this.#encryption.answer(what, followed);
    if (typeof answer !== 'boolean') this.#refuse(answer, 'startup_refused');
    else if (answer) this.#state = 'securing';
  }

  /** As PostgreSQL does it: before anything else is looked at, and only if not all can be had that was asked for. */
  #negotiate(minor: number, options: readonly string[]): void {
    this.#minor = Math.min(minor, NEWEST_MINOR);
    if (minor > NEWEST_MINOR || options.length > 0) {
      this.#wire.send(message.negotiateProtocolVersion(this.#minor, options));
    }
  }

  #onStartupMessage(parameters: ReadonlyMap<string, string>): void {
    const plain = this.#encryption.refusal;
    if (plain !== null) return this.#refuse(plain, 'startup_refused');
    const replication = asksForReplication(parameters.get('replication'));
    if (replication === 'invalid') {
      return this.#refuse(errors.invalidReplication(parameters.get('replication') ?? ''), 'startup_refused');
    }
    const user = parameters.get('user') ?? '';
    if (user === '') return this.#refuse(errors.noUserName(), 'startup_refused');
    const database = parameters.get('database') || user;
    if (Buffer.byteLength(user) > MAX_USER_BYTES || Buffer.byteLength(database) > MAX_DATABASE_BYTES) {
      return this.#refuse(errors.invalidStartupPacket('name too long'), 'startup_refused');
    }
    const { registry, environment, config } = this.#context;
    if (registry.failedLogins.isBarred(this.#wire.remoteAddress, environment.now())) {
      return this.#refuse(errors.tooManyFailedLogins(config.settings.authFailureLimit), 'limit_reached');
    }
    this.#identity = Object.freeze({ user, database });
    this.#isReplication = replication;
    this.#packet = parameters;
    this.#authenticate();
  }

  /** The method is chosen here, and what a certificate or the system proves is settled; the rest is the authenticator's. */
  #authenticate(): void {
    const { config, secrets, keys, environment, policy, systemUser } = this.#context;
    const { user, database } = this.#identity!;
    const { remoteAddress: address, security } = this.#wire;
    const decision = policy.decide({
      kind: this.#isUnix ? 'unix' : security === null ? 'plain' : 'tls',
      address,
      database,
      user,
      isPhysicalReplication: this.#isReplication && this.#packet.get('replication') !== 'database',
      certificate: security?.peer ?? null,
      systemUser: this.#isUnix ? systemUser : null,
    });
    if (decision.outcome === 'refuse') {
      this.#log('info', { cause: decision.cause, line: decision.line }, 'login refused');
      return this.#refuse(errors.authenticationFailed(), 'authentication_failed');
    }
    this.#state = 'waiting';
    this.#authenticator = new Authenticator({
      authType: decision.method,
      userName: user,
      scramIterations: config.settings.scramIterations,
      source: secrets.sourceFor(database),
      channelBinding: channelBindingOf(this.#wire.security),
      keys,
      environment,
      onStep: (step) => this.#onStep(step),
    });
    this.#authenticator.start();
  }

  #onPassword(buffer: Buffer, at: number, end: number): number {
    if (end - at < PASSWORD_HEADER_BYTES) return at;
    const length = buffer.readUInt32BE(at + 1);
    if (buffer[at] !== type.PASSWORD) {
      // The first byte of a second startup packet is a zero.
      const again = buffer[at] === 0;
      this.#refuse(again ? errors.clientResentStartup() : errors.invalidMessageType(buffer[at]!), 'protocol_violation');
      return end;
    }
    if (length < 4 || length > MAX_AUTHENTICATION_MESSAGE_BYTES) {
      this.#refuse(errors.invalidMessageLength(), 'protocol_violation');
      return end;
    }
    const next = at + 1 + length;
    if (next > end) return at;
    this.#state = 'waiting';
    this.#authenticator?.receive(buffer.subarray(at + PASSWORD_HEADER_BYTES, next));
    return next;
  }

  #onStep(step: AuthenticationStep): void {
    // The connection may have ended while something was computed.
    if (this.#state !== 'waiting') return;
    const { secrets } = this.#context;
    const { user, database } = this.#identity!;
    switch (step.outcome) {
      case 'continue':
        this.#wire.send(authenticationMessage(step.request));
        this.#state = 'authenticating';
        this.#owesSinceMs = this.#context.environment.now();
        this.#wire.release();
        return;
      case 'accepted':
        this.#acceptance = step.requests.map(authenticationMessage);
        this.#canProveMore = secrets.onProven(database, user, step.secret, step.clientKey);
        return this.#admit();
      case 'refused':
        secrets.onRefused(database, user);
        this.#log('info', { cause: step.reason }, 'login refused');
        return this.#refuseLater();
      case 'failed':
        this.#log('error', { error: String(step.error) }, 'authentication could not be carried out');
        return this.#refuse(errors.authenticationFailed(), 'authentication_failed');
    }
  }

  /** The client is who it says. From here on errors may be plain. */
  #admit(): void {
    const { config, router, registry } = this.#context;
    const { user, database: name } = this.#identity!;
    if (name === CONSOLE_DATABASE) return this.#enterConsole();
    const database = router.database(name);
    if (database === null) return this.#refuse(errors.noSuchDatabase(name), 'no_such_database');
    if (router.states.isDisabled(name)) return this.#refuse(errors.databaseDisabled(name), 'no_such_database');
    if (config.settings.authType === 'any' && database.user === null) {
      return this.#refuse(errors.noForcedUser(), 'authentication_failed');
    }
    const startup = startupSettings(this.#packet, config.settings, this.#address);
    if ('refusal' in startup) return this.#refuse(startup.refusal, 'startup_refused');
    this.#startup = startup.settings;
    const refusal = registry.refusal(name, user, resolvePoolSettings(config, database, user));
    if (refusal !== null) return this.#refuse(refusal, 'limit_reached');
    this.#pool = router.pool(database, name, user);
    if (this.#canProveMore) this.#pool.health.retryNow();
    const why = this.#isReplication ? (this.#pool.stopped?.report ?? null) : this.#pool.refusal;
    if (why !== null) return this.#refuse(why, 'server_unavailable');
    if (this.#isReplication) return this.#replicate();
    const parameters = this.#pool.awaitParameters(this);
    if (parameters === null) registry.enter(this);
    else this.#finish(parameters);
  }

  #finish(reported: ReadonlyMap<string, string>): void {
    const { environment, config, registry } = this.#context;
    const pool = this.#pool!;
    const identity = this.#identity!;
    registry.endLogin(this);
    // Others may have come in while this one was waiting, or the limits have changed.
    const limits = resolvePoolSettings(config, pool.database, identity.user);
    const refusal = registry.refusal(identity.database, identity.user, limits);
    if (refusal !== null) return this.#refuse(refusal, 'limit_reached');
    const { parameterTable, canonical } = pool;
    const startup = this.#startup.map(({ name, value }) => ({ name, value: canonical.of(name, value) }));
    const parameters = new ClientParameters(parameterTable, reported, startup);
    const cancelKey = registry.cancelKeys.create(this.#minor);
    this.#end();
    this.#wire.send(
      Buffer.concat([
        ...this.#acceptance,
        ...welcome(parameters, parameterTable, reported, cancelKey, config.settings.loginNotifyMessage),
      ]),
    );
    const client = new ClientSession({
      identity,
      wire: this.#wire,
      pool,
      environment,
      limits,
      parameters,
      statements: this.#context.statements,
      cancelKey,
      connectedAtMs: this.acceptedAtMs,
      listener: registry,
    });
    registry.add(client);
    // What came behind the password while it was being checked is the session's.
    this.#wire.release();
    if (config.settings.logConnections) this.#log('info', {}, 'login');
  }

  /** Neither limits on clients nor a pause are for it: it is where both can be lifted. */
  #enterConsole(): void {
    const { console, registry, config } = this.#context;
    const { user } = this.#identity!;
    const refusal = console.refusal(user);
    if (refusal !== null) return this.#refuse(refusal, 'console_refused');
    this.#end();
    const guest = {
      user,
      wire: this.#wire,
      acceptance: this.#acceptance,
      cancelKey: registry.cancelKeys.create(this.#minor),
      applicationName: this.#packet.get('application_name') ?? '',
      connectedAtMs: this.acceptedAtMs,
    };
    console.enter(guest);
    if (config.settings.logConnections) this.#log('info', {}, 'login');
  }

  /** From here on the client is let in, or not, by a server of its own. */
  #replicate(): void {
    const { environment, config, registry } = this.#context;
    const pool = this.#pool!;
    this.#end();
    const client = new ReplicationSession({
      identity: this.#identity!,
      wire: this.#wire,
      pool,
      environment,
      limits: resolvePoolSettings(config, pool.database, this.#identity!.user),
      startup: replicationParameters(this.#packet),
      acceptance: this.#acceptance,
      cancelKey: registry.cancelKeys.create(this.#minor),
      connectedAtMs: this.acceptedAtMs,
      listener: registry,
    });
    registry.add(client);
    if (config.settings.logConnections) this.#log('info', { replication: true }, 'login');
    pool.dedicated.request(client);
  }

  /** What the client said proves nothing. Whoever says such things again and again is made to wait for the answer. */
  #refuseLater(): void {
    const { environment, registry } = this.#context;
    const refuse = (): void => this.#refuse(errors.authenticationFailed(), 'authentication_failed');
    const delayMs = registry.failedLogins.add(this.#wire.remoteAddress, environment.now());
    if (delayMs === 0) refuse();
    else this.#delayedAnswer = environment.startTimer(delayMs, refuse);
  }

  /** Ends the login with an error. Nothing that comes afterwards is looked at. */
  #refuse(report: ErrorReport, reason: ClientCloseReason): void {
    if (this.#state === 'over') return;
    if (this.#state === 'cancelling') return this.#leave();
    const { environment, registry, config } = this.#context;
    const isDeaf = this.#isDeaf;
    this.#end();
    registry.countRefused(report);
    if (config.settings.logPoolerErrors) this.#log('info', { reason, sqlstate: report.sqlstate }, report.message);
    if (isDeaf) this.#wire.destroy();
    else Farewell.say(this.#wire, environment, message.errorResponse(report), () => registry.onClientGone());
  }

  /** Ends without a word. */
  #leave(): void {
    this.#end();
    this.#wire.destroy();
  }

  /** In the middle of a handshake there is nobody to tell, nor after a CancelRequest. */
  get #isDeaf(): boolean {
    return this.#state === 'securing' || this.#state === 'cancelling';
  }

  /** Leaves all lists. The wire may get another reader, or close. */
  #end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#context.registry.endLogin(this);
    this.#authenticator?.abandon();
    this.#delayedAnswer?.cancel();
    this.#pool?.stopAwaiting(this);
  }

  get #isUnix(): boolean {
    return this.#wire.remoteAddress === UNIX_ADDRESS;
  }

  /** Where the client comes from. */
  get #address(): string {
    const { remoteAddress: host, remotePort: port } = this.#wire;
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  }

  #log(level: 'info' | 'error', fields: object, text: string): void {
    const client = `${this.#wire.remoteAddress}:${this.#wire.remotePort}`;
    this.#context.log[level]({ client, ...this.#identity, ...fields }, text);
  }
}

/** What a server of the client's own is told in its words: everything but who it is. */
function replicationParameters(startup: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...startup].filter(([name]) => name !== 'user' && name !== 'database'));
}
