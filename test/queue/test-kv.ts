/**
 * A store in memory whose writes land when the test says so: at once, later, or while a read is
 * under way. Far simpler than test/sim/memory-kv.ts, and fast enough for thousands of sequences.
 */
import type { Kv, KvBatch, KvRange, KvRow } from "../../src/storage/kv.ts";
import { SortedRows } from "../sim/sorted-rows.ts";

export class TestKv implements Kv {
  readonly rows = new SortedRows();
  /** Called once, after the next read has taken its rows and before it answers. */
  duringRead: (() => void) | null = null;
  reads = 0;

  private read(key: Uint8Array): Buffer | undefined {
    this.reads++;
    return this.rows.get(Buffer.from(key).toString("latin1"));
  }

  private interrupt(): void {
    const callback = this.duringRead;
    this.duringRead = null;
    callback?.();
  }

  getSync(key: Uint8Array): Buffer | undefined {
    return this.read(key);
  }

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    const row = this.read(key);
    this.interrupt();
    return row;
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    const rows = keys.map((key) => this.read(key));
    this.interrupt();
    return rows;
  }

  async range(range: KvRange): Promise<KvRow[]> {
    this.reads++;
    const from = this.rows.lowerBound(range.gte.toString("latin1"));
    const end = this.rows.lowerBound(range.lt.toString("latin1"));
    const found: KvRow[] = [];
    for (let i = from; i < end && found.length < range.limit; i++) {
      const text = this.rows.keyAt(i);
      found.push({ key: Buffer.from(text, "latin1"), value: this.rows.get(text) as Buffer });
    }
    this.interrupt();
    return found;
  }

  batch(): TestBatch {
    return new TestBatch(this);
  }

  async diskBytes(): Promise<number> {
    return 0;
  }

  readonly writtenBytes = 0;

  async sizeOf(): Promise<number> {
    return 0;
  }

  async compact(): Promise<void> {
    // Nothing is ever kept twice here.
  }

  async close(): Promise<void> {
    this.duringRead = null;
  }
}

/** Its `write` is the moment at which it lands. */
export class TestBatch implements KvBatch {
  private readonly kv: TestKv;
  private readonly changes: [string, Buffer | null][] = [];
  bytes = 0;

  constructor(kv: TestKv) {
    this.kv = kv;
  }

  get ops(): number {
    return this.changes.length;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.changes.push([Buffer.from(key).toString("latin1"), Buffer.from(value)]);
    this.bytes += key.length + value.length;
  }

  del(key: Uint8Array): void {
    this.changes.push([Buffer.from(key).toString("latin1"), null]);
    this.bytes += key.length;
  }

  land(): void {
    for (const [key, value] of this.changes) {
      if (value === null) this.kv.rows.del(key);
      else this.kv.rows.put(key, value);
    }
  }

  async write(): Promise<void> {
    this.land();
  }

  async discard(): Promise<void> {
    this.changes.length = 0;
  }
}
