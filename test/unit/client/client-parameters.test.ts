/** What a client has, what a server has, and what makes the one fit for the other. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { adjustmentSql } from '../../../src/client/adjustment.ts';
import { ClientParameters } from '../../../src/client/client-parameters.ts';
import { ParameterTable } from '../../../src/server/parameter-table.ts';
import { ServerParameters } from '../../../src/server/server-parameters.ts';
import { Wishes } from '../../../src/server/wishes.ts';

type Values = Readonly<Record<string, string>>;
const REPORTED: Values = { server_version: '18.0', DateStyle: 'ISO, MDY', TimeZone: 'UTC', application_name: '' };

function setUp(reported: Values = REPORTED) {
  const table = new ParameterTable();
  const server = { parameters: new ServerParameters(table), readyCount: 0 };
  server.parameters.begin(new Map(Object.entries(reported)));
  const client = (startup: Values = {}): ClientParameters => {
    const settings = Object.entries(startup).map(([name, value]) => ({ name, value }));
    return new ClientParameters(table, new Map(Object.entries(reported)), settings);
  };
  return { table, server, client };
}

/** As the server does what it is told, and reports what it reports. */
function apply(client: ClientParameters, server: ServerParameters): string {
  const adjustment = client.adjust(server);
  if (adjustment === null) return '';
  for (const place of adjustment.places) {
    const value = client.get(place);
    if (value === null || !server.reports(place)) server.believe(place, value);
    else server.report(server.table.name(place), value);
  }
  server.wishes = adjustment.wishes;
  return adjustmentSql(adjustment);
}

