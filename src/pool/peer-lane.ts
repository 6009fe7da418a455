/**
 * The cancels that are passed on to one other pooler of the group: so many at a time, the others in line, each until the
 * peer has closed its connection. Whose they are, and what becomes of them there, it does not know.
 */
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import { CancelRequest } from '../server/cancel-request.ts';
import type { HostFinder } from './host-finder.ts';

export interface PeerLaneOptions {
  readonly environment: Environment;
  readonly finder: HostFinder;
  readonly security: ServerSecurity;
  readonly host: string;
}

interface Order {
  readonly key: Buffer;
  readonly sinceMs: number;
  /** Whom to tell when it is over. */
  readonly onOver: (() => void)[];
  /** Null while the peer's address is being looked up. */
  request: CancelRequest | null;
  /** What is left to be tried. */
  addresses: readonly SocketAddress[];
  /** It took too long: nothing more is tried. */
  isGivenUp: boolean;
  isOver: boolean;
}

const UNTRIED = { request: null, addresses: [], isGivenUp: false, isOver: false } as const;
const DEFAULT_LANE = 20;
/** How many may wait for each that is under way. */
const QUEUE_PER_SLOT = 10;

export class PeerLane {
  readonly #options: PeerLaneOptions;
  #limit = DEFAULT_LANE;
  readonly #underWay = new Set<Order>();
  readonly #queue: Order[] = [];
  #sent = 0;

  constructor(options: PeerLaneOptions, limit: number) {
    this.#options = options;
    this.configure(limit);
  }

  /** `limit`: how many may be under way; 0 stands for `DEFAULT_LANE`. */
  configure(limit: number): void {
    this.#limit = limit > 0 ? limit : DEFAULT_LANE;
    this.#advance();
  }

  /** Those whose request has been sent. */
  get active(): number {
    return this.#sent;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Those whose connection does not stand yet. */
  get connecting(): number {
    return this.#underWay.size - this.#sent;
  }

  /** `onOver` is called once: the peer has closed the connection, or was not reached, or there are too many, or it took too long. */
  send(key: Buffer, onOver: () => void): void {
    // One place for each key, or an impatient client would push everybody else out.
    const waiting = this.#queue.find((order) => order.key.equals(key));
    if (waiting !== undefined) {
      waiting.onOver.push(onOver);
    } else if (this.#queue.length >= this.#limit * QUEUE_PER_SLOT) {
      onOver();
    } else {
      const sinceMs = this.#options.environment.now();
      this.#queue.push({ key: Buffer.from(key), sinceMs, onOver: [onOver], ...UNTRIED });
      this.#advance();
    }
  }

  /** Called now and then: those that have waited, or been under way, for `timeoutMs` are given up; 0 is never. */
  checkDeadlines(nowMs: number, timeoutMs: number): void {
    if (timeoutMs <= 0) return;
    for (const order of [...this.#underWay, ...this.#queue])
      if (nowMs - order.sinceMs >= timeoutMs) this.#giveUp(order);
  }

  /** Gives everything up. */
  close(): void {
    for (const order of [...this.#queue, ...this.#underWay]) this.#giveUp(order);
  }

  #advance(): void {
    while (this.#underWay.size < this.#limit) {
      const order = this.#queue.shift();
      if (order === undefined) return;
      this.#underWay.add(order);
      this.#options.finder.addresses(this.#options.host, (result) => {
        if (order.isOver) return;
        order.addresses = 'reason' in result ? [] : result.addresses;
        this.#dial(order);
      });
    }
  }

  /** Tries the next address. */
  #dial(order: Order): void {
    const { environment, security, host } = this.#options;
    const [address, ...others] = order.addresses;
    if (address === undefined || order.isGivenUp) return this.#end(order);
    order.addresses = others;
    const target = { address, key: order.key, tls: security.plan(host, 'first') };
    order.request = new CancelRequest(environment, target, {
      isCancelWanted: () => true,
      onCancelSent: () => {
        this.#sent++;
      },
      onCancelClosed: (how) => {
        if (how === 'unsent') return this.#dial(order);
        this.#sent--;
        this.#end(order);
      },
    });
  }

  #giveUp(order: Order): void {
    order.isGivenUp = true;
    if (order.request !== null) return order.request.giveUp();
    const index = this.#queue.indexOf(order);
    if (index >= 0) this.#queue.splice(index, 1);
    this.#end(order);
  }

  #end(order: Order): void {
    if (order.isOver) return;
    order.isOver = true;
    this.#underWay.delete(order);
    for (const onOver of order.onOver) onOver();
    this.#advance();
  }
}
