/**
 * Makes a server fit for its next client: sets what differs, withdraws what another one had wished, and finds out whose
 * fault it is if that fails. It knows neither where servers come from nor what the client has sent.
 */
import type { CanonicalValues } from '../pool/canonical-values.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import { parameterStatus } from '../protocol/server-messages.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerHolder } from '../server/server-holder.ts';
import { UNKNOWN_VALUE } from '../server/server-parameters.ts';
import { Wishes } from '../server/wishes.ts';
import { type Adjustment, adjustmentSql } from './adjustment.ts';
import type { ClientParameters } from './client-parameters.ts';

export interface PreparationListener extends ServerHolder {
  readonly parameters: ClientParameters;
  /** The server has what the client needs. `changes` tell the client what it cannot know. */
  onPrepared(server: ServerConnection, changes: readonly Buffer[]): void;
  /** The server has refused what the client wants, and is as it was. */
  onRefused(error: ErrorFields): void;
  /** The server cannot be rid of what another client had wanted. */
  onUnfit(server: ServerConnection): void;
}

/** How often something is tried again that cannot be explained by the client's values. */
const MAX_RETRIES = 2;

/** A statement timeout, or a cancel that came too late for what it was meant for. */
const QUERY_CANCELED = '57014';

export class ServerPreparation {
  readonly #server: ServerConnection;
  readonly #listener: PreparationListener;
  readonly #canonical: CanonicalValues;
  readonly #changes: Buffer[] = [];
  #retries = 0;

  constructor(server: ServerConnection, listener: PreparationListener, canonical: CanonicalValues) {
    this.#server = server;
    this.#listener = listener;
    this.#canonical = canonical;
  }

  /** The listener hears the end, perhaps before this returns, unless the server is lost or abandoned meanwhile. */
  start(): void {
    const { parameters } = this.#listener;
    const adjustment = parameters.adjust(this.#server.parameters);
    if (adjustment !== null) {
      this.#apply(adjustment);
      return;
    }
    this.#server.parameters.wishes = parameters.wishes;
    this.#finish();
  }

  #apply(adjustment: Adjustment): void {
    const { parameters } = this.#server;
    const before = parameters.wishes;
    // Nobody may ever hear how it went: the client may leave meanwhile.
    parameters.wishes = Wishes.either(before, adjustment.wishes);
    for (const place of adjustment.places) {
      if (!parameters.reports(place)) parameters.believe(place, UNKNOWN_VALUE);
    }
    this.#server.prepare(this.#listener, adjustmentSql(adjustment), (error) => {
      parameters.wishes = error === null ? adjustment.wishes : before;
      if (error === null) this.#onApplied(adjustment);
      else this.#onFailed(adjustment, error);
    });
  }

  #onApplied({ places }: Adjustment): void {
    const { parameters } = this.#listener;
    for (const place of places) this.#adopt(place);
    // To withdraw a wish can change what was right before, where not all servers report the same.
    if (!parameters.matches(this.#server.parameters) && this.#mayRetry()) this.start();
    else this.#finish();
  }

  #onFailed({ withdrawn, settings }: Adjustment, error: ErrorFields): void {
    if (withdrawn.length > 0 && settings.length > 0) {
      // Whose fault is it?
      const names = [...this.#server.parameters.wishes].map(({ name }) => name);
      this.#apply({ withdrawn: names, settings: [], places: [], wishes: Wishes.NONE });
    } else if (error.sqlstate === QUERY_CANCELED && this.#mayRetry()) {
      this.start();
    } else if (withdrawn.length > 0) {
      this.#listener.onUnfit(this.#server);
    } else {
      this.#listener.onRefused(error);
    }
  }

  #mayRetry(): boolean {
    return this.#retries++ < MAX_RETRIES;
  }

  #adopt(place: number): void {
    const server = this.#server.parameters;
    const client = this.#listener.parameters;
    const own = client.get(place);
    if (own === null || !server.reports(place)) {
      server.believe(place, own);
      return;
    }
    const spelling = server.values[place]!;
    if (spelling === own) return;
    const name = server.table.name(place);
    this.#canonical.learn(name, own, spelling);
    client.adopt(place, spelling);
    this.#changes.push(parameterStatus(name, spelling));
  }

  #finish(): void {
    const { parameters } = this.#listener;
    const { table } = this.#server.parameters;
    for (const place of parameters.takeUntold()) {
      this.#changes.push(parameterStatus(table.name(place), parameters.get(place)!));
    }
    this.#listener.onPrepared(this.#server, this.#changes);
  }
}
