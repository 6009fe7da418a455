/** Takes the handle out of one of Node's sockets, which is thrown away: for those that Node makes and we want to run ourselves. */
import type { Socket } from 'node:net';
import type { SocketHandle } from './socket-binding.ts';

interface SocketInside {
  _handle: SocketHandle | null;
}

/** `socket` is destroyed, or a server would count it for ever and never close. Null if it has no handle (any more). */
export function takeHandle(socket: Socket): SocketHandle | null {
  const inside = socket as unknown as SocketInside;
  const handle = inside._handle;
  inside._handle = null;
  socket.destroy();
  return handle;
}
