/**
 * A statement as the pooler knows it: a text and the types of its parameters, whoever prepared it under whatever name. On
 * servers it has a name of ours. It knows neither clients nor servers.
 */
import { PARSE } from '../protocol/message-type.ts';
import { message } from '../protocol/server-messages.ts';
import { PEEK_BYTES, peekStatement, type StatementPeek } from '../protocol/statement-peek.ts';

/** What the names on servers begin with, and what no client's name is ever sent as. */
export const POOLED_NAME_PREFIX = 'tsbouncer_';

export class PooledStatement {
  /** As servers know it. */
  readonly name: string;
  /** The same with its NUL. */
  readonly nameBytes: Buffer;
  /** The body of a Parse behind the name: text, NUL, number of types, types; one character for each byte. */
  readonly body: string;
  /** What its first words tell. */
  readonly peek: StatementPeek;
  /** Goes up when what was prepared before cannot be used any more, on whichever server. */
  generation = 0;
  /** How many clients' names and servers refer to it. */
  references = 0;

  constructor(number: number, body: string) {
    this.name = `${POOLED_NAME_PREFIX}${number}`;
    this.nameBytes = Buffer.from(`${this.name}\0`, 'latin1');
    this.body = body;
    this.peek = peekStatement(body.slice(0, PEEK_BYTES));
  }

  /** A Parse that prepares it under its name on servers. */
  parseMessage(): Buffer {
    return parseMessage(this.nameBytes, this.body);
  }
}

/** `name` with its NUL. `body`: see `PooledStatement`. */
export function parseMessage(name: Buffer, body: string): Buffer {
  return message(PARSE, Buffer.concat([name, Buffer.from(body, 'latin1')]));
}
