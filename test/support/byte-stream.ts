/** A connection as the far end of a test sees it: bytes in and out, and its end. In memory, or a real TCP socket. */
export interface ByteStream {
  /** What comes is handed to these. */
  onData: (chunk: Buffer) => void;
  onEnd: () => void;
  onClose: () => void;
  write(bytes: Buffer): void;
  /** FIN after what is queued. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
  /** RST. */
  reset(): void;
  pause(): void;
  resume(): void;
}
