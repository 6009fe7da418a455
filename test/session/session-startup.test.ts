/** Session mode by startup packet (session_startup: own): servers that are their clients' own, and who gets which. */
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../support/seeded-random.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s } from '../support/wire.ts';

function ownBench(settings: BenchSettings = {}): SessionBench {
  return sessionBench({ pool_mode: 'session', pool_size: 1, ...settings });
}

/** What the server of session `index` was told at its login besides user and database. */
function startupOf(bench: SessionBench, index: number): object {
  const { user: _user, database: _database, ...others } = Object.fromEntries(bench.postgres.sessions[index]!.startup);
  return others;
}

const TOKYO = { TimeZone: 'Asia/Tokyo', work_mem: '1MB' };
const OSLO = { timezone: 'Europe/Oslo' };

describe('a server is opened with its client’s startup parameters', () => {
  test('so that RESET and RESET ALL return to them, and nothing is set', () => {
    const bench = ownBench({ pool_size: 2 });
    const alice = bench.client({ parameters: { ...TOKYO, options: '-c extra_float_digits=3' } });
    expect(alice.column('SHOW TimeZone')).toEqual(['Asia/Tokyo']);
    alice.query("SET TimeZone = 'UTC'");
    alice.query("SET work_mem = '9MB'");
    expect(alice.query('RESET TimeZone')).toBe('C(RESET) S(TimeZone=Asia/Tokyo) Z(I)');
    alice.query('RESET ALL');
    for (const [name, value] of [
      ['TimeZone', 'Asia/Tokyo'],
      ['work_mem', '1MB'],
      ['extra_float_digits', '3'],
    ]) {
      expect(alice.column(`SHOW ${name}`)).toEqual([value]);
    }
    expect(startupOf(bench, 1)).toEqual({ extra_float_digits: '3', TimeZone: 'Asia/Tokyo', work_mem: '1MB' });
    expect(bench.server(1).queries.filter((sql) => sql.includes('set_config'))).toEqual([]);
  });

  test('but not with its application_name, which is set', () => {
    const bench = ownBench({ pool_size: 2 });
    const alice = bench.client({ parameters: { ...OSLO, application_name: 'alice' } });
    expect(alice.column('SHOW application_name')).toEqual(['alice']);
    const pid = alice.pid();
    alice.leave();
    const bob = bench.client({ parameters: { TIMEZONE: 'Europe/Oslo', Application_Name: 'bob' } });
    expect(bob.column('SHOW application_name')).toEqual(['bob']);
    expect(bob.pid()).toBe(pid);
    expect(startupOf(bench, 1)).toEqual(OSLO);
  });

  test('and a client that asks for nothing gets one that was opened for nobody', () => {
    const bench = ownBench();
    const alice = bench.client({ parameters: { application_name: 'alice' } });
    expect(alice.column('SHOW application_name')).toEqual(['alice']);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('whose spelling of a value the client is told', () => {
    const bench = ownBench({ pool_size: 2 });
    const alice = bench.client({ parameters: { DateStyle: 'German' } });
    expect(alice.query('SELECT a')).toBe('S(DateStyle=German, DMY) T D(a) C(SELECT 1) Z(I)');
    expect(bench.client({ parameters: { DateStyle: 'German' } }).parameters.get('DateStyle')).toBe('German, DMY');
  });

  test('over what connect_query sets', () => {
    const bench = sessionBench(
      { pool_mode: 'session' },
      { databases: { app: "host=10.0.0.1 port=5432 connect_query='SET work_mem = ''2MB'''" } },
    );
    const alice = bench.client({ parameters: { work_mem: '1MB' } });
    expect(alice.column('SHOW work_mem')).toEqual(['1MB']);
  });

  test('of which none can be who the session is for', () => {
    const bench = ownBench({ pool_size: 4 });
    for (const [index, parameters] of [
      { options: '-c user=root' },
      { Database: 'secret' },
      { OPTIONS: 'x y' },
    ].entries()) {
      const alice = bench.client({ parameters });
      alice.query('SELECT a');
      const { startup } = bench.postgres.sessions[index + 1]!;
      expect([...startup.keys()].sort()).toEqual(['database', 'options', 'user']);
      expect([startup.get('user'), startup.get('database')]).toEqual(['app', 'app']);
    }
    expect(bench.postgres.sessions.slice(1).map(({ startup }) => startup.get('options'))).toEqual([
      '-c user=root',
      '-c Database=secret',
      '-c OPTIONS=x\\ y',
    ]);
  });

  test('unless they are too many for a startup packet: then they are set', () => {
    const bench = ownBench();
    const value = 'x'.repeat(100);
    const options = Array.from({ length: 90 }, (_, i) => `-ca.${i}=${value}`).join(' ');
    const alice = bench.client({ parameters: { options } });
    expect(alice.column('SHOW a.1')).toEqual([value]);
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe('of the servers', () => {
  test('an idle one of the same set is preferred, whatever the case of the names', () => {
    const bench = ownBench({ pool_size: 3 });
    const pids = [];
    for (const parameters of [OSLO, TOKYO, { TIMEZONE: 'Europe/Oslo' }, TOKYO, {}]) {
      const client = bench.client({ parameters });
      pids.push(client.pid());
      client.leave();
    }
    expect(pids[2]).toBe(pids[0]);
    expect(pids[3]).toBe(pids[1]);
    expect(new Set(pids).size).toBe(3);
    expect(bench.pool().closedServers.size).toBe(0);
  });

  test('the longest idle of another set is replaced where no more may be opened, and counted', () => {
    const bench = ownBench({ pool_size: 2 });
    bench.expectServers('replaced');
    const [first] = [bench.client({ parameters: OSLO })];
    first.query('SELECT a');
    first.leave();
    const second = bench.client({ parameters: TOKYO });
    expect(second.column('SHOW TimeZone')).toEqual(['Asia/Tokyo']);
    // The one that was opened for nobody had been idle for longest.
    expect(bench.pool().closedServers.get('replaced')).toBe(1);
    second.leave();
    expect(bench.client({ parameters: OSLO }).column('SHOW TimeZone')).toEqual(['Europe/Oslo']);
    expect(bench.pool().closedServers.get('replaced')).toBe(1);
    expect(bench.client({ parameters: { work_mem: '7MB' } }).column('SHOW work_mem')).toEqual(['7MB']);
    expect(bench.pool().closedServers.get('replaced')).toBe(2);
    expect(bench.postgres.mostBackends).toBe(2);
  });

  test('also where it is max_server_connections that forbids more', () => {
    const bench = ownBench({ pool_size: 5, max_server_connections: 1 });
    bench.expectServers('replaced');
    for (const parameters of [OSLO, TOKYO, OSLO]) {
      const client = bench.client({ parameters });
      expect(client.column('SHOW TimeZone')).toEqual([Object.values(parameters)[0]]);
      client.leave();
    }
    expect(bench.postgres.mostBackends).toBe(1);
  });

  test('one that becomes free goes to who has waited longest, though it has to be replaced for that', () => {
    const bench = ownBench();
    bench.expectServers('replaced');
    const alice = bench.client({ parameters: OSLO });
    alice.query('SELECT a');
    const bob = bench.client({ parameters: TOKYO });
    const carol = bench.client({ parameters: OSLO });
    bob.send(m.query('SHOW TimeZone'));
    bench.run();
    carol.send(m.query('SHOW TimeZone'));
    bench.run();
    expect([bob.takeSummary(), carol.takeSummary()]).toEqual(['', '']);
    alice.leave();
    expect([bob.takeSummary(), carol.takeSummary()]).toEqual(['T D(Asia/Tokyo) C(SHOW) Z(I)', '']);
    bob.leave();
    expect(carol.takeSummary()).toBe('T D(Europe/Oslo) C(SHOW) Z(I)');
  });

  test('an idle one that is of no use to those who wait goes to who comes later', () => {
    const bench = ownBench({ pool_size: 2 });
    const alice = bench.client({ parameters: OSLO });
    alice.query('SELECT a');
    bench.postgres.accepting = 'later';
    alice.leave();
    bench.expectServers('replaced');
    const bob = bench.client({ parameters: TOKYO });
    bob.send(m.query('SHOW TimeZone'));
    bench.run();
    const carol = bench.client({ parameters: OSLO });
    expect(carol.column('SHOW TimeZone')).toEqual(['Europe/Oslo']);
    expect(bob.takeSummary()).toBe('');
    bench.postgres.acceptPending();
    bench.run();
    expect(bob.takeSummary()).toBe('T D(Asia/Tokyo) C(SHOW) Z(I)');
  });

  test('each is opened for another one of those who wait', () => {
    const bench = ownBench({ pool_size: 3 });
    bench.client();
    const [alice, bob] = [bench.client({ parameters: OSLO }), bench.client({ parameters: { work_mem: '1MB' } })];
    for (const client of [alice, bob]) client.send(m.query('SELECT a'));
    bench.run();
    expect([alice.takeSummary(), bob.takeSummary()]).toEqual(Array(2).fill('T D(a) C(SELECT 1) Z(I)'));
    expect([startupOf(bench, 1), startupOf(bench, 2)]).toEqual([OSLO, { work_mem: '1MB' }]);
    expect(bench.postgres.sessions).toHaveLength(3);
  });

  test('one that was reset for nobody who waits does not keep them waiting', () => {
    const bench = ownBench({ pool_size: 3 });
    const alice = bench.client({ parameters: OSLO });
    alice.query('SELECT a');
    bench.server(1).holdReplies();
    alice.leave();
    const bob = bench.client({ parameters: TOKYO });
    bob.send(m.query('SHOW TimeZone'));
    bench.run();
    bench.server(1).releaseReplies();
    bench.run();
    expect(bob.takeSummary()).toBe('T D(Asia/Tokyo) C(SHOW) Z(I)');
    expect(bench.pool().servers.count('idle')).toBe(2);
  });

  test('those that are open are kept while logins fail', () => {
    const bench = ownBench({ pool_size: 3 });
    bench.expectServers('login_failed', 'replaced');
    for (const parameters of [OSLO, { work_mem: '1MB' }]) {
      const client = bench.client({ parameters });
      client.query('SELECT a');
      client.leave();
    }
    const bob = bench.client({ parameters: TOKYO });
    bench.postgres.onStartup = (session) => session.refuseLogin('57P03');
    bob.send(m.query('SHOW TimeZone'));
    bench.advance(900);
    expect(bench.pool().closedServers.get('replaced')).toBe(1);
    bench.postgres.onStartup = null;
    bench.advance(2000);
    expect(bob.takeSummary()).toBe('T D(Asia/Tokyo) C(SHOW) Z(I)');
    expect(bench.pool().closedServers.get('replaced')).toBe(1);
  });
});

describe('whoever comes and goes', () => {
  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'everybody is served, by a server of the own set (seed %i)',
    (seed) => {
      const random = new SeededRandom(seed);
      const bench = ownBench({
        pool_size: 3,
        session_attach: seed % 4 === 3 ? 'login' : 'first_query',
        ...(seed % 2 === 0 ? {} : { max_server_connections: 2 }),
        ...(seed % 3 === 0 ? { server_check_delay: 0 } : {}),
        server_round_robin: seed % 5 === 0,
      });
      bench.expectServers('replaced');
      const zones = ['Asia/Tokyo', 'Europe/Oslo', 'America/Lima', null];
      const present: { readonly client: SessionClient; readonly zone: string | null }[] = [];
      const leave = (): void => {
        const [guest] = present.splice(0, 1);
        bench.run();
        const answer = guest!.client.takeSummary();
        expect(answer).toContain(`D(${guest!.zone ?? 'Etc/UTC'}) C(SHOW) Z(I)`);
        guest!.client.leave();
      };
      for (let step = 0; step < 60; step++) {
        if (present.length > 0 && random.next() < 0.5) {
          leave();
          continue;
        }
        const zone = random.pick(zones);
        const client = bench.connect();
        const parameters = zone === null ? {} : { timezone: zone };
        client.send(m.startup({ user: 'app', database: 'app', ...parameters }), m.query('SHOW TimeZone'));
        if (random.next() < 0.7) bench.run();
        present.push({ client, zone });
      }
      while (present.length > 0) leave();
      expect(bench.postgres.mostBackends).toBeLessThanOrEqual(3);
    },
  );
});

describe('a value that the server refuses', () => {
  test('is the error of its client, not a pool that is down', () => {
    const bench = ownBench({ pool_size: 2 });
    bench.expectClients('parameter_refused');
    bench.expectServers('login_failed');
    const alice = bench.client({ parameters: { TimeZone: 'invalid/zone', application_name: 'alice' } });
    alice.send(m.query('INSERT never'));
    bench.run();
    const fields = errorFields(alice.take()[0]!);
    expect([fields.get('S'), fields.get('C'), fields.get('M')]).toEqual([
      'FATAL',
      '22023',
      'invalid value for parameter "TimeZone": "invalid/zone"',
    ]);
    expect(bench.pool().health.isFailing).toBe(false);
    expect(bench.client({ parameters: OSLO }).column('SHOW TimeZone')).toEqual(['Europe/Oslo']);
    expect(bench.postgres.rows).toEqual([]);
  });

  test.each(['28P01', '53300', '57P03', '3D000', '55000'])('is not what %s means', (sqlstate) => {
    const bench = ownBench({ pool_size: 2 });
    bench.expectServers('login_failed', 'replaced', 'idle_timeout');
    bench.expectClients('server_unavailable');
    const alice = bench.client({ parameters: OSLO });
    bench.postgres.onStartup = (session) => session.refuseLogin(sqlstate);
    alice.send(m.query('SELECT a'));
    bench.run();
    expect(bench.pool().health.isFailing).toBe(true);
    bench.postgres.onStartup = null;
  });
});

describe('session_attach: login', () => {
  const attach = { session_attach: 'login' };

  test.each(['own', 'set'])('links at the login, with session_startup: %s', (session_startup) => {
    const bench = ownBench({ ...attach, session_startup });
    const alice = bench.connect();
    alice.sendStartup({ parameters: { DateStyle: 'German', application_name: 'alice' } });
    bench.run();
    const told = alice.take();
    expect(told.map(({ type }) => type).join('')).toBe(`R${'S'.repeat(14)}KZ`);
    alice.acceptLogin(told);
    expect(alice.parameters.get('DateStyle')).toBe('German, DMY');
    expect(alice.parameters.get('application_name')).toBe('alice');
    expect(bench.pool().servers.linked.size).toBe(1);
    expect(alice.key.readUInt32BE(0)).toBe(bench.server().pid);
    expect(alice.query('SHOW DateStyle')).toBe('T D(German, DMY) C(SHOW) Z(I)');
    expect(alice.pid()).toBe(bench.server().pid);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('the key with the real process id cancels, and no other with it does', () => {
    const bench = ownBench({ ...attach });
    const alice = bench.client();
    alice.send(m.query('SLEEP'));
    bench.run();
    const wrong = Buffer.from(alice.key);
    wrong[5]! ^= 0xff;
    for (const key of [wrong, bench.server().secret]) {
      bench.connect().send(m.cancel(key.length === 8 ? key : Buffer.concat([alice.key.subarray(0, 4), key])));
      bench.run();
      expect(alice.takeSummary()).toBe('');
    }
    bench.connect().send(m.cancel(alice.key));
    bench.run();
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
  });

  test('a client waits in its login, and what it has sent is held', () => {
    const bench = ownBench({ ...attach });
    const alice = bench.client();
    const bob = bench.connect();
    bob.send(m.startup({ user: 'app', database: 'app' }), m.query('SELECT b'));
    bench.run();
    expect(bob.takeSummary()).toBe('');
    expect(bench.pool().clients).toBe(2);
    alice.leave();
    expect(bob.takeSummary()).toMatch(/^R S.* K Z\(I\) T D\(b\) C\(SELECT 1\) Z\(I\)$/);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('who leaves while waiting is gone at once', () => {
    const bench = ownBench({ ...attach });
    bench.client();
    const bob = bench.connect();
    bob.sendStartup();
    bench.run();
    bob.vanish();
    expect([bench.pool().waiting.size, bench.pool().clients, bench.registry.entering.size]).toEqual([0, 1, 0]);
  });

  test('a refused value ends the login', () => {
    const bench = ownBench({ ...attach });
    bench.expectServers('login_failed');
    const alice = bench.connect();
    alice.sendStartup({ parameters: { TimeZone: 'invalid/zone' } });
    bench.run();
    expect(alice.takeSummary()).toBe('E(22023)');
    expect(bench.pool().health.isFailing).toBe(false);
    expect(bench.client({ parameters: OSLO }).column('SHOW TimeZone')).toEqual(['Europe/Oslo']);
  });

  test('a wait that is too long ends with the limit that it has met', () => {
    const bench = ownBench({ ...attach, query_wait_timeout: 5 });
    bench.client();
    const bob = bench.connect();
    bob.sendStartup();
    bench.advance(6000);
    const fields = errorFields(bob.take()[0]!);
    expect([fields.get('C'), fields.get('M')]).toEqual(['53300', 'query_wait_timeout']);
  });

  test('or with that of the login, which says nothing of a server that is down', () => {
    const bench = ownBench({ ...attach, client_login_timeout: 5 });
    bench.client();
    const bob = bench.connect();
    bob.sendStartup();
    bench.advance(6000);
    expect(bob.takeSummary()).toBe('E(57014)');
  });

  test('a pooler that shuts down ends who is let in meanwhile', () => {
    const bench = ownBench({ ...attach });
    bench.expectClients('shutdown');
    bench.expectServers('shutdown');
    bench.client().leave();
    bench.server().holdReplies();
    const alice = bench.connect();
    alice.sendStartup({ parameters: { application_name: 'alice' } });
    bench.run();
    bench.drain();
    bench.server().releaseReplies();
    bench.run();
    expect(alice.takeSummary()).toBe('E(57P01)');
    expect(alice.isEnded).toBe(true);
  });

  test('is nothing to a pool in transaction mode', () => {
    const bench = sessionBench({ ...attach, pool_size: 1 });
    bench.client();
    bench.client();
    expect(bench.pool().servers.linked.size).toBe(0);
  });

  test('a server that is lost before the client is in ends the login', () => {
    const bench = ownBench({ ...attach });
    bench.expectServers('fatal_error');
    bench.expectClients('server_lost');
    bench.postgres.onStartup = (session) => {
      session.login();
      session.takeOver();
    };
    const alice = bench.connect();
    alice.sendStartup({ parameters: { application_name: 'alice' } });
    bench.run();
    expect(alice.takeSummary()).toBe('');
    bench.server().die('exit', s.error({ severity: 'FATAL', code: '57P01', message: 'bye' }));
    bench.run();
    expect(alice.takeSummary()).toMatch(/^E\(57P01\)$/);
  });
});

describe('a reload, and the console', () => {
  const german = { parameters: { DateStyle: 'German' } };

  test('after RECONNECT nobody is told the wishes of whoever gets the first new server', () => {
    const bench = ownBench({ pool_size: 3 });
    bench.expectServers('config_changed');
    const alice = bench.client(german);
    bench.pool().reconnect();
    expect(alice.column('SHOW DateStyle')).toEqual(['German, DMY']);
    expect(bench.postgres.sessions).toHaveLength(2);
    const bob = bench.client();
    expect(bob.parameters.get('DateStyle')).toBe('ISO, MDY');
    expect(bob.column('SHOW DateStyle')).toEqual(['ISO, MDY']);
    expect(bench.server(2).queries.filter((sql) => sql.includes('set_config'))).toEqual([]);
  });

  test('servers at another host are opened with them, too', () => {
    const bench = ownBench();
    bench.expectServers('config_changed', 'replaced');
    const moved = bench.postgresAt('10.0.0.2');
    const alice = bench.client(german);
    alice.query('SELECT a');
    const bob = bench.client(german);
    bob.send(m.query('SHOW DateStyle'));
    bench.reload({}, { databases: { app: { host: '10.0.0.2' } } });
    expect(bob.takeSummary()).toBe('');
    alice.leave();
    expect(bob.takeSummary()).toBe('T D(German, DMY) C(SHOW) Z(I)');
    expect(moved.sessions.map(({ startup }) => startup.get('DateStyle'))).toEqual(['German']);
  });

  test('transaction mode: who is there keeps to servers with its own, who comes is set', () => {
    const bench = ownBench({ pool_size: 2 });
    bench.expectServers('config_changed', 'replaced');
    const alice = bench.client(german);
    alice.query('SELECT a');
    bench.reload({ pool_mode: 'transaction' });
    const bob = bench.client(german);
    for (const client of [alice, bob, alice, bob]) {
      expect(client.column('SHOW DateStyle')).toEqual(['German, DMY']);
      expect(bench.pool().servers.linked.size).toBe(0);
    }
    expect(bench.client().column('SHOW DateStyle')).toEqual(['ISO, MDY']);
  });

  test('session_startup holds for clients that come later', () => {
    const bench = ownBench({ pool_size: 2 });
    const alice = bench.client(german);
    bench.reload({ session_startup: 'set' });
    const bob = bench.client(german);
    for (const client of [alice, bob]) expect(client.column('SHOW DateStyle')).toEqual(['German, DMY']);
    expect(bench.postgres.sessions.map(({ startup }) => startup.get('DateStyle'))).toEqual([undefined, 'German']);
  });

  test('a paused pool attaches nobody at the login; RESUME does', () => {
    const bench = ownBench({ session_attach: 'login' });
    bench.expectServers('paused');
    bench.client().leave();
    bench.pool().turnover.pause();
    const alice = bench.connect();
    alice.sendStartup(german);
    bench.advance(5000);
    expect(alice.takeSummary()).toBe('');
    expect(bench.pool().servers.total).toBe(0);
    bench.pool().turnover.resume();
    bench.run();
    alice.acceptLogin(alice.take());
    expect(alice.column('SHOW DateStyle')).toEqual(['German, DMY']);
  });

  test('who is attached when the mode has become another holds no server', () => {
    const bench = ownBench({ session_attach: 'login' });
    bench.expectServers('config_changed');
    const alice = bench.client();
    const bob = bench.connect();
    bob.sendStartup();
    bench.reload({ pool_mode: 'transaction' });
    alice.leave();
    bench.run();
    bob.acceptLogin(bob.take());
    expect(bench.pool().servers.linked.size).toBe(0);
    expect(bob.query('SELECT b')).toBe('T D(b) C(SELECT 1) Z(I)');
  });
});
