/** Derives `pgbouncer.example.yaml` from the table of settings. */
import type { Setting } from '../../src/config/setting.ts';
import { databaseSettings, peerSettings, settingGroups, userSettings } from '../../src/config/settings.ts';
import { defaultInYaml } from './setting-text.ts';

const HEAD = `\
# Every setting of tsbouncer with its default. This file is derived from src/config/settings.ts; a test compares them.
#
# Times are seconds (15, 0.5) or have a unit (500ms, 15s, 2min, 1h, 1d); sizes are bytes or have one (64kB, 1MB, 1GB).
# A changed setting applies when the configuration is read again; one marked (restart) only when the process starts.
# A setting in a comment is not set by default; what it can be is said in <>.
`;

const OTHER_DATABASES = `\
  # A database can also be a libpq connection string or a URL, with the same settings in it:
  # reports: host=10.0.0.2 port=5432 dbname=app user=reports password='it''s secret' pool_mode=session
  # archive: postgres://reader:secret@10.0.0.3:5432/app?pool_size=5

  # For every other name that a client asks for:
  # "*": host=127.0.0.1
`;

export function renderExample(): string {
  const groups = settingGroups.map((group) => {
    return `  # ---- ${group.title} ----\n\n${renderSettings(group.settings, '  ')}`;
  });
  const databases = renderSettings(databaseSettings, '    ');
  const users = renderSettings(userSettings, '    ');
  return `${HEAD}
pgbouncer:
${groups.join('\n')}
databases:
  # The name that clients ask for.
  app:
${databases}
${OTHER_DATABASES}
# A user's settings win over those of a database, which win over those above.
users:
  app:
${users}
# The other poolers of a group that clients reach by one address, by their peer_id.
# peers:
#   2:
${commented(renderSettings(peerSettings, '    '))}`;
}

function commented(text: string): string {
  return text.replaceAll(/^(?!$)/gm, '# ');
}

function renderSettings(settings: readonly Setting[], indent: string): string {
  const entries = settings.map((setting) => {
    const value = defaultInYaml(setting);
    const line = value === null ? `# ${setting.name}: <${setting.kind.values}>` : `${setting.name}: ${value}`;
    const mark = setting.applies === 'restart' ? ' (restart)' : '';
    return `${indent}# ${setting.documentation}${mark}\n${indent}${line}\n`;
  });
  return entries.join('\n');
}
