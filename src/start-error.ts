/** Why the process cannot run as it was asked to, in words for whoever has started it. */
export class StartError extends Error {
  override readonly name = 'StartError';
}
