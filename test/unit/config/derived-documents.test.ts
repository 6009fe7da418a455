/** The documents that are derived from the table of settings are the ones that are committed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { configFromObject, loadConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { sections } from '../../../src/config/settings.ts';
import { renderConfiguration } from '../../support/render-configuration.ts';
import { renderExample } from '../../support/render-example.ts';

const documents: [string, () => string][] = [
  ['pgbouncer.example.yaml', renderExample],
  ['docs/configuration.md', renderConfiguration],
];

function pathOf(name: string): string {
  return new URL(`../../../${name}`, import.meta.url).pathname;
}

describe.each(documents)('%s', (name, render) => {
  it('is what the table says (UPDATE_EXAMPLE=1 writes it anew)', () => {
    if (process.env['UPDATE_EXAMPLE'] === '1') writeFileSync(pathOf(name), render());
    expect(readFileSync(pathOf(name), 'utf8')).toBe(render());
  });

  it('has every setting with its documentation', () => {
    const text = readFileSync(pathOf(name), 'utf8');
    const missing = Object.values(sections).flatMap((table) =>
      table.filter((setting) => !text.includes(setting.name) || !text.includes(setting.documentation)),
    );
    expect(missing.map((setting) => setting.name)).toEqual([]);
  });
});

describe('pgbouncer.example.yaml', () => {
  it('is a configuration with every default', () => {
    const { path, ...config } = loadConfig(pathOf('pgbouncer.example.yaml'));
    const { path: _none, ...defaults } = configFromObject({ databases: { app: {} }, users: { app: {} } });
    expect(path).toBe(pathOf('pgbouncer.example.yaml'));
    expect(config).toEqual(defaults);
  });

  it('sets each setting that has a value, and has the others in comments', () => {
    const text = readFileSync(pathOf('pgbouncer.example.yaml'), 'utf8');
    for (const setting of [...sections.pgbouncer, ...sections.databases, ...sections.users]) {
      const line = setting.default === null ? `^ +# ${setting.name}: <` : `^ +${setting.name}: \\S`;
      expect(text).toMatch(new RegExp(line, 'm'));
    }
  });

  it('is valid with what its comments show', () => {
    const text = readFileSync(pathOf('pgbouncer.example.yaml'), 'utf8');
    const config = parseYamlConfig(text.replaceAll(/^ {2}# ((?:"\*"|reports|archive): )/gm, '  $1'), 'example.yaml');
    expect([...config.databases.keys()]).toEqual(['app', 'reports', 'archive']);
    expect(config.databases.get('reports')).toMatchObject({
      user: 'reports',
      password: "it's secret",
      poolMode: 'session',
    });
    expect(config.databases.get('archive')).toMatchObject({ hosts: ['10.0.0.3'], dbname: 'app', poolSize: 5 });
    expect(config.fallbackDatabase).not.toBeNull();
  });
});
