/**
 * What a command must have in memory before it can be applied. The shard loads it from the store
 * and gives it to the state; then the command is asked again, until it needs nothing.
 */
import type { DueIndex } from "./due-index.ts";
import type { ReadyList } from "./ready-list.ts";

export type Need =
  /** The run's row: State.provideRun. */
  | { readonly kind: "run"; readonly key: string }
  /** Ready rows behind the list's window: ReadyList.load. */
  | { readonly kind: "ready"; readonly list: ReadyList }
  /** Due rows behind the index's window: DueIndex.load. */
  | { readonly kind: "due"; readonly index: DueIndex }
  /** One row by its key: State.loadedRows. */
  | { readonly kind: "row"; readonly key: string }
  /** Keys of a range, `limit` at most, changes of the overlay not counted: State.loadedRanges. */
  | { readonly kind: "range"; readonly gte: string; readonly lt: string; readonly limit: number };
