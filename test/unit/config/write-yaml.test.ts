import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/config/config.ts';
import { parseIniConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { sections } from '../../../src/config/settings.ts';
import { writeYaml } from '../../../src/config/write-yaml.ts';

const INI = `
[databases]
app = host=10.0.0.2 user=app password='it''s \${SECRET} "x" \\ #' pool_size=3
"odd: ""name""" = host=a,b connect_query='select 1; -- x'
true = host=x dbname=null
123 =
* = port=7
[users]
bob = pool_mode=statement query_timeout=1.5
[peers]
3 = host=/tmp/x pool_size=2
[pgbouncer]
auth_file = users.txt
query_timeout = 0.25
ignore_startup_parameters = extra_float_digits, options
server_reset_query =
server_check_query = select 1
pkt_buf = 8192
login_notify_message = a: \${b} # c
`;

/** Without what is about the file itself. */
function meaning({ path: _path, warnings, ...config }: Config): object {
  return { ...config, warnings: warnings.map(({ message }) => message) };
}

function inQuotes(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function roundTrip(ini: Config): Config {
  return parseYamlConfig(writeYaml(ini, 'p.ini').text, '/elsewhere/p.yaml', { variables: {} });
}

describe('a pgbouncer.ini as YAML', () => {
  it('is read into the same configuration', () => {
    const ini = parseIniConfig(INI, 'p.ini');
    expect(meaning(roundTrip(ini))).toEqual(meaning(ini));
    expect(ini.databases.get('app')?.password).toBe('it\'s ${SECRET} "x" \\ #');
  });

  it('has PgBouncer’s defaults where ours are others, and nothing else', () => {
    const { text, hasSecrets } = writeYaml(
      parseIniConfig('[pgbouncer]\nlisten_addr=127.0.0.1\n[databases]\na=host=127.0.0.1', 'p.ini'),
      'p.ini',
    );
    expect(text.split('\n').slice(2)).toEqual([
      'pgbouncer:',
      '  listen_backlog: 128',
      '  unix_socket_dir: "/tmp"',
      '  max_packet_size: "2147483647"',
      '  server_dirty_policy: keep',
      '  session_startup: set',
      '  log_format: text',
      '  syslog_ident: pgbouncer',
      '  shutdown_timeout: 0',
      '',
      'databases:',
      '  a:',
      '',
    ]);
    expect(hasSecrets).toBe(false);
  });

  it('says what has no effect, and that there are passwords', () => {
    const { text, hasSecrets } = writeYaml(parseIniConfig(INI, 'p.ini'), 'p.ini');
    expect(text).toContain('  # has no effect: buffers are shared by all connections');
    expect(hasSecrets).toBe(true);
  });

  it('is the same for each value that settings can have', () => {
    const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
    const database = fc.record({ password: word, connect_query: word, application_name: word }, { requiredKeys: [] });
    const lines = fc.record(
      {
        login_notify_message: word,
        server_check_query: word,
        default_pool_size: fc.nat(1000),
        query_timeout: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
        log_connections: fc.boolean().map(Number),
        pool_mode: fc.constantFrom('session', 'transaction', 'statement'),
        max_packet_size: fc.integer({ min: 1024, max: 2_147_483_647 }),
        unix_socket_mode: fc.constantFrom('0700', '777'),
      },
      { requiredKeys: [] },
    );
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }).filter((text) => !/[\n"]/.test(text));
    fc.assert(
      fc.property(lines, name, database, word, (settings, databaseName, parameters, message) => {
        const connection = Object.entries(parameters).map(([key, value]) => `${key}=${inQuotes(value)}`);
        const text = [
          '[databases]',
          `"${databaseName}" = ${connection.join(' ')}`,
          '[pgbouncer]',
          `login_notify_message = \${${message}`,
          ...Object.entries(settings).map(([key, value]) => `${key} = ${value}`),
        ];
        const ini = parseIniConfig(text.join('\n'), 'p.ini');
        expect(meaning(roundTrip(ini))).toEqual(meaning(ini));
      }),
      { numRuns: 500 },
    );
  });
});

describe('PgBouncer’s own settings', () => {
  it('each parse in a pgbouncer.ini with PgBouncer’s default, and mean what no line means', () => {
    const lines = sections.pgbouncer
      .filter(({ iniDefault, kind }) => kind.format(iniDefault as never) !== '')
      .map(({ name, kind, iniDefault }) => {
        const text = kind.format(iniDefault as never);
        return `${name} = ${kind.type === 'boolean' ? Number(text === 'true') : text}`;
      });
    const all = parseIniConfig(`[pgbouncer]\n${lines.join('\n')}`, 'p.ini');
    expect(meaning(all)).toEqual(meaning(parseIniConfig('[pgbouncer]', 'p.ini')));
    expect(lines.length).toBeGreaterThan(70);
  });
});
