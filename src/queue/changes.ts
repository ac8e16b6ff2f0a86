/**
 * Changes of rows by key. Those of ready rows lie in a map for each list: a list is loaded whole from
 * the store and from here, and there may be a hundred thousand of them.
 */
import { prefixes, readyPrefixChars } from "./keys.ts";

const readyCode = prefixes.ready.charCodeAt(0);
/** Above all keys of ready rows. */
const behindReady = String.fromCharCode(readyCode + 1);

export class Changes<Change> {
  size = 0;
  private readonly plain = new Map<string, Change>();
  private readonly lists = new Map<string, Map<string, Change>>();
  /** The list that was asked for last: many changes in a row are of one. */
  private lastPrefix = "-";
  private lastMap: Map<string, Change> | undefined;

  get(key: string): Change | undefined {
    return this.mapOf(key)?.get(key);
  }

  has(key: string): boolean {
    return this.mapOf(key)?.has(key) === true;
  }

  set(key: string, change: Change): void {
    let map = this.mapOf(key);
    if (!map) {
      map = new Map();
      this.lists.set(key.slice(0, readyPrefixChars), map);
      this.lastMap = map;
    }
    const { size } = map;
    map.set(key, change);
    this.size += map.size - size;
  }

  delete(key: string): void {
    const map = this.mapOf(key);
    if (!map?.delete(key)) return;
    this.size--;
    if (map.size > 0 || map === this.plain) return;
    this.lists.delete(key.slice(0, readyPrefixChars));
    this.lastMap = undefined;
  }

  /** Calls back for each key with gte ≤ key < lt, in no order. */
  forRange(gte: string, lt: string, visit: (key: string, change: Change) => void): void {
    for (const map of this.mapsOf(gte, lt)) {
      for (const [key, change] of map) if (key >= gte && key < lt) visit(key, change);
    }
  }

  *[Symbol.iterator](): IterableIterator<[string, Change]> {
    yield* this.plain;
    for (const list of this.lists.values()) yield* list;
  }

  /** The maps that may hold keys of a range. */
  private mapsOf(gte: string, lt: string): Iterable<Map<string, Change>> {
    if (lt <= prefixes.ready || gte >= behindReady) return [this.plain];
    const list = gte.slice(0, readyPrefixChars);
    if (list.length < readyPrefixChars || !lt.startsWith(list)) {
      return [this.plain, ...this.lists.values()];
    }
    const map = this.lists.get(list);
    return map ? [map] : [];
  }

  private mapOf(key: string): Map<string, Change> | undefined {
    if (key.charCodeAt(0) !== readyCode) return this.plain;
    if (!key.startsWith(this.lastPrefix)) {
      this.lastPrefix = key.slice(0, readyPrefixChars);
      this.lastMap = this.lists.get(this.lastPrefix);
    }
    return this.lastMap;
  }
}
