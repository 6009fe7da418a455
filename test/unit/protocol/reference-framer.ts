/** The simplest thing that could be right: looks at a whole stream at once and says what a framer must hand over. */
export type Kind =
  | 'forward'
  | 'skip'
  | 'fetch-forward'
  | 'fetch-hold'
  | 'fetch-skip'
  | 'flush'
  | 'drop'
  | 'splice'
  | 'stop';

/** So many bytes of a spliced message's body are replaced (by nothing), along with its header. */
export const SPLICED_BYTES = 3;

export interface Expected {
  /** Forwarded bytes, one piece for each message. */
  readonly forwarded: Buffer;
  /** What the handler is told, in order, with how many bytes had been forwarded by then. */
  readonly events: readonly string[];
}

export interface Sample {
  readonly type: number;
  readonly body: Buffer;
  readonly kind: Kind;
}

export function frameOf({ type, body }: { readonly type: number; readonly body: Buffer }): Buffer {
  const header = Buffer.alloc(5);
  header[0] = type;
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

export function expectedOf(samples: readonly Sample[]): Expected {
  const forwarded: Buffer[] = [];
  const events: string[] = [];
  const say = (what: string): void => {
    events.push(`${what} after ${forwarded.reduce((sum, bytes) => sum + bytes.length, 0)}`);
  };
  for (const sample of samples) {
    switch (sample.kind) {
      case 'forward':
        forwarded.push(frameOf(sample));
        break;
      case 'skip':
        break;
      case 'fetch-forward':
      case 'fetch-hold':
        say(`fetched ${sample.type} ${sample.body.toString('hex')}`);
        forwarded.push(frameOf(sample));
        break;
      case 'fetch-skip':
        say(`fetched ${sample.type} ${sample.body.toString('hex')}`);
        break;
      case 'flush':
        forwarded.push(frameOf(sample));
        say(`flushed ${sample.type}`);
        break;
      case 'drop':
        say(`dropped ${sample.type}`);
        break;
      case 'splice':
        say(`spliced ${sample.type} ${sample.body.toString('hex', 0, SPLICED_BYTES)}`);
        forwarded.push(sample.body.subarray(SPLICED_BYTES));
        break;
      case 'stop':
        return { forwarded: Buffer.concat(forwarded), events };
    }
  }
  return { forwarded: Buffer.concat(forwarded), events };
}
