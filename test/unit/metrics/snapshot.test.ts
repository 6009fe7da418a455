/** From real pools, a real budget and a real registry to plain data. */
import { describe, expect, it } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import type { Environment } from '../../../src/base/environment.ts';
import { errors } from '../../../src/base/errors.ts';
import type { Transport } from '../../../src/base/transport.ts';
import { ClientRegistry } from '../../../src/client/client-registry.ts';
import type { ClientSession } from '../../../src/client/client-session.ts';
import { takeSnapshot } from '../../../src/client/client-snapshot.ts';
import type { ClientState } from '../../../src/client/client-state.ts';
import type { Config } from '../../../src/config/config.ts';
import { configFromObject } from '../../../src/config/load-config.ts';
import { Resolver } from '../../../src/net/resolver.ts';
import type { Pool } from '../../../src/pool/pool.ts';
import { ProcessBudget } from '../../../src/pool/process-budget.ts';
import { Router } from '../../../src/pool/router.ts';
import type { PoolerSnapshot } from '../../../src/pool/snapshot.ts';
import type { Waiter } from '../../../src/pool/waiter.ts';
import type { ServerConnection } from '../../../src/server/server-connection.ts';
import type { ServerState } from '../../../src/server/server-state.ts';
import { StartupSet } from '../../../src/server/startup-set.ts';
import { StatementRegistry } from '../../../src/server/statement-registry.ts';
import { noServerTls } from '../../support/memory-tls.ts';
import { handMadeSnapshot } from './hand-made-snapshot.ts';
import { ManualEnvironment } from './manual-environment.ts';

const SECRET = 'correct horse battery staple';

function nothing(): void {}

/** Connections to PostgreSQL are begun and never get anywhere. */
class DeafEnvironment extends ManualEnvironment implements Environment {
  override dial(): never {
    const transport = new Proxy({}, { get: () => nothing }) as Transport;
    return transport as never;
  }
}

class House {
  readonly environment = new DeafEnvironment();
  readonly registry: ClientRegistry;
  readonly router: Router;
  readonly #budget: ProcessBudget;
  readonly #config: Config;

  constructor(config: object) {
    const { environment } = this;
    this.#config = configFromObject(config);
    const { settings } = this.#config;
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
    this.registry = new ClientRegistry(environment, settings, log);
    this.#budget = new ProcessBudget(environment);
    this.router = new Router({
      environment,
      config: this.#config,
      keys: new DerivedKeys(environment),
      log,
      budget: this.#budget,
      resolver: new Resolver(environment, log, {
        mode: 'libc',
        maxTtlMs: 1,
        notFoundTtlMs: 1,
        resolvConfPath: null,
      }),
      unguessable: 'x',
      statements: new StatementRegistry(),
      secrets: { forServer: () => ({ kind: 'plain', password: SECRET }) },
      security: noServerTls,
    });
  }

  readonly pool = (databaseName: string, user: string): Pool =>
    this.router.pool(this.router.database(databaseName)!, databaseName, user);

  readonly snapshot = (pools: Iterable<Pool> = this.router.pools): PoolerSnapshot =>
    takeSnapshot({
      state: 'ready',
      version: '1.2.3',
      users: 4,
      dns: { names: 5, lookups: 6 },
      process: handMadeSnapshot.process,
      config: this.#config,
      nowMs: this.environment.nowMs,
      pools,
      dropped: this.router.dropped,
      states: this.router.states,
      budget: this.#budget,
      registry: this.registry,
    });
}

function house(databases: object = { app: { host: '127.0.0.1' } }, settings: object = {}): House {
  return new House({ pgbouncer: { server_login_concurrency: 100, ...settings }, databases });
}

/** A member of a pool's lists: as much of a server as a snapshot looks at. */
function putServer(pool: Pool, state: ServerState, times: Partial<ServerConnection['times']> = {}): void {
  const server = { list: null, previous: null, next: null, times: { transactionSinceMs: 0, busySinceMs: 0, ...times } };
  pool.servers.move(server as unknown as ServerConnection, state);
}

/** As much of a client as the registry and a snapshot look at. */
function client(pool: Pool, identity: { database: string; user: string }): ClientSession & { state: ClientState } {
  const cancelKey = Buffer.alloc(8);
  const options = { identity, pool, cancelKey };
  return { options, limits: { clientIdleTimeoutMs: 0 }, state: 'idle', server: null } as unknown as ClientSession & {
    state: ClientState;
  };
}

function waiter(): Waiter {
  return {
    list: null,
    previous: null,
    next: null,
    waitingSinceMs: 0,
    waitNotified: false,
    startup: StartupSet.NONE,
    onServer: nothing,
    onLongWait: nothing,
    onNoServer: nothing,
  };
}

