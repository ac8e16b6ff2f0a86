/** Typed events of producers and workers. */

export type Listener<Detail> = (detail: Detail) => void;

/** @typeParam Events - what listeners get, by the event's name */
export interface Emits<Events extends object> {
  /**
   * Calls the listener at each such event from now on, once per `on`. What a listener throws is
   * the process's `uncaughtException`, as with Node's EventEmitter; nobody else is disturbed.
   */
  on<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this;
  /** Calls the listener at the next such event only. */
  once<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this;
  /** Takes a listener away. */
  off<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this;
}

interface Entry {
  readonly listener: Listener<never>;
  readonly isOnce: boolean;
}

export class Emitter<Events extends object> implements Emits<Events> {
  private readonly entries = new Map<keyof Events, readonly Entry[]>();

  on<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
    return this.add(event, { listener, isOnce: false });
  }

  once<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
    return this.add(event, { listener, isOnce: true });
  }

  off<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): this {
    const entries = this.entries.get(event) ?? [];
    const at = entries.findIndex((entry) => entry.listener === listener);
    if (at >= 0) this.entries.set(event, entries.toSpliced(at, 1));
    return this;
  }

  /** Whether anybody listens: what an event tells need not be made for nobody. */
  has(event: keyof Events): boolean {
    return (this.entries.get(event)?.length ?? 0) > 0;
  }

  protected emit<Name extends keyof Events>(event: Name, detail: Events[Name]): void {
    for (const entry of this.entries.get(event) ?? []) {
      if (entry.isOnce) this.drop(event, entry);
      try {
        (entry.listener as Listener<Events[Name]>)(detail);
      } catch (error) {
        // Not from here: the caller is in the middle of its work.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  private add(event: keyof Events, entry: Entry): this {
    this.entries.set(event, [...(this.entries.get(event) ?? []), entry]);
    return this;
  }

  private drop(event: keyof Events, entry: Entry): void {
    const entries = this.entries.get(event) ?? [];
    this.entries.set(
      event,
      entries.filter((other) => other !== entry),
    );
  }
}
