import { describe, expect, it } from 'vitest';
import { parseYamlConfig } from '../../../src/config/load-config.ts';
import { budgetKeyOf, type PoolSettings, resolvePoolSettings } from '../../../src/config/pool-settings.ts';

const GLOBALS = `
pgbouncer:
  pool_mode: statement
  default_pool_size: 100
  min_pool_size: 10
  reserve_pool_size: 1
  reserve_pool_timeout: 1
  query_timeout: 1
  query_wait_timeout: 1
  query_wait_notify: 1
  idle_transaction_timeout: 1
  transaction_timeout: 1
  client_idle_timeout: 1
  server_lifetime: 1
  server_idle_timeout: 1
  load_balance_hosts: disable
  max_db_connections: 1000
  max_user_connections: 1001
  max_db_client_connections: 1002
  max_user_client_connections: 1003
  max_server_connections: 1004
`;
const DATABASE = `
    pool_mode: transaction
    pool_size: 50
    min_pool_size: 20
    reserve_pool_size: 2
    connect_query: select 2
    query_wait_timeout: 2
    load_balance_hosts: round-robin
    max_db_connections: 2000
    max_db_client_connections: 2002
    server_lifetime: 2
    max_server_connections: 2004
    budget: mine
`;
const USER = `
    pool_mode: session
    pool_size: 5
    reserve_pool_size: 3
    max_user_connections: 3001
    max_user_client_connections: 3003
    query_timeout: 3
    query_wait_timeout: 3
    idle_transaction_timeout: 3
    transaction_timeout: 3
    client_idle_timeout: 3
`;

function resolved(yaml: string): PoolSettings {
  const config = parseYamlConfig(yaml, 'a.yaml');
  return resolvePoolSettings(config, config.databases.get('app')!, 'alice');
}

/** The limit of a database on host `h`, next to `databases`. */
function limit(databases: string): number {
  const yaml = `pgbouncer: {max_server_connections: 9}\ndatabases:\n  app: {host: h}\n${databases}`;
  return resolved(yaml).maxServerConnections;
}

describe('the settings of a pool', () => {
  const global: PoolSettings = {
    poolMode: 'statement',
    poolSize: 100,
    minPoolSize: 10,
    reservePoolSize: 1,
    reservePoolTimeoutMs: 1000,
    queryTimeoutMs: 1000,
    queryWaitTimeoutMs: 1000,
    queryWaitNotifyMs: 1000,
    idleTransactionTimeoutMs: 1000,
    transactionTimeoutMs: 1000,
    clientIdleTimeoutMs: 1000,
    serverLifetimeMs: 1000,
    serverIdleTimeoutMs: 1000,
    loadBalanceHosts: 'disable',
    connectQuery: null,
    maxDbConnections: 1000,
    maxUserConnections: 1001,
    maxDbClientConnections: 1002,
    maxUserClientConnections: 1003,
    maxServerConnections: 1004,
    budgetKey: '127.0.0.1:5432',
  };
  const ofDatabase: Partial<PoolSettings> = {
    poolMode: 'transaction',
    poolSize: 50,
    minPoolSize: 20,
    reservePoolSize: 2,
    connectQuery: 'select 2',
    queryWaitTimeoutMs: 2000,
    loadBalanceHosts: 'round-robin',
    maxDbConnections: 2000,
    maxDbClientConnections: 2002,
    serverLifetimeMs: 2000,
    maxServerConnections: 2004,
    budgetKey: 'mine',
  };
  const ofUser: Partial<PoolSettings> = {
    poolMode: 'session',
    poolSize: 5,
    minPoolSize: 5, // capped
    reservePoolSize: 3,
    maxUserConnections: 3001,
    maxUserClientConnections: 3003,
    queryTimeoutMs: 3000,
    queryWaitTimeoutMs: 3000,
    idleTransactionTimeoutMs: 3000,
    transactionTimeoutMs: 3000,
    clientIdleTimeoutMs: 3000,
  };

  it('are those for all where neither database nor user say otherwise', () => {
    const pool = resolved(`${GLOBALS}\ndatabases: {app: }\nusers: {bob: {pool_size: 1}}`);
    expect(pool).toEqual(global);
    expect(Object.isFrozen(pool)).toBe(true);
  });

  it('are the database’s where it has some', () => {
    expect(resolved(`${GLOBALS}\ndatabases:\n  app: ${DATABASE}`)).toEqual({ ...global, ...ofDatabase });
  });

  it('are the user’s before all others', () => {
    const both = `${GLOBALS}\ndatabases:\n  app: ${DATABASE}\nusers:\n  alice: ${USER}`;
    expect(resolved(both)).toEqual({ ...global, ...ofDatabase, ...ofUser });
    expect(resolved(`${GLOBALS}\ndatabases: {app: }\nusers:\n  alice: ${USER}`)).toEqual({ ...global, ...ofUser });
  });

  it('let 0 win over a limit', () => {
    const yaml =
      'pgbouncer: {query_timeout: 5, max_db_connections: 5, min_pool_size: 4}\ndatabases: {app: {max_db_connections: 0}}\nusers: {alice: {query_timeout: 0, pool_size: 0}}';
    expect(resolved(yaml)).toMatchObject({ queryTimeoutMs: 0, maxDbConnections: 0, poolSize: 0, minPoolSize: 4 });
  });

  it('have the limit of their PostgreSQL, whichever database sets it', () => {
    expect(limit('')).toBe(9);
    expect(limit('  b: {host: h, max_server_connections: 7}')).toBe(7);
    expect(limit('  "*": {host: h, max_server_connections: 0}')).toBe(0);
    expect(limit('  b: {host: h, port: 5433, max_server_connections: 7}')).toBe(9);
    expect(limit('  b: {host: h, budget: own, max_server_connections: 7}')).toBe(9);
  });
});

describe('the key of a budget', () => {
  it('is its name, or hosts and port as they are configured', () => {
    const { databases } = parseYamlConfig(
      'databases: {a: "host=h2,h1 port=1", b: {host: "::1"}, c: {budget: x}}',
      'a.yaml',
    );
    expect([...databases.values()].map(budgetKeyOf)).toEqual(['h2,h1:1', '::1:5432', 'x']);
  });
});
