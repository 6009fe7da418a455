/**
 * Renders snapshots in Prometheus' text format, with prom-client. The registry is its own, so that two poolers in one
 * process do not meet, and holds nothing between two scrapes.
 *
 * prom-client's default metrics are left out: one of them lists every open handle, which takes time in proportion to
 * clients, and their observers of garbage collection and event loop are never taken down again.
 */
import { Registry } from 'prom-client';
import type { Environment } from '../base/environment.ts';
import type { PoolerSnapshot } from '../pool/snapshot.ts';
import { metricGroups } from './metric-table.ts';
import { SnapshotMetric } from './snapshot-metric.ts';

/** A thousand pools make a page of 4 MB, which takes 100 ms: nobody's query waits for more than this of it. */
const SLICE_MS = 5;

export class PrometheusMetrics {
  readonly #environment: Environment;
  readonly #registry = new Registry();
  readonly #names: readonly string[];
  #snapshot: PoolerSnapshot | null = null;

  constructor(environment: Environment) {
    this.#environment = environment;
    const definitions = metricGroups.flatMap(({ metrics }) => [...metrics]);
    for (const definition of definitions) {
      this.#registry.registerMetric(new SnapshotMetric(definition, () => this.#snapshot!));
    }
    this.#names = definitions.map(({ name }) => name);
  }

  /** Of what `render` returns: text format 0.0.4, in UTF-8. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  async render(snapshot: PoolerSnapshot): Promise<string> {
    const texts: string[] = [];
    let sliceStartMs = this.#environment.now();
    for (const name of this.#names) {
      // The values are read before the call returns; another rendering may have its turn before the text is there.
      this.#snapshot = snapshot;
      const text = this.#registry.getSingleMetricAsString(name);
      this.#snapshot = null;
      texts.push(await text);
      if (this.#environment.now() - sliceStartMs < SLICE_MS) continue;
      await this.#letOthersRun();
      sliceStartMs = this.#environment.now();
    }
    return `${texts.join('\n')}\n`;
  }

  #letOthersRun(): Promise<void> {
    return new Promise((resolve) => {
      this.#environment.startTimer(0, resolve);
    });
  }
}
