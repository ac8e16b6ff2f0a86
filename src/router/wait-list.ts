/** Waiting claims in the order of their arrival. */

/** What a list looks at of a claim. */
export interface Waiting {
  readonly state: string;
  /** Number of its arrival. */
  readonly order: number;
}

/** Claims that wait for one queue, or for any, by order of arrival. */
export class WaitList<W extends Waiting> {
  private items: W[] = [];
  private head = 0;
  live = 0;

  add(waiter: W): void {
    const last = this.items[this.items.length - 1];
    this.live++;
    if (!last || last.order < waiter.order) {
      this.items.push(waiter);
      return;
    }
    // One that comes back after an empty claim: to its old place, near the front.
    let at = this.head;
    while (at < this.items.length && (this.items[at] as W).order < waiter.order) at++;
    this.items.splice(at, 0, waiter);
  }

  first(): W | undefined {
    for (;;) {
      const waiter = this.items[this.head];
      if (!waiter) return undefined;
      if (waiter.state === "waiting") return waiter;
      this.head++;
    }
  }

  /** One of the list has left. */
  left(): void {
    this.live--;
    if (this.items.length - this.head > 2 * this.live + 32 || this.head > 1024) {
      this.items = this.items.slice(this.head).filter((waiter) => waiter.state === "waiting");
      this.head = 0;
    }
  }
}

/** Which of two came first. */
export function earlier<W extends Waiting>(a: W | undefined, b: W | undefined): W | undefined {
  if (!a || !b) return a ?? b;
  return a.order < b.order ? a : b;
}
