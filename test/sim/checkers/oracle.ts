/**
 * The truth about a lone node: the entries that reached its disk, taken from the batches on their way
 * to it. What is found after a crash is compared with them.
 */
import { toShardId } from "../../../src/base/brand.ts";
import { keyBytes, prefixes, readU64 } from "../../../src/queue/keys.ts";
import { readRecord } from "../../../src/storage/record.ts";
import type { SortedRows } from "../sorted-rows.ts";
import { must } from "../violation.ts";
import { type LogRow, Truth } from "./truth.ts";

const cutKey = `${prefixes.meta}log`;

export class Oracle extends Truth {
  /** Entries in the batch on its way. */
  private inFlight: readonly LogRow[] = [];
  private readonly rows = new Map<number, Buffer>();

  constructor() {
    super(toShardId(0), 1);
  }

  /** A batch with these entries is on its way to the disk. */
  writing(rows: readonly LogRow[]): void {
    this.inFlight = rows;
  }

  /** It has arrived. */
  written(): void {
    const rows = this.inFlight;
    this.inFlight = [];
    for (const row of rows) this.append(row);
  }

  /**
   * The node has opened its store after a crash: all that was durable is there, and of the batch
   * that was on its way all or nothing.
   */
  recovered(stored: SortedRows): void {
    const read = (key: string) => {
      const record = stored.get(key);
      return record && readRecord(keyBytes(key), record);
    };
    const cut = read(cutKey);
    let index = cut ? readU64(cut.toString("latin1", 0, 8), 0) : 1;
    must(index <= this.lastIndex + this.inFlight.length, "the log is cut", index, this.lastIndex);
    const from = stored.lowerBound(prefixes.log);
    const to = stored.lowerBound(`${prefixes.log}\xff\xff`);
    const extra: LogRow[] = [];
    for (let i = from; i < to; i++) {
      const key = stored.keyAt(i);
      must(readU64(key, 1) === ++index, "no gap in the log", readU64(key, 1), index);
      const row = read(key) as Buffer;
      if (index > this.lastIndex) extra.push({ index, row });
      else must(this.rows.get(index)?.equals(row) === true, "an entry as it was written", index);
    }
    must(index >= this.lastIndex, "durable entries are kept", index, this.lastIndex);
    this.adopt(index, extra);
  }

  private adopt(last: number, extra: readonly LogRow[]): void {
    const { inFlight } = this;
    this.inFlight = [];
    if (last === this.lastIndex) return;
    must(last === this.lastIndex + inFlight.length, "a batch is whole or absent", last);
    for (const { index, row } of extra) {
      const sent = inFlight.find((entry) => entry.index === index);
      must(sent?.row.equals(row) === true, "an entry as it was sent", index);
    }
    for (const row of inFlight) this.append(row);
  }

  override append(row: LogRow): void {
    super.append(row);
    this.rows.set(row.index, row.row);
  }
}
