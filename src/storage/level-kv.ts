/**
 * The Kv port on LevelDB, through classic-level: the one door of that library.
 *
 * States: open → failed (first error of any write, read or check) → closed, or open → closed. A
 * failed store refuses everything: LevelDB acknowledges writes after a failed one and loses them at
 * the next open (FAULTS F2), and whether the failed write itself happened is unknown (F4).
 *
 * Options and why (measured on classic-level 3.0.0, Node 20):
 * - no compression: Snappy saves 8 % of the CPU on JSON and costs 12 % on payloads that do not
 *   shrink, slows point reads by a tenth, and makes one flipped bit cost a block of records;
 * - a large write buffer, so that level 0 stays below the 8 files at which writes are slowed;
 * - 64 open tables of 2 MiB and at most four flushed buffers: LevelDB maps open tables, so that is
 *   what bounds mapped memory to 256 MB;
 * - the block cache only serves tables that are not mapped, so it stays small.
 */
import { ClassicLevel } from "classic-level";
import { assert } from "../base/assert.ts";
import { KiB, limits, MiB } from "../base/limits.ts";
import { type Kv, type KvBatch, type KvRange, type KvRow, StorageError } from "./kv.ts";
import { directoryBytes } from "./node-files.ts";
import { readRecord, recordOverhead, writeRecord } from "./record.ts";

export interface LevelKvOptions {
  /**
   * Make the store if there is none. Only for a directory that is being made: in one that has been
   * used it would put an empty store in the place of a lost one.
   */
  readonly createIfMissing: boolean;
  /** Bytes, limits.writeBufferBytesMin or more; two such buffers may be in memory at once. */
  readonly writeBufferBytes?: number;
  /**
   * Called for each record that fails its check, which then counts as not there. Only to get out of a
   * damaged store what is whole: without it such a record fails the store.
   */
  readonly onBadRecord?: (key: Buffer, record: Buffer) => void;
}

type Level = ClassicLevel<Uint8Array, Buffer>;

const synced = { sync: true } as const;
const keysAsBuffers = { keyEncoding: "buffer" } as const;
/** LevelDB sets ten of its files apart from the tables that it keeps open. */
const otherFiles = 10;
/** Scratch space for one record; larger ones get a buffer of their own. */
const scratchBytes = 256 * KiB;

/**
 * Opens the LevelDB store at `path`.
 * @throws StorageError locked, missing, corrupt, io
 */
export async function createLevelKv(path: string, options: LevelKvOptions): Promise<Kv> {
  const writeBufferSize = options.writeBufferBytes ?? limits.writeBufferBytes;
  assert(writeBufferSize >= limits.writeBufferBytesMin, "write buffer bytes", writeBufferSize);
  const level: Level = new ClassicLevel(path, { keyEncoding: "view", valueEncoding: "buffer" });
  try {
    await level.open({
      createIfMissing: options.createIfMissing,
      compression: false,
      writeBufferSize,
      maxOpenFiles: limits.openTables + otherFiles,
      maxFileSize: limits.tableBytes,
      cacheSize: 1 * MiB,
    });
  } catch (error) {
    throw openError(path, error);
  }
  return new LevelKv(level, path, options.onBadRecord);
}

/**
 * Lets LevelDB make a store of whatever tables and logs a directory has. It drops what it cannot
 * read, and may bring back what was removed: only for a copy, when its MANIFEST is lost.
 * @throws StorageError corrupt
 */
export async function repairLevel(path: string): Promise<void> {
  try {
    await ClassicLevel.repair(path);
  } catch (error) {
    throw new StorageError("corrupt", `store ${path} cannot be repaired: ${String(error)}`, error);
  }
}

class LevelKv implements Kv {
  readonly #level: Level;
  readonly #path: string;
  readonly #onBadRecord: LevelKvOptions["onBadRecord"];
  readonly #scratch = Buffer.allocUnsafeSlow(scratchBytes);
  #failure: StorageError | undefined;
  #closed = false;
  #writtenBytes = 0;
  /** Invariant: at most one write at a time (FAULTS S1); what follows a failed one would be lost. */
  #writing = false;

  constructor(level: Level, path: string, onBadRecord: LevelKvOptions["onBadRecord"]) {
    this.#level = level;
    this.#path = path;
    this.#onBadRecord = onBadRecord;
  }

