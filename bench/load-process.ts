/** This side of a load process: starts it, hands it jobs one by one, ends it. What a job is made of it does not know. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ChildProcesses, lastWords } from './child-processes.ts';
import type { LoadJob, LoadReply, LoadResult } from './load-job.ts';

const PROGRAM = fileURLToPath(new URL('./run-load.js', import.meta.url));

export class LoadProcess {
  readonly #children: ChildProcesses;
  readonly #child: ChildProcess;
  readonly #logPath: string;

  private constructor(children: ChildProcesses, child: ChildProcess, logPath: string) {
    this.#children = children;
    this.#child = child;
    this.#logPath = logPath;
  }

  static async start(children: ChildProcesses, logPath: string): Promise<LoadProcess> {
    return new LoadProcess(
      children,
      await children.start(process.execPath, [PROGRAM], { logPath, ipc: true }),
      logPath,
    );
  }

  /** Rejects if the job fails, takes longer than `timeoutMs`, or the process dies over it. */
  do(job: LoadJob, timeoutMs: number): Promise<LoadResult> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        child.off('message', onReply);
        child.off('exit', onExit);
      };
      const onReply = (reply: unknown): void => {
        finish();
        const answer = reply as LoadReply;
        if (answer.ok) resolve(answer.result);
        else reject(new Error(`load: ${answer.problem}`));
      };
      const onExit = (): void => {
        finish();
        reject(new Error(`the load process ended: ${lastWords(this.#logPath)}`));
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`load: "${job.kind}" did not end within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      child.on('message', onReply);
      child.on('exit', onExit);
      child.send(job, (error) => {
        if (error === null) return;
        finish();
        reject(error);
      });
    });
  }

  end(): Promise<void> {
    return this.#children.end(this.#child);
  }
}
