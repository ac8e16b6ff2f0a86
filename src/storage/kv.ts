/**
 * The port to an ordered key-value store on disk: what a shard needs, and nothing that the
 * store underneath does badly (DESIGN section 3: no snapshots, no long iterators, no clear(),
 * no write that is not synced).
 *
 * Two implementations, level-kv.ts and test/sim/memory-kv.ts, under one contract suite
 * (test/contract/kv-suite.ts).
 *
 * Every record is stored as: codec version (u8), the value, CRC32C (u32 BE) over key, version and
 * value. The implementation adds and checks both; a record that fails makes the read throw
 * StorageError `corrupt`, which nobody catches: the node stops (FAULTS S2, S3).
 */

export type StorageErrorCode =
  | "corrupt" // a record, or the store's own files, fail their check
  | "io" // a read, write or sync failed
  | "locked" // another process has the directory
  | "newer_format" // written by a later version
  | "foreign" // belongs to another node, cluster, shard or shard count
  | "missing" // a file that must be there is not
  | "unsuitable" // the filesystem cannot keep what a queue promises
  | "closed";

/** What goes wrong below the shard. `io` and `corrupt` end the process. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, text: string, cause?: unknown) {
    super(text, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export interface KvRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface KvRange {
  /** First key, included. */
  readonly gte: Buffer;
  /** End of the range, excluded. */
  readonly lt: Buffer;
  /** Rows at the most, 1 or more. */
  readonly limit: number;
  /** Stop after this many bytes of keys and values (at least one row is given). */
  readonly limitBytes?: number;
  /** From the end towards the start. */
  readonly reverse?: boolean;
}

/**
 * One atomic write in the making: a chained batch. Puts and deletes are taken over at once (the
 * caller may reuse its buffers), in order; a later operation on a key wins.
 */
export interface KvBatch {
  put(key: Uint8Array, value: Uint8Array): void;
  del(key: Uint8Array): void;
  /** Operations and bytes taken so far. */
  readonly ops: number;
  readonly bytes: number;
  /**
   * Writes everything atomically and syncs it. Resolves when it is durable.
   * @throws StorageError io: the outcome is unknown; the store takes no further write
   */
  write(): Promise<void>;
  /** Gives the batch up without writing. */
  discard(): Promise<void>;
}

export interface Kv {
  /** The value of a key, read synchronously: for rows that are likely cached (3 µs). */
  getSync(key: Uint8Array): Buffer | undefined;
  get(key: Uint8Array): Promise<Buffer | undefined>;
  /** All values in order of the keys; undefined where there is none. */
  getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]>;
  /**
   * The rows of a range in key order, read in one go from the state at the call (the iterator is
   * closed before it resolves). May give fewer rows than there are only because of the limits.
   */
  range(range: KvRange): Promise<KvRow[]>;
  batch(): KvBatch;
  /** Bytes on disk in this store's directory, as last measured. */
  diskBytes(): Promise<number>;
  /** Bytes written since it was opened. */
  readonly writtenBytes: number;
  /** About how many bytes the keys from `gte` up to `lt` take on disk. */
  sizeOf(gte: Buffer, lt: Buffer): Promise<number>;
  /** Rewrites that part of the store without what was deleted or overwritten in it. */
  compact(gte: Buffer, lt: Buffer): Promise<void>;
  /** Waits for the write in flight, then closes. No further call is allowed. */
  close(): Promise<void>;
}
