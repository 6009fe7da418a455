/** What the tables of SHOW are made of: plain data, taken when it is asked for. It knows no table. */
import type { ClientConnectionSnapshot, DetailSnapshot } from '../client/detail-snapshot.ts';
import type { Config } from '../config/config.ts';
import type { PeerSnapshot } from '../pool/peers.ts';
import type { PoolerSnapshot } from '../pool/snapshot.ts';
import type { TrafficAverage } from './traffic-averages.ts';

/** The console's own connections. */
export interface ConsolesSnapshot {
  readonly clients: readonly ClientConnectionSnapshot[];
  /** Since the start. */
  readonly logins: number;
  readonly queries: number;
}

export interface ShowSource {
  snapshot(): PoolerSnapshot;
  details(): DetailSnapshot;
  config(): Config;
  consoles(): ConsolesSnapshot;
  peers(): readonly PeerSnapshot[];
  average(database: string): TrafficAverage;
  readonly pauseState: 'active' | 'paused' | 'suspended';
}
