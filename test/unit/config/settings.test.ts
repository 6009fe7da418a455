import { describe, expect, expectTypeOf, it } from 'vitest';
import type { Config, DatabaseConfig, UserConfig } from '../../../src/config/config.ts';
import { parseYamlConfig } from '../../../src/config/load-config.ts';
import type { Setting } from '../../../src/config/setting.ts';
import { aliases, type Settings, sections, settingGroups } from '../../../src/config/settings.ts';
import { unsupportedSettings } from '../../../src/config/unsupported-settings.ts';

/** `SHOW CONFIG` of PgBouncer 1.25 and its main branch (src/main.c). */
const PGBOUNCER_SETTINGS = `
  admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_ldap_options auth_query
  auth_type auth_user autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout
  client_tls13_ciphers client_tls_ca_file client_tls_cert_file client_tls_ciphers client_tls_dheparams
  client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size
  disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout ignore_startup_parameters
  job_name listen_addr listen_backlog listen_port load_balance_hosts log_connections log_disconnections
  log_pooler_errors log_stats logfile login_notify_message max_client_conn max_db_client_connections max_db_connections
  max_packet_size max_prepared_statements max_user_client_connections max_user_connections min_pool_size peer_id pidfile
  pkt_buf pool_idle_timeout pool_mode query_timeout query_wait_notify query_wait_timeout reserve_pool_size
  reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations server_check_delay server_check_query
  server_connect_timeout server_fast_close server_idle_timeout server_lifetime server_login_retry server_reset_query
  server_reset_query_always server_round_robin server_tls13_ciphers server_tls_ca_file server_tls_cert_file
  server_tls_ciphers server_tls_key_file server_tls_protocols server_tls_sslmode service_name so_reuseport stats_period
  stats_users suspend_timeout syslog syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt
  tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout track_extra_parameters transaction_timeout
  unix_socket_dir unix_socket_group unix_socket_mode user verbose
`
  .trim()
  .split(/\s+/);

/** PgBouncer's own, in seconds where they are times. What is missing here is ours, or has a default of ours. */
const PGBOUNCER_DEFAULTS: Readonly<Record<string, string>> = {
  listen_port: '6432',
  pool_mode: 'session',
  default_pool_size: '20',
  min_pool_size: '0',
  reserve_pool_size: '0',
  reserve_pool_timeout: '5',
  max_client_conn: '100',
  max_db_client_connections: '0',
  max_user_client_connections: '0',
  max_db_connections: '0',
  max_user_connections: '0',
  server_round_robin: 'false',
  pool_idle_timeout: '0',
  autodb_idle_timeout: '3600',
  disable_pqexec: 'false',
  auth_type: 'md5',
  auth_file: '',
  scram_iterations: '4096',
  log_connections: 'true',
  log_disconnections: 'true',
  log_pooler_errors: 'true',
  log_stats: 'true',
  stats_period: '60',
  server_reset_query: 'DISCARD ALL',
  server_reset_query_always: 'false',
  server_check_query: '<empty>',
  server_check_delay: '30',
  server_lifetime: '3600',
  server_idle_timeout: '600',
  server_connect_timeout: '15',
  server_login_retry: '15',
  server_fast_close: 'false',
  client_login_timeout: '60',
  client_idle_timeout: '0',
  query_timeout: '0',
  query_wait_timeout: '120',
  query_wait_notify: '5',
  idle_transaction_timeout: '0',
  transaction_timeout: '0',
  cancel_wait_timeout: '10',
  login_notify_message: '',
  load_balance_hosts: 'round-robin',
  dns_max_ttl: '15',
  dns_nxdomain_ttl: '15',
  resolv_conf: '',
  tcp_keepalive: 'true',
  tcp_keepidle: '0',
};

const tables: [string, readonly Setting[]][] = Object.entries(sections);

