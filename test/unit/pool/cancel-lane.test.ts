/** The lane of cancels, for servers that are really there and that nobody owns. */
import { describe, expect, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { CancelLane } from '../../../src/pool/cancel-lane.ts';
import { ParameterTable } from '../../../src/server/parameter-table.ts';
import { ServerConnection } from '../../../src/server/server-connection.ts';
import type { ServerOwner } from '../../../src/server/server-holder.ts';
import { StartupSet } from '../../../src/server/startup-set.ts';
import { StatementRegistry } from '../../../src/server/statement-registry.ts';
import { TrafficCounters } from '../../../src/server/traffic-counters.ts';
import { ScriptedServer } from '../../support/scripted-server.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

function setUp(limit: number) {
  const environment = new VirtualEnvironment();
  const postgres = new ScriptedServer(environment, { host: '10.0.0.1', port: 5432 });
  postgres.cancelling = 'held';
  const keys = new DerivedKeys(environment);
  /** A server that is logged in. */
  const connect = (): ServerConnection => {
    const server = new ServerConnection({
      environment,
      address: { host: '10.0.0.1', port: 5432 },
      hostName: '10.0.0.1',
      credentials: {
        user: 'app',
        database: 'app',
        secret: () => null,
        requireAuth: [],
        channelBinding: 'prefer',
        parameters: [],
      },
      startup: StartupSet.NONE,
      keys,
      lease: { release: () => {} },
      owner,
      protocolMinor: 2,
      tls: null,
      parameterTable: new ParameterTable(),
      maxMessageBytes: 1_000_000,
      unguessable: 'x',
      statements: new StatementRegistry(),
    });
    environment.run();
    return server;
  };
  return { environment, postgres, connect, lane: new CancelLane(environment, limit) };
}

const owner: ServerOwner = {
  traffic: new TrafficCounters(),
  onServerLoggedIn: (server) => server.become('idle'),
  onServerFailed: () => {},
  onServerFree: () => {},
  onServerNeedsCancel: () => {},
  onServerMoved: () => {},
  onServerClosed: () => {},
  onCancelsEnded: () => {},
};

const over = (): void => {};

describe('the lane', () => {
  test('sends so many at a time, and the next when one has closed', () => {
    const { environment, postgres, connect, lane } = setUp(2);
    const servers = Array.from({ length: 5 }, () => connect());
    for (const server of servers) lane.start(server, () => true, over);
    environment.run();
    expect([postgres.cancels.length, lane.active, lane.waiting]).toEqual([2, 2, 3]);
    expect(servers.map(({ cancelsInFlight }) => cancelsInFlight)).toEqual([1, 1, 0, 0, 0]);
    postgres.cancels[0]!.close();
    environment.run();
    expect([postgres.cancels.length, lane.active, lane.waiting]).toEqual([3, 2, 2]);
    expect(servers.map(({ cancelsInFlight }) => cancelsInFlight)).toEqual([0, 1, 1, 0, 0]);
  });

  test('drops those that nobody wants any more: in the queue, and on the way', () => {
    const { environment, postgres, connect, lane } = setUp(1);
    let wanted = true;
    const [first, second, third] = [connect(), connect(), connect()];
    lane.start(first, () => true, over);
    lane.start(second, () => wanted, over);
    environment.run();
    wanted = false;
    postgres.cancels[0]!.close();
    environment.run();
    expect([postgres.cancels.length, lane.active, lane.waiting]).toEqual([1, 0, 0]);
    // Wanted when it set out, not when it arrived.
    let asked = 0;
    lane.start(third, () => ++asked === 1, over);
    environment.run();
    expect([postgres.cancels.length, lane.active, third.cancelsInFlight]).toEqual([1, 0, 0]);
    expect(third.closeWhenFree).toBeNull();
  });

  test('one that was sent and is given up condemns its server', () => {
    const { environment, connect, lane } = setUp(1);
    const server = connect();
    lane.start(server, () => true, over);
    environment.run();
    lane.checkDeadlines(environment.now() + 10_000, 10_000);
    environment.run();
    expect([server.closeWhenFree, server.cancelsInFlight, lane.active]).toEqual(['cancel_uncertain', 0, 0]);
  });

  test('one that was never sent does not', () => {
    const { environment, postgres, connect, lane } = setUp(1);
    const server = connect();
    postgres.accepting = 'hang';
    lane.start(server, () => true, over);
    environment.run();
    lane.checkDeadlines(environment.now() + 10_000, 10_000);
    environment.run();
    expect([server.closeWhenFree, server.cancelsInFlight, lane.active]).toEqual([null, 0, 0]);
  });

  test('0 is no deadline', () => {
    const { environment, connect, lane } = setUp(1);
    lane.start(connect(), () => true, over);
    lane.start(connect(), () => true, over);
    environment.run();
    lane.checkDeadlines(environment.now() + 1_000_000, 0);
    expect([lane.active, lane.waiting]).toEqual([1, 1]);
  });

  test('an unlimited pool has a limit here all the same, and so has the queue', () => {
    const { environment, connect, lane } = setUp(0);
    for (let i = 0; i < 300; i++) lane.start(connect(), () => true, over);
    environment.run();
    expect(lane.active).toBe(20);
    expect(lane.waiting).toBe(200);
  });

  test('one server takes one place in the queue, for what was asked last', () => {
    const { environment, postgres, connect, lane } = setUp(1);
    const [first, second, third] = [connect(), connect(), connect()];
    lane.start(first, () => true, over);
    lane.start(second, () => false, over);
    for (let i = 0; i < 1000; i++) lane.start(second, () => true, over);
    lane.start(third, () => true, over);
    environment.run();
    expect(lane.waiting).toBe(2);
    for (let i = 0; i < 2; i++) {
      postgres.cancels[i]!.close();
      environment.run();
    }
    expect(postgres.cancels.map(({ pid }) => pid)).toEqual([first, second, third].map(({ backendPid }) => backendPid));
  });

  test('a server without a key is left alone', () => {
    const { environment, connect, lane, postgres } = setUp(1);
    const server = connect();
    server.cancelKey = null;
    lane.start(server, () => true, over);
    environment.run();
    expect([lane.active, postgres.streams.size]).toEqual([0, 1]);
  });

  test('tells when each is over: closed, not wanted, replaced by one for a later query, out of bounds, given up', () => {
    const { environment, postgres, connect, lane } = setUp(1);
    const servers = Array.from({ length: 12 }, () => connect());
    const ended: string[] = [];
    const start = (server: ServerConnection, name: string, wanted = true): void =>
      lane.start(
        server,
        () => wanted,
        () => ended.push(name),
      );
    start(servers[0]!, 'under way');
    start(servers[1]!, 'unwanted', false);
    start(servers[2]!, 'earlier query');
    start(servers[3]!, 'asked once');
    start(servers[3]!, 'asked twice');
    environment.run();
    expect(ended).toEqual([]);
    servers[2]!.readyCount++;
    start(servers[2]!, 'later query');
    expect(ended.splice(0)).toEqual(['earlier query']);
    for (let i = 4; i < 11; i++) start(servers[i]!, `many ${i}`);
    start(servers[11]!, 'too many');
    expect(ended.splice(0)).toEqual(['too many']);
    postgres.cancels[0]!.close();
    environment.run();
    expect(ended.splice(0)).toEqual(['under way', 'unwanted']);
    lane.checkDeadlines(environment.now() + 10_000, 10_000);
    environment.run();
    const rest = Array.from({ length: 7 }, (_, i) => `many ${i + 4}`);
    expect(new Set(ended)).toEqual(new Set(['asked once', 'asked twice', 'later query', ...rest]));
    expect(ended).toHaveLength(10);
  });
});
