/**
 * The parameters that one client's startup packet asks for, as a server's own startup packet can carry them. Servers that
 * were opened with the same set serve each other's clients. It knows neither of them.
 */
import { MAX_STARTUP_BYTES } from '../protocol/startup-packet.ts';
import { foldName, type Wish } from './wishes.ts';

/** It differs from client to client of one program, so it is set, as PgBouncer does, and makes no set of its own. */
const ALWAYS_SET = 'application_name';

/** In a startup packet they are no parameters: who the session is for must not be a client's to say. */
const NO_PARAMETERS: ReadonlySet<string> = new Set(['', 'user', 'database', 'replication', 'options']);
const PROTOCOL_OPTION = '_pq_.';

/** What is left of a packet for user, database and the parameters of the database entry: each may be long. */
const OTHER_BYTES = 2000;

export class StartupSet {
  /** That of servers which are opened for nobody in particular. */
  static readonly NONE: StartupSet = new StartupSet([]);

  /** The same for equal sets only, whatever the case of their names; '' for none. */
  readonly key: string;
  /** For a startup packet. */
  readonly parameters: readonly (readonly [name: string, value: string])[];
  readonly #names: ReadonlySet<string>;

  private constructor(settings: readonly Wish[]) {
    const folded = settings.map(({ name, value }) => [foldName(name), value] as const);
    this.key = folded.length === 0 ? '' : JSON.stringify(folded);
    this.#names = new Set(folded.map(([name]) => name));
    this.parameters = packetOf(settings);
  }

  /** `settings` in the order in which they take effect. Null if there are too many for a startup packet of ours. */
  static of(settings: readonly Wish[]): StartupSet | null {
    const carried = settings.filter(({ name }) => foldName(name) !== ALWAYS_SET);
    if (carried.length === 0) return StartupSet.NONE;
    const set = new StartupSet(carried);
    let bytes = OTHER_BYTES;
    for (const [name, value] of set.parameters) bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
    return bytes > MAX_STARTUP_BYTES ? null : set;
  }

  /** Whether it says anything of the parameter `name`, whatever its case. */
  has(name: string): boolean {
    return this.#names.has(foldName(name));
  }
}

/** Whether it is a parameter in a startup packet, too. */
function isCarried({ name }: Wish): boolean {
  return !NO_PARAMETERS.has(foldName(name)) && !foldName(name).startsWith(PROTOCOL_OPTION);
}

/** A name that means something else in a startup packet is given in `options`, where it is a parameter like any other. */
function packetOf(settings: readonly Wish[]): [string, string][] {
  const options = settings.filter((setting) => !isCarried(setting)).map(optionOf);
  const parameters = settings.filter(isCarried).map(({ name, value }): [string, string] => [name, value]);
  return options.length === 0 ? parameters : [['options', options.join(' ')], ...parameters];
}

/** As `parseStartupOptions` reads it. */
function optionOf({ name, value }: Wish): string {
  return `-c ${`${name}=${value}`.replaceAll(/[\\ \t\n\v\f\r]/g, String.raw`\$&`)}`;
}
