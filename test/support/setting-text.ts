/** How a setting's default is shown to people, in the example file and in the documentation. */
import type { Setting } from '../../src/config/setting.ts';

/** The default as it stands in YAML; null where nothing is set. */
export function defaultInYaml(setting: Setting): string | null {
  if (setting.default === null) return null;
  const text = setting.kind.format(setting.default);
  const isPlain = /^\w[\w ,./-]*$/.test(text);
  return isPlain ? text : JSON.stringify(text);
}
