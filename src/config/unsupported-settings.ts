/**
 * What PgBouncer (1.25) and libpq know and this version does not: refused by name, so that nobody takes a setting that
 * has no effect for a typing error, or for one that works. A name leaves this list when it enters the table.
 */
import type { SectionName } from './settings.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

export const unsupportedSettings: Readonly<Record<SectionName, ReadonlySet<string>>> = {
  pgbouncer: words(`
    admin_users auth_hba_file auth_ident_file auth_ldap_options client_tls13_ciphers client_tls_ca_file client_tls_cert_file client_tls_ciphers client_tls_dheparams
    client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode conffile dns_zone_check_period
    job_name logfile peer_id pidfile pkt_buf sbuf_loopcnt
    server_tls13_ciphers server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file
    server_tls_protocols server_tls_sslmode service_name so_reuseport stats_users suspend_timeout syslog
    syslog_facility syslog_ident tcp_defer_accept tcp_keepcnt tcp_keepintvl tcp_socket_buffer tcp_user_timeout
    unix_socket_dir unix_socket_group unix_socket_mode user verbose
  `),
  databases: new Set(),
  users: new Set(),
};

/** Settings of ours that are planned, and that people may have read about. */
export const plannedSettings = words('reload_on_change session_attach session_startup');

export const unsupportedSections = words('peers');

/** Parameters that people have in their URLs. Ignoring `sslmode=require` would send passwords in the clear. */
export const libpqParameters = words(`
  channel_binding connect_timeout fallback_application_name gssencmode gsslib hostaddr keepalives keepalives_count
  keepalives_idle keepalives_interval krbsrvname options passfile replication require_auth service sslcert sslcompression
  sslcrl sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni ssl_max_protocol_version ssl_min_protocol_version
  target_session_attrs tcp_user_timeout
`);
