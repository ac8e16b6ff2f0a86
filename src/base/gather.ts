/**
 * Gathers bytes that come in pieces. The blocks they lie in are used again and again: kept as pieces,
 * tiny ones take many times their bytes, and what is given up waits for the garbage collector.
 */

/** Blocks for all that gather the same kind of thing. */
export class BlockPool {
  readonly blockBytes: number;
  private readonly spareMax: number;
  private readonly spare: Buffer[] = [];

  /** @param spareMax - blocks kept for those who come next */
  constructor(blockBytes: number, spareMax: number) {
    this.blockBytes = blockBytes;
    this.spareMax = spareMax;
  }

  take(): Buffer {
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(this.blockBytes);
  }

  giveBack(blocks: readonly Buffer[]): void {
    for (const block of blocks) {
      if (this.spare.length === this.spareMax) return;
      this.spare.push(block);
    }
  }
}

export class Gatherer {
  /** Bytes gathered. */
  length = 0;
  private readonly pool: BlockPool;
  /** All but the last are full. */
  private blocks: Buffer[] = [];

  constructor(pool: BlockPool) {
    this.pool = pool;
  }

  /** Bytes of memory that it takes. */
  get heldBytes(): number {
    return this.blocks.length * this.pool.blockBytes;
  }

  /** Copies bytes[from..to). */
  add(bytes: Buffer, from: number, to: number): void {
    const { blockBytes } = this.pool;
    for (let at = from; at < to; ) {
      const used = this.length % blockBytes;
      if (used === 0) this.blocks.push(this.pool.take());
      const block = this.blocks[this.blocks.length - 1] as Buffer;
      const count = bytes.copy(block, used, at, to);
      at += count;
      this.length += count;
    }
  }

  /** Gives all that was gathered, in a buffer of its own, and begins anew. */
  finish(): Buffer {
    const bytes = Buffer.concat(this.blocks, this.length);
    this.drop();
    return bytes;
  }

  drop(): void {
    this.pool.giveBack(this.blocks);
    this.blocks = [];
    this.length = 0;
  }
}