describe('pools', () => {
  it('are rows of their own, with their settings', () => {
    const { pool, snapshot } = house({ app: { host: '127.0.0.1', pool_mode: 'transaction', pool_size: 7 } });
    pool('app', 'alice');
    pool('app', 'bob');
    expect(snapshot().pools).toMatchObject([
      { database: 'app', user: 'alice', mode: 'transaction', size: 7, minSize: 0, reserveSize: 0, isFailing: false },
      { database: 'app', user: 'bob' },
    ]);
  });

  it('count servers by state', () => {
    const { pool, snapshot } = house();
    const app = pool('app', 'alice');
    const states = ['idle', 'idle', 'linked', 'dedicated', 'closing', 'testing', 'cancelling'] as const;
    for (const state of states) putServer(app, state);
    expect(snapshot().pools[0]?.servers).toEqual({
      connecting: 0,
      preparing: 0,
      idle: 2,
      testing: 1,
      linked: 1,
      dedicated: 1,
      recovering: 0,
      cancelling: 1,
      resetting: 0,
      closing: 1,
    });
  });

  it('count clients that wait apart from the others', () => {
    const { pool, snapshot, environment } = house();
    const app = pool('app', 'alice');
    app.clients = 5;
    app.acquire(waiter());
    environment.nowMs += 400;
    app.acquire(waiter());
    environment.nowMs += 100;
    expect(snapshot().pools[0]).toMatchObject({ activeClients: 3, waitingClients: 2, oldestWaiterMs: 500 });
  });

  it('count clients that wait in their login', () => {
    const { pool, snapshot, environment } = house();
    const login = { onServerParameters: nothing, onNoServer: nothing, acceptedAtMs: environment.nowMs };
    environment.nowMs += 300;
    const app = pool('app', 'alice');
    app.acquire(waiter());
    app.awaitParameters(login);
    environment.nowMs += 200;
    expect(snapshot().pools[0]).toMatchObject({ waitingClients: 2, oldestWaiterMs: 500 });
  });

  it('know no waiter where there is none', () => {
    const { pool, snapshot } = house();
    pool('app', 'alice');
    expect(snapshot().pools[0]).toMatchObject({ waitingClients: 0, oldestWaiterMs: 0 });
  });

  it('know the age of the oldest transaction, and who is idle in one', () => {
    const { pool, snapshot, environment } = house();
    environment.nowMs = 10_000;
    const app = pool('app', 'alice');
    expect(snapshot().pools[0]).toMatchObject({ oldestTransactionMs: 0, oldestIdleInTransactionMs: 0 });
    putServer(app, 'linked', { transactionSinceMs: 0, answeredAtMs: 1 });
    putServer(app, 'linked', { transactionSinceMs: 7_000, busySinceMs: 0, answeredAtMs: 9_000 });
    putServer(app, 'linked', { transactionSinceMs: 6_000, busySinceMs: 6_000, answeredAtMs: 5_000 });
    expect(snapshot().pools[0]).toMatchObject({ oldestTransactionMs: 4_000, oldestIdleInTransactionMs: 1_000 });
    putServer(app, 'recovering', { transactionSinceMs: 5_500, busySinceMs: 5_500 });
    expect(snapshot().pools[0]).toMatchObject({ oldestTransactionMs: 4_500, oldestIdleInTransactionMs: 1_000 });
  });

  it('say whether logins fail', () => {
    const { pool, snapshot } = house();
    pool('app', 'alice').health.failed({ kind: 'unreachable', reason: 'refused' }, 0, 0);
    expect(snapshot().pools[0]?.isFailing).toBe(true);
  });

  it('have their counters', () => {
    const { pool, snapshot } = house();
    const app = pool('app', 'alice');
    Object.assign(app.traffic, TRAFFIC);
    app.connects = 10;
    app.closedServers.set('lifetime', 11);
    app.closedUnconfirmed = 12;
    expect(snapshot().pools[0]).toMatchObject({
      traffic: TRAFFIC,
      connects: 10,
      closed: { lifetime: 11 },
      closedUnconfirmed: 12,
    });
  });
});

const TRAFFIC = {
  queries: 1,
  transactions: 2,
  queryMs: 3,
  transactionMs: 4,
  receivedBytes: 5,
  sentBytes: 6,
  waitMs: 7,
  assignments: 8,
  logins: 9,
  clientParses: 10,
  serverParses: 11,
  binds: 12,
};

