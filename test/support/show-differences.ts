/** By what the tables of PgBouncer 1.25, and so ours, differ from those of 1.18. */

const CONNECTION = ['replication', 'prepared_statements', 'id'];
const COUNTS = [
  'server_assignment_count',
  'client_parse_count',
  'server_parse_count',
  'bind_count',
  'client_login_count',
];

/** Columns by the name of the table. */
export const ADDED_SINCE_1_18: Readonly<Record<string, readonly string[]>> = {
  active_sockets: CONNECTION,
  clients: CONNECTION,
  databases: ['server_lifetime', 'load_balance_hosts', 'max_client_connections', 'current_client_connections'],
  pools: ['load_balance_hosts'],
  servers: CONNECTION,
  sockets: CONNECTION,
  stats: COUNTS.flatMap((name) => [`total_${name}`, `avg_${name}`]),
  stats_averages: ['server_assignment_count', ...COUNTS.slice(1).map((name) => `avg_${name}`)],
  stats_totals: COUNTS,
  users: [
    'pool_size',
    'reserve_pool_size',
    'max_user_connections',
    'current_connections',
    'max_user_client_connections',
    'current_client_connections',
  ],
};

/** Table, column and type, as 1.18 has them, to column and type. */
export const RENAMED_SINCE_1_18: Readonly<Record<string, string>> = {
  'databases reserve_pool 23': 'reserve_pool_size 23',
};
