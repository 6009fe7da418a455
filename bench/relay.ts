/**
 * The floor for Node: passes bytes between each client and a server connection of its own, and knows nothing of the
 * protocol. Reads go into given memory, client bytes are copied, server bytes are written as a view: what a pooler on
 * `net.Socket` cannot do with less. Runs as a process: `relay.js HOST PORT`, and reports the port that it listens on.
 */
import { connect, createServer, type OnReadOpts, Socket } from 'node:net';

/** What this file needs of a socket that Node does not declare. */
interface SocketWithHandle {
  _handle: unknown;
}

const READ_BYTES = 65_536;
const NOTHING = new Uint8Array(0);

const [host = '127.0.0.1', port = ''] = process.argv.slice(2);

/** Every client reads into it: its bytes are copied before the callback returns. */
const clientMemory = Buffer.allocUnsafeSlow(READ_BYTES);

/**
 * Whether `to` has taken everything. If not, it still points into the memory that it was given: then nothing may be read
 * into that until it has, and so the source stops.
 */
function hasTaken(to: Socket, from: Socket): boolean {
  if (to.writableLength === 0) return true;
  to.write(NOTHING, () => from.resume());
  return false;
}

function relay(shell: Socket): void {
  // `onread` is offered for dialed sockets only, so the handle moves to a socket of our own making.
  const owner = shell as unknown as SocketWithHandle;
  const handle = owner._handle;
  owner._handle = null;
  shell.destroy(); // or the server would count it for ever

  const fromClient: OnReadOpts = {
    buffer: clientMemory,
    callback: (bytes, memory) => {
      server.write(Buffer.from(memory.subarray(0, bytes)));
      return hasTaken(server, client);
    },
  };
  const fromServer: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(READ_BYTES),
    callback: (bytes, memory) => {
      client.write(memory.subarray(0, bytes));
      return hasTaken(client, server);
    },
  };
  // `handle` is an option of the constructor that Node's types leave out.
  const options = { handle, onread: fromClient } as ConstructorParameters<typeof Socket>[0];
  const server = connect({ host, port: Number(port), noDelay: true, onread: fromServer });
  const client = new Socket(options);
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.on('error', () => other.destroy());
    one.on('end', () => other.end());
    one.on('close', () => other.destroy());
  }
  client.resume();
}

const listener = createServer({ pauseOnConnect: true, noDelay: true }, relay);
listener.listen(0, '127.0.0.1', () => process.send?.(listener.address()));
// Whoever measures us is gone.
process.on('disconnect', () => process.exit(0));
