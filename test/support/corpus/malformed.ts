/** Conversations with messages whose bodies are not what they should be: PostgreSQL answers most with 08P01, and goes on. */
import { bind, execute, extended, flush, int16, int32, message, parse, query, sync, text } from './client-bytes.ts';
import { type Conversation, conversation, hear, say } from './conversation.ts';

/** Sends `bytes` and a Sync, and shows that the session lives. */
function broken(name: string, ...bytes: readonly Buffer[]): Conversation {
  return conversation(name, [
    say('broken', ...bytes, sync),
    say('alive', query('select 1'), extended('select 2'), sync),
  ]);
}

const empty = Buffer.alloc(0);

export const malformedConversations: readonly Conversation[] = [
  broken('a Query without its end', message('Q', Buffer.from('select 1'))),
  broken('a Query with something behind its end', message('Q', text('select 1'), Buffer.from('x'))),
  broken('a Query without a body', message('Q', empty)),
  broken('a Query with bytes that are no UTF-8', message('Q', Buffer.from("select '\xff\xfe'\0", 'latin1'))),
  broken('a Parse without a body', message('P', empty)),
  broken('a Parse that ends in its name', message('P', Buffer.from('name'))),
  broken('a Parse with fewer types than it says', message('P', text(''), text('select 1'), int16(3), int32(23))),
  broken('a Parse with a negative number of types', message('P', text(''), text('select 1'), int16(-1))),
  broken('a Parse with something behind its end', message('P', text(''), text('select 1'), int16(0), Buffer.from('x'))),
  broken('a Bind without a body', parse('select 1'), message('B', empty)),
  broken(
    'a Bind with 65535 values and none there',
    parse('select 1'),
    message('B', text(''), text(''), int16(0), int16(65_535)),
  ),
  broken(
    'a Bind with 65535 formats',
    parse('select 1'),
    message('B', text(''), text(''), int16(65_535), int16(0), int16(0)),
  ),
  broken(
    'a Bind with a value of length -2',
    parse('select $1::text'),
    message('B', text(''), text(''), int16(0), int16(1), int32(-2), int16(0)),
  ),
  broken(
    'a Bind with a value longer than the message',
    parse('select $1::text'),
    message('B', text(''), text(''), int16(0), int16(1), int32(0x7fff_ffff), Buffer.from('x'), int16(0)),
  ),
  broken(
    'a Bind with a format that does not exist',
    parse('select $1::text'),
    message('B', text(''), text(''), int16(1), int16(7), int16(1), int32(1), Buffer.from('x'), int16(0)),
  ),
  broken('a Describe of neither kind', message('D', Buffer.from('X'), text(''))),
  broken('a Describe without a body', message('D', empty)),
  broken('a Close of neither kind', message('C', Buffer.from('X'), text(''))),
  broken('a Close without a name', message('C', Buffer.from('S'))),
  broken('an Execute without a body', parse('select 1'), bind(), message('E', empty)),
  broken('an Execute with a negative limit', parse('select 1'), bind(), message('E', text(''), int32(-5))),
  broken('a Sync with a body', message('S', Buffer.from('x'))),
  broken('a FunctionCall without a body', message('F', empty)),
  broken('a FunctionCall with too many values', message('F', int32(177), int16(0), int16(32_000))),
  broken(
    'a CopyData, CopyDone and CopyFail without a COPY, malformed',
    message('c', Buffer.from('x')),
    message('f', empty),
  ),
  conversation('a malformed Bind among good ones', [
    say(
      'all',
      extended('select 1'),
      message('B', empty),
      execute(),
      extended('select 2'),
      sync,
      extended('select 3'),
      sync,
    ),
  ]),
  conversation(
    'a message type that does not exist',
    [
      say('before', query('select 1')),
      hear('Z', 2),
      say('unknown', message('a', Buffer.from('what')), query('select 2')),
    ],
    { needsWaits: true },
  ),
  conversation('a message type that does not exist, behind a query', [
    say('both', query("select 'answered', pg_sleep(0.05)"), message('a', empty)),
  ]),
  conversation('a password message after the login', [
    say('password', message('p', text('secret')), query('select 2')),
  ]),
  conversation('a length that is too short', [
    say('short', Buffer.concat([Buffer.from('Q'), int32(3)]), query('select 1')),
  ]),
  conversation('a Flush and a Sync in a batch that has failed', [
    say('all', message('B', empty), flush, flush, sync, sync, flush, query('select 1')),
  ]),
];
