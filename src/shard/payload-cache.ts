/**
 * Task records of recent runs, so that a claim soon after a create reads nothing. Immutable rows:
 * a hit is always right. First in, first out; bounded by bytes.
 */
import { KeptBytes } from "../base/kept-bytes.ts";

/** Bytes that an entry takes beside its block: key, buffer object and place in the map. */
const entryBytes = 320;

export class PayloadCache {
  private readonly blocks = new Map<string, Buffer>();
  private readonly kept = new KeptBytes();
  private readonly bytesMax: number;
  private bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get(runKey: string): Buffer | undefined {
    return this.blocks.get(runKey);
  }

  put(runKey: string, block: Buffer): void {
    if (block.length > this.bytesMax || this.blocks.has(runKey)) return;
    // A part of something larger would keep all of it.
    const isPart = block.buffer.byteLength > 2 * block.length;
    this.blocks.set(runKey, isPart ? this.kept.copy(block) : block);
    this.bytes += block.length + entryBytes;
    for (const [key, oldest] of this.blocks) {
      if (this.bytes <= this.bytesMax) return;
      this.blocks.delete(key);
      this.bytes -= oldest.length + entryBytes;
    }
  }
}
