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
  private nodes = new Map<string, DueNode>();
  private horizonKey = "";
  complete: boolean;

  constructor(prefix: string, complete: boolean) {
    this.prefix = prefix;
    this.complete = complete;
  }

  /** Rows in the window. */
  get size(): number {
    return this.nodes.size;
  }

  add(overlay: Overlay, due: number, runKey: string): void {
    const key = u48Text(due) + runKey;
    overlay.put(this.prefix + key, noValue);
    if (!this.complete && key > this.horizonKey) return;
    this.insert({ due, runKey, gone: false }, key);
    if (this.nodes.size > 2 * windowRows) this.shrink();
  }

  private insert(node: DueNode, key: string): void {
    this.nodes.set(key, node);
    const last = this.front[this.front.length - 1];
    if (last && isBefore(node, last)) {
      for (const taken of this.front) if (!taken.gone) heapPush(this.heap, taken);
      this.front = [];
    }
    heapPush(this.heap, node);
  }

  remove(overlay: Overlay, due: number, runKey: string): void {
    const key = u48Text(due) + runKey;
    overlay.remove(this.prefix + key);
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
    this.nodes = new Map(kept.map((node) => [u48Text(node.due) + node.runKey, node]));
    const last = kept[kept.length - 1] as DueNode;
    this.horizonKey = u48Text(last.due) + last.runKey;
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
    return [...this.nodes.keys()].sort().map((key) => this.prefix + key);
  }

  /** Whether rows behind the window may be due at `now`. */
  mayHoldBefore(now: number): boolean {
    return !this.complete && (this.horizonKey === "" || readU48(this.horizonKey, 0) <= now);
  }

  /** The time at which to look next; Infinity = nothing waits. */
  nextDue(): number {
    const first = this.at(0);
    if (first) return first.due;
    if (this.complete) return Number.POSITIVE_INFINITY;
    return this.horizonKey === "" ? 0 : readU48(this.horizonKey, 0);
  }

  restRange(): { readonly gte: Buffer; readonly lt: Buffer } {
    const gte = this.horizonKey === "" ? this.prefix : `${this.prefix + this.horizonKey}\0`;
    return { gte: keyBytes(gte), lt: keyBytes(`${this.prefix}\xff\xff`) };
  }

  /**
   * Takes rows that were read from the store behind the window.
   * @param keys - as read for `restRange`, in order, latin1
   * @param end - the store has no more
   */
  load(overlay: Overlay, keys: readonly string[], end: boolean): void {
    const from = this.horizonKey === "" ? this.prefix : `${this.prefix + this.horizonKey}\0`;
    const last = keys[keys.length - 1];
    const bound = end || last === undefined ? `${this.prefix}\xff\xff` : `${last}\0`;
    const merged = new Set(keys);
    overlay.forRange(from, bound, (key, value) => {
      if (value === null) merged.delete(key);
      else merged.add(key);
    });
    for (const key of merged) {
      const rest = key.slice(this.prefix.length);
      if (this.nodes.has(rest)) continue;
      this.insert({ due: readU48(rest, 0), runKey: rest.slice(6), gone: false }, rest);
    }
    if (end) this.complete = true;
    else if (last !== undefined) this.horizonKey = last.slice(this.prefix.length);
  }
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
