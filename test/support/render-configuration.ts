/** Derives `docs/configuration.md` from the table of settings. */
import type { Setting } from '../../src/config/setting.ts';
import { databaseSettings, peerSettings, settingGroups, userSettings } from '../../src/config/settings.ts';
import { defaultInYaml } from './setting-text.ts';

const HEAD = `\
# Configuration

Derived from \`src/config/settings.ts\`; a test compares them (\`UPDATE_EXAMPLE=1 npx vitest run test/unit/config\` writes
this page and \`pgbouncer.example.yaml\` anew).

A configuration is a YAML file (or, for the library, an object in the same shape) with up to four sections: \`pgbouncer\`
for the settings of the whole, \`databases\` for what clients can connect to, \`users\` for what is different for some
users, and \`peers\` for the other poolers of a group. Every mistake is reported with file, line and column, all of them
at once, and nothing starts half configured.

- Times are seconds (\`15\`, \`0.5\`) or have a unit: \`us\`, \`ms\`, \`s\`, \`min\`, \`h\`, \`d\` (\`500ms\`, \`2min\`).
- Sizes are bytes or have a unit: \`B\`, \`kB\`, \`MB\`, \`GB\`, in steps of 1024.
- \`true\`, \`yes\`, \`on\` and \`1\` mean the same, as do \`false\`, \`no\`, \`off\` and \`0\`.
- Paths are relative to the folder of the file in which they stand.
- *Applies*: \`reload\` when the configuration is read again, \`restart\` only when the process starts.
`;

const DATABASES = `\
## databases

Each key is the name that clients ask for; \`*\` stands for every other name, and \`pgbouncer\` is reserved. A database is

- a mapping of the settings below: \`app: {host: 10.0.0.2, pool_size: 10}\`;
- a libpq connection string with the same settings: \`app: host=10.0.0.2 password='two words' pool_size=10\`. In single
  quotes, a backslash takes the next character as it is, and \`''\` is a quote;
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
    const value = defaultInYaml(setting);
    const shown = value === null ? 'not set' : `\`${value}\``;
    return `| \`${setting.name}\` | ${shown} | ${setting.kind.values} | ${setting.applies} | ${setting.documentation} |`;
  });
  return ['| name | default | values | applies | |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}
