/** Derives `docs/configuration.md` from the table of settings. */
import type { Setting } from '../../src/config/setting.ts';
import { databaseSettings, peerSettings, settingGroups, userSettings } from '../../src/config/settings.ts';
import { defaultInIni, defaultInYaml } from './setting-text.ts';

const HEAD = `\
# Configuration

Derived from \`src/config/settings.ts\`; a test compares them (\`UPDATE_EXAMPLE=1 npx vitest run test/unit/config\` writes
this page and \`pgbouncer.example.yaml\` anew).

A configuration is a YAML file, a \`pgbouncer.ini\`, the environment, or (for the library) an object in the YAML's shape. It
has up to four sections: \`pgbouncer\` for the settings of the whole, \`databases\` for what clients can connect to, \`users\`
for what is different for some users, and \`peers\` for the other poolers of a group. Every mistake is reported with file,
line and column, all of them at once, and nothing starts half configured. A file has at most 1 MB.

## YAML

- Times are seconds (\`15\`, \`0.5\`) or have a unit: \`us\`, \`ms\`, \`s\`, \`min\`, \`h\`, \`d\` (\`500ms\`, \`2min\`).
- Sizes are bytes or have a unit: \`B\`, \`kB\`, \`MB\`, \`GB\`, in steps of 1024.
- \`true\`, \`yes\`, \`on\` and \`1\` mean the same, as do \`false\`, \`no\`, \`off\` and \`0\`.
- Paths are relative to the folder of the file in which they stand.
- Values, never keys, may hold references: \`\${NAME}\` is an environment variable, and an error where it is not set;
  \`\${NAME:-default}\` is the default where it is not set or empty; \`\${file:path}\` is the text of a file, without the newline at
  its end, as for secrets that are mounted. \`$\${\` stands for \`\${\`; any other \`$\` is just that. In a connection string a
  value stays one value whatever is in it, so that nothing needs to be quoted or percent-encoded; only a reference with which the
  string begins may be a whole URL. No message ever shows what came out of a reference.

\`\`\`yaml
databases:
  app: postgres://app:\${file:/run/secrets/password}@\${DB_HOST}:\${DB_PORT:-5432}/shop
  reports: \${REPORTS_URL}
\`\`\`

## pgbouncer.ini

A file whose name ends in \`.ini\`, or begins like one, is read as PgBouncer reads it, and gets PgBouncer's defaults: the
tables below name them where they are others than ours. What may seem odd is PgBouncer's, too:

- \`;\` and \`#\` begin a comment only where a line begins. A value ends with its line and has no quotes.
- Whole numbers may be octal (\`010\` is 8) or hexadecimal, and 0 and 1 are no and yes; our units and words work too.
- \`%include\` and all other paths are relative to the folder in which the program was started. Files may be included
  10 deep, and not in a circle.
- Of two entries with one name the later counts. A section \`[pgbouncer]\` that is begun again forgets what was set before;
  there is a warning.
- In \`[databases]\` and \`[users]\`, a number below 0 means "not set". Values of connection strings may stand in single quotes,
  in which \`''\` is a quote; a backslash is a backslash; none may be empty.
- Names of databases and users with other characters than \`A-Z a-z 0-9 _ . - *\` need double quotes.
- Without \`host\`, a database is reached by the Unix socket in \`unix_socket_dir\`; without \`listen_addr\`, only that is listened on.

An unknown section or setting is an error, as in PgBouncer. What PgBouncer takes and makes nonsense of is an error here:
\`pool_size=x\` (0 there), numbers past 2147483647, negative ones in \`[pgbouncer]\`, one address twice in \`listen_addr\`, text
that is not UTF-8. URLs, which PgBouncer does not know, may stand in \`[databases]\`.

\`tsbouncer convert pgbouncer.ini\` prints the YAML that behaves the same, with passwords if there are any.

## Environment

\`TSBOUNCER_POOL_MODE=transaction\` is the setting \`pool_mode\` of \`pgbouncer\`, and so is each other one; it wins over the
file, in either format. An empty variable counts as one that is not set. A name that is nearly a setting's is an error, any
other is somebody else's, such as the variables that Kubernetes sets for a service called \`tsbouncer\`.

Without a file, \`DATABASE_URL\`, or \`PGHOST\` with \`PGPORT\`, \`PGUSER\`, \`PGPASSWORD\` and \`PGDATABASE\`, is a whole configuration: one
database, of that name, on \`127.0.0.1:6432\`, for clients with the same user and password (\`auth_type\` scram-sha-256). The
application's URL needs another host and port and nothing else.

- The URL may hold settings of a database (\`?pool_size=5\`). Parameters that are the client's (\`schema\`, \`connection_limit\`) are left to
  it, with a warning; a demand for security that cannot be met is an error.
- Without a password there is nothing that clients could be asked for: whoever reaches 127.0.0.1 is let in (\`auth_type\` any),
  and any other \`listen_addr\` is refused unless \`TSBOUNCER_AUTH_TYPE\` says how clients are known.
- An address at which the pooler itself listens is refused.

## What the columns mean

*Applies*: \`reload\` when the configuration is read again, \`restart\` only when the process starts.
`;

const DATABASES = `\
## databases

Each key is the name that clients ask for; \`*\` stands for every other name, and \`pgbouncer\` is reserved. A database is

- a mapping of the settings below: \`app: {host: 10.0.0.2, pool_size: 10}\`;
- a libpq connection string with the same settings: \`app: host=10.0.0.2 password='two words' pool_size=10\`. In single
  quotes, a backslash takes the next character as it is, and \`''\` is a quote (another one in an \`.ini\`, see above);
- a URL: \`app: postgres://user:password@10.0.0.2:5432/dbname?pool_size=10\`, with special characters percent-encoded.

As in PgBouncer, \`user\` forces that user on the server for all clients. Unix sockets are not supported yet.
`;

const USERS = `\
## users

Each key is the name of a user. What is set here wins over the database, which wins over \`pgbouncer\`.
`;

const PEERS = `\
## peers

Each key is the \`peer_id\` of another pooler that clients reach by the same address, from 1 to 65535; what it needs is
written as for a database.
`;

export function renderConfiguration(): string {
  const groups = settingGroups.map((group) => `### ${group.title}\n\n${renderTable(group.settings)}`);
  return [
    HEAD,
    `## pgbouncer\n\n${groups.join('\n')}`,
    `${DATABASES}\n${renderTable(databaseSettings)}`,
    `${USERS}\n${renderTable(userSettings)}`,
    `${PEERS}\n${renderTable(peerSettings)}`,
  ].join('\n');
}

function renderTable(settings: readonly Setting[]): string {
  const rows = settings.map((setting) => {
    const { name, kind, applies, documentation, instead } = setting;
    const effect = instead === null ? '' : ` **No effect**: ${instead}.`;
    return `| \`${name}\` | ${renderDefault(setting)} | ${kind.values} | ${applies} | ${documentation}${effect} |`;
  });
  return ['| name | default | values | applies | |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}

function renderDefault(setting: Setting): string {
  const [ours, inIni] = [defaultInYaml(setting), defaultInIni(setting)].map((value) =>
    value === null ? 'not set' : `\`${value}\``,
  );
  return ours === inIni ? ours! : `${ours}; ${inIni} in an .ini`;
}
