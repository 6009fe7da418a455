/** How a setting's default is shown to people, in the example file and in the documentation. */
import type { Setting } from '../../src/config/setting.ts';

/** The default as it stands in YAML; null where nothing is set. */
export function defaultInYaml({ default: value, kind }: Setting): string | null {
  if (value === null) return null;
  const text = kind.format(value);
  const isPlain = /^\w[\w ,./-]*$/.test(text);
  return isPlain ? text : JSON.stringify(text);
}

/** The same for a file of PgBouncer's. */
export function defaultInIni(setting: Setting): string | null {
  const { iniDefault } = setting;
  const isEmpty = Array.isArray(iniDefault) && iniDefault.length === 0;
  if (isEmpty && setting.kind.format(setting.default) !== '') return null;
  return defaultInYaml({ ...setting, default: iniDefault });
}
