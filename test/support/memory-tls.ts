/**
 * TLS as sessions see it, without any: a handshake in memory is one step, and what was a plain transport is taken for a
 * secured one. Real handshakes are the business of the tests with sockets.
 */
import type { Transport, TransportHandler } from '../../src/base/transport.ts';
import type { TransportSecurity } from '../../src/base/transport-security.ts';
import type { ClientSecurity } from '../../src/net/client-security.ts';
import type { ServerSecurity } from '../../src/net/server-security.ts';
import { TlsError } from '../../src/net/tls-error.ts';
import type { MemoryTransport } from './memory-transport.ts';
import type { VirtualEnvironment } from './virtual-environment.ts';

export const noClientTls: ClientSecurity = {
  isOffered: false,
  isRequired: false,
  needsCertificate: false,
  accept: () => {
    throw new Error('TLS was not offered');
  },
};

export const noServerTls: ServerSecurity = { plan: () => null };

/** What the other side sends in place of a ClientHello, or of the server's half of a handshake. */
export const HELLO = Buffer.from('\x16hello');

export interface MemoryTlsOptions {
  readonly isRequired?: boolean;
  readonly needsCertificate?: boolean;
  readonly security?: Partial<TransportSecurity>;
}

/** A client's handshake is the one message `HELLO`; what comes with it or instead of it fails. */
export function memoryClientTls(options: MemoryTlsOptions = {}): (environment: VirtualEnvironment) => ClientSecurity {
  const { isRequired = false, needsCertificate = false, security } = options;
  return (environment) => ({
    isOffered: true,
    isRequired,
    needsCertificate,
    accept: (plain, handler, first) => {
      if (first !== null) environment.post(() => finish(plain, first, 0, first.length));
      plain.handler = {
        ...deaf(handler),
        onTransportData: (buffer, start, end) => finish(plain, buffer, start, end),
      };
      function finish(transport: Transport, buffer: Buffer, start: number, end: number): void {
        if (buffer.subarray(start, end).equals(HELLO)) secured(transport, handler, security);
        else fail(transport, handler, 'TLS handshake failed: wrong version number');
      }
      return plain;
    },
  });
}

/** What an attempt is: without TLS, with it if the server wants, and only with it (asked for, or begun at once). */
type MemoryAttempt = 'plain' | 'optional' | 'required' | 'direct';

/** A server's half of a handshake is the one message `HELLO`, sent after ours; anything else fails. */
export function memoryServerTls(
  first: MemoryAttempt,
  second = first,
  security: Partial<TransportSecurity> = {},
): ServerSecurity & { readonly hosts: string[] } {
  const hosts: string[] = [];
  return {
    hosts,
    plan: (hostName, attempt) => {
      const kind = attempt === 'first' ? first : second;
      if (kind === 'plain') return null;
      return {
        isRequired: kind !== 'optional',
        isDirect: kind === 'direct',
        connect: (plain, handler) => {
          hosts.push(hostName);
          plain.write(HELLO);
          plain.handler = {
            ...deaf(handler),
            onTransportData: (buffer, start, end) => {
              if (buffer.subarray(start, end).equals(HELLO)) secured(plain, handler, security);
              else fail(plain, handler, 'TLS handshake failed: wrong version number');
            },
            onTransportEnd: () => fail(plain, handler, 'TLS handshake failed: the connection was closed'),
          };
          return plain;
        },
      };
    },
  };
}

function secured(transport: Transport, handler: TransportHandler, security: Partial<TransportSecurity> = {}): void {
  (transport as MemoryTransport).security = {
    version: 'TLSv1.3',
    cipher: 'TLS_AES_256_GCM_SHA384',
    serverCertificate: null,
    peer: null,
    ...security,
  };
  transport.handler = handler;
  handler.onTransportConnect();
}

function fail(transport: Transport, handler: TransportHandler, words: string): void {
  transport.handler = { ...deaf(handler), onTransportClose: () => handler.onTransportClose(new TlsError(words)) };
  transport.destroy();
}

/** Of the socket below, only its end is heard. */
function deaf(handler: TransportHandler): TransportHandler {
  return {
    onTransportConnect() {},
    onTransportData() {},
    onTransportDrain() {},
    onTransportEnd() {},
    onTransportClose: (error) => handler.onTransportClose(error),
  };
}
