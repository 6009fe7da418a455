/** What the auth room needs of an Environment, repeatable: chance from a counter, keys derived at once or on demand. */
import { createHash, pbkdf2Sync } from 'node:crypto';

export class FakeEnvironment {
  derivations: { password: string; salt: Buffer; iterations: number }[] = [];
  /** Set: derivations wait until `finishDerivation` is called. */
  held: (() => void)[] | null = null;
  failWith: Error | null = null;
  running = 0;
  mostRunning = 0;
  #counter = 0;

  randomBytes(size: number): Buffer {
    const blocks: Buffer[] = [];
    for (let made = 0; made < size; made += 32) {
      blocks.push(
        createHash('sha256')
          .update(`chance ${this.#counter++}`)
          .digest(),
      );
    }
    return Buffer.concat(blocks).subarray(0, size);
  }

  async deriveKey(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    this.derivations.push({ password, salt, iterations });
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      if (this.held !== null) await new Promise<void>((resolve) => this.held?.push(resolve));
      if (this.failWith !== null) throw this.failWith;
      // Few iterations whatever was asked for: what is tested is who derives what, not how long it takes.
      return pbkdf2Sync(password, salt, Math.min(iterations, 4096), 32, 'sha256');
    } finally {
      this.running--;
    }
  }

  async finishDerivation(): Promise<void> {
    this.held?.shift()?.();
    await settled();
  }
}

/** Everything that promises have to say has been said. */
export async function settled(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
