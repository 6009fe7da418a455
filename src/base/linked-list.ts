/**
 * An intrusive doubly linked list: the links live in the members, so that adding and removing allocate nothing and
 * take constant time. A member is in at most one list; being in a list *is* its state (see `docs/architecture.md`).
 */

/** What a member carries. `list` is null exactly when it is in no list. */
export interface Listed<T extends Listed<T>> {
  list: LinkedList<T> | null;
  previous: T | null;
  next: T | null;
}

export class LinkedList<T extends Listed<T>> {
  #first: T | null = null;
  #last: T | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | null {
    return this.#first;
  }

  get last(): T | null {
    return this.#last;
  }

  /** Appends `member`, taking it out of the list that it is in. */
  push(member: T): void {
    member.list?.remove(member);
    member.list = this;
    member.previous = this.#last;
    member.next = null;
    if (this.#last === null) this.#first = member;
    else this.#last.next = member;
    this.#last = member;
    this.#size++;
  }

  remove(member: T): void {
    if (member.list !== this) throw new Error('not a member of this list');
    if (member.previous === null) this.#first = member.next;
    else member.previous.next = member.next;
    if (member.next === null) this.#last = member.previous;
    else member.next.previous = member.previous;
    member.list = null;
    member.previous = null;
    member.next = null;
    this.#size--;
  }

  shift(): T | null {
    const member = this.#first;
    if (member !== null) this.remove(member);
    return member;
  }

  pop(): T | null {
    const member = this.#last;
    if (member !== null) this.remove(member);
    return member;
  }

  /** Visits every member; the visited one may leave the list meanwhile, others may not. */
  *[Symbol.iterator](): Generator<T> {
    let member = this.#first;
    while (member !== null) {
      const next: T | null = member.next;
      yield member;
      member = next;
    }
  }
}
