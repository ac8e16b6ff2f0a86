/**
 * What LevelDB keeps on disk, as far as its faults show: tables, and a log of batches since the
 * last flush. Every batch is synced; the one in flight is present or absent after a crash.
 */
import { flipBit } from "./flip-bit.ts";
import { SortedRows } from "./sorted-rows.ts";

/** What a store needs of the disk it is on. */
export interface StoreHost {
  readonly epoch: number;
  readonly effects: { unit(): number };
  chance(probability: number): boolean;
}

export interface StoredOp {
  readonly key: string;
  /** The whole record, or null for a deletion. */
  readonly record: Buffer | null;
}

export type StoredBatch = readonly StoredOp[];

/** Batches in the log before it is flushed into tables. */
const flushBatches = 64;

export class VirtualStore {
  readonly #disk: StoreHost;
  readonly #tables = new Map<string, Buffer>();
  #log: StoredBatch[] = [];
  /** What readers see. */
  rows = new SortedRows();
  /** The epoch in which it is open; -1 = nobody has it. */
  openEpoch = -1;
  inFlight: StoredBatch | undefined;
  /** Lines that the next open writes into the store's LOG. */
  #complaints: string[] = [];

  constructor(disk: StoreHost) {
    this.#disk = disk;
  }

  get logBatches(): number {
    return this.#log.length;
  }

  get tableRows(): number {
    return this.#tables.size;
  }

  /** Bytes in tables and log. */
  get bytes(): number {
    let sum = 0;
    for (const [key, record] of this.#tables) sum += key.length + record.length;
    for (const batch of this.#log) {
      for (const { key, record } of batch) sum += key.length + (record?.length ?? 0);
    }
    return sum;
  }

  /** Recovers as LevelDB does: tables, then the log; what is missing from it goes unnoticed. */
  open(): readonly string[] {
    this.openEpoch = this.#disk.epoch;
    this.#rebuild();
    const complaints = this.#complaints;
    this.#complaints = [];
    return complaints;
  }

  close(): void {
    this.openEpoch = -1;
  }

  /** A batch reached the disk. */
  append(batch: StoredBatch): void {
    this.#log.push(batch);
    applyTo(batch, this.rows);
    if (this.#log.length >= flushBatches) this.flush();
  }

  /** A batch whose sync failed: nobody sees it before the next open, and maybe nobody then. */
  appendUnsynced(batch: StoredBatch): void {
    if (this.#disk.chance(0.5)) this.#log.push(batch);
  }

  /** Moves the log into tables, as when the write buffer is full. */
  flush(): void {
    for (const batch of this.#log) applyTo(batch, this.#tables);
    this.#log = [];
  }

  crash(): void {
    if (this.inFlight !== undefined && this.#disk.chance(0.5)) this.#log.push(this.inFlight);
    this.inFlight = undefined;
    this.openEpoch = -1;
    this.#rebuild();
  }

  /** Bit rot in the log: a run of its batches is gone at the next open, and only LOG says so. */
  rotLog(): boolean {
    if (this.#log.length === 0) return false;
    const { unit } = this.#disk.effects;
    const from = Math.floor(unit() * this.#log.length);
    const count = 1 + Math.floor(unit() * Math.min(8, this.#log.length - from));
    this.#log.splice(from, count);
    this.#complaints.push("000003.log: dropping 4096 bytes; Corruption: checksum (ignoring error)");
    return true;
  }

  /** Bit rot in a table: one bit of a record or of its key is wrong, at once and for good. */
  rotTable(): boolean {
    if (this.#tables.size === 0) return false;
    const { unit } = this.#disk.effects;
    const keys = [...this.#tables.keys()].sort();
    const key = keys[Math.floor(unit() * keys.length)] as string;
    const record = Buffer.from(this.#tables.get(key) as Buffer);
    const keyBytes = Buffer.from(key, "latin1");
    const inKey = unit() * (record.length + keyBytes.length) < keyBytes.length;
    flipBit(inKey ? keyBytes : record, unit());
    this.#tables.delete(key);
    this.#tables.set(keyBytes.toString("latin1"), record);
    this.#rebuild();
    return true;
  }

  /** The newest log file is gone: a rollback to the last flush that leaves no trace. */
  loseTail(): boolean {
    const lost = this.#log.length > 0;
    this.#log = [];
    return lost;
  }

  #rebuild(): void {
    this.rows = new SortedRows();
    for (const key of [...this.#tables.keys()].sort()) {
      this.rows.put(key, this.#tables.get(key) as Buffer);
    }
    for (const batch of this.#log) applyTo(batch, this.rows);
  }
}

function applyTo(
  batch: StoredBatch,
  target: { put(key: string, record: Buffer): void; del(key: string): void } | Map<string, Buffer>,
): void {
  for (const { key, record } of batch) {
    if (target instanceof Map) {
      if (record === null) target.delete(key);
      else target.set(key, record);
    } else if (record === null) target.del(key);
    else target.put(key, record);
  }
}
