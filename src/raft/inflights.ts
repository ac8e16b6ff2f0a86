/**
 * The window of appends sent to one follower and not yet answered, bounded by count and bytes.
 * A ring that grows as needed up to its bound: most followers never use more than a few places.
 */
import { assert } from "../base/assert.ts";

const firstCapacity = 8;

export class Inflights {
  readonly countMax: number;
  readonly bytesMax: number;
  private lastIndexes: number[] = [];
  private sizes: number[] = [];
  private start = 0;
  /** Messages in the window. Invariant: 0 ≤ count ≤ countMax. */
  count = 0;
  /** Payload bytes in the window. May pass bytesMax by one message. */
  bytes = 0;

  constructor(countMax: number, bytesMax: number) {
    assert(countMax > 0 && bytesMax > 0, "window of in-flight appends", countMax, bytesMax);
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  isFull(): boolean {
    return this.count >= this.countMax || this.bytes >= this.bytesMax;
  }

  /** @param lastIndex - of the message's entries; grows from call to call */
  add(lastIndex: number, bytes: number): void {
    assert(!this.isFull(), "no append is added to a full window", this.count, this.bytes);
    if (this.count === this.lastIndexes.length) this.grow();
    const at = (this.start + this.count) % this.lastIndexes.length;
    this.lastIndexes[at] = lastIndex;
    this.sizes[at] = bytes;
    this.count++;
    this.bytes += bytes;
  }

  /** Removes every message whose entries all lie at or below `index`. */
  freeTo(index: number): void {
    while (this.count > 0 && (this.lastIndexes[this.start] as number) <= index) {
      this.bytes -= this.sizes[this.start] as number;
      this.start = (this.start + 1) % this.lastIndexes.length;
      this.count--;
    }
  }

  reset(): void {
    this.start = 0;
    this.count = 0;
    this.bytes = 0;
  }

  private grow(): void {
    const old = this.lastIndexes.length;
    const capacity = Math.min(this.countMax, Math.max(firstCapacity, old * 2));
    const lastIndexes = new Array<number>(capacity).fill(0);
    const sizes = new Array<number>(capacity).fill(0);
    for (let i = 0; i < this.count; i++) {
      const from = (this.start + i) % old;
      lastIndexes[i] = this.lastIndexes[from] as number;
      sizes[i] = this.sizes[from] as number;
    }
    this.lastIndexes = lastIndexes;
    this.sizes = sizes;
    this.start = 0;
  }
}
