/**
 * What PgBouncer 1.25 answers to each SHOW: names of columns, and their types by its own letters: s text, i int4, q int8,
 * N numeric, b bytea. Written down from its documentation and its answers, not from our tables.
 */
interface ShowShape {
  readonly types: string;
  readonly columns: string;
}

const CONNECTION =
  'type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id';
const CONNECTION_TYPES = 'ssssssisissiiississii';
const BUFFERS = 'recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail';

export const SHOW_SHAPES: Readonly<Record<string, ShowShape>> = {
  active_sockets: { types: `${CONNECTION_TYPES}iiiiiii`, columns: `${CONNECTION} ${BUFFERS}` },
  clients: { types: CONNECTION_TYPES, columns: CONNECTION },
  config: { types: 'ssss', columns: 'key value default changeable' },
  databases: {
    types: 'ssissiiiissiiiiii',
    columns:
      'name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled',
  },
  dns_hosts: { types: 'sqs', columns: 'hostname ttl addrs' },
  dns_zones: { types: 'sqi', columns: 'zonename serial count' },
  fds: {
    types: 'issssiqisssssbb',
    columns:
      'fd task user database addr port cancel link client_encoding std_strings datestyle timezone password scram_client_key scram_server_key',
  },
  lists: { types: 'si', columns: 'list items' },
  mem: { types: 'siiii', columns: 'name size used free memtotal' },
  peer_pools: {
    types: 'iiiii',
    columns: 'peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login',
  },
  peers: { types: 'isii', columns: 'peer_id host port pool_size' },
  pools: {
    types: 'ssiiiiiiiiiiiiiss',
    columns:
      'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts',
  },
  servers: { types: CONNECTION_TYPES, columns: CONNECTION },
  sockets: { types: `${CONNECTION_TYPES}iiiiiii`, columns: `${CONNECTION} ${BUFFERS}` },
  state: { types: 'ss', columns: 'key value' },
  stats: {
    types: `s${'N'.repeat(24)}`,
    columns:
      'database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count avg_client_login_count',
  },
  stats_averages: {
    types: `s${'N'.repeat(12)}`,
    columns:
      'database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time avg_client_parse_count avg_server_parse_count avg_bind_count avg_client_login_count',
  },
  stats_totals: {
    types: `s${'N'.repeat(12)}`,
    columns:
      'database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time client_parse_count server_parse_count bind_count client_login_count',
  },
  totals: { types: 'sN', columns: 'name value' },
  users: {
    types: 'ssssiiii',
    columns:
      'name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections current_client_connections',
  },
  version: { types: 's', columns: 'version' },
};
