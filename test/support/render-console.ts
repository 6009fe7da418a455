/** Derives `docs/console.md` from the tables of commands and of SHOW. */
import { COMMANDS } from '../../src/admin/admin-commands.ts';
import { SHOW_TABLES } from '../../src/admin/show-tables.ts';

const HEAD = `\
# The console

Derived from \`src/admin/admin-commands.ts\` and \`src/admin/show-tables.ts\`; a test compares them (\`UPDATE_EXAMPLE=1 npx vitest
run test/unit/admin\` writes this page anew).

The console is the database \`pgbouncer\`, which exists nowhere else:

\`\`\`
psql -p 6432 -U admin pgbouncer -c 'SHOW POOLS'
\`\`\`

Who may come in is said by \`admin_users\` (everything) and \`stats_users\` (what needs the right *stats* below). They prove who
they are as clients do, by \`auth_type\` and \`auth_file\`; names are compared whole. Consoles are not counted in
\`max_client_conn\`, so that one can still come in when it is reached; there may be 100 of them. They are answered while databases are
paused.

- Statements end with \`;\` or the message, several may stand in one message, and comments are ignored. An error ends the
  message, not the connection. Names with other characters than letters, digits, \`_\`, \`.\` and \`-\` are quoted: \`PAUSE "my app;1"\`.
- Both protocols are spoken, the extended one (prepared statements, binary results) because drivers use it. Commands take no
  parameters. With postgres.js set \`fetch_types: false\`: it would look for types in \`pg_type\`.
- \`SELECT x\` is \`SHOW x\`. Session parameters that drivers set or ask for (\`SET extra_float_digits = 3\`, \`SHOW client_encoding\`) are
  answered as if they were there; a setting of that name would be out of reach, but there is none.
- Cancelling (Ctrl-C) ends the wait for \`PAUSE\` and \`SUSPEND\` and undoes them; it ends the wait for \`WAIT_CLOSE\`. A console that
  leaves while it waits changes nothing, but that \`SUSPEND\` ends with the last console.
- A command is 64 KB long at most, a name 63 bytes, a value 255.
`;

const COMMANDS_HEAD = `\
## Commands

| command | right | what it does |
|---|---|---|
| \`SHOW HELP\` | stats | Lists the commands, in a notice. |
| \`SET key = value\` | admin | Gives a setting of the section \`pgbouncer\` another value, until the next reload or restart. |
`;

const NOTES = `\
What is worth knowing about them:

- \`PAUSE\` returns when the last server is closed, in session mode when the clients have left. New clients are accepted and wait;
  \`query_wait_timeout\` goes on. \`RESUME\` without a name ends only \`PAUSE\` without a name.
- \`KILL\` pauses each database by its name: \`RESUME db\` opens it again.
- \`DISABLE\` is told to a client after it has proven who it is. It and \`PAUSE db\` hold until they are undone, or the process ends.
- While everything is suspended no connection is accepted, not even a console: the one that has said \`SUSPEND\` must say \`RESUME\`.
- \`SHUTDOWN WAIT_FOR_CLIENTS\` does not wait for consoles, which PgBouncer does.
`;

const TABLES_HEAD = `\
## SHOW

Columns are PgBouncer 1.25's, with its types and in its order. Times of STATS are microseconds, averages are of the last whole
\`stats_period\`: per second, but times of transactions and queries per one of them. The console itself is a database, a pool and a client in them.
`;

const DIFFERENCES = `\
## What the values mean here

- \`ptr\` and \`link\` are names of connections, not addresses; they are the \`id\` in hexadecimal. An id is given when it is first shown.
- \`request_time\` of a client is when it began to wait, or when its query or transaction began; of an idle one, when it connected.
- \`sv_used\` is always 0, and no server is \`used\`: one that was idle for long is tested before its next use, and idle until then.
- Servers that are on their way out are in \`current_connections\` (they may still hold a slot in PostgreSQL), not in SHOW SERVERS.
- Times are UTC. \`free_clients\`, \`free_servers\` are 0.
`;

export function renderConsole(): string {
  const commands = COMMANDS.map(
    ({ name, argument, right, documentation }) =>
      `| \`${`${name.toUpperCase()} ${argument}`.trim().replaceAll('|', '\\|')}\` | ${right} | ${documentation} |`,
  );
  const tables = SHOW_TABLES.map(
    ({ name, right, documentation, columns }) =>
      `### SHOW ${name.toUpperCase()}\n\n${documentation} Right: ${right}.\n\n${columns
        .map((column) => `\`${column.name}\` ${column.type}`)
        .join(', ')}.\n`,
  );
  return [`${HEAD}\n${COMMANDS_HEAD}${commands.join('\n')}\n`, NOTES, TABLES_HEAD, ...tables, DIFFERENCES].join('\n');
}
