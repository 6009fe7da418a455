/**
 * Looks a name up as libc does: hosts file, `localhost`, then DNS along resolv.conf's search list, A and AAAA side by
 * side, one name server after the other. It knows no cache and no caller.
 *
 * The walk over servers and attempts is done here and not by c-ares: its timeouts stretch at will (300 ms became
 * 600, four tries 4.2 s), and it would not tell a dead server from one that refuses.
 */
import { isIPv4 } from 'node:net';
import { type DnsAnswer, DnsError, type Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import { CachedFile, FILE_MAX_AGE_MS } from './cached-file.ts';
import { parseHostsFile } from './hosts-file.ts';
import { asDnsError, ipv4First, type NameAnswer, type NameSource } from './name-source.ts';
import { parseResolvConf, type ResolvConf, searchCandidates } from './resolv-conf.ts';

type RecordType = 'A' | 'AAAA';

interface Unreachable {
  readonly error: DnsError;
  /** No server said anything at all within its time. */
  readonly silent: boolean;
}

/** Records, an empty list when there are none, or why nobody said. */
type Reply = readonly DnsAnswer[] | Unreachable;

/** The answer to one candidate; null when it does not exist. */
type Found = NameAnswer | Unreachable | null;

export class DnsLookup implements NameSource {
  readonly #environment: Environment;
  readonly #hosts: CachedFile<ReadonlyMap<string, readonly string[]>>;
  readonly #resolvConf: CachedFile<ResolvConf>;
  /** The name server that answered last is asked first: a dead one costs its timeout once, not with every name. */
  #preferredServer = '';
  #closed = false;

  constructor(environment: Environment, logger: Logger, hostsPath: string, resolvConfPath: string) {
    this.#environment = environment;
    this.#hosts = new CachedFile(environment, logger, hostsPath, parseHostsFile);
    this.#resolvConf = new CachedFile(environment, logger, resolvConfPath, parseResolvConf);
  }

  close(): void {
    this.#closed = true;
  }

  async find(name: string, former: NameAnswer | null): Promise<NameAnswer> {
    const listed = (await this.#hosts.read()).get(name);
    if (listed !== undefined) {
      return { addresses: ipv4First(listed), ttlMs: FILE_MAX_AGE_MS, foundAs: name, partial: false };
    }
    if (isLocalhost(name)) {
      return { addresses: ['127.0.0.1', '::1'], ttlMs: FILE_MAX_AGE_MS, foundAs: name, partial: false };
    }
    return this.#search(name, await this.#resolvConf.read(), former);
  }

  /**
   * The first candidate that exists wins. One that nobody can tell about is passed over, as in glibc and c-ares (a broken
   * search domain must not take every name with it), with two exceptions: servers that are silent will be so for the
   * next candidate too; and when it is the candidate that had the answer last time, going on could turn an outage into
   * the address of another host.
   */
  async #search(name: string, conf: ResolvConf, former: NameAnswer | null): Promise<NameAnswer> {
    let unreachable: Unreachable | null = null;
    for (const candidate of searchCandidates(name, conf)) {
      const formerHere = former?.foundAs === candidate ? former : null;
      const found = await this.#askBoth(candidate, conf, formerHere);
      if (found === null) continue;
      if ('addresses' in found) return found;
      unreachable ??= found;
      if (found.silent || formerHere !== null) break;
    }
    throw unreachable?.error ?? new DnsError('not-found', `no such host, or no address: ${name}`);
  }

  async #askBoth(candidate: string, conf: ResolvConf, former: NameAnswer | null): Promise<Found> {
    const [ipv4, ipv6] = await Promise.all([this.#ask(candidate, 'A', conf), this.#ask(candidate, 'AAAA', conf)]);
    if ('error' in ipv4 && 'error' in ipv6) return { error: ipv4.error, silent: ipv4.silent && ipv6.silent };

    const records = ['error' in ipv4 ? [] : ipv4, 'error' in ipv6 ? [] : ipv6].flat();
    const partial = 'error' in ipv4 || 'error' in ipv6;
    if (records.length === 0) {
      if ('error' in ipv4) return { error: ipv4.error, silent: false };
      if ('error' in ipv6) return { error: ipv6.error, silent: false };
      return null;
    }
    // A family that cannot be asked now keeps its former addresses, or each lost packet would look like a move.
    const kept = former?.addresses.filter((address) => 'error' in (isIPv4(address) ? ipv4 : ipv6)) ?? [];
    return {
      addresses: ipv4First([...records.map(({ address }) => address), ...kept]),
      ttlMs: Math.min(...records.map(({ ttlSeconds }) => ttlSeconds)) * 1000,
      foundAs: candidate,
      partial,
    };
  }

  /** One question, to each server in turn, until one of them has an opinion. */
  async #ask(name: string, type: RecordType, conf: ResolvConf): Promise<Reply> {
    let error = new DnsError('unreachable', 'the resolver is closed');
    let silent = true;
    for (let attempt = 0; attempt < conf.attempts; attempt++) {
      for (const server of this.#serversInOrder(conf)) {
        if (this.#closed) return { error, silent };
        const askedAt = this.#environment.now();
        try {
          const records = await this.#environment.queryDns(name, type, conf.timeoutMs, [server]);
          this.#preferredServer = server;
          return records;
        } catch (caught) {
          error = asDnsError(caught);
          if (error.kind === 'not-found') {
            this.#preferredServer = server;
            return [];
          }
          // Timers may be a little early, so nearly all of the time counts as all of it.
          if (this.#environment.now() - askedAt < conf.timeoutMs * 0.9) silent = false;
        }
      }
    }
    return { error, silent };
  }

  #serversInOrder(conf: ResolvConf): readonly string[] {
    const first = conf.nameservers.indexOf(this.#preferredServer);
    if (first <= 0) return conf.nameservers;
    return [...conf.nameservers.slice(first), ...conf.nameservers.slice(0, first)];
  }
}

/** RFC 6761 §6.3: these are this host, whatever a name server says. */
function isLocalhost(name: string): boolean {
  return /^(?:.*\.)?localhost\.?$/.test(name);
}
