/** Which changes of files are noticed, and when. The system's events come by hand, time from a manual clock. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigWatch } from '../../src/config-watch.ts';
import { ManualEnvironment } from './metrics/manual-environment.ts';

const QUIET_MS = 250;
const LOOK_MS = 5000;

function scene(paths: (folder: string) => readonly string[] = (folder) => [join(folder, 'a.yaml')]) {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-watch-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const environment = new ManualEnvironment();
  const watched = new Map<string, () => void>();
  let changes = 0;
  const watch = new ConfigWatch({
    environment,
    watchFolder: (name, onEvent) => {
      watched.set(name, onEvent);
      return { close: () => watched.delete(name) };
    },
    onChange: () => changes++,
  });
  const write = (text: string, name = 'a.yaml'): void => writeFileSync(join(folder, name), text);
  write('first');
  const begin = (): void => watch.watch(paths(folder));
  const event = (name = folder): void => watched.get(name)?.();
  return { folder, environment, watch, watched, write, begin, event, changes: () => changes };
}

test('a file that is written over is noticed once, when it is quiet', () => {
  const { begin, write, event, environment, changes } = scene();
  begin();
  write('second');
  event();
  event();
  expect(changes()).toBe(0);
  environment.fire(QUIET_MS);
  environment.fire(QUIET_MS);
  expect(changes()).toBe(1);
});

test('a file that is still being written is not read', () => {
  const { begin, write, event, environment, changes } = scene();
  begin();
  write('half');
  event();
  write('half and more');
  environment.fire(QUIET_MS);
  expect(changes()).toBe(0);
  environment.fire(QUIET_MS);
  expect(changes()).toBe(1);
});

test('a file that another one replaces is noticed, and its absence in between is not', () => {
  const { begin, write, event, environment, changes, folder } = scene();
  begin();
  unlinkSync(join(folder, 'a.yaml'));
  event();
  environment.fire(QUIET_MS);
  expect(changes()).toBe(0);
  write('second', 'draft');
  renameSync(join(folder, 'draft'), join(folder, 'a.yaml'));
  event();
  environment.fire(QUIET_MS);
  expect(changes()).toBe(1);
});

test('a ConfigMap whose link is swapped is noticed, as often as it happens', () => {
  const { begin, event, environment, changes, folder, watched } = scene((root) => [join(root, 'mount', 'a.yaml')]);
  const put = (version: string): void => {
    mkdirSync(join(folder, 'mount', version), { recursive: true });
    writeFileSync(join(folder, 'mount', version, 'a.yaml'), version);
    symlinkSync(version, join(folder, 'mount', 'draft'));
    renameSync(join(folder, 'mount', 'draft'), join(folder, 'mount', '..data'));
  };
  put('one');
  symlinkSync('..data/a.yaml', join(folder, 'mount', 'a.yaml'));
  begin();
  for (const [count, version] of [
    [1, 'two'],
    [2, 'three'],
  ] as const) {
    put(version);
    event(join(folder, 'mount'));
    environment.fire(QUIET_MS);
    expect(changes()).toBe(count);
    expect(watched.has(join(folder, 'mount', version))).toBe(true);
  }
});

test('events that mean nothing are not noticed', () => {
  const { begin, write, event, environment, changes } = scene();
  begin();
  write('x', 'other.yaml');
  event();
  environment.fire(QUIET_MS);
  expect(changes()).toBe(0);
});

test('a change that the system does not tell of is noticed at the next look', () => {
  const { begin, write, environment, changes } = scene();
  begin();
  write('second');
  environment.fire(LOOK_MS);
  environment.fire(QUIET_MS);
  expect(changes()).toBe(1);
  environment.fire(LOOK_MS);
  environment.fire(QUIET_MS);
  expect(changes()).toBe(1);
});

test('nothing is left of it after the end', () => {
  const { begin, event, watch, watched, environment } = scene();
  begin();
  event();
  watch.close();
  expect([watched.size, environment.timers.size]).toEqual([0, 0]);
});
