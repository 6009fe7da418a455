/** A conversation of one client with a server, as data: what it says, and where it waits to hear something first. */

export interface Conversation {
  readonly name: string;
  readonly steps: readonly Step[];
  /** It opens a transaction block, which statement mode does not allow. */
  readonly hasTransactions: boolean;
  /** The server's session ends with it: what follows runs on another one. */
  readonly endsServer: boolean;
  /** Its waits are part of it: it is not sent in one piece. */
  readonly needsWaits: boolean;
  /** It takes a tenth of a second and more. */
  readonly isLong: boolean;
}

export type Step =
  | { readonly does: 'say'; readonly label: string; readonly bytes: Buffer }
  /** Waits until `count` messages of `type` have come since the beginning. */
  | { readonly does: 'hear'; readonly type: string; readonly count: number };

export function say(label: string, ...bytes: readonly Buffer[]): Step {
  return { does: 'say', label, bytes: Buffer.concat(bytes) };
}

export function hear(type: string, count = 1): Step {
  return { does: 'hear', type, count };
}

type Traits = Partial<Pick<Conversation, 'hasTransactions' | 'endsServer' | 'needsWaits' | 'isLong'>>;

export function conversation(name: string, steps: readonly Step[], traits: Traits = {}): Conversation {
  return { name, steps, hasTransactions: false, endsServer: false, needsWaits: false, isLong: false, ...traits };
}

/** For those that open a transaction block. */
export function transaction(name: string, steps: readonly Step[], traits: Traits = {}): Conversation {
  return conversation(name, steps, { hasTransactions: true, ...traits });
}

/** What every conversation may use; all of it is empty when one begins. */
export const corpusSchema = `
  create table notes (id int primary key, note text);
  create table deferred (id int, constraint once unique (id) deferrable initially deferred);
  create table copied (a int, b text);
  create table copied_too (a int);
  create function noisy(count int) returns int language plpgsql as
    $$ begin for i in 1..count loop raise notice 'notice %', i; end loop; return count; end $$;
  create function loud(length int) returns int language plpgsql as
    $$ begin raise exception '%', repeat('x', length); end $$;
  grant all on all tables in schema public to public;
`;
export const emptyCorpusTables = 'truncate notes, deferred, copied, copied_too';
