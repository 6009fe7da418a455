/** A PostgreSQL with a certificate, its root, and the fixture's settings for TLS on both sides of a pooler. */

import { chmodSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { dirname } from 'node:path';
import { chooseUser } from '../../src/embedded-postgres-install.ts';
import { type Certificate, makeAuthority, makeCertificate, writeFiles } from './certificates.ts';
import { type ClusterOptions, type PostgresCluster, startCluster } from './postgres-cluster.ts';

export interface TlsCluster {
  readonly cluster: PostgresCluster;
  /** Signs everybody's certificates. */
  readonly root: Certificate;
  readonly rootFile: string;
  /** For a pooler whose clients and servers must use TLS. */
  readonly settings: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** The caller is to `close()` it. Plain connections are let in too, unless `hba` says otherwise. */
export async function startTlsCluster(
  options: ClusterOptions,
  make: (root: Certificate) => Certificate = (root) => makeCertificate({ issuer: root, ip: ['127.0.0.1'] }),
): Promise<TlsCluster> {
  const root = makeAuthority();
  const servers = make(root);
  const poolers = makeCertificate({ issuer: root, dns: ['localhost'], ip: ['127.0.0.1'] });
  const ends: (() => void)[] = [];
  const files = writeFiles(
    { key: servers.key, cert: servers.cert, root: root.cert, poolerKey: poolers.key, poolerCert: poolers.cert },
    (end) => ends.push(end),
  );
  chmodSync(dirname(files.key), 0o711);
  chmodSync(files.cert, 0o644);
  chmodSync(files.root, 0o644);
  const user = await chooseUser(undefined);
  // PostgreSQL wants its key for itself.
  if (user !== null) await chown(files.key, user.uid, user.gid);
  const cluster = await startCluster({
    ...options,
    settings: {
      ssl: 'on',
      ssl_cert_file: files.cert,
      ssl_key_file: files.key,
      ssl_ca_file: files.root,
      ...options.settings,
    },
  });
  return {
    cluster,
    root,
    rootFile: files.root,
    settings: {
      client_tls_sslmode: 'require',
      client_tls_key_file: files.poolerKey,
      client_tls_cert_file: files.poolerCert,
      server_tls_sslmode: 'verify-full',
      server_tls_ca_file: files.root,
    },
    close: async () => {
      await cluster.close();
      for (const end of ends) end();
    },
  };
}
