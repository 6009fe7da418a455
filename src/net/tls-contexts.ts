/**
 * The TLS of this process: the contexts made from the settings and their files, made anew when somebody says so, and how
 * connections to both sides are secured with them. New handshakes use the new ones, connections that stand keep theirs.
 */
import { constants } from 'node:crypto';
import { isIP } from 'node:net';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls';
import type { Transport, TransportHandler } from '../base/transport.ts';
import type { TransportSecurity } from '../base/transport-security.ts';
import { isUnixFolder } from '../base/unix-path.ts';
import type { Settings, SslMode } from '../config/settings.ts';
import { certificateNames, identityOf } from './certificate-names.ts';
import type { ClientSecurity } from './client-security.ts';
import { isForHost } from './server-name.ts';
import type { ServerSecurity, TlsAttempt, TlsPlan } from './server-security.ts';
import { TlsError } from './tls-error.ts';
import { forgetOpensslErrors, type KeyPair, problem, readCertificates, readKeyPair } from './tls-files.ts';
import { cipherOptions } from './tls-options.ts';
import { TlsTransport, takeSocket } from './tls-transport.ts';

/** The name of the protocol that direct TLS must be for. */
const ALPN = 'postgresql';

/** Clients are known that wait for ever behind a larger record. */
const CLIENT_RECORD_BYTES = 8192;

interface ClientSide {
  readonly mode: SslMode;
  readonly context: SecureContext;
  readonly certificate: Buffer;
  readonly asksForCertificate: boolean;
}

interface ServerSide {
  readonly mode: SslMode;
  readonly context: SecureContext;
  readonly isDirect: boolean;
}

interface Sides {
  /** Null: TLS is off. */
  readonly clients: ClientSide | null;
  readonly servers: ServerSide | null;
}

/** What Node does not declare: OpenSSL's verdict on the peer's certificate, null for a good one (or none). */
interface VerifyingSocket {
  readonly ssl?: { readonly verifyError?: () => Error | null | undefined };
}

const VERIFYING: ReadonlySet<SslMode> = new Set(['verify-ca', 'verify-full']);

export class TlsContexts implements ClientSecurity, ServerSecurity {
  #sides: Sides;

  /** Throws a ConfigError if a file cannot be used. */
  constructor(settings: Settings) {
    this.#sides = makeSides(settings);
  }

  /**
   * Reads all files again, synchronously. Throws a ConfigError if one cannot be used, and all is as it was; else returns
   * what puts them into force.
   */
  prepare(settings: Settings): () => void {
    const sides = makeSides(settings);
    return () => {
      this.#sides = sides;
    };
  }

  // ClientSecurity

  get isOffered(): boolean {
    return this.#sides.clients !== null;
  }

  get isRequired(): boolean {
    const mode = this.#sides.clients?.mode;
    return mode === 'require' || this.needsCertificate;
  }

  get needsCertificate(): boolean {
    const mode = this.#sides.clients?.mode;
    return mode !== undefined && VERIFYING.has(mode);
  }

  accept(before: Transport, handler: TransportHandler, first: Buffer | null): Transport {
    const side = this.#sides.clients;
    if (side === null) throw new Error('TLS was not offered');
    const plain = takeSocket(before);
    // It closes, and says so itself.
    if (plain === null) return before;
    if (first !== null) plain.socket.unshift(first);
    const options: TLSSocketOptions & { readonly highWaterMark: number } = {
      isServer: true,
      secureContext: side.context,
      requestCert: side.asksForCertificate,
      // Who shows none, or a bad one, can be told so: the handshake lets everybody through, and `examine` looks.
      rejectUnauthorized: false,
      ALPNProtocols: [ALPN],
      highWaterMark: 1,
    };
    const socket = new TLSSocket(plain.socket, options);
    socket.setMaxSendFragment(CLIENT_RECORD_BYTES);
    const examine = (): TransportSecurity | TlsError => {
      if (first !== null && socket.alpnProtocol !== ALPN) return new TlsError('direct TLS without the ALPN postgresql');
      const isVerified = side.asksForCertificate && isPeerVerified(socket);
      return securityOf(socket, side.certificate, isVerified ? peerCertificate(socket) : null);
    };
    return new TlsTransport(before, { plain, socket, secureEvent: 'secure', examine }, handler);
  }

  // ServerSecurity

  plan(hostName: string, attempt: TlsAttempt): TlsPlan | null {
    const side = this.#sides.servers;
    // As in libpq, not on a Unix socket.
    if (side === null || isUnixFolder(hostName)) return null;
    const { mode, isDirect } = side;
    if (mode === (attempt === 'first' ? 'allow' : 'prefer')) return null;
    return {
      isRequired: mode !== 'prefer',
      isDirect,
      connect: (before, handler) => connectTo(hostName, side, before, handler),
    };
  }
}

