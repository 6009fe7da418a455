/** The connection was lost in a way that the test brings about. */
export class LostConnection extends Error {}
