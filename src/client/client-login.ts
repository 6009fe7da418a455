/**
 * One connection from accept to the proof of who it is: negotiation, startup packet, authentication. The rest of the way
 * in is its `ClientAdmission`'s. Who the client is gets fixed by its first startup packet. Before a password is proven,
 * nothing that it is told depends on whether a user, a database or a secret exists.
 */
import { type AuthenticationStep, Authenticator } from '../auth/authenticator.ts';
import { channelBindingOf } from '../auth/channel-binding.ts';
import { MAX_AUTHENTICATION_MESSAGE_BYTES } from '../auth/password-message.ts';
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Timer } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { type Transport, type TransportHandler, UNIX_ADDRESS } from '../base/transport.ts';
import { Farewell } from '../net/farewell.ts';
import { Wire, type WireReader } from '../net/wire.ts';
import * as type from '../protocol/message-type.ts';
import { NEWEST_MINOR } from '../protocol/protocol-version.ts';
import { asksForReplication } from '../protocol/replication-value.ts';
import * as message from '../protocol/server-messages.ts';
import { parseStartupPacket, type StartupPacket, startupPacketLength } from '../protocol/startup-packet.ts';
import { authenticationMessage } from './authentication-message.ts';
import type { ClientIdentity } from './client.ts';
import { ClientAdmission, type ProvenLogin } from './client-admission.ts';
import { ClientEncryption } from './client-encryption.ts';
import type { Login } from './client-registry.ts';
import { CONSOLE_DATABASE } from './console-handler.ts';
import type { LoginContext } from './login-context.ts';

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

export class ClientLogin implements WireReader, ProvenLogin {
  list: LinkedList<Login> | null = null;
  previous: Login | null = null;
  next: Login | null = null;
  readonly acceptedAtMs: number;
  /** Still welcome: to cancel something, and in the console. */
  readonly isLate: boolean;

  readonly #context: LoginContext;
  readonly #wire: Wire;
  readonly #encryption: ClientEncryption;
  #state: LoginState = 'startup';
  #isSilent = true;
  #owesSinceMs: number;
  #identity: ClientIdentity | null = null;
  #packet: ReadonlyMap<string, string> = new Map();
  /** Of protocol 3, as negotiated. */
  #minor = 0;
  #isReplication = false;
  #authenticator: Authenticator | null = null;
  /** The login is refused, but does not know yet. */
  #delayedAnswer: Timer | null = null;
  /** The client has proven who it is. */
  #admission: ClientAdmission | null = null;

  private constructor(context: LoginContext, connect: (handler: TransportHandler) => Transport) {
    this.#context = context;
    this.acceptedAtMs = context.environment.now();
    this.isLate = context.registry.isClosed;
    this.#owesSinceMs = this.acceptedAtMs;
    this.#wire = new Wire(this, connect);
    this.#encryption = new ClientEncryption(this.#wire, context.security);
  }

  /** Receives a client. `connect` makes the transport of its accepted socket. */
  static begin(context: LoginContext, connect: (handler: TransportHandler) => Transport): void {
    const login = new ClientLogin(context, connect);
    const refusal = context.registry.admitLogin(login);
    if (refusal !== null) login.refuse(refusal, 'limit_reached');
  }

  /** Half a handshake is no sign of good will either. */
  get isSilent(): boolean {
    return this.#isSilent || this.#state === 'securing' || this.#delayedAnswer !== null;
  }

  get isCancel(): boolean {
    return this.#state === 'cancelling';
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
    if (refusal !== null) this.refuse(refusal, 'authentication_failed');
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
    this.end();
    this.#context.registry.onClientGone();
  }

  // Login and ProvenLogin

  onLoginTimeout(): void {
    const isServerDown = this.#admission?.isServerDown ?? false;
    this.refuse(isServerDown ? errors.clientLoginTimeoutServerDown() : errors.clientLoginTimeout(), 'login_timeout');
  }

  onEvicted(report: ErrorReport): void {
    const isDeaf = this.#isSilent || this.#isDeaf;
    this.end();
    // Who has said nothing hears nothing, nor can who is shaking hands; and nobody is waited for.
    if (!isDeaf) {
      this.#context.registry.countRefused(report);
      this.#wire.send(message.errorResponse(report));
    }
    this.#wire.destroy();
  }

  onShutdown(report: ErrorReport): void {
    this.refuse(report, 'shutdown');
  }

