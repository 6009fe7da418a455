/** What a pool's servers have done for clients, in plain numbers that are read when somebody asks. */
export class TrafficCounters {
  /** ReadyForQuery messages that clients were sent: one for each Query, Sync and FunctionCall. */
  queries = 0;
  /** Those that found the session outside a transaction. */
  transactions = 0;
  /** Time in which servers owed something. */
  queryMs = 0;
  /** Time in which servers were inside a transaction, or linked for one. */
  transactionMs = 0;
  /** Bytes that clients sent. */
  receivedBytes = 0;
  /** Bytes that clients were sent. */
  sentBytes = 0;
  /** Time that clients have waited for a server. */
  waitMs = 0;
  /** Links of a client to a server. */
  assignments = 0;
  /** Logins of clients. */
  logins = 0;
  /** Named statements that clients have prepared, where they are mapped. */
  clientParses = 0;
  /** Parses of those that servers were sent. */
  serverParses = 0;
  /** Binds of named statements, where they are mapped. */
  binds = 0;

  /** Adds what `other` has counted. */
  add(other: TrafficCounters): void {
    this.queries += other.queries;
    this.transactions += other.transactions;
    this.queryMs += other.queryMs;
    this.transactionMs += other.transactionMs;
    this.receivedBytes += other.receivedBytes;
    this.sentBytes += other.sentBytes;
    this.waitMs += other.waitMs;
    this.assignments += other.assignments;
    this.logins += other.logins;
    this.clientParses += other.clientParses;
    this.serverParses += other.serverParses;
    this.binds += other.binds;
  }
}

export type TrafficCounter = Exclude<keyof TrafficCounters, 'add'>;
