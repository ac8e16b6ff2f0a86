/**
 * Copies of short byte strings that stay, cut from blocks that hold nothing else. A copy from Node's
 * pool keeps 8 KiB alive, most of it buffers that were needed for a moment; one with a memory of its
 * own costs about 1 µs and as many bytes again.
 */

const blockBytes = 16_384;
/** Longer ones get their own memory, so that the end of a block left over is short. */
const shortBytes = blockBytes / 8;

export class KeptBytes {
  private block = Buffer.alloc(0);
  private used = 0;

  copy(bytes: Uint8Array): Buffer {
    const { length } = bytes;
    if (length > shortBytes) {
      const own = Buffer.allocUnsafeSlow(length);
      own.set(bytes);
      return own;
    }
    if (this.used + length > this.block.length) {
      this.block = Buffer.allocUnsafeSlow(blockBytes);
      this.used = 0;
    }
    const kept = this.block.subarray(this.used, this.used + length);
    kept.set(bytes);
    this.used += length;
    return kept;
  }
}
