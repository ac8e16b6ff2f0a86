/**
 * Runs by the time at which something happens to some of their tasks, earliest first, ties by run
 * key. Two of them: `due` (leases and delays end) and `retention` (records go). A window of the
 * earliest rows is in memory; later rows are in the overlay and in the store.
 *
 * Invariant: every row at or before the horizon is in the window; if `complete`, every row is.
 */
import { keyBytes, readU48, u48Text } from "./keys.ts";
import type { Overlay } from "./overlay.ts";

export interface DueNode {
  /** Of its row. */
  readonly key: string;
  readonly due: number;
  readonly runKey: string;
  gone: boolean;
}

/** Rows kept in memory; beyond twice this the later half is given back to the store. */
const windowRows = 32_768;
const noValue = Buffer.alloc(0);

export class DueIndex {
  private readonly prefix: string;
  private heap: DueNode[] = [];
  /** The earliest nodes in order, taken off the heap by `at`. */
  private front: DueNode[] = [];
  /** By the keys of the rows. */
  private nodes = new Map<string, DueNode>();
  /** Key of the last row of the window; "": it holds none. */
  private horizonKey = "";
  complete: boolean;
  /** What a key begins with: many rows in a row have one time. */
  private lastDue = -1;
  private lastStart = "";

  constructor(prefix: string, complete: boolean) {
    this.prefix = prefix;
    this.complete = complete;
  }

  /** Rows in the window. */
  get size(): number {
    return this.nodes.size;
  }

  add(overlay: Overlay, due: number, runKey: string): void {
    const key = this.keyOf(due, runKey);
    overlay.put(key, noValue);
    if (!this.complete && key > this.horizonKey) return;
    this.insert({ key, due, runKey, gone: false });
    if (this.nodes.size > 2 * windowRows) this.shrink();
  }

  private keyOf(due: number, runKey: string): string {
    if (due !== this.lastDue) {
      this.lastDue = due;
      this.lastStart = this.prefix + u48Text(due);
    }
    return this.lastStart + runKey;
  }

  private insert(node: DueNode): void {
    this.nodes.set(node.key, node);
    const last = this.front[this.front.length - 1];
    if (last && isBefore(node, last)) {
      for (const taken of this.front) if (!taken.gone) heapPush(this.heap, taken);
      this.front = [];
    }
    heapPush(this.heap, node);
  }

  remove(overlay: Overlay, due: number, runKey: string): void {
    const key = this.keyOf(due, runKey);
    overlay.remove(key);
    const node = this.nodes.get(key);
    if (!node) return;
    node.gone = true;
    this.nodes.delete(key);
    if (this.heap.length > 2 * this.nodes.size + 1024) this.rebuild([...this.nodes.values()]);
  }

  private rebuild(nodes: DueNode[]): void {
    this.front = [];
    this.heap = nodes.sort(compareNodes);
  }

  /** Gives the later half back to the store. */
  private shrink(): void {
    const sorted = [...this.nodes.values()].sort(compareNodes);
    const kept = sorted.slice(0, windowRows);
    this.nodes = new Map(kept.map((node) => [node.key, node]));
    this.horizonKey = (kept[kept.length - 1] as DueNode).key;
    this.complete = false;
    this.rebuild(kept);
  }

  /** The i-th row in order, 0 = the earliest; undefined behind the window. */
  at(i: number): DueNode | undefined {
    if (i === 0 && this.front.length > 0 && this.front.some((node) => node.gone)) {
      this.front = this.front.filter((node) => !node.gone);
    }
    while (this.front.length <= i) {
      const node = heapPop(this.heap);
      if (!node) return undefined;
      if (!node.gone) this.front.push(node);
    }
    return this.front[i];
  }

  /** Keys of the window's rows, in order: for checks, not for work. */
  windowKeys(): string[] {
    return [...this.nodes.keys()].sort();
  }

  /** Whether rows behind the window may be due at `now`. */
  mayHoldBefore(now: number): boolean {
    return !this.complete && (this.horizonKey === "" || dueOf(this.horizonKey) <= now);
  }

  /** The time at which to look next; Infinity = nothing waits. */
  nextDue(): number {
    const first = this.at(0);
    if (first) return first.due;
    if (this.complete) return Number.POSITIVE_INFINITY;
    return this.horizonKey === "" ? 0 : dueOf(this.horizonKey);
  }

  restRange(): { readonly gte: Buffer; readonly lt: Buffer } {
    const gte = this.restStart();
    return { gte: keyBytes(gte), lt: keyBytes(`${this.prefix}\xff\xff`) };
  }

  private restStart(): string {
    return this.horizonKey === "" ? this.prefix : `${this.horizonKey}\0`;
  }

  /**
   * Takes rows that were read from the store behind the window.
   * @param keys - as read for `restRange`, in order, latin1
   * @param end - the store has no more
   */
  load(overlay: Overlay, keys: readonly string[], end: boolean): void {
    const from = this.restStart();
    const last = keys[keys.length - 1];
    const bound = end || last === undefined ? `${this.prefix}\xff\xff` : `${last}\0`;
    const merged = new Set(keys);
    overlay.forRange(from, bound, (key, value) => {
      if (value === null) merged.delete(key);
      else merged.add(key);
    });
    for (const key of merged) {
      if (this.nodes.has(key)) continue;
      this.insert({ key, due: dueOf(key), runKey: key.slice(runKeyFrom), gone: false });
    }
    if (end) this.complete = true;
    else if (last !== undefined) this.horizonKey = last;
  }
}

/** Where the run key begins: behind a prefix of one character and a time of six. */
const runKeyFrom = 7;

function dueOf(key: string): number {
  return readU48(key, 1);
}

function isBefore(a: DueNode, b: DueNode): boolean {
  return a.due < b.due || (a.due === b.due && a.runKey < b.runKey);
}

function compareNodes(a: DueNode, b: DueNode): number {
  return isBefore(a, b) ? -1 : 1;
}

function heapPush(heap: DueNode[], node: DueNode): void {
  let at = heap.push(node) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as DueNode;
    if (!isBefore(node, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = node;
}

function heapPop(heap: DueNode[]): DueNode | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    const right = child + 1;
    if (right < heap.length && isBefore(heap[right] as DueNode, heap[child] as DueNode)) {
      child = right;
    }
    if (!isBefore(heap[child] as DueNode, last)) break;
    heap[at] = heap[child] as DueNode;
    at = child;
  }
  heap[at] = last;
  return top;
}
