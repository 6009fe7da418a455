/**
 * Gets new server connections for one pool: asks the budget, waits at the login gate, tries addresses, and remembers how
 * that went. How many are needed, and what becomes of one that has logged in, is its owner's business.
 */
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import { NEWEST_MINOR, OLDEST_MINOR } from '../protocol/protocol-version.ts';
import type { Budget, Claimant, Lease } from '../server/lease.ts';
import type { ServerFailure } from '../server/server-holder.ts';
import { type AttemptListener, ConnectAttempt } from './connect-attempt.ts';
import type { HostFinder } from './host-finder.ts';
import type { GateVisitor, LoginGate } from './login-gate.ts';
import { failureWords, type ServerHealth } from './server-health.ts';
import type { ServerPlace } from './server-opener.ts';

/** What a connector needs to know of a connection. */
export interface OpenedConnection {
  readonly address: SocketAddress;
  /** The host, as configured, that the address belongs to. */
  readonly hostName: string;
  /** Null without TLS. */
  readonly security: TransportSecurity | null;
}

export interface ConnectorOptions<Connection extends OpenedConnection> {
  readonly environment: Environment;
  readonly budget: Budget;
  readonly gate: LoginGate;
  readonly finder: HostFinder;
  readonly health: ServerHealth;
  readonly security: ServerSecurity;
  readonly owner: ConnectorOwner<Connection>;
  readonly demand: ConnectorDemand;
}

/** What pg_hba.conf says of a connection that should have TLS, or should not: "no pg_hba.conf entry". */
const NOT_ALLOWED_SO = '28000';

/** How many connections are wanted. */
export interface ConnectorDemand {
  /** How many more connections somebody waits for than `coming`. */
  missing(coming: number): number;
  /** Whether min_pool_size asks for more than there will be with `coming`. */
  isBelowMinimum(coming: number): boolean;
  /** How many more the pool's size allows than it has or is about to have. */
  room(): number;
}

/** A pool, the part of it that has servers for one client each, or who asks PostgreSQL for secrets. */
export interface ConnectorOwner<Connection extends OpenedConnection> extends Claimant {
  /**
   * Opens a connection to `place`; it is reported to `succeeded`, or `failed` and then `closed`. Null if
   * nobody needs it any more.
   */
  open(place: ServerPlace): Connection | null;
  /** No address could be reached. */
  onUnreachable(failure: ServerFailure): void;
}

export class Connector<Connection extends OpenedConnection> implements AttemptListener, GateVisitor {
  readonly #options: ConnectorOptions<Connection>;
  readonly #attempts = new Set<ConnectAttempt>();
  readonly #attemptOf = new Map<Connection, ConnectAttempt>();
  /** Leases that were asked for and have not been granted. */
  #claims = 0;
  /** Leases that wait for the login gate. */
  readonly #atGate: Lease[] = [];
  /** Hosts that log us in with the oldest protocol version, and refuse the newest instead of negotiating it. */
  readonly #oldHosts = new Set<string>();
  #gate: LoginGate;
  #stopped = false;

  constructor(options: ConnectorOptions<Connection>) {
    this.#options = options;
    this.#gate = options.gate;
  }

  /** Connections that are on their way, whatever they are waiting for. */
  get coming(): number {
    return this.#attempts.size + this.#atGate.length + this.#claims;
  }

  /** Those on their way that wait for the budget. */
  get claimed(): number {
    return this.#claims;
  }

  /** Those on their way that are not yet connections, and so are not counted as the pool's. */
  get unopened(): number {
    return this.coming - this.#attemptOf.size;
  }

  /** Starts as many connections as are missing, allowed, and not forbidden by an earlier failure. */
  grow(): void {
    const { environment, budget, health, owner, demand } = this.#options;
    while (!this.#stopped && this.#isMissing && demand.room() > 0) {
      if (!health.mayTry(environment.now(), this.coming)) return;
      const isAwaited = demand.missing(this.coming) > 0;
      const lease = isAwaited ? budget.request(owner) : budget.requestSpare(owner);
      if (lease !== null) this.#connect(lease);
      else if (isAwaited) this.#claims++;
      // As in PgBouncer: min_pool_size takes what is free, and nothing from anybody.
      else return;
    }
  }

  /** A lease that had to be waited for. */
  granted(lease: Lease): void {
    this.#claims--;
    this.#connect(lease);
  }

  /** `server` has logged in. */
  succeeded(server: Connection): void {
    this.#options.health.succeeded();
    const attempt = this.#forget(server);
    if (attempt === undefined) return;
    if (attempt.asksForOldProtocol) this.#oldHosts.add(server.address.host);
    this.#end(attempt);
  }

