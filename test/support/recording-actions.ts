/** What the console has asked of the whole pooler, in words; the answers are the test's. */
import type { ConsoleActions, ShutdownKind } from '../../src/admin/console-actions.ts';
import type { ErrorReport } from '../../src/base/errors.ts';

export class RecordingActions implements ConsoleActions {
  readonly asked: string[] = [];
  answer: () => Promise<ErrorReport | null> = () => Promise.resolve(null);

  reload(): Promise<ErrorReport | null> {
    this.asked.push('reload');
    return this.answer();
  }

  set(name: string, value: string): Promise<ErrorReport | null> {
    this.asked.push(`set ${name} ${value}`);
    return this.answer();
  }

  shutdown(kind: ShutdownKind): void {
    this.asked.push(`shutdown ${kind}`);
  }

  isShuttingDown(): boolean {
    return this.asked.some((what) => what.startsWith('shutdown'));
  }
}