describe('databases', () => {
  it('are all entries, also those that nobody has used', () => {
    const { snapshot } = house({
      app: { host: 'db1,db2', port: 5433, dbname: 'production', user: 'owner', pool_size: 3, max_db_connections: 9 },
      plain: {},
      '*': {},
    });
    expect(snapshot().databases).toMatchObject([
      {
        name: 'app',
        hosts: ['db1', 'db2'],
        port: 5433,
        serverDatabase: 'production',
        forcedUser: 'owner',
        poolSize: 3,
        poolMode: null,
        maxConnections: 9,
        connections: 0,
        clientConnections: 0,
        isPaused: false,
        isDisabled: false,
      },
      { name: 'plain', hosts: ['127.0.0.1'], port: 5432, serverDatabase: 'plain', forcedUser: null, poolSize: 20 },
    ]);
  });

  it('are also names that the fallback serves', () => {
    const { pool, snapshot } = house({ '*': { host: '10.0.0.1', pool_mode: 'statement' } });
    pool('guest', 'alice');
    expect(snapshot().databases).toMatchObject([
      { name: 'guest', serverDatabase: 'guest', hosts: ['10.0.0.1'], poolMode: 'statement' },
    ]);
  });

  it('have together what their pools have', () => {
    const { pool, snapshot } = house({ app: {}, other: {} });
    const [alice, bob] = [pool('app', 'alice'), pool('app', 'bob')];
    pool('other', 'alice').traffic.queries = 1000;
    alice.clients = 2;
    bob.clients = 3;
    alice.acquire(waiter());
    bob.acquire(waiter());
    bob.acquire(waiter());
    Object.assign(alice.traffic, TRAFFIC);
    Object.assign(bob.traffic, TRAFFIC);
    const doubled = Object.fromEntries(Object.entries(TRAFFIC).map(([name, value]) => [name, value * 2]));
    expect(snapshot().databases).toMatchObject([
      { name: 'app', connections: 3, clientConnections: 5, traffic: doubled },
      { name: 'other', connections: 0, clientConnections: 0, traffic: { queries: 1000 } },
    ]);
  });
});

describe('budgets', () => {
  it('are one for each PostgreSQL, with the leases that are held', () => {
    const one = { host: '10.0.0.1', max_server_connections: 8 };
    const { pool, snapshot } = house({
      a: one,
      b: one,
      c: { host: '10.0.0.2' },
      d: { host: '10.0.0.3', budget: 'shared' },
    });
    for (const name of ['a', 'b', 'c', 'd']) pool(name, 'alice').acquire(waiter());
    pool('b', 'bob').acquire(waiter());
    expect(snapshot().budgets).toEqual([
      { name: '10.0.0.1:5432', limit: 8, inUse: 3 },
      { name: '10.0.0.2:5432', limit: 0, inUse: 1 },
      { name: 'shared', limit: 0, inUse: 1 },
    ]);
  });
});

describe('totals', () => {
  it('of servers are over all pools', () => {
    const { pool, snapshot } = house();
    const [alice, bob] = [pool('app', 'alice'), pool('app', 'bob')];
    alice.connects = 1;
    bob.connects = 2;
    alice.closedServers.set('lifetime', 3);
    bob.closedServers.set('lifetime', 4).set('eof', 5);
    alice.closedUnconfirmed = 6;
    bob.closedUnconfirmed = 7;
    expect(snapshot().servers).toEqual({ connects: 3, closed: { lifetime: 7, eof: 5 }, closedUnconfirmed: 13 });
  });

  it('do not go backwards when a pool is dropped', () => {
    const { pool, snapshot, router } = house({ app: {}, '*': {} });
    const [gone, stays] = [pool('app', 'alice'), pool('app', 'bob')];
    for (const each of [gone, stays]) {
      Object.assign(each.traffic, TRAFFIC);
      each.connects = 10;
      each.closedServers.set('lifetime', 11);
      each.closedUnconfirmed = 12;
    }
    stays.clients = 1;
    for (const each of [gone, stays]) each.tick(2_000);
    const before = snapshot();
    expect(before.servers).toEqual({ connects: 20, closed: { lifetime: 22 }, closedUnconfirmed: 24 });
    router.dropEmpty(10_000, 5_000, 0);
    const after = snapshot();
    expect(after.pools).toMatchObject([{ user: 'bob' }]);
    expect(after.servers).toEqual(before.servers);
    expect(after.databases[0]?.traffic).toEqual(before.databases[0]?.traffic);
  });

  it('of a database that the fallback serves last as long as it has a pool', () => {
    const { pool, snapshot, router } = house({ '*': {} });
    const [gone, stays] = [pool('guest', 'alice'), pool('guest', 'bob')];
    gone.traffic.queries = 1;
    gone.connects = 2;
    stays.clients = 1;
    stays.tick(2_000);
    router.dropEmpty(10_000, 0, 5_000);
    expect(snapshot().databases).toMatchObject([{ name: 'guest', traffic: { queries: 1 } }]);
    stays.clients = 0;
    stays.tick(20_000);
    router.dropEmpty(30_000, 0, 5_000);
    expect(snapshot()).toMatchObject({ databases: [], servers: { connects: 2 } });
    expect(router.dropped.traffic.size).toBe(0);
  });

  it('are not changed by being looked at', () => {
    const { pool, snapshot, router } = house();
    const { dropped } = router;
    const app = pool('app', 'alice');
    Object.assign(app.traffic, TRAFFIC);
    dropped.add(app);
    expect(snapshot()).toEqual(snapshot());
    expect(dropped.traffic.get('app')).toEqual(TRAFFIC);
  });
});

