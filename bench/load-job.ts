/** What a load process is asked and what it answers: the messages between `LoadProcess` and `run-load.ts`. */
import type { Endpoint } from './raw-client.ts';

export type LoadJob =
  | {
      readonly kind: 'copy';
      readonly endpoint: Endpoint;
      readonly sql: string;
      /** Bytes to send, for COPY FROM STDIN; 0 for COPY TO STDOUT. */
      readonly sendBytes: number;
      readonly clients: number;
      readonly seconds: number;
    }
  /** Log in and leave, `count` times. */
  | { readonly kind: 'logins'; readonly endpoint: Endpoint; readonly count: number; readonly concurrency: number }
  /** Log in, ask one query and stay. */
  | { readonly kind: 'open'; readonly endpoint: Endpoint; readonly count: number; readonly concurrency: number }
  /** All that stayed leave. */
  | { readonly kind: 'close' };

export interface LoadResult {
  readonly count: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type LoadReply =
  | { readonly ok: true; readonly result: LoadResult }
  | { readonly ok: false; readonly problem: string };
