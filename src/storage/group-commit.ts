/**
 * The group-commit writer: the one loop that writes to a store. At most one synced batch is in
 * flight; what arrives meanwhile goes into the one that is forming, which follows at once.
 * No timer: when the disk is idle a write goes out in the same turn.
 */
import type { KvBatch } from "./kv.ts";

export interface GroupCommit {
  /**
   * Puts operations into the forming batch, synchronously, and calls back when the batch that
   * holds them is durable. Callbacks run in the order of the calls.
   */
  add(fill: (batch: KvBatch) => void, done: () => void): void;
  /** Whether a write is in flight. */
  readonly busy: boolean;
  /** Operations and bytes waiting in the forming batch. */
  readonly formingOps: number;
  readonly formingBytes: number;
  /** Resolves when everything added so far is durable. */
  drain(): Promise<void>;
}
