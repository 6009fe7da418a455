/**
 * The other poolers of the group, to which clients come by the same address: a cancel whose key one of them has issued is
 * passed on to it, as PgBouncer's `[peers]` do, with one hop less to go. It knows no client.
 */
import type { Environment } from '../base/environment.ts';
import type { Config, PeerConfig } from '../config/config.ts';
import type { Resolver } from '../net/resolver.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import { routeOf, withOneHopLess } from '../protocol/cancel-key.ts';
import { HostFinder } from './host-finder.ts';
import { PeerLane } from './peer-lane.ts';

export interface PeersOptions {
  readonly environment: Environment;
  readonly resolver: Resolver;
  readonly security: ServerSecurity;
  readonly config: Config;
}

interface Peer {
  readonly config: PeerConfig;
  readonly poolSize: number;
  readonly lane: PeerLane;
}

/** What is shown of one. */
export interface PeerSnapshot {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly poolSize: number;
  readonly activeCancels: number;
  readonly waitingCancels: number;
  /** Connections to it that are being opened. */
  readonly connecting: number;
}

export class Peers {
  readonly #options: PeersOptions;
  #peers: ReadonlyMap<number, Peer> = new Map();
  #ownId = 0;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.configure(options.config);
  }

  /** What is under way to a peer that is gone, or is somewhere else now, is given up. */
  configure({ peers, settings }: Config): void {
    const before = this.#peers;
    this.#ownId = settings.peerId;
    this.#peers = new Map(
      [...peers.values()].map((config) => {
        const poolSize = config.poolSize ?? settings.defaultPoolSize;
        const known = before.get(config.id);
        const isSame = known?.config.host === config.host && known.config.port === config.port;
        if (known === undefined || !isSame)
          return [config.id, { config, poolSize, lane: this.#lane(config, poolSize) }];
        known.lane.configure(poolSize);
        return [config.id, { config, poolSize, lane: known.lane }];
      }),
    );
    for (const [id, { lane }] of before) if (this.#peers.get(id)?.lane !== lane) lane.close();
  }

  /**
   * Passes on a cancel. Returns whether it does; then `onOver` is called once, when it is over. It does not if the key
   * names no peer, or has no hop left: two poolers that hold each other for a third one would pass it on for ever.
   */
  passOn(key: Buffer, onOver: () => void): boolean {
    const route = routeOf(key);
    if (this.#ownId === 0 || route === null || route.hops === 0 || route.peerId === this.#ownId) return false;
    const peer = this.#peers.get(route.peerId);
    if (peer === undefined) return false;
    peer.lane.send(withOneHopLess(key), onOver);
    return true;
  }

  /** Called now and then. See `PeerLane.checkDeadlines`. */
  checkDeadlines(nowMs: number, timeoutMs: number): void {
    for (const { lane } of this.#peers.values()) lane.checkDeadlines(nowMs, timeoutMs);
  }

  snapshot(): readonly PeerSnapshot[] {
    return [...this.#peers.values()].map(({ config: { id, host, port }, poolSize, lane }) => ({
      id,
      host,
      port,
      poolSize,
      activeCancels: lane.active,
      waitingCancels: lane.waiting,
      connecting: lane.connecting,
    }));
  }

  /** Gives up what is under way. */
  close(): void {
    for (const { lane } of this.#peers.values()) lane.close();
  }

  #lane({ host, port }: PeerConfig, limit: number): PeerLane {
    const { environment, resolver, security } = this.#options;
    const finder = new HostFinder(resolver, { hosts: [host], port, policy: 'round-robin' });
    return new PeerLane({ environment, finder, security, host }, limit);
  }
}
