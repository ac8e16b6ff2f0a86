/**
 * The ready tasks of one queue and priority, in order: a window of ready rows from the front.
 * Behind the window there may be more rows, in the overlay and in the store.
 *
 * Invariant: every ready row with seq ≤ `loadedTo` is in the window; if `complete`, every row is.
 */
import { limits } from "../base/limits.ts";
import { keyBytes, readU48, readU64, readyPrefix, u48Text, u64Text } from "./keys.ts";
import type { Overlay } from "./overlay.ts";
import type { Queue } from "./state.ts";

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
const listRowsMax = 2048;
const listRowsTight = 16;
/** Rows of a list that is packed. */
const packedRows = 8;
/** Never pushed to. */
const noSegments: Segment[] = [];
/** A list takes as much memory beside its rows as so many of them. */
const listRows = 2;

/** All lists of a shard that are in memory, and the rows of their windows. */
export class ReadyWindows {
  /** Of all windows, and what the lists themselves count as. */
  rows = 0;
  private readonly lists = new Set<ReadyList>();
  /** Where `evict` looks next: it goes round and round. */
  private hand = this.lists.values();

  get isTight(): boolean {
    return this.rows > limits.windowRows;
  }

  add(list: ReadyList): void {
    this.lists.add(list);
    this.rows += listRows;
  }

  /**
   * Packs short lists that were not used for a round and forgets long ones, until no more than
   * `rowsMax` rows are left: they can be loaded again. Not while a command is applied, or waits for
   * what it needs.
   */
  evict(rowsMax: number = limits.windowRows): void {
    while (this.rows > rowsMax && this.lists.size > 0) {
      const { value: list } = this.hand.next();
      if (!list) this.hand = this.lists.values();
      else if (list.isUsed) list.isUsed = false;
      else this.drop(list);
    }
  }

  private drop(list: ReadyList): void {
    const { queue } = list;
    this.lists.delete(list);
    this.rows -= listRows + list.rows;
    queue.forgetList(list);
    if (queue.packed === "") queue.packed = list.pack();
  }
}

/** Since when the first task of a packed list is ready. */
export function packedOldest(packed: string): number {
  return readU48(packed, 9);
}

export class ReadyList {
  readonly queue: Queue;
  readonly priority: number;
  /** The list of another priority of the queue. */
  next: ReadyList | null = null;
  /** Asked for since it was looked at last (ReadyWindows). */
  isUsed = true;
  private readonly prefix: string;
  private readonly windows: ReadyWindows;
  private items: Segment[] = noSegments;
  private head = 0;
  private loadedTo = 0;
  /** The window holds every row there is. */
  complete: boolean;

  /** @param complete - true for a list that has no row yet; false if the store must be asked */
  constructor(queue: Queue, priority: number, windows: ReadyWindows, complete: boolean) {
    this.queue = queue;
    this.priority = priority;
    this.prefix = readyPrefix(queue.id, priority);
    this.windows = windows;
    this.complete = complete;
    windows.add(this);
  }

  /** Rows of the window. */
  get rows(): number {
    return this.items.length - this.head;
  }

  /**
   * The list in a text, some 50 bytes instead of 300; "" if it is not whole, without rows, or long:
   * then the store tells.
   */
  pack(): string {
    if (!this.complete || this.rows > packedRows) return "";
    let text = String.fromCharCode(this.priority);
    for (let i = this.head; i < this.items.length; i++) {
      const { seq, runKey, readyAt, gone } = this.items[i] as Segment;
      if (gone) continue;
      text += u64Text(seq) + u48Text(readyAt) + String.fromCharCode(runKey.length) + runKey;
    }
    // Made of pieces it would keep all of them.
    return text.length === 1 ? "" : Buffer.from(text, "latin1").toString("latin1");
  }

  /** Takes the rows of a packed list into an empty one. */
  unpack(text: string): void {
    for (let at = 1; at < text.length; ) {
      const [seq, readyAt] = [readU64(text, at), readU48(text, at + 8)];
      const from = at + 15;
      at = from + text.charCodeAt(from - 1);
      this.push({ seq, runKey: text.slice(from, at), readyAt, from: 0, gone: false });
    }
    this.complete = true;
  }

  /** Adds a row at the end; seq is higher than any before. */
  append(overlay: Overlay, seq: number, runKey: string, readyAt: number): void {
    overlay.put(this.prefix + u64Text(seq), encodeReadyRow(runKey, readyAt));
    if (!this.complete) return;
    if (this.rows >= (this.windows.isTight ? listRowsTight : listRowsMax)) {
      this.complete = false;
      return;
    }
    this.push({ seq, runKey, readyAt, from: 0, gone: false });
  }

  private push(segment: Segment): void {
    // Pushed to an empty array it would reserve room for sixteen more.
    if (this.items.length === 0) this.items = [segment];
    else this.items.push(segment);
    this.loadedTo = segment.seq;
    this.windows.rows++;
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
      this.windows.rows--;
    }
    if (this.head === this.items.length) {
      this.items = noSegments;
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
