/** A raw client on the virtual network: what it asks for has happened when the call returns. */
import type { MemoryStream } from './memory-stream.ts';
import { type LoginOptions, RawClient, valuesIn } from './raw-client.ts';
import type { VirtualEnvironment } from './virtual-environment.ts';
import { client as build } from './wire.ts';
import { summary } from './wire-trace.ts';

export class SessionClient extends RawClient {
  readonly memory: MemoryStream;
  readonly port: number;
  readonly #environment: VirtualEnvironment;

  constructor(environment: VirtualEnvironment, stream: MemoryStream) {
    super(stream);
    this.memory = stream;
    this.port = stream.transport.localPort;
    this.#environment = environment;
  }

  /** Sends the startup packet and expects to be let in without a password. */
  logIn(options: LoginOptions = {}): void {
    this.sendStartup(options);
    this.#environment.run();
    this.acceptLogin(this.take());
  }

  /** Sends, lets everything happen that follows from it at this moment, and says what came, in one line. */
  exchange(...messages: readonly Buffer[]): string {
    this.send(...messages);
    this.#environment.run();
    return this.takeSummary();
  }

  /** As `exchange`, of one simple query. */
  query(sql: string): string {
    return this.exchange(build.query(sql));
  }

  /** The first column of what a simple query returns; throws for an error, or if it is not answered now. */
  column(sql: string): (string | null)[] {
    this.send(build.query(sql));
    this.#environment.run();
    const messages = this.take();
    if (messages.at(-1)?.type !== 'Z') throw new Error(`${sql} was not answered: ${summary(messages)}`);
    return valuesIn(messages);
  }

  /** The process id of the backend that answers now. */
  pid(): number {
    return Number(this.column('PID')[0]);
  }

  /** Terminate and close, as libpq leaves: whatever comes afterwards is answered with a RST. */
  leave(): void {
    this.send(build.terminate());
    this.stream.destroy();
    this.#environment.run();
  }

  /** FIN without a word. */
  vanish(): void {
    this.stream.end();
    this.#environment.run();
  }

  /** RST. */
  crash(): void {
    this.stream.reset();
    this.#environment.run();
  }
}
