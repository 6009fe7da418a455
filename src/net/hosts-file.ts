/** Reads hosts(5): from a text to name → addresses. It opens no file and knows nothing of DNS. */
import { isIP } from 'node:net';

/**
 * Names are in lower case; each has all addresses of all its lines, in the file's order and without repetitions (glibc
 * since 2.27 gives all of them, whatever `multi` says). Lines that do not begin with an address are passed over.
 */
export function parseHostsFile(text: string): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const comment = line.indexOf('#');
    const [address, ...names] = (comment === -1 ? line : line.slice(0, comment)).trim().split(/\s+/);
    if (address === undefined || isIP(address) === 0) continue;
    for (const written of names) {
      const name = written.toLowerCase();
      const addresses = hosts.get(name);
      if (addresses === undefined) hosts.set(name, [address]);
      else if (!addresses.includes(address)) addresses.push(address);
    }
  }
  return hosts;
}