describe('clients', () => {
  it('are counted by who they are, also where the pool has another user', () => {
    const { pool, registry, snapshot } = house({ app: { user: 'owner' } });
    const app = pool('app', 'alice');
    const [idle, waiting, linked, preparing] = [1, 2, 3, 4].map(() => client(app, { database: 'app', user: 'alice' }));
    Object.assign(waiting!, { state: 'waiting' });
    Object.assign(linked!, { state: 'linked', server: {} });
    Object.assign(preparing!, { state: 'waiting', server: {} });
    for (const each of [idle, waiting, linked, preparing]) registry.add(each!);
    registry.add(client(app, { database: 'app', user: 'bob' }));
    expect(snapshot().clients.identities).toEqual([
      { database: 'app', user: 'alice', idle: 1, waiting: 1, active: 2 },
      { database: 'app', user: 'bob', idle: 1, waiting: 0, active: 0 },
    ]);
    expect(snapshot().pools).toMatchObject([{ user: 'owner', activeClients: 5 }]);
  });

  it('of different databases and users are never taken for each other', () => {
    const { pool, registry, snapshot } = house({ '*': {} });
    const names = ['a', 'a\0b', 'b', '__proto__', 'a,user:b'];
    for (const database of names) {
      for (const user of names) registry.add(client(pool(database, user), { database, user }));
    }
    const { identities } = snapshot().clients;
    expect(identities).toHaveLength(25);
    expect(identities.every(({ idle }) => idle === 1)).toBe(true);
  });

  it('that come, are refused and go are counted', () => {
    const { pool, registry, snapshot } = house();
    const alice = client(pool('app', 'alice'), { database: 'app', user: 'alice' });
    registry.add(alice);
    registry.sockets = 3;
    registry.countRefused(errors.authenticationFailed());
    registry.countRefused(errors.authenticationFailed());
    registry.countRefused(errors.tooManyClients(1));
    expect(snapshot().clients).toMatchObject({
      sockets: 3,
      loggingIn: 0,
      refused: [
        { sqlstate: '28P01', count: 2 },
        { sqlstate: '53300', count: 1 },
      ],
      closed: {},
    });
    registry.onClientClosed(alice, 'eof');
    expect(snapshot().clients).toMatchObject({ identities: [], closed: { eof: 1 } });
  });
});

function full(): PoolerSnapshot {
  const { pool, registry, snapshot } = house(
    { app: { user: 'owner', password: SECRET } },
    { max_client_conn: 321, max_user_connections: 12 },
  );
  const app = pool('app', 'alice');
  registry.add(client(app, { database: 'app', user: 'alice' }));
  app.acquire(waiter());
  app.closedServers.set('lifetime', 1);
  return snapshot();
}

describe('the whole', () => {
  it('has what it was given, and the limits', () => {
    expect(full()).toMatchObject({
      state: 'ready',
      version: '1.2.3',
      users: 4,
      dns: { names: 5, lookups: 6 },
      limits: { maxClientConnections: 321, maxUserConnections: 12 },
      process: handMadeSnapshot.process,
    });
  });

  it('is plain data', () => {
    const snapshot = full();
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
    expect(structuredClone(snapshot)).toEqual(snapshot);
  });

  it('holds no secret', () => {
    expect(JSON.stringify(full())).not.toContain(SECRET);
  });

  it('is of one moment', () => {
    const { pool, snapshot } = house();
    const app = pool('app', 'alice');
    const before = snapshot();
    app.traffic.queries = 5;
    app.connects = 6;
    app.clients = 7;
    expect(before.pools[0]).toMatchObject({ traffic: { queries: 0 }, connects: 0, activeClients: 0 });
    expect(before.databases[0]).toMatchObject({ traffic: { queries: 0 }, clientConnections: 0 });
  });
});
