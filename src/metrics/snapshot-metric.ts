/**
 * One row of the table as prom-client's registry wants it: something with a name that can be asked for its values. It
 * keeps none: a gauge's own would be keyed by its labels, joined with commas and unescaped, so that names of databases
 * and users could be chosen to make two pools one.
 */
import { Gauge, type MetricType } from 'prom-client';
import type { PoolerSnapshot } from '../pool/snapshot.ts';
import type { MetricDefinition } from './metric-definition.ts';

type Described = Awaited<ReturnType<Gauge['get']>>;

export class SnapshotMetric extends Gauge {
  readonly #definition: MetricDefinition;
  readonly #snapshot: () => PoolerSnapshot;

  /** `snapshot` gives the one that is being rendered. It is in no registry yet. */
  constructor(definition: MetricDefinition, snapshot: () => PoolerSnapshot) {
    const { name, help, labels } = definition;
    super({ name, help, labelNames: [...labels], registers: [] });
    this.#definition = definition;
    this.#snapshot = snapshot;
  }

  override get(): Promise<Described> {
    const { name, help, type, read } = this.#definition;
    const values = read(this.#snapshot()).map(({ labels, value, suffix = '' }) => ({
      metricName: `${name}${suffix}`,
      labels,
      value,
    }));
    return Promise.resolve({
      name,
      help,
      // Its declaration has an enum where the library has words.
      type: type as unknown as MetricType,
      aggregator: 'omit',
      collect: () => undefined,
      values,
    });
  }
}
