import { describe, expect, it } from 'vitest';
import { configFromObject } from '../../src/config/load-config.ts';
import { demandOf } from '../../src/server-demand.ts';

function demand(config: object, users: readonly string[] = ['ann', 'bob', 'cyd']) {
  return demandOf(configFromObject(config), users).map(({ budgetKey, databases, connections }) => ({
    budgetKey,
    databases: databases.map(({ database, pools, connections: most }) => [database.name, pools, most]),
    connections,
  }));
}

describe('what pools add up to', () => {
  it('is a pool for each user, or one for the forced user, with its reserve', () => {
    expect(
      demand({
        pgbouncer: { default_pool_size: 10, reserve_pool_size: 2 },
        databases: {
          a: { host: 'h' },
          b: { host: 'h', user: 'app', pool_size: 5 },
          c: { host: 'other' },
          '*': { host: 'h' },
        },
      }),
    ).toEqual([
      {
        budgetKey: 'h:5432',
        databases: [
          ['a', 3, 36],
          ['b', 1, 7],
          ['*', 3, 36],
        ],
        connections: 79,
      },
      { budgetKey: 'other:5432', databases: [['c', 3, 36]], connections: 36 },
    ]);
  });

  it('keeps to the limits of databases, users and servers', () => {
    const databases = { a: { host: 'h' }, b: { host: 'h' } };
    expect(demand({ pgbouncer: { max_db_connections: 25 }, databases })[0]?.connections).toBe(50);
    expect(demand({ pgbouncer: { max_user_connections: 5 }, databases })[0]?.connections).toBe(15);
    expect(demand({ pgbouncer: { max_server_connections: 40 }, databases })[0]?.connections).toBe(40);
    expect(demand({ pgbouncer: {}, databases, users: { bob: { pool_size: 1 } } })[0]?.connections).toBe(82);
  });

  it('is without a limit where a pool has none', () => {
    expect(demand({ pgbouncer: { default_pool_size: 0 }, databases: { a: {} } })[0]?.connections).toBe(Infinity);
    const limited = { pgbouncer: { default_pool_size: 0, max_db_connections: 9 }, databases: { a: {} } };
    expect(demand(limited)[0]?.connections).toBe(9);
  });

  it('is nothing without users', () => {
    expect(demand({ databases: { a: {} } }, [])[0]).toMatchObject({ databases: [['a', 0, 0]], connections: 0 });
  });
});
