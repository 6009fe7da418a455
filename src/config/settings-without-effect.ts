/**
 * PgBouncer's settings that Node.js gives no hand for: they are accepted, so that a file need not be changed, and a
 * warning says what happens instead. Nothing reads their values but those who show them.
 */
import { setting } from './setting.ts';
import { boolean, duration, integer, optional, path, text } from './setting-kinds.ts';

const count = integer(0);

export const settingsWithoutEffect = [
  setting('pkt_buf', 'pktBuf', integer(0), 4096, 'restart')
    .withoutEffect('buffers are shared by all connections and fit themselves to what is read')
    .documented('Bytes of a buffer in PgBouncer.'),
  setting('sbuf_loopcnt', 'sbufLoopcnt', count, 5)
    .withoutEffect("Node.js decides how much is read from a connection before it is the next one's turn")
    .documented('Buffers that PgBouncer handles per connection and turn; 0 means no limit there.'),
  setting('tcp_defer_accept', 'tcpDeferAccept', boolean, true)
    .withoutEffect('connections are accepted at once, and client_login_timeout ends those that say nothing')
    .documented('Whether PgBouncer lets the kernel wait for the first bytes before a connection is accepted.'),
  setting('tcp_socket_buffer', 'tcpSocketBuffer', count, 0)
    .withoutEffect("the system sizes the sockets' buffers: see net.ipv4.tcp_rmem and net.ipv4.tcp_wmem")
    .documented("Bytes of each socket's buffers in the kernel; 0 leaves them to the system."),
  setting('tcp_keepcnt', 'tcpKeepcnt', count, 0)
    .withoutEffect('probes are as net.ipv4.tcp_keepalive_* says or, with tcp_keepidle, ten of them, a second apart')
    .documented('Keepalive probes without an answer after which a connection is dead; 0 leaves it to the system.'),
  setting('tcp_keepintvl', 'tcpKeepintvlMs', duration(), 0)
    .withoutEffect('probes are as net.ipv4.tcp_keepalive_* says or, with tcp_keepidle, ten of them, a second apart')
    .documented('Seconds between two keepalive probes; 0 leaves it to the system.'),
  setting('tcp_user_timeout', 'tcpUserTimeout', count, 0)
    .withoutEffect(
      'client_write_timeout, query_timeout and server_check_delay bound what hangs, and net.ipv4.tcp_retries2 of the system',
    )
    .documented('Milliseconds that sent data may stay without an acknowledgement; 0 leaves it to the system.'),
  setting('dns_zone_check_period', 'dnsZoneCheckPeriodMs', duration(), 0)
    .withoutEffect('zones are not watched; each name is resolved again after dns_max_ttl')
    .documented('Seconds between two looks at the serial numbers of DNS zones; 0 means none.'),
  setting('conffile', 'conffile', optional(path), null)
    .withoutEffect('the file that tsbouncer was started with is read again')
    .documented('File that PgBouncer reads at its next reload.'),
  setting('job_name', 'jobName', text(), 'pgbouncer', 'restart')
    .withoutEffect('there is no Windows service')
    .documented('Name of the Windows service in PgBouncer.'),
  setting('service_name', 'serviceName', text(), 'pgbouncer', 'restart')
    .withoutEffect('there is no Windows service')
    .documented('Name of the Windows service in PgBouncer.'),
] as const;