  /** Whether no other try follows if `server` has failed so. */
  isFinal(server: Connection, failure: ServerFailure): boolean {
    const attempt = this.#attemptOf.get(server);
    if (attempt === undefined || this.#stopped) return true;
    if (failure.kind !== 'refused' && failure.kind !== 'impossible') return false;
    return !this.#mayBeTls(attempt, server, failure);
  }

  /** `server` will not log in. Returns whether that is final: if not, there is another try when it has closed. */
  failed(server: Connection, failure: ServerFailure): boolean {
    const attempt = this.#attemptOf.get(server);
    if (attempt !== undefined && !this.isFinal(server, failure)) {
      if (this.#mayBeTls(attempt, server, failure)) attempt.retry(server.address, 'other-tls');
      else if (failure.kind === 'version-refused') attempt.retry(server.address, 'old-protocol');
      attempt.reason = failureWords(failure);
      return false;
    }
    this.#forget(server);
    if (attempt !== undefined) this.#end(attempt);
    return true;
  }

  /**
   * `server` has closed. Returns whether its lease lives on, for the next try: not if PostgreSQL may still hold the slot,
   * and not if nobody wants one.
   */
  closed(server: Connection, confirmed: boolean): boolean {
    const attempt = this.#forget(server);
    if (attempt === undefined) return false;
    if (confirmed && !this.#stopped) {
      attempt.next();
      return true;
    }
    // Its host is not to be the next one's first choice again.
    attempt.giveUp();
    this.#end(attempt);
    if (!this.#stopped) this.#options.owner.onUnreachable({ kind: 'unreachable', reason: attempt.reason });
    return false;
  }

  /** `server`, which is being opened, is needed no more, and no other address for it either. */
  abandon(server: Connection): void {
    const attempt = this.#forget(server);
    if (attempt !== undefined) this.#end(attempt);
  }

  /** Fewer are needed than before: what waits in the budget for nobody is withdrawn. */
  shrink(): void {
    const { budget, owner, demand } = this.#options;
    while (this.#claims > 0 && demand.missing(this.coming) < 0) {
      budget.withdraw(owner);
      this.#claims--;
    }
  }

  /**
   * What is on its way is given up, for it goes to the wrong place; `grow` starts anew, at `gate`. Returns the
   * connections that are being opened: their owner closes them, and hears nothing of them here.
   */
  restart(gate: LoginGate): readonly Connection[] {
    const servers = [...this.#attemptOf.keys()];
    const opened = new Set(this.#attemptOf.values());
    const attempts = [...this.#attempts];
    const leases = this.#atGate.splice(0);
    const left = this.#gate;
    // All of it is forgotten first: a lease that is released may come back at once, for another attempt.
    this.#attemptOf.clear();
    this.#attempts.clear();
    this.#oldHosts.clear();
    this.#gate = gate;
    for (const attempt of attempts) {
      attempt.stop();
      left.leave();
      if (!opened.has(attempt)) leases.push(attempt.lease);
    }
    for (const lease of leases) lease.release();
    return servers;
  }

  /** Gives up what is on its way; connections that are open already are the pool's to close. */
  stop(): void {
    this.#stopped = true;
    for (; this.#claims > 0; this.#claims--) this.#options.budget.withdraw(this.#options.owner);
    for (const lease of this.#atGate.splice(0)) lease.release();
    const opened = new Set(this.#attemptOf.values());
    for (const attempt of this.#attempts) {
      if (opened.has(attempt)) continue;
      this.#end(attempt);
      attempt.lease.release();
    }
  }

  onGateOpen(): void {
    // Each is used, given back, or returns to the gate.
    for (const lease of this.#atGate.splice(0)) this.#connect(lease);
  }

  onAddress(attempt: ConnectAttempt, address: SocketAddress, hostName: string): void {
    const isOld = attempt.asksForOldProtocol || this.#oldHosts.has(address.host);
    const server = this.#options.owner.open({
      address,
      hostName,
      lease: attempt.lease,
      protocolMinor: isOld ? OLDEST_MINOR : NEWEST_MINOR,
      // As in libpq, what does not leave the machine is not secured, whatever the settings say.
      tls: this.#options.security.plan(hostName, attempt.tlsAttempt),
    });
    if (server !== null) {
      this.#attemptOf.set(server, attempt);
      return;
    }
    this.#end(attempt);
    attempt.lease.release();
  }

  onAttemptFailed(attempt: ConnectAttempt): void {
    this.#end(attempt);
    attempt.lease.release();
    this.#options.owner.onUnreachable({ kind: 'unreachable', reason: attempt.reason });
  }

  get #isMissing(): boolean {
    const { demand } = this.#options;
    return demand.missing(this.coming) > 0 || demand.isBelowMinimum(this.coming);
  }

  /** Uses `lease`, or gives it back if nobody needs it any more. */
  #connect(lease: Lease): void {
    const { finder, demand } = this.#options;
    // A reload may have made the pool smaller since the lease was asked for.
    if (this.#stopped || !this.#isMissing || demand.room() <= 0) {
      lease.release();
    } else if (!this.#gate.enter(this)) {
      this.#atGate.push(lease);
    } else {
      const attempt = new ConnectAttempt(lease, finder, this);
      this.#attempts.add(attempt);
      attempt.next();
    }
  }

  /** As in libpq: with `prefer` what fails with TLS may do without, and with `allow` the other way round. */
  #mayBeTls(attempt: ConnectAttempt, server: Connection, failure: ServerFailure): boolean {
    if (attempt.tlsAttempt === 'second') return false;
    const isSecond = this.#options.security.plan(server.hostName, 'second') !== null;
    if (failure.kind === 'not-secured') return !isSecond;
    const isAllowedSo = failure.kind !== 'refused' || failure.fields.sqlstate !== NOT_ALLOWED_SO;
    return !isAllowedSo && (server.security !== null) !== isSecond;
  }

  #forget(server: Connection): ConnectAttempt | undefined {
    const attempt = this.#attemptOf.get(server);
    this.#attemptOf.delete(server);
    return attempt;
  }

  #end(attempt: ConnectAttempt): void {
    attempt.stop();
    if (this.#attempts.delete(attempt)) this.#gate.leave();
  }
}
