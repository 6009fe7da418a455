/** What keeps the benchmark from running here, as one line for the person who has to do something about it. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}
