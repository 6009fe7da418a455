/**
 * The end of a connection whose peer should still read our last words. Closing a socket with unread input makes the
 * system send a RST, which can destroy them on their way: so the wire sends FIN, drops what comes, and goes when the
 * peer has gone, or after a while.
 */
import type { Environment, Timer } from '../base/environment.ts';
import type { Wire, WireReader } from './wire.ts';

const LINGER_MS = 2000;

export class Farewell implements WireReader {
  readonly #wire: Wire;
  readonly #timer: Timer;
  readonly #onGone: () => void;

  private constructor(wire: Wire, environment: Environment, onGone: () => void) {
    this.#wire = wire;
    this.#onGone = onGone;
    this.#timer = environment.startTimer(LINGER_MS, () => wire.destroy());
  }

  /** Takes over `wire`, sends `lastWords` and closes. `onGone` is called when the socket is closed. */
  static say(wire: Wire, environment: Environment, lastWords: Buffer, onGone: () => void): void {
    wire.reader = new Farewell(wire, environment, onGone);
    wire.send(lastWords);
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
    this.#wire.destroy();
  }

  onClosed(): void {
    this.#timer.cancel();
    this.#onGone();
  }
}
