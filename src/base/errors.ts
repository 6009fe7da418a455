/**
 * Every error that the pooler itself can send to a client: one table from a name to severity, SQLSTATE and words.
 * It knows neither sockets nor messages; `protocol/server-messages.ts` turns a report into bytes.
 *
 * FATAL means that the connection closes after it; ERROR is followed by the right ReadyForQuery. Texts that PgBouncer's
 * users know keep its words; the SQLSTATE is what a driver can act on (PgBouncer sends 08P01 for nearly all).
 */

type Severity = 'ERROR' | 'FATAL';

export interface ErrorReport {
  readonly severity: Severity;
  /** Five characters, PostgreSQL's appendix A. */
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** The function of PostgreSQL's source that reports it there: drivers tell some errors apart by it. */
  readonly routine?: string;
}

interface Extra {
  readonly detail?: string;
  readonly hint?: string;
  readonly routine?: string;
}

function error(sqlstate: string, message: string, extra?: Extra): ErrorReport {
  return { severity: 'ERROR', sqlstate, message, ...extra };
}

function fatal(sqlstate: string, message: string, extra?: Extra): ErrorReport {
  return { severity: 'FATAL', sqlstate, message, ...extra };
}

function limitReached(setting: string, limit: number, whose: string): Extra {
  return {
    detail: `${whose} may have ${limit} client connections at a time.`,
    hint: `Close idle client connections, or raise ${setting}.`,
  };
}

