/**
 * Reads resolv.conf(5) as glibc does: name servers, search list, ndots, timeout, attempts. Text in, frozen value out;
 * it opens no file, asks nobody, and knows neither the host's own domain nor `LOCALDOMAIN` and `RES_OPTIONS`.
 *
 * Options that only matter to a C library (`edns0`, `use-vc`, `trust-ad` …) are passed over in silence, as there.
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';

export interface ResolvConf {
  /** `address` or `address:port` (`[address]:port` for IPv6); never empty. */
  readonly nameservers: readonly string[];
  /** Domains without their trailing dot; the root is the empty string. */
  readonly search: readonly string[];
  /** A name with at least this many dots is tried as it is before the search list, one with fewer after it. */
  readonly ndots: number;
  /** How long one name server has for one question. */
  readonly timeoutMs: number;
  /** How many rounds over all name servers one question gets. */
  readonly attempts: number;
}

// glibc's MAXNS, RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY: more is cut off there, and so here.
const MAX_NAMESERVERS = 3;
const MAX_NDOTS = 15;
const MAX_TIMEOUT_SECONDS = 30;
const MAX_ATTEMPTS = 5;

const MAX_NAME_LENGTH = 253; // RFC 1035 §3.1: 255 octets on the wire

/** An empty text (a missing file) gives what glibc does without one: the name server on this host. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let search: string[] = [];
  const options = { ndots: 1, timeout: 5, attempts: 2 };

  for (const line of text.split('\n')) {
    const [keyword, ...values] = words(line);
    const [first] = values;
    if (first === undefined) continue;
    if (keyword === 'nameserver') {
      if (nameservers.length < MAX_NAMESERVERS && isNameserver(first)) nameservers.push(first);
    } else if (keyword === 'search') search = values.map(domainOf);
    else if (keyword === 'domain') search = [domainOf(first)];
    else if (keyword === 'options') for (const option of values) applyOption(option, options);
  }

  return Object.freeze({
    nameservers: Object.freeze(nameservers.length > 0 ? nameservers : ['127.0.0.1']),
    search: Object.freeze(search),
    ndots: Math.min(options.ndots, MAX_NDOTS),
    timeoutMs: Math.min(Math.max(options.timeout, 1), MAX_TIMEOUT_SECONDS) * 1000,
    attempts: Math.min(Math.max(options.attempts, 1), MAX_ATTEMPTS),
  });
}

/**
 * The full names under which `name` is asked for, in libc's order. A trailing dot makes it absolute. A name that the
 * search list makes too long for DNS is left out: no server could have it.
 */
export function searchCandidates(name: string, conf: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const dots = name.split('.').length - 1;
  const searched = conf.search.map((domain) => (domain === '' ? name : `${name}.${domain}`));
  const candidates = dots >= conf.ndots ? [name, ...searched] : [...searched, name];
  return [...new Set(candidates)].filter((candidate) => candidate.length <= MAX_NAME_LENGTH);
}

function words(line: string): string[] {
  const all = line.trim().split(/\s+/);
  const comment = all.findIndex((word) => word.startsWith('#') || word.startsWith(';'));
  return comment === -1 ? all : all.slice(0, comment);
}

function domainOf(word: string): string {
  return word.replace(/\.$/, '').toLowerCase();
}

function applyOption(option: string, options: { ndots: number; timeout: number; attempts: number }): void {
  const [, name, digits] = /^(ndots|timeout|attempts):(\d{1,9})$/.exec(option) ?? [];
  if (name === 'ndots' || name === 'timeout' || name === 'attempts') options[name] = Number(digits);
}

/** A port is c-ares' extension, which PgBouncer's `resolv_conf` files may use. */
function isNameserver(word: string): boolean {
  if (isIP(word) !== 0) return true;
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(word) ?? [];
  if (bracketed === undefined ? !isIPv4(plain ?? '') : !isIPv6(bracketed)) return false;
  return Number(port) >= 1 && Number(port) <= 65_535;
}