describe('a comparison', () => {
  test('asks for what differs only', () => {
    const { server, client } = setUp();
    expect(client().matches(server.parameters)).toBe(true);
    expect(client({ timezone: 'UTC' }).matches(server.parameters)).toBe(true);
    const alice = client({ TIMEZONE: 'utc', application_name: "it's" });
    expect(alice.matches(server.parameters)).toBe(false);
    expect(apply(alice, server.parameters)).toBe(
      "SELECT pg_catalog.set_config('TimeZone','utc',false) IS NULL,pg_catalog.set_config('application_name',E'it''s',false) IS NULL",
    );
    expect(alice.matches(server.parameters)).toBe(true);
  });

  test('resets DateStyle first, for `ISO` alone keeps the order that somebody else has set', () => {
    const { server, client } = setUp();
    expect(apply(client({ datestyle: 'German' }), server.parameters)).toBe(
      "SELECT pg_catalog.set_config('DateStyle',NULL,false) IS NULL,pg_catalog.set_config('DateStyle','German',false) IS NULL",
    );
  });

  test('knows no parameter that says what the server is', () => {
    const { server, client } = setUp();
    const alice = client();
    server.parameters.report('server_version', '19.0');
    expect(alice.matches(server.parameters)).toBe(true);
  });

  test('sets what this server does not report, but others of the pool do', () => {
    const { table, server, client } = setUp();
    const newer = new ServerParameters(table);
    newer.begin(new Map(Object.entries({ ...REPORTED, search_path: 'public' })));
    const alice = client({ search_path: 'a' });
    const bob = client({ search_path: 'b' });
    for (const one of [alice, bob, alice]) {
      expect(apply(one, server.parameters)).toContain('search_path');
      expect(one.matches(server.parameters)).toBe(true);
    }
    // Who came before the pool knew of it has no opinion, and gets what nobody has set.
    const carol = client();
    expect(apply(carol, server.parameters)).toBe("SELECT pg_catalog.set_config('search_path',NULL,false) IS NULL");
    expect(carol.matches(server.parameters)).toBe(true);
  });

  test('is right whenever what it asks for has been done', () => {
    const name = fc.constantFrom('DateStyle', 'TimeZone', 'application_name', 'work_mem', 'statement_timeout', 'x.y');
    const values = fc.dictionary(name, fc.constantFrom('', 'a', 'b'));
    const step = fc.oneof(
      fc.record({ kind: fc.constant('use' as const), who: fc.nat(3) }),
      fc.record({ kind: fc.constant('set' as const), who: fc.nat(3), name, value: fc.constantFrom('', 'a', 'b') }),
      fc.record({ kind: fc.constant('reset' as const), who: fc.nat(3), what: fc.constantFrom('all', 'some') }),
    );
    fc.assert(
      fc.property(fc.array(values, { minLength: 4, maxLength: 4 }), fc.array(step), (startups, steps) => {
        const { server, client } = setUp();
        const clients = startups.map((startup) => client(startup));
        for (const one of steps) {
          const who = clients[one.who]!;
          const isFit = who.matches(server.parameters);
          const sql = apply(who, server.parameters);
          if (isFit) expect(sql).toBe('');
          who.takeUntold();
          server.parameters.wishes = who.wishes;
          expect(who.matches(server.parameters)).toBe(true);
          server.readyCount++;
          if (one.kind === 'set' && one.name in REPORTED) {
            who.report(server.parameters.report(one.name, one.value), server);
          } else if (one.kind === 'reset') {
            who.onReset(one.what, server);
            server.parameters.onReset(one.what);
          }
        }
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});

describe('a client’s wishes', () => {
  test('are set, changed and withdrawn', () => {
    const { server, client } = setUp();
    const alice = client({ work_mem: '1MB', statement_timeout: '5s' });
    const bob = client({ WORK_MEM: '2MB', statement_timeout: '5s' });
    expect(apply(alice, server.parameters)).toContain("'work_mem','1MB'");
    expect(apply(bob, server.parameters)).toBe("SELECT pg_catalog.set_config('WORK_MEM','2MB',false) IS NULL");
    expect(apply(client(), server.parameters)).toBe(
      "SELECT pg_catalog.set_config('WORK_MEM',NULL,false) IS NULL,pg_catalog.set_config('statement_timeout',NULL,false) IS NULL",
    );
    expect(server.parameters.wishes).toBe(Wishes.NONE);
  });

  test('are in as many statements as PostgreSQL needs', () => {
    const { server, client } = setUp();
    const wishes = Object.fromEntries(Array.from({ length: 1200 }, (_, i) => [`a.a${i}`, 'x']));
    expect(apply(client(wishes), server.parameters).match(/SELECT/g)).toHaveLength(3);
  });
});

describe('after a reset', () => {
  test('of everything nothing is set that was a wish, and all values are as at the client’s startup', () => {
    const { server, client } = setUp();
    const alice = client({ TimeZone: 'Asia/Tokyo', work_mem: '1MB' });
    apply(alice, server.parameters);
    alice.report(server.parameters.report('DateStyle', 'German, DMY'), server);
    alice.onReset('all', server);
    server.parameters.onReset('all');
    for (const [name, value] of Object.entries(REPORTED)) {
      const place = server.parameters.report(name, value);
      if (place >= 0) alice.report(place, server);
    }
    server.readyCount++;
    expect(alice.matches(server.parameters)).toBe(false);
    expect(apply(alice, server.parameters)).toBe(
      "SELECT pg_catalog.set_config('TimeZone','Asia/Tokyo',false) IS NULL,pg_catalog.set_config('work_mem','1MB',false) IS NULL",
    );
    const names = [...alice.takeUntold()].map((place) => `${server.parameters.table.name(place)}=${alice.get(place)}`);
    expect(names.toSorted()).toEqual(['DateStyle=ISO, MDY', 'TimeZone=Asia/Tokyo']);
    expect(alice.matches(server.parameters)).toBe(true);
  });

  test('of one parameter that one is as at the startup, and of the wishes nothing is known', () => {
    const { server, client } = setUp();
    const alice = client({ TimeZone: 'Asia/Tokyo', application_name: 'alice', work_mem: '1MB' });
    apply(alice, server.parameters);
    // RESET TimeZone: CommandComplete, then the report, then ReadyForQuery.
    alice.onReset('some', server);
    server.parameters.onReset('some');
    alice.report(server.parameters.report('TimeZone', 'UTC'), server);
    server.readyCount++;
    expect(apply(alice, server.parameters)).toBe(
      "SELECT pg_catalog.set_config('TimeZone','Asia/Tokyo',false) IS NULL,pg_catalog.set_config('work_mem','1MB',false) IS NULL",
    );
    expect([...alice.takeUntold()]).toEqual([server.parameters.table.find('TimeZone')]);
    // Bob's next transaction does not get what may be left of it.
    server.parameters.onReset('some');
    expect(apply(client(), server.parameters)).toContain("('work_mem',NULL,false) IS NULL");
  });

  test('a SET of the server’s own value in a later message is the client’s will', () => {
    const { server, client } = setUp();
    const alice = client({ TimeZone: 'Asia/Tokyo' });
    apply(alice, server.parameters);
    alice.onReset('some', server);
    server.parameters.onReset('some');
    server.readyCount++;
    alice.report(server.parameters.report('TimeZone', 'UTC'), server);
    expect(alice.matches(server.parameters)).toBe(true);
  });

  test('what a server has been made to take without a report is unknown, or gone', () => {
    const { table, server, client } = setUp();
    table.learn('search_path');
    const alice = client({ search_path: 'a' });
    for (const what of ['some', 'all'] as const) {
      apply(alice, server.parameters);
      expect(alice.matches(server.parameters)).toBe(true);
      server.parameters.onReset(what);
      expect(alice.matches(server.parameters)).toBe(false);
      expect(client().matches(server.parameters)).toBe(what === 'all');
    }
  });
});