  /** @throws StorageError corrupt, newer_format */
  #read(key: Uint8Array, record: Buffer | undefined): Buffer | undefined {
    if (record === undefined) return undefined;
    if (this.#onBadRecord === undefined) return readRecord(key, record);
    try {
      return readRecord(key, record);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== "corrupt") throw error;
      this.#onBadRecord(Buffer.from(key), record);
      return undefined;
    }
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  getSync(key: Uint8Array): Buffer | undefined {
    this.assertUsable();
    try {
      return this.#read(key, this.#level.getSync(key));
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    this.assertUsable();
    try {
      return this.#read(key, await this.#level.get(key));
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    this.assertUsable();
    try {
      const records = await this.#level.getMany([...keys]);
      return records.map((record, i) => this.#read(keys[i] as Uint8Array, record));
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async range(range: KvRange): Promise<KvRow[]> {
    this.assertUsable();
    assert(range.limit >= 1, "rows of a range", range.limit);
    const bytesMax = range.limitBytes ?? Number.POSITIVE_INFINITY;
    // The iterator reads from the state at its making, which is now, not at the first row.
    const iterator = this.#level.iterator<Buffer, Buffer>({
      gte: range.gte as Buffer,
      lt: range.lt as Buffer,
      reverse: range.reverse === true,
      // Of bad records there is no row: so many more are read.
      limit: this.#onBadRecord === undefined ? range.limit : -1,
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      highWaterMarkBytes: Math.min(bytesMax, limits.rangeChunkBytes),
    });
    try {
      const rows: KvRow[] = [];
      let bytes = 0;
      for (;;) {
        // May give fewer rows than asked for; only none means the end.
        const chunk = await iterator.nextv(limits.rangeChunkRows);
        if (chunk.length === 0) return rows;
        for (const [key, record] of chunk) {
          bytes += key.length + record.length - recordOverhead;
          if (bytes > bytesMax && rows.length > 0) return rows;
          const value = this.#read(key, record);
          if (value !== undefined) rows.push({ key, value });
          if (rows.length === range.limit) return rows;
        }
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      await iterator.close();
    }
  }

  batch(): KvBatch {
    this.assertUsable();
    return new LevelBatch(this, this.#level.batch(), this.#scratch);
  }

  async diskBytes(): Promise<number> {
    this.assertUsable();
    return directoryBytes(this.#path);
  }

  async sizeOf(gte: Buffer, lt: Buffer): Promise<number> {
    this.assertUsable();
    try {
      return await this.#level.approximateSize(gte, lt, keysAsBuffers);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async compact(gte: Buffer, lt: Buffer): Promise<void> {
    this.assertUsable();
    try {
      await this.#level.compactRange(gte, lt, keysAsBuffers);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Waits for the write in flight by itself (the contract suite sees to it).
    await this.#level.close();
  }

  /** @throws StorageError closed, io */
  assertUsable(): void {
    if (this.#closed) throw new StorageError("closed", `store ${this.#path} is closed`);
    if (this.#failure !== undefined) {
      throw new StorageError("io", `store ${this.#path} failed before`, this.#failure);
    }
  }

  async write(native: NativeBatch, bytes: number): Promise<void> {
    this.assertUsable();
    this.#writtenBytes += bytes;
    assert(!this.#writing, "one write in flight per store", this.#path);
    this.#writing = true;
    try {
      await native.write(synced);
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#writing = false;
    }
  }

  /** From now on the store refuses everything. */
  #fail(error: unknown): StorageError {
    const failure = error instanceof StorageError ? error : readError(this.#path, error);
    this.#failure ??= failure;
    return failure;
  }
}

type NativeBatch = ReturnType<Level["batch"]> & {
  write(options: { readonly sync: boolean }): Promise<void>;
};

/** Puts are copied by LevelDB at once (probed), so one scratch buffer serves all batches. */
class LevelBatch implements KvBatch {
  readonly #kv: LevelKv;
  readonly #native: NativeBatch;
  readonly #scratch: Buffer;
  ops = 0;
  bytes = 0;

  constructor(kv: LevelKv, native: NativeBatch, scratch: Buffer) {
    this.#kv = kv;
    this.#native = native;
    this.#scratch = scratch;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const size = value.length + recordOverhead;
    const out = size <= this.#scratch.length ? this.#scratch : Buffer.allocUnsafe(size);
    const length = writeRecord(key, value, out);
    this.#native.put(key, out.subarray(0, length));
    this.ops++;
    this.bytes += key.length + length;
  }

  del(key: Uint8Array): void {
    this.#native.del(key);
    this.ops++;
    this.bytes += key.length;
  }

  async write(): Promise<void> {
    await this.#kv.write(this.#native, this.bytes);
  }

  async discard(): Promise<void> {
    await this.#native.close();
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

function readError(path: string, error: unknown): StorageError {
  const code = codeOf(error) === "LEVEL_CORRUPTION" ? "corrupt" : "io";
  return new StorageError(code, `store ${path}: ${String(error)}`, error);
}

function openError(path: string, error: unknown): StorageError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const text = cause instanceof Error ? cause.message : String(cause);
  switch (codeOf(cause)) {
    case "LEVEL_LOCKED":
      return new StorageError("locked", `store ${path} is in use by another process`, error);
    case "LEVEL_CORRUPTION":
      return new StorageError("corrupt", `store ${path}: ${text}`, error);
    default:
      break;
  }
  if (text.includes("create_if_missing")) {
    return new StorageError("missing", `store ${path} does not exist`, error);
  }
  // A store that names a file which is not there has lost it.
  const code = text.includes("No such file") ? "corrupt" : "io";
  return new StorageError(code, `store ${path}: ${text}`, error);
}
