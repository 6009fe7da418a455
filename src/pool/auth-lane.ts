/**
 * Asks one PostgreSQL for secrets: auth_query in one database, as one auth_user. It has a few connections of its own, which
 * count in every budget, and while they are idle are given up as servers are. It does not know whether the name is a
 * client's or a server's, nor what an answer is used for.
 */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import { parseSecret, type Secret } from '../auth/secret.ts';
import { SecretCache } from '../auth/secret-cache.ts';
import type { SecretAsker } from '../auth/secret-source.ts';
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { Resolver } from '../net/resolver.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import { type AuthAnswer, AuthConnection, type AuthConnectionOwner } from '../server/auth-connection.ts';
import type { Budget, BudgetScope, Lease } from '../server/lease.ts';
import type { ServerFailure } from '../server/server-holder.ts';
import type { ServerCredentials } from '../server/server-login.ts';
import { type AuthQuestion, AuthQuestions } from './auth-questions.ts';
import { Connector, type ConnectorDemand, type ConnectorOwner } from './connector.ts';
import { HostFinder } from './host-finder.ts';
import { LoginGate } from './login-gate.ts';
import { failureWords, ServerHealth } from './server-health.ts';
import type { ServerPlace } from './server-opener.ts';

/** Where and how is asked. */
export interface AuthPlace {
  readonly databaseName: string;
  readonly database: DatabaseConfig;
  readonly authUser: string;
  readonly sql: string;
}

/** What the lanes of databases that only the fallback has share: clients make up their names, but not the server. */
export interface SharedServer {
  readonly gate: LoginGate;
  /** Only what is not a single database's fault. */
  readonly health: ServerHealth;
}

export interface AuthLaneOptions {
  readonly environment: Environment;
  readonly log: Logger;
  readonly budget: Budget;
  readonly keys: DerivedKeys;
  readonly resolver: Resolver;
  readonly security: ServerSecurity;
  readonly settings: Settings;
  readonly place: AuthPlace;
  /** Null: the database has an entry of its own. */
  readonly shared: SharedServer | null;
  /** Of a pool with auth_user in this database. */
  readonly poolSettings: PoolSettings;
  readonly credentials: () => ServerCredentials;
  /** The console has paused the database: nobody is asked, and who wants to waits. */
  readonly isPaused: () => boolean;
  /** `secret` is what PostgreSQL has stored for the user now; null for none. */
  readonly onSecret: (userName: string, secret: Secret | null) => void;
}

/** An answer takes one round trip: a few connections serve thousands of logins a second. */
const MAX_CONNECTIONS = 2;
/**
 * In use or not: what has moved, by its name or by hand, is asked where it is, and a password that was revoked there does
 * not live on with the old one.
 */
const LIFETIME_MS = 60_000;
/** A refused client may have a newer secret than the one that is known, but is not to make us ask all the time. */
const ASK_AGAIN_MS = 1000;
/** A login at PostgreSQL: the pool that it is for will want it sooner or later. */
const A_SERVER: SecretAsker = { isGone: false };

export class AuthLane implements ConnectorOwner<AuthConnection>, ConnectorDemand, AuthConnectionOwner {
  readonly scopes: readonly BudgetScope[];
  readonly place: AuthPlace;
  lastUsedMs: number;
  readonly #options: AuthLaneOptions;
  readonly #connector: Connector<AuthConnection>;
  readonly #health = new ServerHealth();
  readonly #cache = new SecretCache();
  readonly #connections = new Set<AuthConnection>();
  /** What each connection is being asked. */
  readonly #asked = new Map<AuthConnection, AuthQuestion>();
  /** Connections that end when they have answered. */
  readonly #outdated = new Set<AuthConnection>();
  readonly #questions = new AuthQuestions();
  #stopped = false;
  #retired = false;

