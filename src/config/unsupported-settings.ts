/**
 * What PgBouncer (1.25) and libpq know and this version does not: refused by name, so that nobody takes a setting that
 * has no effect for a typing error, or for one that works. A name leaves this list when it enters the table.
 */
import type { SectionName } from './settings.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

export const unsupportedSettings: Readonly<Record<SectionName, ReadonlySet<string>>> = {
  pgbouncer: words(`
    auth_ldap_options
  `),
  databases: new Set(),
  users: new Set(),
  peers: new Set(),
};

/** Parameters that people have in their URLs. Ignoring `sslmode=require` would send passwords in the clear. */
export const libpqParameters = words(`
  channel_binding connect_timeout fallback_application_name gssencmode gsslib hostaddr keepalives keepalives_count
  keepalives_idle keepalives_interval krbsrvname options passfile replication require_auth service sslcert sslcompression
  sslcrl sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni ssl_max_protocol_version ssl_min_protocol_version
  target_session_attrs tcp_user_timeout
`);
