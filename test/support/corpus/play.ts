/** Plays a conversation against a server and writes down everything that it says, from the login to the end. */
import { setImmediate as turn } from 'node:timers/promises';
import { startup, terminate } from './client-bytes.ts';
import type { Conversation } from './conversation.ts';
import { asText, type DecodedMessage, decode } from './server-message.ts';
import { type TcpAddress, TcpClient } from './tcp-client.ts';

/** `steps`: as written, waiting where it waits. `packet`: login and all in one write. `bytes`: each byte in a write of its own. */
export type Manner = 'steps' | 'packet' | 'bytes';

export interface AllowedDifference {
  /** The message's name, and values that its fields must have for the difference to be allowed. */
  readonly message: string;
  readonly where?: Readonly<Record<string, string>>;
  /** Fields that may differ; without them the whole message may be there or not. */
  readonly fields?: readonly string[];
  /** Only in these conversations; in all of them if absent. */
  readonly conversations?: readonly string[];
  readonly reason: string;
}

/** Long enough for the longest one; a conversation that hangs shows what it has heard so far. */
const LIMIT_MS = 6000;

export async function play(
  address: TcpAddress,
  parameters: Readonly<Record<string, string>>,
  conversation: Conversation,
  manner: Manner,
): Promise<DecodedMessage[]> {
  const client = await TcpClient.connect(address);
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const heard = client.messages.slice(-20).map((message) => asText(decode(message)));
      reject(new Error(`"${conversation.name}" hangs; the last that was heard:\n${heard.join('\n')}`));
    }, LIMIT_MS);
  });
  try {
    await Promise.race([tooLong, converse(client, startup(parameters), conversation, manner)]);
    return (await Promise.race([tooLong, client.rest()])).map(decode);
  } finally {
    clearTimeout(timer);
    await client.drop();
  }
}

async function converse(client: TcpClient, login: Buffer, { steps }: Conversation, manner: Manner): Promise<void> {
  const said = steps.flatMap((step) => (step.does === 'say' ? [step.bytes] : []));
  if (manner === 'packet') {
    client.send(login, ...said, terminate);
    return;
  }
  if (manner === 'bytes') {
    for (const byte of Buffer.concat([login, ...said, terminate])) {
      client.send(Buffer.of(byte));
      await turn();
    }
    return;
  }
  client.send(login);
  await client.reach('Z', 1);
  for (const step of steps) {
    if (step.does === 'say') client.send(step.bytes);
    else await client.reach(step.type, step.count);
  }
  client.send(terminate);
}

/** The messages as lines, without what may differ. */
export function transcript(
  messages: readonly DecodedMessage[],
  conversation: string,
  allowed: readonly AllowedDifference[],
): string[] {
  return messages.flatMap((message) => {
    const differences = allowed.filter((difference) => isAbout(difference, message, conversation));
    if (differences.some(({ fields }) => fields === undefined)) return [];
    const mayDiffer = new Set(differences.flatMap(({ fields = [] }) => fields));
    const fields = Object.entries(message.fields).filter(([name]) => !mayDiffer.has(name));
    return [asText({ name: message.name, fields: Object.fromEntries(fields) })];
  });
}

function isAbout({ message, where, conversations }: AllowedDifference, said: DecodedMessage, name: string): boolean {
  if (message !== said.name || conversations?.includes(name) === false) return false;
  return Object.entries(where ?? {}).every(([field, value]) => said.fields[field] === value);
}
