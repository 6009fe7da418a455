/** What the resolver's cache needs from whoever really looks a name up. It knows neither caching nor callers. */
import { isIPv4 } from 'node:net';
import { DnsError } from '../base/environment.ts';

export interface NameAnswer {
  /** Literal addresses, at least one, without repetitions, in the order in which they should be tried. */
  readonly addresses: readonly string[];
  /** For how long the answer holds; Infinity where its source does not say. */
  readonly ttlMs: number;
  /** The full name that had the answer: with a search list not always the name that was asked for. */
  readonly foundAs: string;
  /** One address family could not be asked; its addresses are the former ones, or missing. */
  readonly partial: boolean;
}

export interface NameSource {
  /**
   * One lookup, uncached. `former` is the last good answer for this name, or null: it decides what a half answer means.
   * Rejects with a DnsError only.
   */
  find(name: string, former: NameAnswer | null): Promise<NameAnswer>;
  /** Begins nothing new; lookups under way end as unreachable, or never. */
  close(): void;
}

/**
 * IPv4 before IPv6, without repetitions. libc would sort by reachability (RFC 6724), which needs sockets and routes;
 * PostgreSQL commonly listens on both families, and a container often has an IPv6 address but no IPv6 route, so the
 * family that works nearly everywhere comes first. Within a family the order stays as DNS gave it: round robin over the
 * list is the caller's business.
 */
export function ipv4First(addresses: readonly string[]): readonly string[] {
  const distinct = [...new Set(addresses)];
  return [...distinct.filter((address) => isIPv4(address)), ...distinct.filter((address) => !isIPv4(address))];
}

export function asDnsError(error: unknown): DnsError {
  return error instanceof DnsError ? error : new DnsError('unreachable', String(error));
}
