/** What is wrong with a line of pg_hba.conf or pg_ident.conf. */
export interface RuleProblem {
  readonly file: string;
  /** Counted from 1; null if it is about the whole file. */
  readonly line: number | null;
  readonly message: string;
}
