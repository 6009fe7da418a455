/**
 * The end of a connection whose peer should still read our last words. Closing a socket with unread input makes the
 * system send a RST, which can destroy them on their way: so the wire sends FIN behind all that is queued, drops what
 * comes, and goes when the peer has gone, or has taken nothing for a while.
 */
import type { Environment, Timer } from '../base/environment.ts';
import type { Wire, WireReader } from './wire.ts';

const LINGER_MS = 2000;

export class Farewell implements WireReader {
  readonly #wire: Wire;
  readonly #timer: Timer;
  readonly #onGone: () => void;
  #unsentBytes = 0;

  private constructor(wire: Wire, environment: Environment, onGone: () => void) {
    this.#wire = wire;
    this.#onGone = onGone;
    this.#timer = environment.startTimer(LINGER_MS, () => this.#check(), 'repeat');
  }

  /** Takes over `wire`, sends `lastWords` (perhaps none) and closes. `onGone` is called when the socket is closed. */
  static say(wire: Wire, environment: Environment, lastWords: Buffer | null, onGone: () => void): void {
    const farewell = new Farewell(wire, environment, onGone);
    wire.reader = farewell;
    if (lastWords !== null) wire.send(lastWords);
    farewell.#unsentBytes = wire.unsentBytes;
    wire.end();
    wire.release();
    wire.resume();
  }

  onConnected(): void {}

  onBytes(_buffer: Buffer, _start: number, end: number): number {
    return end;
  }

  onDrain(): void {}

  onEnd(): void {
    // Whoever has sent FIN may still be reading.
    if (this.#wire.unsentBytes === 0) this.#wire.destroy();
  }

  onClosed(): void {
    this.#timer.cancel();
    this.#onGone();
  }

  #check(): void {
    const { unsentBytes } = this.#wire;
    if (unsentBytes === 0 || unsentBytes === this.#unsentBytes) this.#wire.destroy();
    this.#unsentBytes = unsentBytes;
  }
}