export const errors = {
  // Limits
  tooManyClients: (limit: number) =>
    fatal(
      '53300',
      'no more connections allowed (max_client_conn)',
      limitReached('max_client_conn', limit, 'The pooler'),
    ),
  tooManyDatabaseClients: (limit: number) =>
    fatal(
      '53300',
      'client connections exceeded (max_db_client_connections)',
      limitReached('max_db_client_connections', limit, 'This database'),
    ),
  tooManyUserClients: (limit: number) =>
    fatal(
      '53300',
      'client connections exceeded (max_user_client_connections)',
      limitReached('max_user_client_connections', limit, 'This user'),
    ),
  tooManyLogins: (limit: number) =>
    fatal('53300', 'too many logins in progress (max_login_clients)', {
      detail: `At most ${limit} connections may be logging in at a time.`,
      hint: 'Try again, or raise max_login_clients.',
    }),
  tooManyFailedLogins: (limit: number) =>
    fatal('53300', 'too many failed logins from this address (auth_failure_limit)', {
      detail: `At most ${limit} logins may fail within a minute.`,
      hint: 'Wait a minute, or raise auth_failure_limit.',
    }),
  queryWaitTimeout: (waitedMs: number, detail: string) =>
    fatal('53300', 'query_wait_timeout', {
      detail: `No server connection became free within ${(waitedMs / 1000).toFixed(1)} s. ${detail}`,
      hint: 'Raise default_pool_size (pool_size), shorten transactions, or raise query_wait_timeout.',
    }),

  // Timeouts
  clientLoginTimeout: () => fatal('57014', 'client_login_timeout'),
  clientLoginTimeoutServerDown: () => fatal('57P03', 'client_login_timeout (server down)'),
  clientIdleTimeout: () => fatal('57P05', 'client_idle_timeout'),
  clientWriteTimeout: () => fatal('57014', 'client_write_timeout'),
  queryTimeout: () => fatal('57014', 'query timeout', { hint: 'The statement ran longer than query_timeout.' }),
  idleTransactionTimeout: () => fatal('25P03', 'idle transaction timeout'),
  transactionTimeout: () => fatal('25P04', 'transaction timeout'),

  // Who may come in. Before a password is proven, all that depends on user, database or secret is this one error.
  authenticationFailed: () => fatal('28P01', 'password authentication failed'),
  noSuchDatabase: (name: string) => fatal('3D000', `no such database: ${name}`),
  tlsRequired: () =>
    fatal('28000', 'SSL required', { hint: 'Connect with sslmode=require or a stricter one (client_tls_sslmode).' }),
  clientCertificateRequired: () =>
    fatal('28000', 'connection requires a valid client certificate', {
      detail: 'client_tls_sslmode asks for one that client_tls_ca_file can vouch for.',
    }),
  noForcedUser: () =>
    fatal('28000', 'auth_type any needs a forced user', {
      hint: 'Set user= for this database, or choose another auth_type.',
    }),

  databaseDisabled: (name: string) => fatal('55000', `database "${name}" is disabled`),

  // Shutdown
  shuttingDown: () => fatal('57P01', 'pooler is shutting down'),
  serverShuttingDown: () => fatal('57P01', 'server shutting down'),

  // Reload. The SQLSTATE is PostgreSQL's for a database that was dropped, or a session that an administrator has ended.
  databaseRemoved: () => fatal('57P04', 'database removed'),
  databaseChanged: () =>
    fatal('57P01', 'database configuration changed', {
      hint: 'Connect again: the forced user of this database is new.',
    }),

  // The console. Texts are PgBouncer's.
  consoleNotAllowed: () =>
    fatal('42501', 'not allowed', { hint: 'The console is for users in admin_users or stats_users.' }),
  tooManyConsoles: (limit: number) =>
    fatal('53300', 'no more connections allowed (console)', { detail: `The console serves ${limit} at a time.` }),
  adminAccessNeeded: () => error('42501', 'admin access needed'),
  invalidCommand: (query: string) => error('42601', `invalid command '${query}', use SHOW HELP;`),
  badArguments: () => error('42601', 'bad arguments'),
  notInThisState: (why: string) => error('55000', why),
  unknownDatabase: (name: string) => error('3D000', `no such database: ${name}`),
  databaseRequired: () => error('42601', 'a database is required'),
  invalidClientId: () => error('22023', 'invalid client pointer supplied'),
  clientNotFound: () => error('42704', 'client not found'),
  resumeWhileShuttingDown: () => error('57P01', 'pooler is shutting down'),
  commandTakesNoParameters: () => error('08P01', 'commands take no parameters'),
  commandFailed: () => error('XX000', 'command failed, see logs'),
  setFailed: () => error('22023', 'SET failed'),
  consoleMessageTooLarge: (limitBytes: number) =>
    fatal('54000', 'message too large', { detail: `The console takes ${limitBytes} bytes.` }),
  severalCommands: () => error('42601', 'cannot insert multiple commands into a prepared statement'),
  noSuchPortal: (name: string) => error('34000', `portal "${name}" does not exist`),
  consoleCanceled: () => error('57014', 'canceling statement due to user request'),
  suspendTimeout: () => fatal('57P01', 'suspend_timeout'),
  adminDisconnect: () => fatal('57P01', 'admin forced disconnect'),
  reloadFailed: () => error('F0000', 'RELOAD failed, see logs for additional details'),

  // Servers
  serverLost: () =>
    fatal('08006', 'server conn crashed?', { detail: 'The server closed the connection unexpectedly.' }),
  serverOutOfSync: () =>
    fatal('08P01', 'server sent what nobody had asked for', { hint: 'The server connection was closed.' }),
  serverClosedByPooler: (why: string) => fatal('57P01', `server connection closed: ${why}`),
  connectFailed: (reason: string) =>
    fatal('08006', `connection to the server failed: ${reason}`, { hint: 'The pooler is fine; PostgreSQL is not.' }),
  serverUnavailable: (reason: string) =>
    fatal('08006', `server login has been failing, cached error: ${reason} (server_login_retry)`),

  // Startup
  invalidStartupPacket: (why: string) => fatal('08P01', `invalid startup packet layout: ${why}`),
  unsupportedProtocol: (major: number, minor: number) =>
    fatal('0A000', `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`),
  oldProtocol: () => fatal('0A000', 'old V2 protocol not supported'),
  invalidStartupOptions: ({ message, ...extra }: { readonly message: string; readonly hint?: string }) =>
    fatal('42601', message, extra),
  noUserName: () => fatal('28000', 'no username supplied'),
  invalidReplication: (value: string) =>
    fatal('22023', `invalid value for parameter "replication": "${value}"`, {
      hint: 'Valid values are: "false", 0, "true", 1, "database".',
    }),
  repeatedNegotiation: (what: string) => fatal('08P01', `repeated ${what} request`),
  unencryptedDataAfter: (what: string) => fatal('08P01', `received unencrypted data after ${what} request`),

  // Protocol
  protocolViolation: (why: string) => fatal('08P01', why),
  invalidMessageType: (type: number) => fatal('08P01', `invalid frontend message type ${type}`),
  invalidMessageLength: () => fatal('08P01', 'invalid message length'),
  messageTooLarge: (limitBytes: number) =>
    fatal('54000', 'message too large', { detail: `max_packet_size is ${limitBytes} bytes.` }),
  clientResentStartup: () => fatal('08P01', 'client re-sent startup pkt'),

  // Queries
  transactionInStatementMode: () =>
    fatal('0A000', 'transaction blocks not allowed in statement pooling mode', {
      hint: 'Use pool_mode=transaction for this database or user.',
    }),
  simpleQueryDisabled: () =>
    error('0A000', 'PQexec disallowed', { hint: 'disable_pqexec is on: use the extended query protocol.' }),
  sessionStateRefused: (what: string) =>
    error('0A000', `${what} is not allowed where server connections are shared (server_dirty_policy)`, {
      hint: 'Use pool_mode=session for it.',
    }),
  noSuchStatement: (name: string) =>
    error('26000', `prepared statement "${name}" does not exist`, { routine: 'FetchPreparedStatement' }),
  statementExists: (name: string) =>
    error('42P05', `prepared statement "${name}" already exists`, { routine: 'StorePreparedStatement' }),
  tooManyStatements: (limit: number) =>
    error('54000', 'too many prepared statements (max_client_prepared_statements)', {
      detail: `One client may have ${limit} prepared statements at a time.`,
      hint: 'Close those that are not used any more, or raise max_client_prepared_statements.',
    }),
  statementsTooLarge: (limitBytes: number) =>
    error('54000', 'prepared statements too large (max_client_prepared_size)', {
      detail: `The names and texts of one client's prepared statements may have ${limitBytes} bytes together.`,
      hint: 'Close those that are not used any more, or raise max_client_prepared_size.',
    }),
  canceledWhileWaiting: () =>
    error('57014', 'canceling statement due to user request', {
      detail: 'The query was still waiting for a server connection.',
    }),
} as const satisfies Record<string, (...inputs: never[]) => ErrorReport>;
