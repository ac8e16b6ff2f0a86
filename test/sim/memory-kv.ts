/**
 * The Kv port on a virtual disk. Writes complete when the disk's scheduler says so; reads see the
 * state at the call and answer later too. After a crash of the disk every handle is dead: its
 * callers never hear of it again, as in a process that is gone.
 */
import { assert } from "../../src/base/assert.ts";
import {
  type Kv,
  type KvBatch,
  type KvRange,
  type KvRow,
  StorageError,
} from "../../src/storage/kv.ts";
import { readRecord, recordOverhead, writeRecord } from "../../src/storage/record.ts";
import { newDirectory, type VirtualDisk } from "./virtual-disk.ts";
import type { StoredOp, VirtualStore } from "./virtual-store.ts";

/**
 * Opens the store in a directory of the disk.
 * @throws StorageError locked, missing
 */
export async function createMemoryKv(
  disk: VirtualDisk,
  path: string,
  options: { readonly createIfMissing: boolean },
): Promise<Kv> {
  if (options.createIfMissing) {
    const { directory, name } = disk.parent(path);
    if (!directory.entries.has(name)) {
      directory.entries.set(name, newDirectory());
    }
    disk.makeStore(path);
  }
  const store = disk.store(path);
  if (store.openEpoch === disk.epoch) throw new StorageError("locked", `store ${path} is in use`);
  for (const line of store.open()) disk.appendStoreLog(path, line);
  return new MemoryKv(disk, store, path);
}

class MemoryKv implements Kv {
  readonly #disk: VirtualDisk;
  readonly #store: VirtualStore;
  readonly #path: string;
  readonly #epoch: number;
  #failure: StorageError | undefined;
  #closed = false;
  writtenBytes = 0;
  #writing: Promise<void> | undefined;

  constructor(disk: VirtualDisk, store: VirtualStore, path: string) {
    this.#disk = disk;
    this.#store = store;
    this.#path = path;
    this.#epoch = disk.epoch;
  }

  getSync(key: Uint8Array): Buffer | undefined {
    this.assertUsable();
    return this.#read(key);
  }

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    this.assertUsable();
    return this.#later(() => this.#read(key));
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    this.assertUsable();
    return this.#later(() => keys.map((key) => this.#read(key)));
  }

  async range(range: KvRange): Promise<KvRow[]> {
    this.assertUsable();
    assert(range.limit >= 1, "rows of a range", range.limit);
    return this.#later(() => this.#rows(range));
  }

  batch(): KvBatch {
    this.assertUsable();
    return new MemoryBatch(this);
  }

  async diskBytes(): Promise<number> {
    this.assertUsable();
    return this.#store.bytes;
  }

  async sizeOf(gte: Buffer, lt: Buffer): Promise<number> {
    this.assertUsable();
    const { rows } = this.#store;
    const end = rows.lowerBound(lt.toString("latin1"));
    let bytes = 0;
    for (let i = rows.lowerBound(gte.toString("latin1")); i < end; i++) {
      const key = rows.keyAt(i);
      bytes += key.length + (rows.get(key)?.length ?? 0);
    }
    return bytes;
  }

  async compact(): Promise<void> {
    this.assertUsable();
    await this.#later(() => this.#store.flush());
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#writing !== undefined) await this.#writing.catch(() => undefined);
    if (this.#disk.epoch === this.#epoch) this.#store.close();
  }

  assertUsable(): void {
    if (this.#closed || this.#disk.epoch !== this.#epoch) {
      throw new StorageError("closed", `store ${this.#path} is closed`);
    }
    if (this.#failure !== undefined) {
      throw new StorageError("io", `store ${this.#path} failed before`, this.#failure);
    }
  }

  async write(ops: readonly StoredOp[]): Promise<void> {
    this.assertUsable();
    if (ops.length === 0) return;
    assert(this.#writing === undefined, "one write in flight per store", this.#path);
    for (const { key, record } of ops) this.writtenBytes += key.length + (record?.length ?? 0);
    this.#store.inFlight = ops;
    this.#writing = new Promise((resolve, reject) => {
      this.#disk.effects.schedule(() => {
        if (this.#disk.epoch !== this.#epoch) return;
        this.#writing = undefined;
        this.#store.inFlight = undefined;
        const failure = this.#settle(ops);
        if (failure === undefined) resolve();
        else reject(failure);
      });
    });
    return this.#writing;
  }

  #settle(ops: readonly StoredOp[]): StorageError | undefined {
    if (this.#disk.full) return this.#fail("no space left on device");
    if (this.#disk.takeSyncFailure()) {
      this.#store.appendUnsynced(ops);
      return this.#fail("fdatasync: input/output error");
    }
    this.#store.append(ops);
    return undefined;
  }

  #fail(text: string): StorageError {
    this.#failure = new StorageError("io", `store ${this.#path}: ${text}`);
    return this.#failure;
  }

  /** The outcome of a read at the call, told later; never, if the node is gone by then. */
  #later<T>(read: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let tell: () => void;
      try {
        const outcome = read();
        tell = () => resolve(outcome);
      } catch (error) {
        tell = () => reject(error);
      }
      this.#disk.effects.schedule(() => {
        if (this.#disk.epoch === this.#epoch) tell();
      });
    });
  }

  #read(key: Uint8Array): Buffer | undefined {
    const record = this.#store.rows.get(Buffer.from(key).toString("latin1"));
    return record === undefined ? undefined : this.#check(key, record);
  }

  #check(key: Uint8Array, record: Buffer): Buffer {
    try {
      return Buffer.from(readRecord(key, record));
    } catch (error) {
      if (error instanceof StorageError) this.#failure ??= error;
      throw error;
    }
  }

  #rows(range: KvRange): KvRow[] {
    const { rows } = this.#store;
    const from = rows.lowerBound(range.gte.toString("latin1"));
    const end = rows.lowerBound(range.lt.toString("latin1"));
    const bytesMax = range.limitBytes ?? Number.POSITIVE_INFINITY;
    const found: KvRow[] = [];
    let bytes = 0;
    for (let i = 0; from + i < end && found.length < range.limit; i++) {
      const text = rows.keyAt(range.reverse === true ? end - 1 - i : from + i);
      const record = rows.get(text) as Buffer;
      bytes += text.length + record.length - recordOverhead;
      if (bytes > bytesMax && found.length > 0) break;
      const key = Buffer.from(text, "latin1");
      found.push({ key, value: this.#check(key, record) });
    }
    return found;
  }
}

class MemoryBatch implements KvBatch {
  readonly #kv: MemoryKv;
  readonly #stored: StoredOp[] = [];
  bytes = 0;
  #done = false;

  constructor(kv: MemoryKv) {
    this.#kv = kv;
  }

  get ops(): number {
    return this.#stored.length;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    assert(!this.#done, "a batch is written once");
    const record = Buffer.alloc(value.length + recordOverhead);
    writeRecord(key, value, record);
    this.#stored.push({ key: Buffer.from(key).toString("latin1"), record });
    this.bytes += key.length + record.length;
  }

  del(key: Uint8Array): void {
    assert(!this.#done, "a batch is written once");
    this.#stored.push({ key: Buffer.from(key).toString("latin1"), record: null });
    this.bytes += key.length;
  }

  async write(): Promise<void> {
    assert(!this.#done, "a batch is written once");
    this.#done = true;
    await this.#kv.write(this.#stored);
  }

  async discard(): Promise<void> {
    this.#done = true;
  }
}
