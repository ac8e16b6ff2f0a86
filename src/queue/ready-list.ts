/**
 * The ready tasks of one queue and priority, in order: a window of ready rows from the front.
 * Behind the window there may be more rows, in the overlay and in the store.
 *
 * Invariant: every ready row with seq ≤ `loadedTo` is in the window; if `complete`, every row is.
 */
import { keyBytes, readU48, readU64, readyPrefix, u48Text, u64Text } from "./keys.ts";
import type { Overlay } from "./overlay.ts";

/** One ready row: tasks of one run that became ready together. */
export interface Segment {
  readonly seq: number;
  readonly runKey: string;
  readonly readyAt: number;
  /** No task before this place belongs to the segment. */
  from: number;
  /** The row is gone. */
  gone: boolean;
}

/** Rows of a window when memory is plenty, and when many lists share it. */
const windowRows = 2048;
const windowRowsTight = 16;
const windowRowsTotal = 100_000;
/** Window rows of all lists of a shard, to bound their sum. */
export interface WindowBudget {
  rows: number;
}

export class ReadyList {
  private readonly prefix: string;
  private readonly budget: WindowBudget;
  private items: Segment[] = [];
  private head = 0;
  private loadedTo = 0;
  /** The window holds every row there is. */
  complete: boolean;

  /** @param complete - true for a list that has no row yet; false if the store must be asked */
  constructor(queueId: number, priority: number, budget: WindowBudget, complete: boolean) {
    this.prefix = readyPrefix(queueId, priority);
    this.budget = budget;
    this.complete = complete;
  }

  /** Adds a row at the end; seq is higher than any before. */
  append(overlay: Overlay, seq: number, runKey: string, readyAt: number): void {
    overlay.put(this.prefix + u64Text(seq), encodeReadyRow(runKey, readyAt));
    if (!this.complete) return;
    const room = this.budget.rows > windowRowsTotal ? windowRowsTight : windowRows;
    if (this.items.length - this.head >= room) {
      this.complete = false;
      return;
    }
    this.push({ seq, runKey, readyAt, from: 0, gone: false });
  }

  private push(segment: Segment): void {
    this.items.push(segment);
    this.loadedTo = segment.seq;
    this.budget.rows++;
  }

  /** The row's last task has left it. */
  remove(overlay: Overlay, seq: number): void {
    overlay.remove(this.prefix + u64Text(seq));
    const at = this.indexOf(seq);
    if (at < 0) return;
    (this.items[at] as Segment).gone = true;
    this.trim();
  }

  private trim(): void {
    while (this.head < this.items.length && (this.items[this.head] as Segment).gone) {
      this.head++;
      this.budget.rows--;
    }
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
  }

  private indexOf(seq: number): number {
    let low = this.head;
    let high = this.items.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const at = (this.items[middle] as Segment).seq;
      if (at === seq) return middle;
      if (at < seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** The i-th row of the window, 0 = the front; may be gone. Undefined behind the window. */
  at(i: number): Segment | undefined {
    return this.items[this.head + i];
  }

  /** Bounds of the keys behind the window, for the store to be read. */
  restRange(): { readonly gte: Buffer; readonly lt: Buffer } {
    return {
      gte: keyBytes(this.prefix + u64Text(this.loadedTo + 1)),
      lt: keyBytes(`${this.prefix}\xff`),
    };
  }

  /**
   * Takes rows that were read from the store behind the window.
   * @param rows - in order, as read for `restRange`
   * @param end - the store has no more
   */
  load(overlay: Overlay, rows: readonly ReadyRow[], end: boolean): void {
    const from = this.prefix + u64Text(this.loadedTo + 1);
    const last = rows[rows.length - 1];
    const bound = end || !last ? `${this.prefix}\xff` : `${last.key}\0`;
    const merged = new Map<string, Uint8Array>();
    for (const row of rows) merged.set(row.key, row.value);
    overlay.forRange(from, bound, (key, value) => {
      if (value === null) merged.delete(key);
      else merged.set(key, value);
    });
    for (const key of [...merged.keys()].sort()) {
      this.push(decodeReadyRow(readU64(key, this.prefix.length), merged.get(key) as Uint8Array));
    }
    if (end) this.complete = true;
    else if (last) this.loadedTo = Math.max(this.loadedTo, readU64(last.key, this.prefix.length));
  }
}

export interface ReadyRow {
  /** The key as a latin1 string. */
  readonly key: string;
  readonly value: Uint8Array;
}

function encodeReadyRow(runKey: string, readyAt: number): Uint8Array {
  return Buffer.from(u48Text(readyAt) + runKey, "latin1");
}

function decodeReadyRow(seq: number, value: Uint8Array): Segment {
  const text = Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1");
  return { seq, runKey: text.slice(6), readyAt: readU48(text, 0), from: 0, gone: false };
}