  /** Nothing that comes afterwards is looked at. */
  refuse(report: ErrorReport, reason: ClientCloseReason): void {
    if (this.#state === 'over') return;
    if (this.#state === 'cancelling') return this.#leave();
    const { environment, registry, config } = this.#context;
    const isDeaf = this.#isDeaf;
    this.end();
    registry.countRefused(report);
    if (config.settings.logPoolerErrors) this.#log('info', { reason, sqlstate: report.sqlstate }, report.message);
    if (isDeaf) this.#wire.destroy();
    else Farewell.say(this.#wire, environment, message.errorResponse(report), () => registry.onClientGone());
  }

  /** Leaves all lists. The wire may get another reader, or close. */
  end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#context.registry.endLogin(this);
    this.#authenticator?.abandon();
    this.#delayedAnswer?.cancel();
    this.#admission?.end();
  }

  #onStartup(buffer: Buffer, at: number, end: number): number {
    const length = startupPacketLength(buffer, at, end);
    if (length === 'malformed') {
      this.refuse(errors.invalidStartupPacket('invalid length of startup packet'), 'startup_refused');
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
        return this.refuse(errors.oldProtocol(), 'startup_refused');
      case 'unsupported':
        return this.refuse(errors.unsupportedProtocol(packet.major, packet.minor), 'startup_refused');
      case 'malformed':
        return this.refuse(errors.invalidStartupPacket(packet.why), 'startup_refused');
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
    if (typeof answer !== 'boolean') this.refuse(answer, 'startup_refused');
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
    if (plain !== null) return this.refuse(plain, 'startup_refused');
    const replication = asksForReplication(parameters.get('replication'));
    if (replication === 'invalid') {
      return this.refuse(errors.invalidReplication(parameters.get('replication') ?? ''), 'startup_refused');
    }
    const user = parameters.get('user') ?? '';
    if (user === '') return this.refuse(errors.noUserName(), 'startup_refused');
    const database = parameters.get('database') || user;
    if (this.isLate && database !== CONSOLE_DATABASE) return this.refuse(errors.shuttingDown(), 'shutdown');
    if (Buffer.byteLength(user) > MAX_USER_BYTES || Buffer.byteLength(database) > MAX_DATABASE_BYTES) {
      return this.refuse(errors.invalidStartupPacket('name too long'), 'startup_refused');
    }
    const { registry, environment, config } = this.#context;
    if (registry.failedLogins.isBarred(this.#wire.remoteAddress, environment.now())) {
      return this.refuse(errors.tooManyFailedLogins(config.settings.authFailureLimit), 'limit_reached');
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
      return this.refuse(errors.authenticationFailed(), 'authentication_failed');
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
      this.refuse(again ? errors.clientResentStartup() : errors.invalidMessageType(buffer[at]!), 'protocol_violation');
      return end;
    }
    if (length < 4 || length > MAX_AUTHENTICATION_MESSAGE_BYTES) {
      this.refuse(errors.invalidMessageLength(), 'protocol_violation');
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
        return this.#admit(
          step.requests.map(authenticationMessage),
          secrets.onProven(database, user, step.secret, step.clientKey),
        );
      case 'refused':
        this.#log('info', { cause: step.reason }, 'login refused');
        // Nobody could have proven anything: that is held neither against the client nor against what was known before.
        if (step.reason === 'secret unavailable') {
          return this.refuse(errors.authenticationFailed(), 'authentication_failed');
        }
        secrets.onRefused(database, user);
        return this.#refuseLater();
      case 'failed':
        this.#log('error', { error: String(step.error) }, 'authentication could not be carried out');
        return this.refuse(errors.authenticationFailed(), 'authentication_failed');
    }
  }

  /** The client is who it says. `canProveMore`: see `ProvenClient`. */
  #admit(acceptance: readonly Buffer[], canProveMore: boolean): void {
    this.#admission = new ClientAdmission(this.#context, this, {
      identity: this.#identity!,
      wire: this.#wire,
      address: this.#address,
      startup: this.#packet,
      isReplication: this.#isReplication,
      minor: this.#minor,
      acceptance,
      canProveMore,
    });
    this.#admission.start();
  }

  /** What the client said proves nothing. Whoever says such things again and again is made to wait for the answer. */
  #refuseLater(): void {
    const { environment, registry } = this.#context;
    const refuse = (): void => this.refuse(errors.authenticationFailed(), 'authentication_failed');
    const delayMs = registry.failedLogins.add(this.#wire.remoteAddress, environment.now());
    if (delayMs === 0) refuse();
    else this.#delayedAnswer = environment.startTimer(delayMs, refuse);
  }

  /** Ends without a word. */
  #leave(): void {
    this.end();
    this.#wire.destroy();
  }

  /** In the middle of a handshake there is nobody to tell, nor after a CancelRequest. */
  get #isDeaf(): boolean {
    return this.#state === 'securing' || this.#state === 'cancelling';
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
