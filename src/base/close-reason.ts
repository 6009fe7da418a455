/**
 * Why connections are closed: two closed lists, used for the log line (the phrase) and the metric's label (the key).
 * What the client is told is in `errors.ts`. Phrases are PgBouncer's where it has one.
 */

export const CLIENT_CLOSE_REASONS = {
  terminated: 'client close request',
  eof: 'client unexpected eof',
  abandoned_query_timeout: 'abandoned_query_timeout',
  connection_error: 'client connection error',
  probe: 'client left before its first byte',
  cancel_request: 'cancel request',
  protocol_violation: 'protocol violation',
  startup_refused: 'startup packet refused',
  authentication_failed: 'login failed',
  no_such_database: 'no such database',
  limit_reached: 'no more connections allowed',
  login_timeout: 'client_login_timeout',
  idle_timeout: 'client_idle_timeout',
  write_timeout: 'client_write_timeout',
  query_wait_timeout: 'query_wait_timeout',
  query_timeout: 'query timeout',
  idle_transaction_timeout: 'idle transaction timeout',
  transaction_timeout: 'transaction timeout',
  statement_mode: 'transaction blocks not allowed in statement pooling mode',
  server_unavailable: 'server login has been failing',
  server_lost: 'server conn crashed?',
  server_closed: 'server connection closed by the pooler',
  parameter_refused: 'invalid server parameter',
  database_removed: 'database removed',
  config_changed: 'database configuration changed',
  suspend_timeout: 'suspend_timeout',
  admin_disconnect: 'admin forced disconnect',
  console_refused: 'not allowed',
  shutdown: 'pooler is shutting down',
} as const;

export type ClientCloseReason = keyof typeof CLIENT_CLOSE_REASONS;

export const SERVER_CLOSE_REASONS = {
  connect_failed: 'connect failed',
  connect_timeout: 'connect timeout',
  login_failed: 'login failed',
  eof: 'server conn crashed?',
  fatal_error: 'server ended the session',
  out_of_sync: 'server out of sync',
  dirty_while_idle: 'idle server got dirty',
  check_failed: 'test query failed',
  reset_failed: 'reset query failed',
  dirty: 'session state that cannot be undone',
  parameter_failed: 'setting parameters failed',
  idle_timeout: 'server idle timeout',
  lifetime: 'server lifetime over',
  query_timeout: 'query timeout',
  idle_transaction_timeout: 'idle transaction timeout',
  transaction_timeout: 'transaction timeout',
  abandoned: 'client left in the middle of a message',
  recovery_timeout: 'server_recovery_timeout',
  cancel_uncertain: 'a cancel for it may still come',
  transaction_left_open: 'connect_query left a transaction open',
  not_answering: 'server does not answer',
  evicted: 'evicted for another pool',
  replaced: 'replaced by one with other startup parameters',
  over_limit: 'pool is over its size',
  address_changed: 'server address changed',
  unneeded: 'nobody needs it any more',
  paused: 'pause',
  suspend_timeout: 'suspend_timeout',
  database_removed: 'database removed',
  config_changed: 'database configuration changed',
  shutdown: 'shutdown',
} as const;

export type ServerCloseReason = keyof typeof SERVER_CLOSE_REASONS;
