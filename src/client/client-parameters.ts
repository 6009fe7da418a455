/**
 * The session parameters of one client: the values of what servers report, as it knows them, and its wishes for what
 * they do not. It says whether a server has them, and what has to be done to one that has not. It sends nothing.
 */
import type { CanonicalValues } from '../pool/canonical-values.ts';
import type { ParameterTable, Values } from '../server/parameter-table.ts';
import type { ServerParameters } from '../server/server-parameters.ts';
import type { StartupSet } from '../server/startup-set.ts';
import type { Wishes } from '../server/wishes.ts';
import type { Adjustment, Setting } from './adjustment.ts';

/** A server that the client has at the moment. */
export interface Reporter {
  readonly parameters: ServerParameters;
  readonly readyCount: number;
}

export class ClientParameters {
  readonly wishes: Wishes;
  readonly #table: ParameterTable;
  /** What RESET returns to. Null is what the client has never heard of. */
  #startup: Values;
  #values: Values;
  /** Places of values that the client believes to be others. */
  #untold: Set<number> | null = null;
  /** Reports that come before the next ReadyForQuery of this one may be what a RESET has brought about. */
  #resetOn: Reporter | null = null;
  #resetReadyCount = 0;
  #hasBegun = false;

  /** `reported` is what servers have, `startup` what the client asks for, in their order. */
  constructor(table: ParameterTable, reported: ReadonlyMap<string, string>, startup: Iterable<Setting>) {
    this.#table = table;
    const wishes: Setting[] = [];
    let values: (string | null)[] | null = null;
    for (const setting of startup) {
      const place = table.find(setting.name);
      if (place >= 0) (values ??= [...table.reported(reported)])[place] = setting.value;
      else wishes.push(setting);
    }
    this.#startup = values === null ? table.reported(reported) : table.values(values);
    this.#values = this.#startup;
    this.wishes = table.wishes(wishes);
  }

  get(place: number): string | null {
    return this.#values[place] ?? null;
  }

  /**
   * `server`, the client's first, was opened with `startup`, which is the client's: what it has made of that is what the
   * client has, and what RESET returns to. `canonical` learns how it spells values.
   */
  begin(server: ServerParameters, startup: StartupSet, canonical: CanonicalValues): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    for (let place = 0; place < this.#table.size; place++) {
      const spelling = server.initial(place);
      const own = this.get(place);
      const name = this.#table.name(place);
      if (spelling === null || spelling === own || !startup.has(name)) continue;
      if (own !== null) canonical.learn(name, own, spelling);
      this.#set(place, spelling);
      this.#startup = this.#table.with(this.#startup, place, spelling);
      (this.#untold ??= new Set()).add(place);
    }
  }

  /** Whether `server` can serve as it is. The one comparison on the data path. */
  matches(server: ServerParameters): boolean {
    if (this.wishes !== server.wishes || this.#untold !== null) return false;
    return this.#values === server.values || this.#differences(server).length === 0;
  }

  /** What makes `server` match; null if it has everything, and only the client has to be told. */
  adjust(server: ServerParameters): Adjustment | null {
    const withdrawn = [...server.wishes].filter(({ name }) => this.wishes.get(name) === null).map(({ name }) => name);
    const places = this.#differences(server);
    const { areKnown } = server.wishes;
    const wishes = [...this.wishes].filter(({ name, value }) => !areKnown || server.wishes.get(name) !== value);
    if (withdrawn.length + places.length + wishes.length === 0) return null;
    const reported = places.map((place) => ({ name: this.#table.name(place), value: this.get(place) }));
    return { withdrawn, settings: [...reported, ...wishes], places, wishes: this.wishes };
  }

  /** The client's server has reported another value. */
  report(place: number, server: Reporter): void {
    const value = server.parameters.values[place]!;
    const startup = this.#startup[place] ?? null;
    const isReset = this.#resetOn === server && this.#resetReadyCount === server.readyCount;
    if (!isReset) this.#resetOn = null;
    if (!isReset || startup === null || value !== server.parameters.initial(place)) {
      this.#set(place, value);
      return;
    }
    this.#set(place, startup);
    if (startup !== value) (this.#untold ??= new Set()).add(place);
  }

  /** The server's spelling of a value that was set replaces the client's, or every transaction would set it again. */
  adopt(place: number, spelling: string): void {
    if (this.get(place) === this.#startup[place]) this.#startup = this.#table.with(this.#startup, place, spelling);
    this.#set(place, spelling);
  }

  /**
   * The client has run RESET ALL or DISCARD ALL (`all`), or a RESET of something, on `server`: what that has made of a
   * value, the client's startup makes of it again before its next transaction.
   */
  onReset(what: 'all' | 'some', server: Reporter): void {
    this.#resetOn = server;
    this.#resetReadyCount = server.readyCount;
    if (what === 'some') return;
    this.#startup.forEach((startup, place) => {
      if (startup === null || startup === this.get(place)) return;
      this.#set(place, startup);
      (this.#untold ??= new Set()).add(place);
    });
  }

  /** Places of values that the client has to be told, once. */
  takeUntold(): Iterable<number> {
    const untold = this.#untold;
    this.#untold = null;
    return untold ?? [];
  }

  #differences(server: ServerParameters): number[] {
    const places: number[] = [];
    for (let place = 0; place < this.#table.size; place++) if (this.#differs(place, server)) places.push(place);
    return places;
  }

  /** Without an opinion of the client's, a value that was not there at the server's login is another client's. */
  #differs(place: number, server: ServerParameters): boolean {
    const mine = this.get(place);
    return mine !== (server.values[place] ?? null) && (mine !== null || server.initial(place) === null);
  }

  #set(place: number, value: string): void {
    this.#values = this.#table.with(this.#values, place, value);
  }
}
