/**
 * Row changes that no durable checkpoint holds yet. `active` takes the changes of now; at a
 * checkpoint it becomes `frozen` until that write is durable. A row that came and went between two
 * checkpoints leaves nothing behind: most tasks never cost an index row on disk.
 *
 * Runs, queues and tenants are not here: they are objects with a dirty mark (state.ts).
 */

import { assert } from "../base/assert.ts";
import { Changes } from "./changes.ts";

/** A put of a key that the store may hold: when it is removed again, a delete must be written. */
class Over {
  readonly value: Uint8Array;
  constructor(value: Uint8Array) {
    this.value = value;
  }
}

/** A fresh put, a put over a possible row, or a delete. */
type Change = Uint8Array | Over | null;

const rowOverheadBytes = 64;

export class Overlay {
  private active = new Changes<Change>();
  private frozen: Changes<Change> | null = null;
  private changeBytes = 0;
  private held = false;
  /** `frozen` is durable and only kept for the hold. */
  private thawWaits = false;
  /** How often changes were forgotten because the store has them now: rows read before are stale. */
  thaws = 0;

  /** Changes not yet in a checkpoint. */
  get ops(): number {
    return this.active.size;
  }

  /** Their approximate bytes. */
  get bytes(): number {
    return this.changeBytes;
  }

  /** Puts a row whose key exists nowhere now (it may have been removed before). */
  put(key: string, value: Uint8Array): void {
    this.changeBytes += key.length + value.length + rowOverheadBytes;
    this.active.set(key, this.active.get(key) === null ? new Over(value) : value);
  }

  /** Puts a row that may replace one in the store. */
  replace(key: string, value: Uint8Array): void {
    this.changeBytes += key.length + value.length + rowOverheadBytes;
    const before = this.active.get(key);
    this.active.set(key, before instanceof Uint8Array ? value : new Over(value));
  }

  remove(key: string): void {
    const change = this.active.get(key);
    if (change instanceof Uint8Array) {
      this.changeBytes -= key.length + change.length + rowOverheadBytes;
      this.active.delete(key);
    } else {
      this.changeBytes += key.length + rowOverheadBytes;
      this.active.set(key, null);
    }
  }

  /** The row's value, null if it is removed, undefined if only the store can tell. */
  get(key: string): Uint8Array | null | undefined {
    let change = this.active.get(key);
    if (change === undefined) change = this.frozen?.get(key);
    return change instanceof Over ? change.value : change;
  }

  /** Calls back for each changed row with gte ≤ key < lt, in no order; the newest change of each. */
  forRange(gte: string, lt: string, visit: (key: string, value: Uint8Array | null) => void): void {
    this.frozen?.forRange(gte, lt, (key, change) => {
      if (!this.active.has(key)) visit(key, rowOf(change));
    });
    this.active.forRange(gte, lt, (key, change) => visit(key, rowOf(change)));
  }

  /** Starts a checkpoint: gives its changes; later ones go to the next. */
  freeze(): Iterable<[string, Uint8Array | null]> {
    const changes = this.active;
    assert(this.frozen === null || this.thawWaits, "one checkpoint at a time", changes.size);
    if (this.frozen === null) this.frozen = changes;
    else for (const [key, change] of changes) this.frozen.set(key, change);
    this.thawWaits = false;
    this.active = new Changes();
    this.changeBytes = 0;
    return changesOf(changes);
  }

  /** The checkpoint is durable: the store tells from now on. */
  thaw(): void {
    this.thaws++;
    if (this.held) this.thawWaits = true;
    else this.frozen = null;
  }

  /**
   * Rows are about to be read from the store, for a command that waits for them. Until `release`
   * nothing is forgotten here, because a checkpoint may become durable between two of the reads, or
   * between a read and the look into this overlay: its rows would be missed, or come back to life.
   */
  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    if (this.thawWaits) this.frozen = null;
    this.thawWaits = false;
  }

  get isFrozen(): boolean {
    return this.frozen !== null;
  }

  /** The rows under a prefix that the running checkpoint puts. */
  *frozenPuts(prefix: string): Iterable<[string, Uint8Array]> {
    if (!this.frozen) return;
    for (const [key, change] of this.frozen) {
      const value = rowOf(change);
      if (value !== null && key.startsWith(prefix)) yield [key, value];
    }
  }
}

function rowOf(change: Change): Uint8Array | null {
  return change instanceof Over ? change.value : change;
}

function* changesOf(changes: Changes<Change>): Iterable<[string, Uint8Array | null]> {
  for (const [key, change] of changes) yield [key, rowOf(change)];
}
