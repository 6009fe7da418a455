/**
 * The clients' part of a snapshot, and the whole that it completes. The only place that walks all clients, once, and it
 * looks at nothing but who they are and where.
 */
import {
  type ClientIdentitySnapshot,
  type ClientsSnapshot,
  type PoolerSnapshot,
  type PoolSources,
  snapshotPools,
} from '../pool/snapshot.ts';
import type { Client } from './client.ts';
import type { ClientRegistry } from './client-registry.ts';

/** What neither pools nor clients know is passed in as it is to be shown. */
export interface SnapshotSources
  extends PoolSources,
    Pick<PoolerSnapshot, 'state' | 'version' | 'users' | 'dns' | 'process'> {
  readonly registry: ClientRegistry;
}

export function takeSnapshot(sources: SnapshotSources): PoolerSnapshot {
  const { state, version, users, dns, process, registry, config } = sources;
  const { maxClientConn, maxUserConnections } = config.settings;
  return {
    state,
    version,
    users,
    dns,
    process,
    limits: { maxClientConnections: maxClientConn, maxUserConnections },
    clients: snapshotClients(registry),
    ...snapshotPools(sources),
  };
}

function snapshotClients({ clients, logins, entering, sockets, refused, closed }: ClientRegistry): ClientsSnapshot {
  return {
    identities: countIdentities(clients),
    loggingIn: logins.size + entering.size,
    sockets,
    refused: [...refused].map(([sqlstate, count]) => ({ sqlstate, count })),
    closed: Object.fromEntries(closed),
  };
}

type Row = { -readonly [Field in keyof ClientIdentitySnapshot]: ClientIdentitySnapshot[Field] };

/** Nested maps: no separator is safe in names that may hold any character. */
function countIdentities(clients: Iterable<Client>): readonly ClientIdentitySnapshot[] {
  const rows: Row[] = [];
  const byDatabase = new Map<string, Map<string, Row>>();
  for (const client of clients) {
    const { database, user } = client.options.identity;
    let byUser = byDatabase.get(database);
    if (byUser === undefined) byDatabase.set(database, (byUser = new Map()));
    let row = byUser.get(user);
    if (row === undefined) {
      row = { database, user, idle: 0, waiting: 0, active: 0 };
      byUser.set(user, row);
      rows.push(row);
    }
    // A server that is being prepared for it is its own already.
    if (client.server !== null) row.active++;
    else if (client.state === 'waiting') row.waiting++;
    else row.idle++;
  }
  return rows;
}
