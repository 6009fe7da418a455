import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ErrorFields } from '../../../src/protocol/error-fields.ts';
import type { PreparedStatement } from '../../../src/server/prepared-statement.ts';
import { RepeatableBatch } from '../../../src/server/repeatable-batch.ts';

const extended = {
  bind: (name: string) => message('B', Buffer.from(`\0${name}\0\0\0\0\0\0\0`)),
  describe: message('D', Buffer.from('P\0')),
  execute: message('E', Buffer.from('\0\0\0\0\0')),
  sync: message('S', Buffer.alloc(0)),
};
const PREPARED = { answered: () => {}, failed: () => {}, skipped: () => {} } as unknown as PreparedStatement;
const PLAN_CHANGE: ErrorFields = {
  severity: 'ERROR',
  sqlstate: '0A000',
  message: 'cached plan must not change result type',
  detail: null,
  hint: null,
  routine: 'RevalidateCachedQuery',
};

/** What is kept of `bytes`, if the Bind that they begin with is refused for its plan. */
function taken(bytes: Buffer): Buffer | null {
  const batch = new RepeatableBatch();
  const note = batch.begin(PREPARED, 0);
  if (bytes.length > 0) batch.keep(bytes, 0, bytes.length);
  note.failed(PLAN_CHANGE);
  return batch.take();
}

describe('a batch that may be sent again', () => {
  const bind = extended.bind('s');
  const whole = Buffer.concat([bind, extended.describe, extended.execute, extended.sync]);

  it('is whole, and describes before it executes', () => {
    expect(taken(whole)).toEqual(whole);
  });

  it('is none where anything of it is missing', () => {
    for (let length = 0; length < whole.length; length++) expect(taken(whole.subarray(0, length))).toBeNull();
  });

  it('is never looked for behind its end, whatever it holds', () => {
    const header = fc.integer({ min: 0, max: 64 }).map((size) => Buffer.from([0x42, 0, 0, 0, size]));
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 60 }), (head, body) => {
        taken(Buffer.concat([head, body]));
      }),
      { numRuns: 2000 },
    );
  });
});

function message(code: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(code);
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}
