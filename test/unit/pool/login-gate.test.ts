/** How many logins may be under way: never more, and whoever was turned away is called when there is room. */
import { describe, expect, test } from 'vitest';
import { type GateVisitor, LoginGate } from '../../../src/pool/login-gate.ts';

class Visitor implements GateVisitor {
  inside = 0;
  wanted = 0;
  readonly #gate: LoginGate;

  constructor(gate: LoginGate) {
    this.#gate = gate;
  }

  want(count: number): void {
    this.wanted += count;
    this.onGateOpen();
  }

  onGateOpen(): void {
    while (this.wanted > 0 && this.#gate.enter(this)) {
      this.wanted--;
      this.inside++;
    }
  }

  leave(): void {
    this.inside--;
    this.#gate.leave();
  }
}

describe('the gate', () => {
  test('lets in as many as it may, and the others one by one', () => {
    const gate = new LoginGate(2);
    const visitors = [new Visitor(gate), new Visitor(gate), new Visitor(gate)];
    for (const visitor of visitors) visitor.want(4);
    let most = 0;
    for (let left = 12; left > 0; left--) {
      most = Math.max(
        most,
        visitors.reduce((sum, { inside }) => sum + inside, 0),
      );
      visitors.find(({ inside }) => inside > 0)!.leave();
    }
    expect(most).toBe(2);
    expect(visitors.map(({ wanted, inside }) => wanted + inside)).toEqual([0, 0, 0]);
  });

  test('who is called and does not want any more leaves the room to the next', () => {
    const gate = new LoginGate(1);
    const [first, second, third] = [new Visitor(gate), new Visitor(gate), new Visitor(gate)];
    first.want(1);
    second.want(1);
    third.want(1);
    second.wanted = 0;
    first.leave();
    expect(third.inside).toBe(1);
  });
});

describe('thousands of visitors', () => {
  test('who leave as soon as they are in do not nest', () => {
    const gate = new LoginGate(1);
    let served = 0;
    const first = new Visitor(gate);
    first.want(1);
    for (let i = 0; i < 20_000; i++) {
      const visitor: GateVisitor = {
        onGateOpen: () => {
          if (!gate.enter(visitor)) return;
          served++;
          gate.leave();
        },
      };
      gate.enter(visitor);
    }
    first.leave();
    expect(served).toBe(20_000);
  });
});
