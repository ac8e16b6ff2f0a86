/** Many tasks from a source that is read only as fast as they are created. */
import { limits } from "../base/limits.ts";
import type { EnqueueOutcome } from "./create-call.ts";
import { QuorumQError } from "./errors.ts";

/** How the stream creates one task, and waits for room. */
export interface StreamTarget<Item> {
  ready(): Promise<void>;
  /** Rejects with a QuorumQError when the call failed as a whole. */
  create(item: Item): Promise<EnqueueOutcome>;
}

type Pull<Item> = Promise<IteratorResult<Item, unknown>>;

/** Codes after which every further call fails the same way. */
const fatal: ReadonlySet<string> = new Set(["closed", "unauthenticated"]);

/** @returns outcomes in the order of the source; see `Producer.enqueueStream` */
export async function* enqueueStream<Item>(
  source: Iterable<Item> | AsyncIterable<Item>,
  target: StreamTarget<Item>,
): AsyncGenerator<EnqueueOutcome, void, undefined> {
  const iterator = iteratorOf(source);
  const pending = new Pending();
  const failures: unknown[] = [];
  let pull: Pull<Item> | null = null;
  let isOver = false;
  try {
    while (!isOver || pending.size > 0) {
      isOver ||= failures.length > 0;
      if (isOver || pending.size >= limits.clientStreamTasks) {
        if (pending.size > 0) yield await pending.take();
        continue;
      }
      // Nothing is read that would have to wait here for room.
      pull ??= target.ready().then(() => iterator.next());
      // A slow source must not hold back what is known of the tasks before.
      if ((await firstOf(pending.head, pull)) === "outcome") {
        yield await pending.take();
        continue;
      }
      try {
        const { done, value } = await pull;
        if (done === true) isOver = true;
        else pending.add(outcomeOf(value, target, failures));
      } catch (error) {
        // What the source gave before still has its outcomes.
        failures.push(error);
      }
      pull = null;
    }
  } finally {
    // Left early: nobody waits for the rest, and the source may let go of what it holds.
    if (!isOver || failures.length > 0) await iterator.return?.();
  }
  if (failures.length > 0) throw failures[0];
}

/** Never rejects, unless by a bug. */
async function outcomeOf<Item>(
  item: Item,
  target: StreamTarget<Item>,
  failures: unknown[],
): Promise<EnqueueOutcome> {
  try {
    return await target.create(item);
  } catch (error) {
    if (!(error instanceof QuorumQError)) throw error;
    if (fatal.has(error.code)) failures.push(error);
    return { kind: "refused", error };
  }
}

/** A synchronous source's iterator, too, gives promises here. */
function iteratorOf<Item>(source: Iterable<Item> | AsyncIterable<Item>): AsyncIterator<Item> {
  if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]();
  const iterator = source[Symbol.iterator]();
  return {
    next: async () => iterator.next(),
    return: async () => iterator.return?.() ?? { done: true, value: undefined },
  };
}

/** Which comes first; the outcome if both are there. */
function firstOf(outcome: Promise<unknown> | null, pull: Promise<unknown>): Promise<string> {
  const item = pull.then(
    () => "item",
    () => "item",
  );
  return outcome === null ? item : Promise.race([outcome.then(() => "outcome"), item]);
}

/** Outcomes to come, first in, first out. */
class Pending {
  private tasks: Promise<EnqueueOutcome>[] = [];
  private at = 0;

  get size(): number {
    return this.tasks.length - this.at;
  }

  get head(): Promise<EnqueueOutcome> | null {
    return this.tasks[this.at] ?? null;
  }

  add(task: Promise<EnqueueOutcome>): void {
    this.tasks.push(task);
  }

  take(): Promise<EnqueueOutcome> {
    const task = this.tasks[this.at++] as Promise<EnqueueOutcome>;
    if (this.at >= limits.clientStreamTasks) {
      this.tasks = this.tasks.slice(this.at);
      this.at = 0;
    }
    return task;
  }
}
