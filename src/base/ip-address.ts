/** IP addresses as bytes, for rules and limits that go by network. It knows neither names nor sockets. */

/** An IPv4 address of a client that came by IPv6, as the kernel shows it. */
const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

/**
 * The 4 or 16 bytes of an address in its textual form (RFC 4291 §2.2), or null if it is none. A zone (`fe80::1%eth0`) is left
 * out; an IPv4 address within IPv6 is the IPv4 address.
 */
export function parseIpAddress(text: string): Buffer | null {
  const zone = text.indexOf('%');
  const address = zone === -1 ? text : text.slice(0, zone);
  if (zone !== -1 && !/^[-.:0-9a-z]+$/i.test(text.slice(zone + 1))) return null;
  if (!address.includes(':')) return zone === -1 ? parseIpv4(address) : null;
  const bytes = parseIpv6(address);
  return bytes?.subarray(0, 12).equals(MAPPED_PREFIX) === true ? bytes.subarray(12) : bytes;
}

function parseIpv4(text: string): Buffer | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = Buffer.alloc(4);
  for (const [index, part] of parts.entries()) {
    // No octal numbers, which some would read `010` as.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[index] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Buffer | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : Buffer.alloc(0);
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  // `::` stands for one group at least.
  if (halves.length === 2 ? missing < 2 : missing !== 0) return null;
  return Buffer.concat([head, Buffer.alloc(missing), tail]);
}

/** The bytes of groups between colons. The last group of an address may be an IPv4 address. */
function groupsOf(text: string, isEnd: boolean): Buffer | null {
  if (text === '') return Buffer.alloc(0);
  const groups = text.split(':');
  if (groups.length > 8) return null;
  const chunks: Buffer[] = [];
  for (const [index, group] of groups.entries()) {
    if (group.includes('.')) {
      const ipv4 = isEnd && index === groups.length - 1 ? parseIpv4(group) : null;
      if (ipv4 === null) return null;
      chunks.push(ipv4);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return null;
      const value = Number.parseInt(group, 16);
      chunks.push(Buffer.from([value >> 8, value & 0xff]));
    }
  }
  return Buffer.concat(chunks);
}
