/** What must be true of a pooler after each step, and when everybody has left. */
import type { Pool } from '../../src/pool/pool.ts';
import { SERVER_STATES } from '../../src/server/server-state.ts';
import type { SessionBench } from './session-fixture.ts';

/** Throws at the first thing that can never be. */
export function checkStep(bench: SessionBench): void {
  for (const pool of bench.router.pools) {
    checkLists(pool);
  }
  for (const { key, used, limit } of usesOf(bench)) {
    if (limit === 0) continue;
    const allowed = Math.max(limit, bench.overdrafts.get(key) ?? 0);
    if (used > allowed) fail(`${used} for ${key}, whose limit is ${limit}`);
    bench.overdrafts.set(key, Math.min(allowed, used));
  }
  for (const client of bench.registry.clients) {
    const { state, server } = client;
    const holds = server !== null && (server.holder as unknown) === client;
    const isItsOwn = holds && (server.state === 'linked' || server.state === 'dedicated');
    if (state === 'linked' && !isItsOwn) fail('a linked client does not hold its server');
    if (state === 'idle' && server !== null) fail('an idle client has a server');
    if (server !== null && !holds) fail('a client has a server that somebody else holds');
    const isQueued = 'list' in client && client.list !== null;
    if (state === 'waiting' && server === null && !isQueued) fail('a client waits where nobody looks');
    if (state === 'closed') fail('a closed client is still registered');
    const isHeldForNothing = state === 'linked' && client.options.wire.holding && server?.ledger.idle === true;
    if (isHeldForNothing) fail('a client is held, although its server owes nothing');
  }
}

function checkLists(pool: Pool): void {
  for (const state of SERVER_STATES) {
    for (const server of pool.servers.in(state)) {
      if (server.state !== state) fail(`a server that is ${server.state} is in the list of ${state}`);
      const needsHolder = state === 'linked' || state === 'dedicated';
      if (needsHolder && server.holder === null) fail(`a server that is ${state} has no holder`);
      if (state === 'idle' && server.holder !== null) fail('an idle server has a holder');
      if (state === 'idle' && !server.ledger.idle) fail('an idle server owes something');
      if (state === 'idle' && server.status !== 0x49) fail('an idle server is inside a transaction');
      if (state === 'idle' && server.cancelsInFlight > 0) fail('an idle server may be hit by a cancel');
    }
  }
  if (pool.waiting.size === 0 || pool.servers.idle.size === 0 || pool.servers.count('testing') > 0) return;
  const idle = new Set([...pool.servers.idle].map(({ startup }) => startup.key));
  for (const { startup } of pool.waiting) if (idle.has(startup.key)) fail('somebody waits although a server is idle');
}

interface Use {
  readonly key: string;
  readonly used: number;
  /** 0 is none. */
  readonly limit: number;
}

/** Everything that has a limit: scopes of the budget, and pools. */
export function* usesOf({ router, budget }: SessionBench): Generator<Use> {
  let place = 0;
  for (const pool of router.pools) {
    for (const { key, limit } of pool.scopes) yield { key, used: budget.inUse(key), limit };
    const { poolSize, reservePoolSize } = pool.settings;
    const limit = poolSize === 0 ? 0 : poolSize + reservePoolSize;
    yield { key: `pool ${place++} ${pool.databaseName}`, used: pool.servers.total, limit };
  }
}

function fail(what: string): never {
  throw new Error(`invariant: ${what}`);
}

/** What is left of clients and servers that have gone; `stopped`: servers should have gone too. */
export function baselineProblems(bench: SessionBench, phase?: 'stopped'): string[] {
  const { registry, router, log, environment, secrets } = bench;
  const problems = log.errors.map((line) => `logged as error: ${line}`);
  const expectZero = (what: string, count: number): void => {
    if (count !== 0) problems.push(`${count} ${what} left`);
  };
  expectZero('clients', registry.clients.size);
  expectZero('logins', registry.logins.size + registry.entering.size);
  expectZero('client sockets', registry.sockets);
  expectZero('open client transports', bench.accepted.filter((transport) => !transport.isClosed).length);
  for (const pool of router.pools) {
    expectZero('waiters', pool.waiting.size);
    expectZero('logins waiting for parameters', pool.learned.waiting.size);
    expectZero('cancels under way', pool.cancels.active);
    expectZero('cancels waiting', pool.cancels.waiting);
    expectZero('clients counted in the pool', pool.clients);
    expectZero('servers that are not idle', pool.servers.total - pool.servers.idle.size);
    if (phase === 'stopped') expectZero('servers', pool.servers.total);
  }
  if (phase === 'stopped') expectZero('lanes for auth_query in use', secrets.queries.isEmpty ? 0 : 1);
  problems.push(...leaseProblems(bench), ...transportProblems(bench));
  if (phase === 'stopped') problems.push(...environment.timers.map((where) => `a timer is left: ${where}`));
  return problems;
}

/** Throws for anything that is left, or that was closed without the test having announced it. */
export function expectBaseline(bench: SessionBench, unexpectedCloses: readonly string[], phase?: 'stopped'): void {
  const problems = [...unexpectedCloses.map((what) => `unexpected close: ${what}`), ...baselineProblems(bench, phase)];
  if (problems.length > 0) throw new Error(`after the test: ${problems.join('\n')}`);
}

/** Each lease belongs to a server. A pool that a reload has given other scopes has servers of those only, by then. */
function leaseProblems({ router, budget, secrets }: SessionBench): string[] {
  const servers = new Map<string, number>();
  for (const lane of secrets.queries.lanes) {
    for (const { key } of lane.scopes) servers.set(key, (servers.get(key) ?? 0) + lane.connectionCount);
  }
  for (const pool of router.pools) {
    for (const { key } of pool.scopes) servers.set(key, (servers.get(key) ?? 0) + pool.servers.total);
  }
  return [...servers]
    .filter(([key, count]) => budget.inUse(key) !== count)
    .map(([key, count]) => `${budget.inUse(key)} leases for ${key}, which has ${count} servers`);
}

function transportProblems({ router, servers, secrets }: SessionBench): string[] {
  const known = [...router.pools].flatMap((pool) => [...pool.servers].map(({ address }) => address));
  known.push(...secrets.queries.lanes.flatMap(({ addresses }) => addresses));
  return [...servers].flatMap(({ host, port, openTransports }) => {
    const counted = known.filter((address) => address.host === host && address.port === port).length;
    return openTransports.length === counted
      ? []
      : [`${openTransports.length} sockets to ${host} for ${counted} servers`];
  });
}
