/**
 * THE table: every setting with its name, key, kind, default, when a change applies, and a line of documentation. The
 * parser, the types, `pgbouncer.example.yaml` and `docs/configuration.md` are derived from it. It knows no file.
 */
import { optionalSetting, setting, type ValuesOf } from './setting.ts';
import {
  address,
  addressOrFolder,
  boolean,
  choice,
  choices,
  commandLine,
  duration,
  fileMode,
  hosts,
  integer,
  listenAddresses,
  nameList,
  optional,
  path,
  secrets,
  size,
  text,
  unixFolder,
} from './setting-kinds.ts';
import { settingsWithoutEffect } from './settings-without-effect.ts';
import { TLS_PROTOCOLS, tlsProtocols } from './tls-kinds.ts';

const poolMode = choice(['session', 'transaction', 'statement']);
const syslogFacility = choice([
  'auth',
  'authpriv',
  'daemon',
  'user',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
]);
const balancing = choice(['round-robin', 'disable']);
const sslMode = choice(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']);
const SECURE_PROTOCOLS = Object.freeze(TLS_PROTOCOLS.slice(2));
const count = integer(0);
const serverMethods = choices(['none', 'password', 'md5', 'scram-sha-256']);
/** It goes into the startup packet for servers, which is bounded. */
const parameterValue = text({ maxBytes: 255 });
const SECOND = 1000;
export const MAX_DATABASE_NAME_BYTES = 63;
export const MAX_USER_NAME_BYTES = 127;
/** Two bytes of a cancel key have room for it. */
export const MAX_PEER_ID = 65_535;
/** PgBouncer's since 1.24.1: no password counts after VALID UNTIL (CVE-2025-2291), and none of who may not log in. */
const DEFAULT_AUTH_QUERY =
  'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin';
const authQueryText = text({ mustContain: '$1' });
/** PgBouncer's own bound for the number that a pooler gives itself. */
const MAX_OWN_PEER_ID = 16_383;

const listening = [
  setting('listen_addr', 'listenAddr', listenAddresses, Object.freeze(['127.0.0.1']), 'restart')
    .inIni(Object.freeze([]))
    .documented(
      'Addresses or host names to listen on, separated by commas; `*` stands for all IPv4 and IPv6 addresses.',
    ),
  setting('listen_port', 'listenPort', integer(0, 65_535), 6432, 'restart').documented(
    'TCP port to listen on; 0 takes any free port.',
  ),
  setting('listen_backlog', 'listenBacklog', integer(1, 65_535), 1024, 'restart')
    .inIni(128)
    .documented(
      'Connections that the kernel keeps until they are accepted; it caps them at its own net.core.somaxconn.',
    ),
  setting('so_reuseport', 'soReuseport', boolean, false, 'restart').documented(
    'Lets several processes listen on one port, among which the kernel spreads clients; needs Node.js 22.12.',
  ),
  setting('peer_id', 'peerId', integer(0, MAX_OWN_PEER_ID), 0, 'restart').documented(
    'Number of this pooler in its group, whose others, in `peers`, cancel requests are passed on to; 0 means none.',
  ),
  setting('unix_socket_dir', 'unixSocketDir', unixFolder, null, 'restart')
    .inIni('/tmp')
    .documented(
      'Folder in which a Unix socket is listened on as well, named as PostgreSQL names its own; empty means none.',
    ),
  setting('unix_socket_mode', 'unixSocketMode', fileMode, 0o777, 'restart').documented(
    'Permissions of the Unix socket, in octal.',
  ),
  setting('unix_socket_group', 'unixSocketGroup', optional(text()), null, 'restart').documented(
    'Group, by name or number, that the Unix socket gets.',
  ),
  setting('tcp_keepalive', 'tcpKeepalive', boolean, true).documented(
    'Turns on TCP keepalive, which finds connections whose other end has vanished.',
  ),
  setting('tcp_keepidle', 'tcpKeepidleMs', duration(), 0).documented(
    'Seconds of silence before the first keepalive probe; 0 leaves it to the operating system.',
  ),
  setting('max_packet_size', 'maxPacketSizeBytes', size(1024, 0x7fffffff), 0x3fffffff)
    .inIni(0x7fffffff)
    .documented('The largest protocol message, in bytes, that is passed on; who sends a larger one is disconnected.'),
] as const;

const pools = [
  setting('pool_mode', 'poolMode', poolMode, 'session').documented(
    'When a server connection returns to its pool: as the client leaves, after a transaction, or after a statement.',
  ),
  setting('default_pool_size', 'defaultPoolSize', count, 20).documented(
    'Server connections per pool, which is one pair of database and user; 0 means no limit.',
  ),
  setting('min_pool_size', 'minPoolSize', count, 0).documented(
    'Server connections kept open in a pool that has a client or a forced user, even if idle; 0 keeps none.',
  ),
  setting('reserve_pool_size', 'reservePoolSize', count, 0).documented(
    'Additional server connections for a pool whose clients wait longer than reserve_pool_timeout; 0 means none.',
  ),
  setting('reserve_pool_timeout', 'reservePoolTimeoutMs', duration(), 5 * SECOND).documented(
    'Seconds that a client waits before its pool takes a reserve connection; 0 turns the reserve off.',
  ),
  setting('server_round_robin', 'serverRoundRobin', boolean, false).documented(
    'Uses idle server connections in turn, instead of the one used last, which lets the others time out.',
  ),
  setting('pool_idle_timeout', 'poolIdleTimeoutMs', duration(), 0).documented(
    'Seconds after which a pool without any connection is forgotten; 0 means never.',
  ),
  setting('autodb_idle_timeout', 'autodbIdleTimeoutMs', duration(), 3600 * SECOND).documented(
    'Seconds after which an unused database that came from the fallback `*` is forgotten; 0 means never.',
  ),
  setting('max_prepared_statements', 'maxPreparedStatements', count, 200).documented(
    'Named statements that each server connection keeps where clients share it; 0 passes them on as they are.',
  ),
  setting('max_client_prepared_statements', 'maxClientPreparedStatements', count, 10_000).documented(
    'Named statements that one client may have prepared where servers are shared; 0 means no limit.',
  ),
  setting('max_client_prepared_size', 'maxClientPreparedSizeBytes', size(0, 0x3fffffff), 16_777_216).documented(
    "Bytes of the names and texts of one client's prepared statements together; 0 means no limit.",
  ),
  setting('disable_pqexec', 'disablePqexec', boolean, false, 'restart').documented(
    'Refuses simple queries, which may hold several statements, and allows only the extended protocol.',
  ),
] as const;

const limits = [
  setting('max_client_conn', 'maxClientConn', integer(1), 100).documented(
    'Client connections in all; raise the limit of open files with it.',
  ),
  setting('max_db_client_connections', 'maxDbClientConnections', count, 0).documented(
    'Client connections per database; 0 means no limit.',
  ),
  setting('max_user_client_connections', 'maxUserClientConnections', count, 0).documented(
    'Client connections per user; 0 means no limit.',
  ),
  setting('max_login_clients', 'maxLoginClients', count, 0).documented(
    'Client connections whose identity is not proven yet, besides max_client_conn; 0 means half of max_client_conn.',
  ),
  setting('max_db_connections', 'maxDbConnections', count, 0).documented(
    'Server connections per database, over all users; 0 means no limit.',
  ),
  setting('max_user_connections', 'maxUserConnections', count, 0).documented(
    'Server connections per user, over all databases; 0 means no limit.',
  ),
  setting('max_server_connections', 'maxServerConnections', count, 0).documented(
    'Server connections to one PostgreSQL (the same hosts and port), over all databases and users; 0 means no limit.',
  ),
] as const;

const authentication = [
  setting(
    'auth_type',
    'authType',
    choice(['any', 'trust', 'plain', 'md5', 'scram-sha-256', 'cert', 'hba'], ['ldap', 'pam']),
    'md5',
  ).documented(
    'How clients prove who they are; `md5` uses SCRAM for a user whose secret is a SCRAM one, `any` asks for nothing.',
  ),
  setting('auth_hba_file', 'authHbaFile', optional(path), null).documented(
    'With `auth_type` hba: file in the form of pg_hba.conf that says who may come from where, and proves it how.',
  ),
  setting('auth_ident_file', 'authIdentFile', optional(path), null).documented(
    'With `auth_type` hba: file in the form of pg_ident.conf, for the option `map=` of the methods cert and peer.',
  ),
  setting('auth_file', 'authFile', optional(path), null).documented(
    'File of users and their secrets, a line `"user" "secret"` each; relative to the folder of this file.',
  ),
  setting('auth_user', 'authUser', optional(text({ maxBytes: MAX_USER_NAME_BYTES })), null).documented(
    'User that runs auth_query for clients that auth_file does not have, with its password from there; not set asks nobody.',
  ),
  setting('auth_query', 'authQuery', authQueryText, DEFAULT_AUTH_QUERY).documented(
    'Query for name and secret of the user $1; it runs with search_path pg_catalog, so other schemas must be named.',
  ),
  setting('auth_dbname', 'authDbname', optional(text({ maxBytes: MAX_DATABASE_NAME_BYTES })), null).documented(
    'Database, as it is called under databases, in which auth_query runs; not set means the one the client asks for.',
  ),
  setting('auth_query_cache_ttl', 'authQueryCacheTtlMs', duration(), SECOND).documented(
    'Seconds for which an answer of auth_query counts, and so a password that is changed meanwhile; 0 always asks.',
  ),
  setting('password_command_ttl', 'passwordCommandTtlMs', duration(), 300 * SECOND).documented(
    'Seconds that the output of a password_command is used; 0 runs it for each server connection.',
  ),
  setting('password_command_timeout', 'passwordCommandTimeoutMs', duration(0.1), 10 * SECOND).documented(
    'Seconds that a password_command may run before it is killed.',
  ),
  setting('scram_iterations', 'scramIterations', integer(1, 100_000), 4096).documented(
    'Iterations of the SCRAM secrets that are made from plain passwords; more cost more time at each login.',
  ),
  setting('auth_failure_delay', 'authFailureDelayMs', duration(), SECOND).documented(
    'Seconds that a refused login waits for its answer, from the sixth one of its address in a minute on; 0 is none.',
  ),
  setting('auth_failure_limit', 'authFailureLimit', count, 0).documented(
    'Failed logins of one address in a minute after which it is refused until the minute is over; 0 means no limit.',
  ),
  setting('admin_users', 'adminUsers', nameList, Object.freeze([])).documented(
    'Users who may run every command of the console (the database `pgbouncer`).',
  ),
  setting('stats_users', 'statsUsers', nameList, Object.freeze([])).documented(
    'Users who may ask the console with SHOW (all but SHOW FDS), and nothing else.',
  ),
  setting('login_notify_message', 'loginNotifyMessage', text(), '').documented(
    'Text of a notice that each client gets after its login; empty sends none.',
  ),
] as const;

const clientTls = [
  setting('client_tls_sslmode', 'clientTlsSslmode', sslMode, 'disable').documented(
    'Whether clients may (`allow`, `prefer`) or must use TLS, and with the last two show a valid certificate.',
  ),
  setting('client_tls_key_file', 'clientTlsKeyFile', optional(path), null).documented(
    'Private key of client_tls_cert_file, in PEM and without a passphrase.',
  ),
  setting('client_tls_cert_file', 'clientTlsCertFile', optional(path), null).documented(
    'Certificate that clients are shown, in PEM, followed by those between it and its root.',
  ),
  setting('client_tls_ca_file', 'clientTlsCaFile', optional(path), null).documented(
    'Root certificates for those of clients; where it is set, clients are asked for theirs.',
  ),
  setting('client_tls_protocols', 'clientTlsProtocols', tlsProtocols, SECURE_PROTOCOLS).documented(
    'Versions of TLS that clients may use.',
  ),
  setting('client_tls_ciphers', 'clientTlsCiphers', text(), 'default').documented(
    "Ciphers for clients up to TLS 1.2: OpenSSL's list, or `default`, `all`.",
  ),
  setting('client_tls13_ciphers', 'clientTls13Ciphers', text(), '').documented(
    'Ciphers for clients with TLS 1.3, separated by colons; empty takes those that client_tls_ciphers names, or all.',
  ),
  setting('client_tls_ecdhcurve', 'clientTlsEcdhcurve', text(), 'auto').documented(
    "Curves for clients' key exchange, separated by colons; `auto` leaves it to OpenSSL, `none` is for TLS 1.2 only.",
  ),
  setting('client_tls_dheparams', 'clientTlsDheparams', choice(['auto', 'none'], ['legacy']), 'auto').documented(
    'Size of the parameters of DHE key exchange, as the key asks for it, or `none` for no DHE.',
  ),
] as const;

const clients = [
  setting('client_login_timeout', 'clientLoginTimeoutMs', duration(), 60 * SECOND).documented(
    'Seconds that a client may take to log in; 0 means no limit.',
  ),
  setting('client_idle_timeout', 'clientIdleTimeoutMs', duration(), 0).documented(
    'Seconds after which a client that is idle outside a transaction is disconnected; 0 means never.',
  ),
  setting('client_write_timeout', 'clientWriteTimeoutMs', duration(), 0).documented(
    'Seconds after which a client that does not read what is sent to it is disconnected; 0 means never.',
  ),
  setting('query_timeout', 'queryTimeoutMs', duration(), 0).documented(
    'Seconds that a query may run before its client is disconnected; 0 means no limit.',
  ),
  setting('query_wait_timeout', 'queryWaitTimeoutMs', duration(), 120 * SECOND).documented(
    'Seconds that a client may wait for a server connection before it is disconnected; 0 means no limit.',
  ),
  setting('query_wait_notify', 'queryWaitNotifyMs', duration(), 5 * SECOND).documented(
    'Seconds of waiting after which the client is told by a notice that it waits; 0 sends none.',
  ),
  setting('idle_transaction_timeout', 'idleTransactionTimeoutMs', duration(), 0).documented(
    'Seconds that a client may be idle inside a transaction before it is disconnected; 0 means no limit.',
  ),
  setting('transaction_timeout', 'transactionTimeoutMs', duration(), 0).documented(
    'Seconds that a transaction may last before its client is disconnected; 0 means no limit.',
  ),
  setting('cancel_wait_timeout', 'cancelWaitTimeoutMs', duration(), 10 * SECOND).documented(
    'Seconds that a cancel request may wait for a connection to its server before it is dropped; 0 means no limit.',
  ),
  setting('abandoned_query_timeout', 'abandonedQueryTimeoutMs', duration(), 60 * SECOND).documented(
    'Seconds that a query may still run after its client has said goodbye, until it is cancelled; 0 means no limit.',
  ),
] as const;

const parameters = [
  setting('ignore_startup_parameters', 'ignoreStartupParameters', nameList, Object.freeze([])).documented(
    'Startup parameters that are dropped without a word; `options` drops what is not tracked out of `options`.',
  ),
  setting('track_extra_parameters', 'trackExtraParameters', nameList, Object.freeze(['IntervalStyle'])).documented(
    'Parameters that ignore_startup_parameters does not drop; all that the server reports are tracked in any case.',
  ),
  setting('application_name_add_host', 'applicationNameAddHost', boolean, false).documented(
    'Adds ` - host:port` of the client to its application_name when it connects.',
  ),
] as const;

const servers = [
  setting('server_reset_query', 'serverResetQuery', text(), 'DISCARD ALL').documented(
    'Query that cleans a server connection in session mode before another client gets it; empty sends none.',
  ),
  setting('server_dirty_policy', 'serverDirtyPolicy', choice(['reset', 'keep', 'error']), 'reset')
    .inIni('keep')
    .documented(
      'What happens to session state left behind where servers are shared: undone, kept for anybody, or refused.',
    ),
  setting('session_startup', 'sessionStartup', choice(['own', 'set']), 'own')
    .inIni('set')
    .documented(
      'In session mode servers are opened with the startup parameters of their client, or these are set afterwards.',
    ),
  setting('session_attach', 'sessionAttach', choice(['first_query', 'login']), 'first_query').documented(
    'When a client in session mode gets its server: for its first query, or before its login ends.',
  ),
  setting('server_reset_query_always', 'serverResetQueryAlways', boolean, false).documented(
    'Sends server_reset_query in transaction and statement mode too.',
  ),
  setting('server_check_query', 'serverCheckQuery', text(), '<empty>').documented(
    'Query that tests an idle server connection before its use; `<empty>` is an empty query, no text turns it off.',
  ),
  setting('server_check_delay', 'serverCheckDelayMs', duration(), 30 * SECOND).documented(
    'Seconds that a server connection may have been idle and still be used without a test; 0 tests each time.',
  ),
  setting('server_lifetime', 'serverLifetimeMs', duration(), 3600 * SECOND).documented(
    'Seconds after which a server connection is closed once it is unused; 0 uses each connection once.',
  ),
  setting('server_idle_timeout', 'serverIdleTimeoutMs', duration(), 600 * SECOND).documented(
    'Seconds after which an idle server connection is closed; 0 means never.',
  ),
  setting('server_connect_timeout', 'serverConnectTimeoutMs', duration(), 15 * SECOND).documented(
    'Seconds that connecting and logging in to a server may take; 0 means no limit.',
  ),
  setting('server_login_retry', 'serverLoginRetryMs', duration(), 15 * SECOND).documented(
    'Seconds between two tries after a failed server login, while clients get its error at once; 0 means no pause.',
  ),
  setting('server_login_concurrency', 'serverLoginConcurrency', integer(1), 4).documented(
    'Logins to one PostgreSQL that may be in progress at a time.',
  ),
  setting(
    'server_channel_binding',
    'serverChannelBinding',
    choice(['disable', 'prefer', 'require']),
    'prefer',
  ).documented(
    'Whether SCRAM logins to servers are bound to their TLS connection: never, where the server offers it, or no login else.',
  ),
  setting('server_require_auth', 'serverRequireAuth', serverMethods, Object.freeze([])).documented(
    'Ways in which servers may ask who we are; without it all but a password in clear text, which needs TLS or a Unix socket.',
  ),
  setting('server_fast_close', 'serverFastClose', boolean, false).documented(
    'Closes outdated server connections in session mode after the transaction, and their clients with them.',
  ),
  setting('server_recovery_timeout', 'serverRecoveryTimeoutMs', duration(), 5 * SECOND).documented(
    'Seconds in which a server connection that a client has left in disorder must be clean; 0 closes it at once.',
  ),
  setting('server_close_timeout', 'serverCloseTimeoutMs', duration(), 5 * SECOND).documented(
    'Seconds that a server may take to end a connection that is being closed before it is cut; 0 cuts it at once.',
  ),
] as const;

const serverTls = [
  setting('server_tls_sslmode', 'serverTlsSslmode', sslMode, 'prefer').documented(
    'Whether server connections use TLS, and what of its certificate is checked: the sslmode of libpq.',
  ),
  setting(
    'server_tls_sslnegotiation',
    'serverTlsSslnegotiation',
    choice(['postgres', 'direct']),
    'postgres',
  ).documented(
    'Whether TLS is asked for or begun at once (`direct`: PostgreSQL 17, and server_tls_sslmode `require` or more).',
  ),
  setting('server_tls_ca_file', 'serverTlsCaFile', optional(path), null).documented(
    'Root certificates for those of servers, in PEM; not set means those that come with Node, for verify-full only.',
  ),
  setting('server_tls_key_file', 'serverTlsKeyFile', optional(path), null).documented(
    'Private key of server_tls_cert_file, in PEM and without a passphrase.',
  ),
  setting('server_tls_cert_file', 'serverTlsCertFile', optional(path), null).documented(
    'Certificate that servers are shown, in PEM; not set shows none.',
  ),
  setting('server_tls_protocols', 'serverTlsProtocols', tlsProtocols, SECURE_PROTOCOLS).documented(
    'Versions of TLS that may be used with servers.',
  ),
  setting('server_tls_ciphers', 'serverTlsCiphers', text(), 'default').documented(
    "Ciphers for servers up to TLS 1.2: OpenSSL's list, or `default`, `all`.",
  ),
  setting('server_tls13_ciphers', 'serverTls13Ciphers', text(), '').documented(
    'Ciphers for servers with TLS 1.3, separated by colons; empty takes those that server_tls_ciphers names, or all.',
  ),
] as const;

const names = [
  setting('load_balance_hosts', 'loadBalanceHosts', balancing, 'round-robin').documented(
    'Which of several hosts is connected to: each in turn, or (`disable`) always the same until it fails.',
  ),
  setting('resolver', 'resolver', choice(['builtin', 'libc']), 'builtin', 'restart').documented(
    'Who resolves host names: the pooler itself, as libc does but without its threads, or the system with getaddrinfo.',
  ),
  setting('resolv_conf', 'resolvConf', optional(path), null, 'restart').documented(
    'File with the name servers for the built-in resolver; not set means /etc/resolv.conf.',
  ),
  setting('dns_max_ttl', 'dnsMaxTtlMs', duration(), 15 * SECOND).documented(
    'Seconds that a resolved name is kept at most; 0 asks again for each connection.',
  ),
  setting('dns_nxdomain_ttl', 'dnsNxdomainTtlMs', duration(), 15 * SECOND).documented(
    'Seconds that the failure to resolve a name is kept; 0 asks again for each connection.',
  ),
] as const;

const operation = [
  setting('log_level', 'logLevel', choice(['debug', 'info', 'warn', 'error']), 'info').documented(
    'The least serious lines that are logged.',
  ),
  setting('log_format', 'logFormat', choice(['json', 'text']), 'json')
    .inIni('text')
    .documented('Form of a line in the log: a JSON object, or text as PgBouncer writes it.'),
  setting('verbose', 'verbose', count, 0).documented(
    'PgBouncer’s way to log more: from 1 on log_level is debug, 0 leaves it as it is; the option -v adds 1.',
  ),
  setting('logfile', 'logfile', optional(path), null).documented(
    'File that the log is written to instead of standard output; a reload opens it again.',
  ),
  setting('syslog', 'syslog', boolean, false).documented(
    'Writes the log to the system’s log as well, by the program `logger`.',
  ),
  setting('syslog_ident', 'syslogIdent', text({ maxBytes: 255 }), 'tsbouncer')
    .inIni('pgbouncer')
    .documented('Name under which lines stand in the system’s log.'),
  setting('syslog_facility', 'syslogFacility', syslogFacility, 'daemon').documented(
    'Part of the system’s log in which lines stand.',
  ),
  setting('log_connections', 'logConnections', boolean, true).documented('Logs each login.'),
  setting('log_disconnections', 'logDisconnections', boolean, true).documented(
    'Logs each end of a connection with its reason.',
  ),
  setting('log_pooler_errors', 'logPoolerErrors', boolean, true).documented(
    'Logs the errors that the pooler itself sends to clients.',
  ),
  setting('log_stats', 'logStats', boolean, true).documented('Logs a line of statistics each stats_period.'),
  setting('stats_period', 'statsPeriodMs', duration(0.1), 60 * SECOND).documented(
    'Seconds over which averages are taken, and between two lines of statistics.',
  ),
  setting('http_listen_addr', 'httpListenAddr', address, '127.0.0.1', 'restart').documented(
    'Address on which metrics and health checks are served; `*` stands for all addresses.',
  ),
  setting('http_port', 'httpPort', integer(0, 65_535), 0, 'restart').documented(
    'TCP port on which metrics and health checks are served; 0 serves none.',
  ),
  setting('pidfile', 'pidfile', optional(path), null, 'restart').documented(
    'File that holds the process id while the pooler runs; a second one does not start.',
  ),
  setting('suspend_timeout', 'suspendTimeoutMs', duration(), 10 * SECOND).documented(
    'Seconds after which SUSPEND disconnects whoever does not take what was sent to it; 0 waits without a limit.',
  ),
  setting('user', 'user', optional(text()), null, 'restart').documented(
    'System user that the process becomes when it listens, if root has started it.',
  ),
  setting('reload_on_change', 'reloadOnChange', boolean, false).documented(
    'Reloads when the configuration file, or auth_file, is another one and has been so for a moment.',
  ),
  setting('shutdown_timeout', 'shutdownTimeoutMs', duration(), 25 * SECOND)
    .inIni(0)
    .documented(
      'Seconds that SIGTERM gives transactions to end, in which idle clients are sent away; 0 waits for all clients to leave.',
    ),
  setting('shutdown_delay', 'shutdownDelayMs', duration(), 0).documented(
    'Seconds after SIGTERM in which clients are still let in, while /readyz already says no; 0 means none.',
  ),
] as const;

/** The section `pgbouncer:`, in the order in which people read it. */
export const settingGroups = [
  { title: 'Listening', settings: listening },
  { title: 'Pools', settings: pools },
  { title: 'Limits', settings: limits },
  { title: 'Authentication', settings: authentication },
  { title: 'TLS with clients', settings: clientTls },
  { title: 'Clients and queries', settings: clients },
  { title: 'Session parameters', settings: parameters },
  { title: 'Server connections', settings: servers },
  { title: 'TLS with servers', settings: serverTls },
  { title: 'Hosts and names', settings: names },
  { title: 'Logs, metrics, shutdown', settings: operation },
  { title: 'Accepted without effect', settings: settingsWithoutEffect },
] as const;

const settings = settingGroups.flatMap((group): readonly GlobalSetting[] => group.settings);

type GlobalSetting = (typeof settingGroups)[number]['settings'][number];
export type Settings = ValuesOf<readonly GlobalSetting[]>;
export type PoolMode = Settings['poolMode'];
export type SslMode = Settings['clientTlsSslmode'];
export type LoadBalanceHosts = Settings['loadBalanceHosts'];

/** Each entry of the section `databases:`. */
export const databaseSettings = [
  setting('host', 'hosts', hosts, Object.freeze(['127.0.0.1']))
    .inIni(Object.freeze([]))
    .documented(
      'Host names or addresses of the PostgreSQL server, or the folder of its Unix socket, separated by commas.',
    ),
  setting('port', 'port', integer(1, 65_535), 5432).documented('TCP port of the PostgreSQL server.'),
  optionalSetting('dbname', 'dbname', text({ maxBytes: MAX_DATABASE_NAME_BYTES })).documented(
    'Name of the database on the server; not set means the name that the client asks for.',
  ),
  optionalSetting('user', 'user', text({ maxBytes: MAX_USER_NAME_BYTES })).documented(
    'Forced user: all clients of this database share its server connections; not set means each client its own.',
  ),
  optionalSetting('password', 'password', text({ secret: true })).documented(
    'Password for the server; not set means what users, auth_file or auth_query know of the user.',
  ),
  optionalSetting('password_command', 'passwordCommand', commandLine).documented(
    'Program, run without a shell, whose output is the password for the server; not set runs none.',
  ),
  optionalSetting('server_require_auth', 'serverRequireAuth', serverMethods).documented(
    'server_require_auth of this database.',
  ),
  optionalSetting('auth_user', 'authUser', text({ maxBytes: MAX_USER_NAME_BYTES })).documented(
    'auth_user of this database.',
  ),
  optionalSetting('auth_query', 'authQuery', authQueryText).documented('auth_query of this database.'),
  optionalSetting('auth_dbname', 'authDbname', text({ maxBytes: MAX_DATABASE_NAME_BYTES })).documented(
    'auth_dbname of this database.',
  ),
  optionalSetting('pool_mode', 'poolMode', poolMode).documented('pool_mode of this database.'),
  optionalSetting('pool_size', 'poolSize', count).documented('default_pool_size of this database; 0 means no limit.'),
  optionalSetting('min_pool_size', 'minPoolSize', count).documented('min_pool_size of this database; 0 keeps none.'),
  optionalSetting('reserve_pool_size', 'reservePoolSize', count).documented(
    'reserve_pool_size of this database, also called reserve_pool; 0 means none.',
  ),
  optionalSetting('max_db_connections', 'maxDbConnections', count).documented(
    'max_db_connections of this database; 0 means no limit.',
  ),
  optionalSetting('max_db_client_connections', 'maxDbClientConnections', count).documented(
    'max_db_client_connections of this database; 0 means no limit.',
  ),
  optionalSetting('max_server_connections', 'maxServerConnections', count).documented(
    'max_server_connections of this PostgreSQL or budget, for all databases that share it; 0 means no limit.',
  ),
  optionalSetting('budget', 'budget', text()).documented(
    'Any name: databases with the same one share max_server_connections; not set means those with the same hosts and port.',
  ),
  optionalSetting('connect_query', 'connectQuery', text()).documented(
    'Query that is sent once on each new server connection; not set sends none.',
  ),
  optionalSetting('query_wait_timeout', 'queryWaitTimeoutMs', duration()).documented(
    'query_wait_timeout of this database, in seconds; 0 means no limit.',
  ),
  optionalSetting('server_lifetime', 'serverLifetimeMs', duration()).documented(
    'server_lifetime of this database, in seconds; 0 uses each connection once.',
  ),
  optionalSetting('load_balance_hosts', 'loadBalanceHosts', balancing).documented(
    'load_balance_hosts of this database.',
  ),
  optionalSetting('client_encoding', 'clientEncoding', parameterValue).documented(
    'client_encoding of sessions whose clients do not ask for another; not set leaves it to the server.',
  ),
  optionalSetting('datestyle', 'datestyle', parameterValue).documented(
    'DateStyle of sessions whose clients do not ask for another; not set leaves it to the server.',
  ),
  optionalSetting('timezone', 'timezone', parameterValue).documented(
    'TimeZone of sessions whose clients do not ask for another; not set leaves it to the server.',
  ),
  optionalSetting('application_name', 'applicationName', parameterValue).documented(
    'application_name of sessions whose clients do not give one; not set leaves it to the server.',
  ),
] as const;

/** Each entry of the section `users:`. What a user has set wins over the database, which wins over `pgbouncer:`. */
export const userSettings = [
  optionalSetting('password', 'password', secrets).documented(
    'Password or secret, before what auth_file says; of a list clients may use each, and servers get the first.',
  ),
  optionalSetting('password_command', 'passwordCommand', commandLine).documented(
    'Program, run without a shell, whose output is the password of this user for servers; not set runs none.',
  ),
  optionalSetting('pool_mode', 'poolMode', poolMode).documented('pool_mode of this user.'),
  optionalSetting('pool_size', 'poolSize', count).documented('default_pool_size of this user; 0 means no limit.'),
  optionalSetting('reserve_pool_size', 'reservePoolSize', count).documented(
    'reserve_pool_size of this user; 0 means none.',
  ),
  optionalSetting('max_user_connections', 'maxUserConnections', count).documented(
    'max_user_connections of this user; 0 means no limit.',
  ),
  optionalSetting('max_user_client_connections', 'maxUserClientConnections', count).documented(
    'max_user_client_connections of this user; 0 means no limit.',
  ),
  optionalSetting('query_timeout', 'queryTimeoutMs', duration()).documented(
    'query_timeout of this user, in seconds; 0 means no limit.',
  ),
  optionalSetting('query_wait_timeout', 'queryWaitTimeoutMs', duration()).documented(
    'query_wait_timeout of this user, in seconds; 0 means no limit.',
  ),
  optionalSetting('idle_transaction_timeout', 'idleTransactionTimeoutMs', duration()).documented(
    'idle_transaction_timeout of this user, in seconds; 0 means no limit.',
  ),
  optionalSetting('transaction_timeout', 'transactionTimeoutMs', duration()).documented(
    'transaction_timeout of this user, in seconds; 0 means no limit.',
  ),
  optionalSetting('client_idle_timeout', 'clientIdleTimeoutMs', duration()).documented(
    'client_idle_timeout of this user, in seconds; 0 means never.',
  ),
] as const;

/** Each entry of the section `peers:`, whose key is the `peer_id` of another pooler of the same group. */
export const peerSettings = [
  optionalSetting('host', 'host', addressOrFolder).documented('Address of the peer; it must be given.'),
  setting('port', 'port', integer(1, 65_535), 6432).documented('TCP port of the peer.'),
  optionalSetting('pool_size', 'poolSize', count).documented(
    'Cancel requests that may be on their way to this peer at a time; not set means default_pool_size.',
  ),
] as const;

/** The sections of a configuration and the settings that may stand in each (or in each of its entries). */
export const sections = {
  pgbouncer: settings,
  databases: databaseSettings,
  users: userSettings,
  peers: peerSettings,
} as const;
export type SectionName = keyof typeof sections;
/** Other spellings that PgBouncer's users know. */
export const aliases: ReadonlyMap<string, string> = new Map([['reserve_pool', 'reserve_pool_size']]);
