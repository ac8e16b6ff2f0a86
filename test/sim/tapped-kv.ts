/** A store whose log entries are seen on their way to the disk. */
import { prefixes, readU64 } from "../../src/queue/keys.ts";
import type { Kv, KvBatch, KvRange, KvRow } from "../../src/storage/kv.ts";
import type { LogRow } from "./checkers/truth.ts";

export interface LogTap {
  /** An entry is put into the batch that forms. */
  adding(row: LogRow): void;
  /** Entries are handed to the disk. */
  writing(rows: readonly LogRow[]): void;
  /** They are durable; nobody who waits for that knows it yet. */
  written(): void;
}

const logPrefix = prefixes.log.charCodeAt(0);

export class TappedKv implements Kv {
  private readonly kv: Kv;
  private readonly tap: LogTap;

  constructor(kv: Kv, tap: LogTap) {
    this.kv = kv;
    this.tap = tap;
  }

  getSync(key: Uint8Array): Buffer | undefined {
    return this.kv.getSync(key);
  }

  get(key: Uint8Array): Promise<Buffer | undefined> {
    return this.kv.get(key);
  }

  getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    return this.kv.getMany(keys);
  }

  range(range: KvRange): Promise<KvRow[]> {
    return this.kv.range(range);
  }

  batch(): KvBatch {
    return new TappedBatch(this.kv.batch(), this.tap);
  }

  diskBytes(): Promise<number> {
    return this.kv.diskBytes();
  }

  get writtenBytes(): number {
    return this.kv.writtenBytes;
  }

  sizeOf(gte: Buffer, lt: Buffer): Promise<number> {
    return this.kv.sizeOf(gte, lt);
  }

  compact(gte: Buffer, lt: Buffer): Promise<void> {
    return this.kv.compact(gte, lt);
  }

  close(): Promise<void> {
    return this.kv.close();
  }
}

class TappedBatch implements KvBatch {
  private readonly batch: KvBatch;
  private readonly tap: LogTap;
  private readonly rows: LogRow[] = [];

  constructor(batch: KvBatch, tap: LogTap) {
    this.batch = batch;
    this.tap = tap;
  }

  get ops(): number {
    return this.batch.ops;
  }

  get bytes(): number {
    return this.batch.bytes;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (key[0] === logPrefix) {
      const index = readU64(Buffer.from(key).toString("latin1"), 1);
      const row = { index, row: Buffer.from(value) };
      this.tap.adding(row);
      this.rows.push(row);
    }
    this.batch.put(key, value);
  }

  del(key: Uint8Array): void {
    this.batch.del(key);
  }

  async write(): Promise<void> {
    this.tap.writing(this.rows);
    await this.batch.write();
    this.tap.written();
  }

  discard(): Promise<void> {
    return this.batch.discard();
  }
}