function connectTo(hostName: string, side: ServerSide, before: Transport, handler: TransportHandler): Transport {
  const plain = takeSocket(before);
  // It closes, and says so itself.
  if (plain === null) return before;
  const verifies = VERIFYING.has(side.mode);
  const name = hostName.replace(/\.$/, '');
  const options: ConnectionOptions & { readonly highWaterMark: number } = {
    socket: plain.socket,
    secureContext: side.context,
    ...(isIP(name) === 0 ? { servername: name } : {}),
    rejectUnauthorized: verifies,
    // Not by Node's rules: `examine` knows libpq's.
    checkServerIdentity: () => undefined,
    ALPNProtocols: [ALPN],
    highWaterMark: 1,
  };
  const socket = connect(options);
  const examine = (): TransportSecurity | TlsError => {
    const certificate = peerCertificate(socket);
    if (socket.alpnProtocol !== ALPN && (side.isDirect || socket.alpnProtocol !== false)) {
      return new TlsError('the server does not answer direct TLS with the ALPN postgresql');
    }
    if (side.mode === 'verify-full' && (certificate === null || !isForHost(certificateNames(certificate), name))) {
      return new TlsError(`the server's certificate is not for host "${hostName}"`);
    }
    return securityOf(socket, certificate, verifies ? certificate : null);
  };
  return new TlsTransport(before, { plain, socket, secureEvent: 'secureConnect', examine }, handler);
}

/** DER. To be asked once: Node takes it out of the session of a dialed connection as it gives it away [tried]. */
function peerCertificate(socket: TLSSocket): Buffer | null {
  return socket.getPeerX509Certificate()?.raw ?? null;
}

/** Without Node's word for it nobody is verified. A peer without a certificate may be: nothing is wrong with none. */
function isPeerVerified(socket: TLSSocket): boolean {
  const { ssl } = socket as unknown as VerifyingSocket;
  const error = ssl?.verifyError === undefined ? new Error('unknown') : ssl.verifyError();
  return error === null || error === undefined;
}

/** `verified`: the peer's own, if somebody vouches for it. */
function securityOf(socket: TLSSocket, serverCertificate: Buffer | null, verified: Buffer | null): TransportSecurity {
  return Object.freeze({
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    serverCertificate,
    peer: verified === null ? null : identityOf(certificateNames(verified)),
  });
}

function makeSides(settings: Settings): Sides {
  return { clients: makeClientSide(settings), servers: makeServerSide(settings) };
}

function makeClientSide(settings: Settings): ClientSide | null {
  const { clientTlsSslmode: mode, clientTlsKeyFile, clientTlsCertFile, clientTlsCaFile } = settings;
  if (mode === 'disable') return null;
  if (clientTlsKeyFile === null || clientTlsCertFile === null) {
    throw problem(null, 'client_tls_sslmode needs client_tls_key_file and client_tls_cert_file');
  }
  const pair = readKeyPair(clientTlsKeyFile, clientTlsCertFile);
  const curve = settings.clientTlsEcdhcurve;
  const noEcdhe = curve === 'none' ? ':!kECDHE' : '';
  const noDhe = settings.clientTlsDheparams === 'none' ? ':!kDHE' : '';
  const options = cipherOptions(
    {
      protocols: settings.clientTlsProtocols,
      ciphers: settings.clientTlsCiphers,
      tls13Ciphers: settings.clientTls13Ciphers,
    },
    `${noEcdhe}${noDhe}`,
  );
  const context = makeContext('client_tls', pair, clientTlsCaFile, {
    ...options,
    secureOptions: (options.secureOptions ?? 0) | constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
    sessionIdContext: 'tsbouncer',
    ecdhCurve: curve === 'none' ? 'auto' : curve,
    ...(noDhe === '' ? { dhparam: 'auto' } : {}),
  });
  return { mode, context, certificate: pair.certificate, asksForCertificate: clientTlsCaFile !== null };
}

function makeServerSide(settings: Settings): ServerSide | null {
  const { serverTlsSslmode: mode, serverTlsKeyFile, serverTlsCertFile, serverTlsCaFile } = settings;
  if (mode === 'disable') return null;
  const pair =
    serverTlsKeyFile === null || serverTlsCertFile === null ? null : readKeyPair(serverTlsKeyFile, serverTlsCertFile);
  const options = cipherOptions({
    protocols: settings.serverTlsProtocols,
    ciphers: settings.serverTlsCiphers,
    tls13Ciphers: settings.serverTls13Ciphers,
  });
  const context = makeContext('server_tls', pair, serverTlsCaFile, options);
  return { mode, context, isDirect: settings.serverTlsSslnegotiation === 'direct' };
}

function makeContext(
  prefix: 'client_tls' | 'server_tls',
  pair: KeyPair | null,
  caFile: string | null,
  options: SecureContextOptions,
): SecureContext {
  const ca = caFile === null ? {} : { ca: readCertificates(caFile) };
  try {
    return createSecureContext({ ...options, ...ca, ...(pair === null ? {} : { key: pair.key, cert: pair.cert }) });
  } catch (error) {
    forgetOpensslErrors();
    const { reason, message } = error as Error & { readonly reason?: string };
    throw problem(null, `${prefix}_… cannot be used: ${reason ?? message}`);
  }
}
