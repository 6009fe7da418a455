/**
 * Session parameters that drivers ask for or set without being asked: the console pretends to have them, so that they go
 * on. It keeps none of them. PgBouncer has the first six, with these values.
 */
export const SESSION_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['client_encoding', 'UTF-8'],
  ['default_transaction_isolation', 'read committed'],
  ['standard_conforming_strings', 'on'],
  ['datestyle', 'ISO'],
  ['timezone', 'GMT'],
  ['extra_float_digits', '2'],
  ['application_name', ''],
  ['intervalstyle', 'postgres'],
  ['search_path', ''],
  ['transaction_isolation', 'read committed'],
]);

/** What ParameterStatus says at the login, but for server_version. */
export const REPORTED_PARAMETERS: readonly (readonly [string, string])[] = [
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO'],
  ['TimeZone', 'GMT'],
  ['standard_conforming_strings', 'on'],
  ['is_superuser', 'on'],
];
