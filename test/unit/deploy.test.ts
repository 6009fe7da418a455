/** The files in `deploy/` against what they speak of: files, ports, paths of probes, settings, times. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Config } from '../../src/config/config.ts';
import { parseYamlConfig } from '../../src/config/load-config.ts';
import { createPooler } from '../../src/pooler.ts';
import { freePort } from '../support/debian-pgbouncer.ts';
import { RecordingLogger } from '../support/recording-logger.ts';

const CHECKOUT = join(import.meta.dirname, '../..');

function read(name: string): string {
  return readFileSync(join(CHECKOUT, name), 'utf8');
}

interface Package {
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

const about = JSON.parse(read('package.json')) as Package;

/** Arguments of each `instruction`, without options. */
function dockerfile(instruction: string): readonly string[] {
  const lines = read('deploy/Dockerfile').split('\n');
  return lines.filter((line) => line.startsWith(`${instruction} `)).map((line) => line.slice(instruction.length + 1));
}

const [entryPoint, command] = [dockerfile('ENTRYPOINT'), dockerfile('CMD')].map(
  ([line]) => JSON.parse(line ?? '[]') as string[],
);

interface Port {
  readonly name: string;
  readonly containerPort: number;
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Container {
  readonly ports: readonly Port[];
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly subPath?: string }[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
  readonly spec: {
    readonly selector: unknown;
    readonly ports: readonly { readonly targetPort: string; readonly port: number }[];
    readonly template: {
      readonly metadata: { readonly labels: unknown };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
      };
    };
  };
}

const manifests = parseAllDocuments(read('deploy/kubernetes.yaml')).map((document): Manifest => {
  expect(document.errors).toEqual([]);
  return document.toJS() as Manifest;
});

function manifest(kind: string): Manifest {
  return manifests.find((each) => each.kind === kind)!;
}

const [[configName, configText] = ['', '']] = Object.entries(manifest('ConfigMap').data);
const pod = manifest('Deployment').spec.template;
const [container] = pod.spec.containers as readonly [Container];

function mountedConfig(): Config {
  return parseYamlConfig(configText, command![0]!);
}

function secondsToLeave({ settings }: Config): number {
  return (settings.shutdownDelayMs + settings.shutdownTimeoutMs) / 1000;
}

describe('Dockerfile', () => {
  it('copies what there is', () => {
    const copies = dockerfile('COPY').filter((line) => !line.startsWith('--from'));
    for (const source of copies.flatMap((line) => line.split(' ').slice(0, -1))) {
      expect(existsSync(join(CHECKOUT, source)), source).toBe(true);
    }
  });

  it('copies all that npm ci compares with the lock file', () => {
    const copied = dockerfile('COPY').join(' ').split(' ');
    const folders = Object.values({ ...about.dependencies, ...about.devDependencies })
      .filter((version) => version.startsWith('file:'))
      .map((version) => version.slice('file:'.length));
    for (const path of ['package.json', 'package-lock.json', '.npmrc', ...folders]) expect(copied).toContain(path);
  });

  it('starts the program that the build makes, with the file that Kubernetes mounts', () => {
    const [folder] = dockerfile('WORKDIR').slice(-1);
    expect(entryPoint).toEqual(['node', join(folder!, about.bin['tsbouncer']!)]);
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    expect(command).toEqual([expect.stringContaining(configName)]);
    expect(mounts).toContain(dirname(command![0]!));
  });

  it('names the ports that are listened on', () => {
    const { listenPort, httpPort } = mountedConfig().settings;
    expect(dockerfile('EXPOSE')).toEqual([`${listenPort} ${httpPort}`]);
  });
});

describe('kubernetes.yaml', () => {
  it('mounts a configuration that is one, and whole folders, so that a change is seen', () => {
    const { settings, warnings } = mountedConfig();
    expect(warnings).toEqual([]);
    expect(settings).toMatchObject({ reloadOnChange: true, listenAddr: ['*'], httpListenAddr: '*' });
    for (const { subPath } of container.volumeMounts) expect(subPath).toBeUndefined();
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts).toContain(dirname(settings.authFile!));
    const volumes = new Map(pod.spec.volumes.map((volume) => [volume.name, volume]));
    for (const { name } of container.volumeMounts) expect(volumes.has(name), name).toBe(true);
    expect(volumes.get('config')?.configMap?.name).toBe(manifest('ConfigMap').metadata.name);
  });

  it('needs no file that could be written, as there is none', () => {
    const { pidfile, logfile, unixSocketDir } = mountedConfig().settings;
    expect([pidfile, logfile, unixSocketDir]).toEqual([null, null, null]);
  });

  it('names the ports that are listened on', () => {
    const { listenPort, httpPort } = mountedConfig().settings;
    expect(container.ports).toEqual([
      { name: 'postgres', containerPort: listenPort },
      { name: 'http', containerPort: httpPort },
    ]);
    const names = new Set(container.ports.map(({ name }) => name));
    const { ports, selector } = manifest('Service').spec;
    expect(ports.map(({ targetPort }) => names.has(targetPort))).toEqual([true]);
    expect(pod.metadata.labels).toEqual(selector);
  });

  it('asks for what is answered', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-deploy-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'users.txt'), '');
    const file = join(folder, configName);
    writeFileSync(
      file,
      configText
        .replace(/auth_file: .*/, 'auth_file: users.txt')
        .replace(/http_port: .*/, `http_port: ${await freePort()}\n  listen_port: 0`)
        .replaceAll('"*"', '127.0.0.1'),
    );
    const pooler = await createPooler(file, { log: new RecordingLogger() });
    onTestFinished(() => pooler.close({ timeoutMs: 0 }));
    for (const { httpGet } of [container.readinessProbe, container.livenessProbe]) {
      expect(httpGet.port).toBe('http');
      const { host, port } = pooler.metricsAddress!;
      expect((await fetch(`http://${host}:${port}${httpGet.path}`)).status, httpGet.path).toBe(200);
    }
  });

  it('lets the pooler end by itself', () => {
    expect(pod.spec.terminationGracePeriodSeconds).toBeGreaterThan(secondsToLeave(mountedConfig()));
  });
});

describe('tsbouncer.service', () => {
  it('lets the pooler end by itself, tells it how to be reloaded, and hears it', () => {
    const unit = read('deploy/tsbouncer.service');
    const value = (name: string): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];
    expect(Number(value('TimeoutStopSec'))).toBeGreaterThan(secondsToLeave(parseYamlConfig('databases: {a: }', 'a')));
    expect([value('Type'), value('NotifyAccess'), value('ExecReload')]).toEqual([
      'notify',
      'all',
      '/bin/kill -HUP $MAINPID',
    ]);
    expect(value('ExecStart')).toMatch(/ tsbouncer \/\S+\.yaml$/);
    expect(read('deploy/tsbouncer.socket')).toMatch(/^ListenStream=/m);
  });
});
