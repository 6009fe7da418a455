/**
 * A PostgreSQL at an address of the virtual network: accepts, refuses or stays silent as a test says, takes cancels, and
 * counts the backends that hold a slot. What one backend does is in `scripted-session.ts`.
 */
import type { TransportHandler } from '../../src/base/transport.ts';
import { MemoryStream } from './memory-stream.ts';
import { MemoryTransport, SharedMemory } from './memory-transport.ts';
import { ModelDatabase } from './model-database.ts';
import { ScriptedSession } from './scripted-session.ts';
import type { VirtualEnvironment } from './virtual-environment.ts';

/** A CancelRequest that has arrived on a connection of its own. */
export interface CancelArrival {
  readonly pid: number;
  readonly secret: Buffer;
  readonly isSecured: boolean;
  /** The signal reaches the backend. */
  deliver(): void;
  /** The postmaster's child closes the connection. */
  close(): void;
  readonly isOpen: boolean;
}

export interface ScriptedServerOptions {
  readonly host: string;
  readonly port: number;
}

export class ScriptedServer {
  readonly host: string;
  readonly port: number;
  readonly database = new ModelDatabase();
  /** Every session that has sent a startup packet, in order; closed ones stay. */
  readonly sessions: ScriptedSession[] = [];
  readonly cancels: CancelArrival[] = [];
  /** What happens to those who connect from now on. `later`: they wait for `acceptPending`. */
  accepting: 'accept' | 'refuse' | 'hang' | 'later' = 'accept';
  /** Whether a cancel takes effect and is closed at once, or waits for the test. */
  cancelling: 'at-once' | 'held' = 'at-once';
  /** What a new session does instead of logging the client in by itself (see `ScriptedSession.login`). */
  onStartup: ((session: ScriptedSession) => void) | null = null;
  /** What it answers to SSLRequest, and to the first bytes of a handshake. */
  sslAnswer: Buffer | 'close' | 'nothing' = Buffer.from('N');
  hello: Buffer | 'close' | 'nothing' = Buffer.from('\x16hello');
  sslRequests = 0;
  /** The newest version of protocol 3 that it speaks: with 2 it is a PostgreSQL 18, with 0 an older one. */
  newestMinor: 0 | 2 = 2;
  /** The kernel's buffers: what a session has not read, and what the pooler has not. */
  receiveCapacity = 262_144;
  poolerCapacity = 262_144;
  /** Whether the pooler's sockets read into memory that they use again (as plain ones do). */
  reusesMemory = true;
  /** The most backends at one time. */
  mostBackends = 0;
  /** Connections that are there, whether they have said anything or not. */
  readonly streams = new Set<MemoryStream>();
  readonly #environment: VirtualEnvironment;
  /** The pooler's ends of all connections that were ever made. */
  readonly #transports: MemoryTransport[] = [];
  #pending: (() => void)[] = [];
  #nextPid = 1001;

  constructor(environment: VirtualEnvironment, { host, port }: ScriptedServerOptions) {
    this.#environment = environment;
    this.host = host;
    this.port = port;
    environment.dialers.set(`${host}:${port}`, (_address, handler) => this.#onDial(handler));
  }

  /** Sessions whose backend has not gone. */
  get live(): ScriptedSession[] {
    return this.sessions.filter((session) => !session.isGone);
  }

  /** Slots that PostgreSQL counts as taken: from the startup packet until the backend has gone. */
  get backends(): number {
    return this.live.length;
  }

  /** The pooler's ends that are still open. */
  get openTransports(): MemoryTransport[] {
    return this.#transports.filter((transport) => !transport.isClosed);
  }

  /** The pooler's end of the session's connection. */
  transportOf(session: ScriptedSession): MemoryTransport {
    return this.#transports.find((transport) => transport.localPort === session.stream.transport.remotePort)!;
  }

  get rows(): readonly string[] {
    return this.database.rows;
  }

  /** Those who had to wait are connected. */
  acceptPending(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const accept of pending) accept();
  }

  nextPid(): number {
    return this.#nextPid++;
  }

  /** The machine is gone: every connection ends with a RST, and nobody can connect. */
  crash(): void {
    this.accepting = 'refuse';
    for (const session of this.live) session.die('reset');
  }

  onSessionStarted(session: ScriptedSession): void {
    this.sessions.push(session);
    this.mostBackends = Math.max(this.mostBackends, this.backends);
    if (this.onStartup === null) session.login();
    else this.onStartup(session);
  }

  onCancelRequest(stream: MemoryStream, key: Buffer, isSecured: boolean): void {
    const pid = key.readUInt32BE(0);
    const secret = Buffer.from(key.subarray(4));
    const arrival: CancelArrival = {
      pid,
      secret,
      isSecured,
      deliver: () => this.live.find((session) => session.pid === pid && session.secret.equals(secret))?.cancel(),
      close: () => stream.destroy(),
      get isOpen() {
        return !stream.closed && !stream.transport.isClosed;
      },
    };
    this.cancels.push(arrival);
    if (this.cancelling === 'held') return;
    arrival.deliver();
    arrival.close();
  }

  #onDial(handler: TransportHandler): MemoryTransport {
    const environment = this.#environment;
    const here = { address: this.host, port: this.port };
    const there = { address: '10.0.0.99', port: 40_000 + this.#transports.length };
    const transport = new MemoryTransport(
      environment,
      handler,
      { ...there, receiveCapacity: this.poolerCapacity, memory: this.reusesMemory ? new SharedMemory() : null },
      here,
    );
    this.#transports.push(transport);
    const accept = (): void => this.#accept(transport, here, there);
    if (this.accepting === 'refuse') transport.refuse();
    else if (this.accepting === 'later') this.#pending.push(accept);
    else if (this.accepting === 'accept') accept();
    return transport;
  }

  #accept(
    transport: MemoryTransport,
    here: { readonly address: string; readonly port: number },
    there: { readonly address: string; readonly port: number },
  ): void {
    if (transport.isClosed) return;
    const stream = new MemoryStream(this.#environment, { ...here, receiveCapacity: this.receiveCapacity }, there);
    this.streams.add(stream);
    MemoryTransport.connect(transport, stream.transport);
    ScriptedSession.begin(this, stream);
  }
}