describe.each(tables)('the settings of %s', (section, table) => {
  it('have names and keys that are unique', () => {
    expect(new Set(table.map((setting) => setting.name)).size).toBe(table.length);
    expect(new Set(table.map((setting) => setting.key)).size).toBe(table.length);
  });

  it.each(table.map((setting) => [setting.name, setting] as const))(
    '%s: key, documentation, default',
    (name, setting) => {
      const suffix = { duration: 'Ms', size: 'Bytes' }[setting.kind.type as string] ?? '';
      const camelCase = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      // The one that is a list under a singular name.
      expect(setting.key).toBe(section === 'databases' && name === 'host' ? 'hosts' : camelCase + suffix);
      expect(setting.documentation).toMatch(/^[A-Za-z][^\n|]{5,118}\.$/);
      expect(setting.kind.values).toMatch(/^[^\n|]+$/);
      const text = setting.kind.format(setting.default);
      const place = { file: null, line: null, column: null, path: null };
      expect(setting.kind.parse({ kind: 'scalar', place, value: text, text }, '/')).toEqual({ value: setting.default });
      expect(Object.isFrozen(setting)).toBe(true);
      if (setting.kind.type === 'duration' && setting.kind.values === 'seconds') {
        expect(setting.documentation, 'says what 0 means').toMatch(/\b0\b/);
      }
    },
  );
});

describe('the table', () => {
  it('has PgBouncer’s defaults', () => {
    const defaults = Object.fromEntries(
      sections.pgbouncer.map((setting: Setting) => [setting.name, setting.kind.format(setting.default)]),
    );
    expect(defaults).toMatchObject(PGBOUNCER_DEFAULTS);
  });

  it('knows each of PgBouncer’s settings, as supported or as not supported yet, and never as both', () => {
    const supported = new Set<string>(sections.pgbouncer.map((setting) => setting.name));
    const neither = PGBOUNCER_SETTINGS.filter(
      (name) => !supported.has(name) && !unsupportedSettings.pgbouncer.has(name),
    );
    expect(neither).toEqual([]);
    expect([...unsupportedSettings.pgbouncer].filter((name) => supported.has(name))).toEqual([]);
    expect([...unsupportedSettings.pgbouncer].filter((name) => !PGBOUNCER_SETTINGS.includes(name))).toEqual([]);
  });

  it('changes on restart only what is bound to the process', () => {
    const restart = sections.pgbouncer
      .filter((setting) => setting.applies === 'restart')
      .map((setting) => setting.name);
    expect(restart).toEqual([
      'listen_addr',
      'listen_port',
      'listen_backlog',
      'so_reuseport',
      'peer_id',
      'unix_socket_dir',
      'unix_socket_mode',
      'unix_socket_group',
      'disable_pqexec',
      'resolver',
      'resolv_conf',
      'http_listen_addr',
      'http_port',
      'pidfile',
      'user',
      'pkt_buf',
      'job_name',
      'service_name',
    ]);
    expect([...sections.databases, ...sections.users].filter((setting) => setting.applies === 'restart')).toEqual([]);
  });

  it('has aliases of settings that exist', () => {
    const names = new Set<string>(sections.databases.map((setting) => setting.name));
    expect([...aliases].filter(([alias, name]) => names.has(alias) || !names.has(name))).toEqual([]);
  });

  it('is grouped completely', () => {
    expect(settingGroups.flatMap((group) => group.settings.map((setting) => setting.name))).toEqual(
      sections.pgbouncer.map((setting) => setting.name),
    );
  });

  it('gives the values their types', () => {
    expectTypeOf<Settings['poolMode']>().toEqualTypeOf<'session' | 'transaction' | 'statement'>();
    expectTypeOf<Settings['queryWaitTimeoutMs']>().toEqualTypeOf<number>();
    expectTypeOf<Settings['authFile']>().toEqualTypeOf<string | null>();
    expectTypeOf<Settings['listenAddr']>().toEqualTypeOf<readonly string[]>();
    expectTypeOf<DatabaseConfig['poolSize']>().toEqualTypeOf<number | null>();
    expectTypeOf<DatabaseConfig['port']>().toEqualTypeOf<number>();
    expectTypeOf<UserConfig['poolMode']>().toEqualTypeOf<Settings['poolMode'] | null>();
    expectTypeOf<Config['settings']>().toEqualTypeOf<Settings>();
    expectTypeOf<Settings>().toEqualTypeOf<Readonly<Settings>>();
  });

  it('is what a configuration without settings has', () => {
    const { settings } = parseYamlConfig('databases: {app: }', 'a.yaml');
    const defaults = sections.pgbouncer.map((setting) => [setting.key, setting.default]);
    expect(settings).toEqual(Object.fromEntries(defaults));
    expect(settings.queryWaitTimeoutMs).toBe(120_000);
    expect(settings.maxPacketSizeBytes).toBe(1_073_741_823);
    expect(settings.listenAddr).toEqual(['127.0.0.1']);
    expect(settings.authFile).toBeNull();
  });
});
