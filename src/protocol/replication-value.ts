/** What a startup packet's `replication` asks for: PostgreSQL's rules for its value, and nothing else. */

/**
 * Whether it asks for a replication connection; PostgreSQL refuses a packet whose value is invalid. It is the word
 * `database` as it stands here, or a boolean (`parse_bool_with_len` in PostgreSQL's bool.c: any unique beginning).
 */
export function asksForReplication(value: string | undefined): boolean | 'invalid' {
  if (value === undefined) return false;
  if (value === 'database' || /^(?:t|tr|tru|true|y|ye|yes|on|1)$/i.test(value)) return true;
  return /^(?:f|fa|fal|fals|false|n|no|of|off|0)$/i.test(value) ? false : 'invalid';
}
