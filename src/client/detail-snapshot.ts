/**
 * Every connection, user and host name as plain data of one moment, for people who ask the console. It costs time in
 * proportion to clients, which is why it is no part of the snapshot that metrics take. No secret has a place in it.
 *
 * With several worker processes the lists of each are strung together.
 */
import type { Environment } from '../base/environment.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import type { Config } from '../config/config.ts';
import type { PoolMode } from '../config/settings.ts';
import type { Wire } from '../net/wire.ts';
import type { Pool } from '../pool/pool.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { UNKNOWN_VALUE } from '../server/server-parameters.ts';
import type { ServerState } from '../server/server-state.ts';
import type { Client } from './client.ts';
import type { ClientRegistry } from './client-registry.ts';
import type { ClientState } from './client-state.ts';
import type { ConnectionIds } from './connection-ids.ts';

export interface DetailSnapshot {
  readonly clients: readonly ClientConnectionSnapshot[];
  readonly servers: readonly ServerConnectionSnapshot[];
  readonly users: readonly UserSnapshot[];
  readonly hosts: readonly HostSnapshot[];
}

interface ConnectionSnapshot {
  /** The name that clients use. */
  readonly database: string;
  readonly user: string;
  readonly replication: 'none' | 'logical' | 'physical';
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly connectedAtEpochMs: number;
  /** When it last asked for something, as far as that is known; else when it connected. */
  readonly requestedAtEpochMs: number;
  readonly id: number;
  /** The id of the connection at the other side of the pooler; null without one. */
  readonly linkId: number | null;
  readonly security: Pick<TransportSecurity, 'version' | 'cipher'> | null;
  readonly applicationName: string;
  readonly preparedStatements: number;
  /** Bytes that were sent and have not left. */
  readonly unsentBytes: number;
  /** Bytes that came and have not been used. */
  readonly keptBytes: number;
}

export interface ClientConnectionSnapshot extends ConnectionSnapshot {
  readonly state: ClientState;
  /** For how long it has waited for a server; 0 if it does not wait. */
  readonly waitedMs: number;
}

export interface ServerConnectionSnapshot extends ConnectionSnapshot {
  readonly state: ServerState;
  /** It is closed as soon as nobody uses it. */
  readonly closesWhenFree: boolean;
  /** Process id of the backend; 0 if the server did not say. */
  readonly backendPid: number;
}

interface UserSnapshot {
  readonly name: string;
  /** Null where it is the one of the database, or of all. */
  readonly poolSize: number | null;
  readonly reservePoolSize: number | null;
  readonly poolMode: PoolMode | null;
  /** 0 is no limit, here and below. */
  readonly maxConnections: number;
  readonly connections: number;
  readonly maxClientConnections: number;
  readonly clientConnections: number;
}

interface HostSnapshot {
  readonly name: string;
  /** For how long the addresses hold; 0 if they have to be asked for again. */
  readonly ttlMs: number;
  /** None if there is no such name. */
  readonly addresses: readonly string[];
}

export interface DetailSources {
  readonly environment: Pick<Environment, 'now' | 'epochMs'>;
  readonly config: Config;
  readonly registry: ClientRegistry;
  readonly pools: Iterable<Pool>;
  readonly budget: { inUse(scopeKey: string): number };
  readonly ids: ConnectionIds;
  /** Whose secrets are known. */
  readonly userNames: Iterable<string>;
  readonly hosts: readonly HostSnapshot[];
}

export function snapshotDetails(sources: DetailSources): DetailSnapshot {
  const { registry, pools, hosts } = sources;
  const kinds = new Map([...registry.clients].map(({ server, details }) => [server, details.replication]));
  const servers = [...pools].flatMap((pool) =>
    [...pool.servers].map((server) => ({
      ...snapshotServer(server, pool, sources),
      replication: kinds.get(server) ?? ('none' as const),
    })),
  );
  return {
    clients: [...registry.clients].map((client) => snapshotClient(client, sources)),
    servers,
    users: snapshotUsers(sources),
    hosts,
  };
}

function snapshotClient(client: Client, sources: DetailSources): ClientConnectionSnapshot {
  const { environment, ids } = sources;
  const { identity, wire, connectedAtMs } = client.options;
  const { replication, applicationName, preparedStatements, waitingSinceMs } = client.details;
  const { server } = client;
  const times = server?.times;
  const askedAtMs = waitingSinceMs || times?.busySinceMs || times?.transactionSinceMs || connectedAtMs;
  return {
    ...identity,
    ...ends(wire),
    replication,
    applicationName,
    preparedStatements,
    state: client.state,
    waitedMs: waitingSinceMs === 0 ? 0 : environment.now() - waitingSinceMs,
    connectedAtEpochMs: epochOf(connectedAtMs, environment),
    requestedAtEpochMs: epochOf(askedAtMs, environment),
    id: ids.of(client),
    linkId: server === null ? null : ids.of(server),
  };
}

function snapshotServer(
  server: ServerConnection,
  pool: Pool,
  sources: DetailSources,
): Omit<ServerConnectionSnapshot, 'replication'> {
  const { environment, ids } = sources;
  const { times, address, holder, parameters } = server;
  const applicationName = parameters.values[pool.parameterTable.find('application_name')] ?? '';
  return {
    database: pool.databaseName,
    user: pool.userName,
    ...ends(server.wire),
    // Known from the start, which the socket's is not.
    address: address.host,
    port: address.port,
    applicationName: applicationName === UNKNOWN_VALUE ? '' : applicationName,
    preparedStatements: server.prepared.size,
    state: server.state,
    closesWhenFree: server.closeWhenFree !== null,
    backendPid: server.backendPid,
    connectedAtEpochMs: epochOf(times.connectedAtMs, environment),
    requestedAtEpochMs: epochOf(times.busySinceMs || times.stateSinceMs, environment),
    id: ids.of(server),
    linkId: holder === null ? null : ids.of(holder),
  };
}

function ends(wire: Wire) {
  const { remoteAddress: address, remotePort: port, localAddress, localPort, security, unsentBytes, keptBytes } = wire;
  return { address, port, localAddress, localPort, security, unsentBytes, keptBytes };
}

function epochOf(monotonicMs: number, environment: DetailSources['environment']): number {
  return environment.epochMs() - (environment.now() - monotonicMs);
}

/** Who stands in the configuration, whose secret is known, and who is there. */
function snapshotUsers({ config, registry, budget, userNames }: DetailSources): UserSnapshot[] {
  const clients = new Map<string, number>();
  for (const { options } of registry.clients) {
    const { user } = options.identity;
    clients.set(user, (clients.get(user) ?? 0) + 1);
  }
  const { maxUserConnections, maxUserClientConnections } = config.settings;
  return [...new Set([...userNames, ...config.users.keys(), ...clients.keys()])].sort().map((name) => {
    const entry = config.users.get(name);
    return {
      name,
      poolSize: entry?.poolSize ?? null,
      reservePoolSize: entry?.reservePoolSize ?? null,
      poolMode: entry?.poolMode ?? null,
      maxConnections: entry?.maxUserConnections ?? maxUserConnections,
      connections: budget.inUse(`user ${name}`),
      maxClientConnections: entry?.maxUserClientConnections ?? maxUserClientConnections,
      clientConnections: clients.get(name) ?? 0,
    };
  });
}