  constructor(options: AuthLaneOptions) {
    const { environment, place, poolSettings, resolver } = options;
    this.#options = options;
    this.place = place;
    this.lastUsedMs = environment.now();
    this.scopes = [
      { key: `database ${place.databaseName}`, limit: poolSettings.maxDbConnections },
      { key: `user ${place.authUser}`, limit: poolSettings.maxUserConnections },
      { key: `postgres ${poolSettings.budgetKey}`, limit: poolSettings.maxServerConnections },
    ];
    const { hosts, port } = place.database;
    const finder = new HostFinder(resolver, { hosts, port, policy: poolSettings.loadBalanceHosts });
    // Not the pools' gate: a login that is inside may wait for an answer from here.
    const gate = options.shared?.gate ?? new LoginGate(MAX_CONNECTIONS);
    this.#connector = new Connector({ ...options, gate, finder, health: this.#health, owner: this, demand: this });
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get addresses(): readonly SocketAddress[] {
    return [...this.#connections].map(({ address }) => address);
  }

  get isEmpty(): boolean {
    return this.#connections.size + this.#connector.coming + this.#questions.wanted === 0;
  }

  /** Nobody waits for an answer. */
  get isAtRest(): boolean {
    return this.#asked.size + this.#questions.wanted === 0;
  }

  get usualKind(): Secret['kind'] {
    return this.#cache.usualKind;
  }

  /**
   * The secret that PostgreSQL has for this user, or had less than auth_query_cache_ttl ago; null if there is no such user.
   * One who has no password has the empty one. Rejects if it cannot be found out, with words for the log, or if all who
   * have asked are gone before it is their turn.
   */
  lookup(userName: string, asker: SecretAsker): Secret | null | Promise<Secret | null> {
    const { environment, settings } = this.#options;
    this.lastUsedMs = environment.now();
    const sinceMs = this.lastUsedMs - settings.authQueryCacheTtlMs;
    const known = this.#cache.get(userName, sinceMs);
    return known === undefined ? this.#ask(userName, asker, sinceMs) : known;
  }

  /** The same for a login at PostgreSQL, which judges it anew: what was known last is good enough. */
  lookupForServer(userName: string): Secret | null | Promise<Secret | null> {
    return this.#cache.get(userName) ?? this.#ask(userName, A_SERVER, Number.NEGATIVE_INFINITY);
  }

  /** Whether it is this user's or nobody's, the client's password did not fit: it may have just been changed. */
  onRefused(userName: string): void {
    const sinceMs = this.#cache.knownSinceMs(userName);
    if (sinceMs !== null && this.#options.environment.now() - sinceMs >= ASK_AGAIN_MS) this.#cache.forget(userName);
  }

  /** Called now and then: timeouts, another try after a failure. */
  tick(nowMs: number): void {
    const { settings } = this.#options;
    const { serverConnectTimeoutMs, serverCloseTimeoutMs, clientLoginTimeoutMs, authQueryCacheTtlMs } = settings;
    this.#cache.sweepUnknown(nowMs - authQueryCacheTtlMs);
    for (const connection of this.#connections) {
      const ageMs = nowMs - connection.stateSinceMs;
      if (connection.state === 'idle') {
        if (this.#isOver(connection)) connection.close('lifetime');
      } else if (connection.state === 'closing') {
        if (ageMs >= serverCloseTimeoutMs) connection.destroy();
      } else if (serverConnectTimeoutMs > 0 && ageMs >= serverConnectTimeoutMs) {
        connection.close('no answer within server_connect_timeout');
      }
    }
    this.#questions.sweep(clientLoginTimeoutMs > 0 ? nowMs - clientLoginTimeoutMs : Number.NEGATIVE_INFINITY);
    // Another lane has found out that it is in vain.
    const hopeless = this.#connector.coming === 0 ? this.#hopeless(nowMs) : null;
    if (hopeless !== null) this.#failQueue(hopeless);
    this.#connector.shrink();
    this.#connector.grow();
  }

  /** Nobody will ask any more: what was asked is answered, then its connections close. */
  retire(): void {
    this.#retired = true;
    this.replace();
  }

  /** Its connections end when they have answered; whoever asks then gets others. */
  replace(): void {
    for (const connection of this.#connections) {
      this.#outdated.add(connection);
      if (connection.state === 'idle') connection.close('outdated');
    }
    this.#connector.grow();
  }

  /** Connections that are open, or being opened. */
  get alive(): number {
    return [...this.#connections].filter(({ state }) => state !== 'closing').length;
  }

  /** Those of them that end when they have answered. */
  get outdated(): number {
    return [...this.#outdated].filter(({ state }) => state !== 'closing').length;
  }

  stop(): void {
    this.#stopped = true;
    this.#failQueue('pooler is shutting down');
    this.#connector.stop();
    for (const connection of this.#connections) connection.close('pooler is shutting down');
  }

  // ConnectorOwner

  onLease(lease: Lease): void {
    this.#connector.granted(lease);
  }

  idleSinceMs(): number | null {
    let sinceMs: number | null = null;
    for (const { state, stateSinceMs } of this.#connections) {
      if (state === 'idle') sinceMs = Math.min(sinceMs ?? stateSinceMs, stateSinceMs);
    }
    return sinceMs;
  }

  reclaim(count: number): number {
    const idle = [...this.#connections].filter(({ state }) => state === 'idle').slice(0, count);
    for (const connection of idle) connection.close('evicted');
    return idle.length;
  }

  missing(coming: number): number {
    return (this.#options.shared === null ? this.#wanted : 0) - coming;
  }

  /** For a name that a client has made up nobody else has to go: like a minimum, it takes what is free. */
  isBelowMinimum(coming: number): boolean {
    const { shared, environment } = this.#options;
    return shared !== null && this.#wanted > coming && shared.health.mayTry(environment.now(), coming);
  }

  room(): number {
    return (this.#options.shared === null ? MAX_CONNECTIONS : 1) - this.#connections.size - this.#connector.unopened;
  }

  open(place: ServerPlace): AuthConnection | null {
    if (this.#wanted === 0) return null;
    const { environment, keys, credentials, settings } = this.#options;
    const connection = new AuthConnection({
      ...place,
      environment,
      credentials: credentials(),
      keys,
      owner: this,
      statementTimeoutMs: settings.serverConnectTimeoutMs,
    });
    this.#connections.add(connection);
    return connection;
  }

  onUnreachable(failure: ServerFailure): void {
    this.#onFailure(failure);
  }

  // AuthConnectionOwner

  onAuthReady(connection: AuthConnection): void {
    this.#connector.succeeded(connection);
    this.#options.shared?.health.succeeded();
    this.#serve(connection);
  }

  onAuthFailed(connection: AuthConnection, failure: ServerFailure): void {
    this.#log('auth_query cannot connect', `cannot connect for auth_query: ${failureWords(failure)}`);
    if (this.#connector.failed(connection, failure)) this.#onFailure(failure);
  }

  onAuthAnswer(connection: AuthConnection, answer: AuthAnswer): void {
    const question = this.#asked.get(connection);
    this.#asked.delete(connection);
    if (question !== undefined && 'lost' in answer && answer.byServer && this.#questions.putBack(question)) {
      // Nobody heard it, or it can be asked twice. What was idle meanwhile is hardly better.
      this.replace();
    } else if (question !== undefined) {
      this.#conclude(question, answer);
    }
    if (connection.state === 'idle') this.#serve(connection);
  }

  onAuthClosed(connection: AuthConnection, confirmed: boolean): void {
    if (!this.#connector.closed(connection, confirmed)) connection.lease.release();
    this.#connections.delete(connection);
    this.#outdated.delete(connection);
    this.#connector.grow();
  }

  /** A question that has been sent is shared if that was later than `sinceMs`. */
  #ask(userName: string, asker: SecretAsker, sinceMs: number): Promise<Secret | null> {
    const nowMs = this.#options.environment.now();
    const shared = this.#questions.share(userName, asker, nowMs, sinceMs);
    if (shared !== null) return shared;
    const refusal = this.#refusal(nowMs);
    if (refusal !== null) return Promise.reject(new Error(refusal));
    const answered = this.#questions.add(userName, asker, nowMs);
    const idle = [...this.#connections].find(({ state }) => state === 'idle');
    if (idle === undefined) this.#connector.grow();
    else this.#serve(idle);
    return answered;
  }

  /** Why one more question has no chance; null if it has. */
  #refusal(nowMs: number): string | null {
    if (this.#stopped) return 'pooler is shutting down';
    const hopeless = this.#hopeless(nowMs);
    if (hopeless !== null) return hopeless;
    if (!this.#questions.isFull) return null;
    this.#log('auth_query has too many', 'auth_query is not run: too many users are asked for');
    return 'too many users are asked for';
  }

  /** Why there will be no connection for now, in words; null if there is one, or may be soon. */
  #hopeless(nowMs: number): string | null {
    if (this.#usable > 0) return null;
    const failing = [this.#health, this.#options.shared?.health].find(
      (health) => health?.isFailing === true && !health.isTemporary && !health.mayTry(nowMs, 0),
    );
    return failing?.words ?? null;
  }

  /** Questions that want a connection. */
  get #wanted(): number {
    return this.#options.isPaused() ? 0 : this.#questions.wanted;
  }

  /** Connections that can be asked, now or when they have answered. */
  get #usable(): number {
    return [...this.#connections].filter(({ state }) => state === 'idle' || state === 'asking').length;
  }

  /** What a reload has ended answers whoever has asked before that. */
  #isOver(connection: AuthConnection): boolean {
    const isOutdated = this.#retired ? this.#questions.isEmpty : this.#outdated.has(connection);
    const isOld = this.#options.environment.now() - connection.sinceMs >= LIFETIME_MS;
    return isOutdated || isOld || this.#options.isPaused();
  }

  #serve(connection: AuthConnection): void {
    if (this.#isOver(connection)) {
      connection.close('outdated');
      this.#connector.grow();
      return;
    }
    const question = this.#questions.next(this.#options.environment.now());
    if (question === null) {
      this.#options.budget.idleAppeared();
      return;
    }
    this.#asked.set(connection, question);
    connection.ask(this.place.sql, question.userName);
    this.#connector.shrink();
  }

  /** What the answer means. Whatever is strange is an error, and never somebody's secret. */
  #conclude(question: AuthQuestion, result: AuthAnswer): void {
    const { userName } = question;
    const sentAtMs = question.sentAtMs!;
    const refuse = (reason: string): void => {
      this.#log('auth_query failed', `auth_query failed: ${reason}`);
      this.#questions.fail(question, reason);
    };
    if ('lost' in result) return refuse(result.lost);
    if ('error' in result) return refuse(withHint(result.error.sqlstate, result.error.message));
    const secret = result.rows === 0 ? null : readAnswer(result, userName);
    if (typeof secret === 'string') return refuse(secret);
    // An older question may be answered after a newer one.
    if (sentAtMs >= (this.#cache.knownSinceMs(userName) ?? sentAtMs)) {
      this.#cache.put(userName, secret, sentAtMs);
      this.#options.onSecret(userName, secret);
    }
    this.#questions.answer(question, secret);
  }

  #onFailure(failure: ServerFailure): void {
    const { environment, settings, shared } = this.#options;
    this.#health.failed(failure, environment.now(), settings.serverLoginRetryMs);
    if (isServersOwn(failure)) shared?.health.failed(failure, environment.now(), settings.serverLoginRetryMs);
    if (!this.#health.isTemporary && this.#usable === 0) this.#failQueue(failureWords(failure));
  }

  #failQueue(reason: string): void {
    this.#questions.failWaiting(reason);
    this.#connector.shrink();
  }

  /** `cause`: of each only so many lines are written. */
  #log(cause: string, message: string): void {
    const { databaseName, authUser } = this.place;
    this.#options.log.warn({ database: databaseName, auth_user: authUser, cause }, message);
  }
}

/** Not one database's: no other one will be reached now. */
function isServersOwn(failure: ServerFailure): boolean {
  return failure.kind !== 'refused' || failure.fields.sqlstate.startsWith('57P');
}

/** The secret in an answer with rows, or what is wrong with it. */
function readAnswer(
  { rows, first }: { readonly rows: number; readonly first: readonly (string | null)[] },
  userName: string,
): Secret | string {
  if (rows > 1) return `it returned ${rows} rows for one user`;
  if (first.length !== 2) return `it returned ${first.length} columns instead of 2`;
  // Whoever is let in is who the answer speaks of (CVE-2015-6817).
  if (first[0] !== userName) return 'its first column is not the name that was asked for';
  // NULL is a user without a password: nothing fits.
  return parseSecret(first[1] ?? '');
}

/** What does not exist exists elsewhere, most of the time. */
function withHint(sqlstate: string, message: string): string {
  const isUnknownName = sqlstate === '42883' || sqlstate === '42P01';
  return isUnknownName ? `${message} (search_path is pg_catalog: name its schema in auth_query)` : message;
}
