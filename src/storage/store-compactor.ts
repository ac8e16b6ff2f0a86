/**
 * Keeps the disk use of a store level. LevelDB rewrites what it has most of, not what is dead: of rows
 * that are written, read once and deleted, as a queue's are, it keeps several times what lives. So
 * when the store has grown to twice what it was after the last time, it is compacted, in pieces, with
 * pauses in which LevelDB's own compactions go on: while a piece runs they wait, and with 12 flushed
 * buffers in line writes would stop.
 *
 * idle → compacting (piece after piece) → idle
 */
import type { Clock, Logger, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { Kv } from "./kv.ts";

export interface StoreCompactorDeps {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

/** First bytes of keys: everything that a shard writes begins with a letter. */
const firstByte = 0x41;
const lastByte = 0x5a;
/** Of a key's bytes so many are looked at when a range is cut in two. */
const cutBytes = 6;
const pauseMsMin = 10;
const pauseMsMax = 5_000;

interface Piece {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

export class StoreCompactor {
  private readonly deps: StoreCompactorDeps;
  private timer: TimerHandle | null = null;
  private lookedAtBytes = 0;
  /** On disk after the last time. */
  private baseBytes: number | null = null;
  private work: Promise<void> = Promise.resolve();
  private wake: (() => void) | null = null;
  private stopped = false;

  constructor(deps: StoreCompactorDeps) {
    this.deps = deps;
    this.sleep(limits.compactLookMs, () => this.look());
  }

  private sleep(ms: number, then: () => Promise<void>): void {
    if (this.stopped) return;
    this.timer = this.deps.timers.after(ms, () => {
      this.timer = null;
      this.work = then().catch((error: unknown) => {
        // After an orderly close nobody asks any more.
        if (!this.stopped) this.deps.onFatal(error);
      });
    });
  }

  private async look(): Promise<void> {
    const { kv } = this.deps;
    const written = kv.writtenBytes - this.lookedAtBytes;
    if (written < limits.compactWrittenBytes) {
      this.sleep(limits.compactLookMs, () => this.look());
      return;
    }
    this.lookedAtBytes = kv.writtenBytes;
    const disk = await kv.diskBytes();
    this.baseBytes ??= Math.min(disk, limits.compactWrittenBytes);
    if (disk < 2 * this.baseBytes + limits.compactSlackBytes) {
      this.sleep(limits.compactLookMs, () => this.look());
      return;
    }
    await this.compact(disk);
  }

  private async compact(before: number): Promise<void> {
    const { clock, logger, kv } = this.deps;
    const startedMs = clock.monotonicMs();
    const pieces = await this.cut();
    for (const piece of pieces) {
      if (this.stopped) return;
      const fromMs = clock.monotonicMs();
      await kv.compact(piece.gte, piece.lt);
      await this.pause(2 * (clock.monotonicMs() - fromMs));
    }
    this.baseBytes = await kv.diskBytes();
    const ms = Math.round(clock.monotonicMs() - startedMs);
    logger.info("store compacted", { before, after: this.baseBytes, pieces: pieces.length, ms });
    this.sleep(limits.compactLookMs, () => this.look());
  }

  private pause(ms: number): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.wake = resolve;
      this.timer = this.deps.timers.after(Math.min(Math.max(ms, pauseMsMin), pauseMsMax), resolve);
    });
  }

  /** The store in ranges of at most so many bytes each; the log's and each kind of rows apart. */
  private async cut(): Promise<Piece[]> {
    const pieces: Piece[] = [];
    for (let byte = firstByte; byte <= lastByte; byte++) {
      const prefix = byte * 2 ** (8 * cutBytes - 8);
      await this.cutInto(pieces, prefix, prefix + 2 ** (8 * cutBytes - 8));
    }
    return pieces;
  }

  /** Ranges are numbers here: the first bytes of their keys. */
  private async cutInto(pieces: Piece[], from: number, to: number): Promise<void> {
    const piece = { gte: keyOf(from), lt: keyOf(to) };
    const bytes = await this.deps.kv.sizeOf(piece.gte, piece.lt);
    if (bytes === 0) return;
    if (bytes <= limits.compactPieceBytes || to - from < 2) {
      pieces.push(piece);
      return;
    }
    const middle = from + Math.floor((to - from) / 2);
    await this.cutInto(pieces, from, middle);
    await this.cutInto(pieces, middle, to);
  }

  /** Resolves when nothing of it uses the store any more. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.wake?.();
    await this.work;
  }
}

/** The number's six bytes. */
function keyOf(value: number): Buffer {
  const key = Buffer.alloc(cutBytes);
  key.writeUIntBE(value, 0, cutBytes);
  return key;
}
