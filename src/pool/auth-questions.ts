/**
 * What is to be asked of auth_query, in order, and who waits for the answers. Whoever asks for the same user shares a
 * question; what nobody waits for any more is not asked. It knows no connections, and remembers no answers.
 */
import type { Secret } from '../auth/secret.ts';
import type { SecretAsker } from '../auth/secret-source.ts';

export interface AuthQuestion {
  readonly userName: string;
  /** When it was sent: the answer is no younger than that. Null: it waits for a connection. */
  sentAtMs: number | null;
  /** When somebody asked it last. */
  askedAtMs: number;
  askers: SecretAsker[];
  /** A connection was lost with it. */
  wasLost: boolean;
  readonly answered: Promise<Secret | null>;
  readonly answer: (secret: Secret | null) => void;
  readonly fail: (error: Error) => void;
}

/** Names are made up by anybody: so many wait for a connection, and who comes then is refused. */
const MAX_WAITING = 2000;
const NOBODY_WAITS = 'nobody waits for it any more';

export class AuthQuestions {
  /** For a connection. */
  #waiting: AuthQuestion[] = [];
  /** The newest one of each user that is not answered. */
  readonly #pending = new Map<string, AuthQuestion>();

  /** How many want a connection. */
  get wanted(): number {
    return this.#waiting.filter(isWanted).length;
  }

  /** Also of those that nobody wants. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  get isFull(): boolean {
    if (this.#waiting.length >= MAX_WAITING) this.#dropUnwanted();
    return this.#waiting.length >= MAX_WAITING;
  }

  /** The answer that somebody waits for already, if it is yet to be asked for or was later than `sinceMs`; or null. */
  share(userName: string, asker: SecretAsker, nowMs: number, sinceMs: number): Promise<Secret | null> | null {
    const question = this.#pending.get(userName);
    if (question === undefined || (question.sentAtMs !== null && question.sentAtMs <= sinceMs)) return null;
    question.askedAtMs = nowMs;
    question.askers.push(asker);
    return question.answered;
  }

  /** Not while it is full. */
  add(userName: string, asker: SecretAsker, nowMs: number): Promise<Secret | null> {
    const answered = new Promise<Secret | null>((answer, fail) => {
      this.#waiting.push({
        userName,
        sentAtMs: null,
        askedAtMs: nowMs,
        askers: [asker],
        wasLost: false,
        get answered() {
          return answered;
        },
        answer,
        fail,
      });
    });
    this.#pending.set(userName, this.#waiting.at(-1)!);
    return answered;
  }

  /** Takes the first that somebody still waits for; it is sent now. */
  next(nowMs: number): AuthQuestion | null {
    for (let first = this.#waiting.shift(); first !== undefined; first = this.#waiting.shift()) {
      if (isWanted(first)) {
        first.sentAtMs = nowMs;
        return first;
      }
      this.fail(first, NOBODY_WAITS);
    }
    return null;
  }

  /** Its connection was lost: it will be the next one again. Returns whether that is of use: not for the second time. */
  putBack(question: AuthQuestion): boolean {
    if (question.wasLost || !isWanted(question)) return false;
    question.wasLost = true;
    question.sentAtMs = null;
    this.#waiting.unshift(question);
    return true;
  }

  /** Called now and then: forgets who has gone, and gives up those that were asked last by `oldestMs`. */
  sweep(oldestMs: number): void {
    for (const question of this.#pending.values()) question.askers = question.askers.filter(isHere);
    this.#dropUnwanted();
    // Clients have gone by then; servers are given up.
    this.#drop(({ askedAtMs }) => askedAtMs <= oldestMs, 'no connection within client_login_timeout');
  }

  answer(question: AuthQuestion, secret: Secret | null): void {
    this.#forget(question);
    question.answer(secret);
  }

  fail(question: AuthQuestion, reason: string): void {
    this.#forget(question);
    question.fail(new Error(reason));
  }

  /** There will be no connection. */
  failWaiting(reason: string): void {
    this.#drop(() => true, reason);
  }

  #dropUnwanted(): void {
    this.#drop((question) => !isWanted(question), NOBODY_WAITS);
  }

  #drop(isDropped: (question: AuthQuestion) => boolean, reason: string): void {
    const dropped = this.#waiting.filter(isDropped);
    if (dropped.length === 0) return;
    this.#waiting = this.#waiting.filter((question) => !isDropped(question));
    for (const question of dropped) this.fail(question, reason);
  }

  /** Whoever comes now asks anew. */
  #forget(question: AuthQuestion): void {
    if (this.#pending.get(question.userName) === question) this.#pending.delete(question.userName);
  }
}

function isWanted({ askers }: AuthQuestion): boolean {
  return askers.some(isHere);
}

function isHere({ isGone }: SecretAsker): boolean {
  return !isGone;
}
