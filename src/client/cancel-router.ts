/** Where a CancelRequest goes: to the client whose key it has, or to the peer that has issued the key. */
import type { CancelKeys } from './cancel-keys.ts';
import type { Client } from './client.ts';

/** The other poolers of the group; see `Peers.passOn`. */
export interface CancelPeers {
  passOn(key: Buffer, onOver: () => void): boolean;
}

export class CancelRouter {
  readonly #keys: CancelKeys<Pick<Client, 'cancel'>>;
  readonly #peers: CancelPeers;

  constructor(keys: CancelKeys<Pick<Client, 'cancel'>>, peers: CancelPeers) {
    this.#keys = keys;
    this.#peers = peers;
  }

  /** `onOver` is called once, when nothing of it can come any more: see `Client.cancel`. At once for a key that nobody has. */
  cancel(key: Buffer, onOver: () => void): void {
    const client = this.#keys.find(key);
    if (client !== null) client.cancel(onOver);
    else if (!this.#peers.passOn(key, onOver)) onOver();
  }
}
