/**
 * All clients of this process: who logs in, who is there, how many of whom, and which cancel key is whose. It enforces
 * the limits on clients and their login and idle timeouts; it moves no bytes.
 */
import { CLIENT_CLOSE_REASONS, type ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import { LinkedList, type Listed } from '../base/linked-list.ts';
import type { Logger } from '../base/logger.ts';
import type { Config } from '../config/config.ts';
import { type PoolSettings, resolvePoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { Pool } from '../pool/pool.ts';
import { CancelKeys } from './cancel-keys.ts';
import type { Client, ClientListener } from './client.ts';
import { FailedLogins } from './failed-logins.ts';

/** A connection that is not yet a client. */
export interface Login extends Listed<Login> {
  readonly acceptedAtMs: number;
  /** Nothing has come from it that would show good will, or what came was wrong. */
  readonly isSilent: boolean;
  /** Since when it owes us something: its startup packet, an answer. Null while we owe it one. */
  readonly owesSinceMs: number | null;
  /** It was accepted when nobody was let in any more. */
  readonly isLate: boolean;
  /** No login at all: a CancelRequest that is under way. */
  readonly isCancel: boolean;
  onLoginTimeout(): void;
  /** Another one needs its slot. */
  onEvicted(report: ErrorReport): void;
  onShutdown(report: ErrorReport): void;
}

/** For so long nobody who is logging in has to fear that another one takes its place. */
const LOGIN_GRACE_MS = 1000;

/** A client's place in the order of idleness. Only made where client_idle_timeout is set. */
interface IdleEntry extends Listed<IdleEntry> {
  readonly client: Client;
  sinceMs: number;
}

export class ClientRegistry implements ClientListener {
  readonly cancelKeys: CancelKeys<Pick<Client, 'cancel'>>;
  readonly failedLogins: FailedLogins;
  /** Connections whose identity is not proven. They have slots of their own. */
  readonly logins = new LinkedList<Login>();
  /** Proven ones that wait for the parameters of their pool's first server. They count as clients. */
  readonly entering = new LinkedList<Login>();
  readonly clients = new Set<Client>();
  /** Closed, by reason. */
  readonly closed = new Map<ClientCloseReason, number>();
  /** Refused before they were clients, by the error's SQLSTATE. */
  readonly refused = new Map<string, number>();
  /** Sockets that are still open, whatever they are for. */
  sockets = 0;
  /** Who is accepted from now on becomes no client. */
  isClosed = false;

  readonly #environment: Environment;
  #settings: Settings;
  readonly #log: Logger;
  readonly #byDatabase = new Map<string, number>();
  readonly #byUser = new Map<string, number>();
  /** In the order of idleness, by timeout: one list holds only equal ones. */
  readonly #idleLists = new Map<number, LinkedList<IdleEntry>>();
  readonly #idleEntries = new Map<Client, IdleEntry>();
  #onEmpty: (() => void) | null = null;

  constructor(environment: Environment, settings: Settings, log: Logger) {
    this.#environment = environment;
    this.#settings = settings;
    this.#log = log;
    this.cancelKeys = new CancelKeys(environment, settings.peerId);
    this.failedLogins = new FailedLogins(settings);
  }

  /**
   * Goes on with another configuration, which the router has already: clients whose pool serves no more are told, the
   * others get their new limits. Clients that are too many stay.
   */
  configure(config: Config): void {
    this.#settings = config.settings;
    this.failedLogins.configure(config.settings);
    const known = new Map<Pool, Map<string, PoolSettings>>();
    for (const client of this.clients) {
      const { pool, identity } = client.options;
      if (pool.stopped !== null) {
        client.drain(pool.stopped.report, pool.stopped.reason);
        continue;
      }
      const byUser = known.get(pool) ?? new Map<string, PoolSettings>();
      const limits = byUser.get(identity.user) ?? resolvePoolSettings(config, pool.database, identity.user);
      known.set(pool, byUser.set(identity.user, limits));
      client.configure(limits);
    }
    this.#sortIdle();
  }

  /** Each idle client into the list of its timeout, as long as it has been idle. */
  #sortIdle(): void {
    const nowMs = this.#environment.now();
    const since = new Map<Client, number>();
    for (const list of this.#idleLists.values()) for (const { client, sinceMs } of list) since.set(client, sinceMs);
    for (const client of since.keys()) this.onClientBusy(client);
    this.#idleLists.clear();
    const idle = [...this.clients].filter(({ state }) => state === 'idle');
    const sinceOf = (client: Client): number => since.get(client) ?? nowMs;
    for (const client of idle.sort((a, b) => sinceOf(a) - sinceOf(b))) this.#addIdle(client, sinceOf(client));
  }

  /**
   * A connection was accepted. In a full house one makes room that will hardly become a client; if there is none, the
   * newcomer hears why not.
   */
  admitLogin(login: Login): ErrorReport | null {
    this.sockets++;
    const limit = this.#loginLimit();
    if (this.logins.size >= limit) {
      const report = errors.tooManyLogins(limit);
      const evicted = this.#leastHopeful();
      if (evicted === null) return report;
      evicted.onEvicted(report);
    }
    this.logins.push(login);
    return null;
  }

  /** Whoever is accepted from now on becomes no client. */
  close(): void {
    this.isClosed = true;
  }

  /** Whether nobody is left who came before `close`. */
  get isDeserted(): boolean {
    // The first of them is the oldest.
    const { first: oldest } = this.logins;
    return (oldest?.isLate ?? true) && this.clients.size + this.entering.size === 0;
  }

  /** The client is who it says, but has to wait. */
  enter(login: Login): void {
    this.entering.push(login);
  }

  /** The login has ended, well or not. Its socket may live on. */
  endLogin(login: Login): void {
    login.list?.remove(login);
  }

  /** Ends all that are not clients yet; a cancel goes on, for what it is to hit may go on, too. */
  endLogins(report: ErrorReport): void {
    for (const login of [...this.logins, ...this.entering]) if (!login.isCancel) login.onShutdown(report);
  }

  /** The same for cancels, too, when there is nobody more whom they could mean. */
  endLoginsAndCancels(report: ErrorReport): void {
    for (const login of [...this.logins, ...this.entering]) login.onShutdown(report);
  }

  /** Why one more client of `database` and `user` cannot come in; null if it can. */
  refusal(database: string, user: string, limits: PoolSettings): ErrorReport | null {
    const { maxClientConn } = this.#settings;
    const { maxDbClientConnections, maxUserClientConnections } = limits;
    if (this.clients.size + this.entering.size >= maxClientConn) return errors.tooManyClients(maxClientConn);
    if (maxDbClientConnections > 0 && (this.#byDatabase.get(database) ?? 0) >= maxDbClientConnections) {
      return errors.tooManyDatabaseClients(maxDbClientConnections);
    }
    if (maxUserClientConnections > 0 && (this.#byUser.get(user) ?? 0) >= maxUserClientConnections) {
      return errors.tooManyUserClients(maxUserClientConnections);
    }
    return null;
  }

  add(client: Client): void {
    const { identity, pool, cancelKey } = client.options;
    this.clients.add(client);
    this.cancelKeys.add(cancelKey, client);
    change(this.#byDatabase, identity.database, 1);
    change(this.#byUser, identity.user, 1);
    pool.clients++;
    pool.traffic.logins++;
    if (client.state === 'idle') this.onClientIdle(client);
  }

  onClientIdle(client: Client): void {
    this.#addIdle(client, this.#environment.now());
  }

  #addIdle(client: Client, sinceMs: number): void {
    const { clientIdleTimeoutMs } = client.limits;
    if (clientIdleTimeoutMs === 0) return;
    const entry = this.#idleEntries.get(client) ?? { client, sinceMs: 0, list: null, previous: null, next: null };
    this.#idleEntries.set(client, entry);
    entry.sinceMs = sinceMs;
    const list = this.#idleLists.get(clientIdleTimeoutMs) ?? new LinkedList<IdleEntry>();
    this.#idleLists.set(clientIdleTimeoutMs, list);
    list.push(entry);
  }

  onClientBusy(client: Client): void {
    const entry = this.#idleEntries.get(client);
    entry?.list?.remove(entry);
  }

  onClientClosed(client: Client, reason: ClientCloseReason): void {
    const { identity, pool, cancelKey } = client.options;
    this.onClientBusy(client);
    this.#idleEntries.delete(client);
    this.clients.delete(client);
    this.cancelKeys.remove(cancelKey);
    change(this.#byDatabase, identity.database, -1);
    change(this.#byUser, identity.user, -1);
    pool.clients--;
    count(this.closed, reason);
    if (!this.#settings.logDisconnections) return;
    const ageMs = Math.round(this.#environment.now() - client.options.connectedAtMs);
    this.#log.info(
      { client: client.address, ...identity, reason, ageMs },
      `closing because: ${CLIENT_CLOSE_REASONS[reason]}`,
    );
  }

  onClientGone(): void {
    this.sockets--;
    if (this.sockets === 0) this.#onEmpty?.();
  }

  /** A connection was refused with `report` before it was a client. */
  countRefused(report: ErrorReport): void {
    count(this.refused, report.sqlstate);
  }

  /** Calls back when no socket is left, at once if there is none. */
  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    if (this.sockets === 0) callback();
  }

  /** Called now and then: login and idle timeouts. Oldest first, so that nobody else is looked at. */
  checkDeadlines(nowMs: number): void {
    const { clientLoginTimeoutMs } = this.#settings;
    if (clientLoginTimeoutMs > 0) {
      // `entering` is in the order of proof, so one that was accepted early may stand behind a later one: all are looked at.
      for (const login of this.entering) {
        if (nowMs - login.acceptedAtMs >= clientLoginTimeoutMs) login.onLoginTimeout();
      }
      for (const login of this.logins) {
        if (nowMs - login.acceptedAtMs < clientLoginTimeoutMs) break;
        login.onLoginTimeout();
      }
    }
    for (const [timeoutMs, list] of this.#idleLists) {
      for (const entry of list) {
        if (nowMs - entry.sinceMs < timeoutMs) break;
        entry.client.close('idle_timeout', errors.clientIdleTimeout());
      }
    }
  }

  #loginLimit(): number {
    const { maxLoginClients, maxClientConn } = this.#settings;
    return maxLoginClients > 0 ? maxLoginClients : Math.max(1, Math.ceil(maxClientConn / 2));
  }

  /** The oldest that is silent; else the oldest that began to speak, was asked, and takes its time; else a cancel. */
  #leastHopeful(): Login | null {
    for (const login of this.logins) if (login.isSilent) return login;
    const nowMs = this.#environment.now();
    for (const login of this.logins) {
      if (login.owesSinceMs !== null && nowMs - login.owesSinceMs >= LOGIN_GRACE_MS) return login;
    }
    // Its sender believes then that it is over. But they must not keep everybody out while a server is stuck.
    for (const login of this.logins) if (login.isCancel) return login;
    return null;
  }
}

function change(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const value = (counts.get(key) ?? 0) + by;
  if (value === 0) counts.delete(key);
  else counts.set(key, value);
}

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
