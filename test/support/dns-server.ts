/**
 * A name server over UDP on 127.0.0.1 that answers from a table and misbehaves on request. It knows A, AAAA and CNAME,
 * no TCP, and no zones.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

type DnsRecordType = 'A' | 'AAAA' | 'CNAME';

interface DnsRecord {
  readonly type: DnsRecordType;
  /** An address, or the other name of a CNAME. */
  readonly value: string;
  readonly ttlSeconds?: number;
  /** Whose record it is; the name that was asked for unless said otherwise. */
  readonly owner?: string;
}

/** Records (those of the asked type and CNAMEs are sent), or an answer without any; `silent` sends nothing. */
type DnsReply = readonly DnsRecord[] | 'nxdomain' | 'servfail' | 'refused' | 'silent';

const TYPES: Record<DnsRecordType, number> = { A: 1, CNAME: 5, AAAA: 28 };
const RCODES = { nxdomain: 3, servfail: 2, refused: 5, silent: 0 };

export class DnsServer {
  /** By name in lower case; other names do not exist. May be changed at any time. */
  readonly table = new Map<string, DnsReply>();
  /** `name type`, in the order in which they came. */
  readonly questions: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (packet, from) => {
      const reply = this.#answer(packet);
      if (reply !== null) socket.send(reply, from.port, from.address);
    });
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new DnsServer(socket);
  }

  /** As `Environment.queryDns` and a resolv.conf of c-ares want it. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #answer(packet: Buffer): Buffer | null {
    const labels: string[] = [];
    let at = 12; // RFC 1035 §4.1.1: the header
    for (let length = packet.readUInt8(at); length !== 0; length = packet.readUInt8(at)) {
      labels.push(packet.toString('latin1', at + 1, at + 1 + length));
      at += length + 1;
    }
    const name = labels.join('.').toLowerCase();
    const type = packet.readUInt16BE(at + 1);
    const question = packet.subarray(12, at + 5);
    const typeName = Object.entries(TYPES).find(([, number]) => number === type)?.[0] ?? String(type);
    this.questions.push(`${name} ${typeName}`);

    const reply = this.table.get(name) ?? 'nxdomain';
    if (reply === 'silent') return null;
    const answers =
      typeof reply === 'string' ? [] : reply.filter((record) => record.type === 'CNAME' || TYPES[record.type] === type);
    const header = Buffer.alloc(12);
    header.writeUInt16BE(packet.readUInt16BE(0), 0);
    header.writeUInt16BE(0x8180 | (typeof reply === 'string' ? RCODES[reply] : 0), 2); // a response, recursion available
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    return Buffer.concat([header, question, ...answers.map((record) => encodeRecord(record, name))]);
  }
}

function encodeRecord(record: DnsRecord, asked: string): Buffer {
  const data = encodeData(record);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(TYPES[record.type], 0);
  fixed.writeUInt16BE(1, 2); // IN
  fixed.writeUInt32BE(record.ttlSeconds ?? 30, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodeName(record.owner ?? asked), fixed, data]);
}

function encodeData({ type, value }: DnsRecord): Buffer {
  if (type === 'CNAME') return encodeName(value);
  if (type === 'A') return Buffer.from(value.split('.').map(Number));
  const [head = '', tail] = value.split('::');
  const left = groupsOf(head);
  const right = groupsOf(tail ?? '');
  const zeros: string[] = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function groupsOf(text: string): string[] {
  return text.split(':').filter((group) => group !== '');
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label, 'latin1')]));
  return Buffer.concat([...labels, Buffer.alloc(1)]);
}
