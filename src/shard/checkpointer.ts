/**
 * When checkpoints are taken and what follows them. A checkpoint is due after so many row changes,
 * bytes or milliseconds; it rides on the next write of entries, or goes alone when there is none.
 * One at a time: the overlay has one frozen generation.
 */
import type { LogIndex } from "../base/brand.ts";
import { ByteWriter } from "../base/bytes.ts";
import type { Clock, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { prefixes } from "../queue/keys.ts";
import type { State } from "../queue/state.ts";
import type { KvBatch } from "../storage/kv.ts";
import { type AppliedPoint, evictRuns, putCheckpoint } from "./checkpoint.ts";
import type { PayloadCache } from "./payload-cache.ts";

export interface CheckpointerDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly payloads: PayloadCache;
  /** The applied index, if the state stands at an entry's boundary; else null. */
  readonly boundary: () => AppliedPoint | null;
  /** Puts the cut of the log that the checkpoint allows into its batch. */
  readonly cutLog: (batch: KvBatch, applied: LogIndex) => void;
  /** A checkpoint is durable. */
  readonly saved: () => void;
  /** Writes a batch for a due checkpoint alone; it calls `maybePut`. */
  readonly writeAlone: () => void;
  /** Whether a write of entries is under way, which the next one will follow. */
  readonly isWriting: () => boolean;
}

export class Checkpointer {
  private readonly deps: CheckpointerDeps;
  private readonly scratch = new ByteWriter(16 * 1024);
  private generation = 1;
  private durableGeneration = 0;
  private underWay = false;
  private firstChangeMs = -1;
  /** Something else than rows is to be saved. */
  private isWanted = false;
  private timer: TimerHandle | null = null;

  constructor(deps: CheckpointerDeps) {
    this.deps = deps;
  }

  /** Approximate bytes of rows that no checkpoint has taken. */
  get unsavedBytes(): number {
    return this.deps.state.overlay.bytes + this.deps.state.dirtyBytes;
  }

  /** Too much is unsaved while a checkpoint is still being written: proposals wait. */
  get isOverfull(): boolean {
    return this.underWay && this.unsavedBytes > limits.overlayBytes;
  }

  /** To be called after each turn of applying. */
  note(): void {
    const { state, clock, timers } = this.deps;
    // Not while a command waits for the rest of its runs: it would wait for ever.
    if (this.deps.boundary()) {
      if (state.runBytes > limits.windowBytes) {
        evictRuns(state, limits.windowBytes * 0.9, this.durableGeneration);
      }
      if (state.windows.isTight) state.windows.evict();
    }
    const unsaved = state.overlay.ops + state.dirtyRuns.length + state.dirtyQueues.size;
    if (unsaved === 0 && !this.isWanted) return;
    if (this.firstChangeMs < 0) this.firstChangeMs = clock.monotonicMs();
    if (!this.deps.isWriting() && this.isDue()) {
      this.deps.writeAlone();
      return;
    }
    this.timer ??= timers.after(limits.checkpointMs, () => {
      this.timer = null;
      if (this.isDue()) this.deps.writeAlone();
      else this.note();
    });
  }

  /**
   * A checkpoint is to be taken although no row may have changed: the membership is another one.
   * To be called while applying: `note` follows.
   */
  want(): void {
    this.isWanted = true;
  }

  private isDue(): boolean {
    if (this.underWay || this.firstChangeMs < 0) return false;
    const { state, clock } = this.deps;
    return (
      state.overlay.ops + state.dirtyRuns.length >= limits.checkpointOps ||
      this.unsavedBytes >= limits.checkpointBytes ||
      clock.monotonicMs() - this.firstChangeMs >= limits.checkpointMs
    );
  }

  /**
   * Puts a checkpoint into the batch if one is due.
   * @returns what to call when the batch is durable; null if there is none
   */
  maybePut(batch: KvBatch): (() => void) | null {
    const applied = this.isDue() ? this.deps.boundary() : null;
    return applied ? this.put(batch, applied) : null;
  }

  /** Puts the last checkpoint of an orderly end, due or not. */
  putLast(batch: KvBatch): void {
    const applied = this.underWay ? null : this.deps.boundary();
    if (applied) this.put(batch, applied);
  }

  private put(batch: KvBatch, applied: AppliedPoint): () => void {
    const { state } = this.deps;
    const generation = this.generation++;
    this.underWay = true;
    this.firstChangeMs = -1;
    this.isWanted = false;
    putCheckpoint(state, batch, applied, generation, this.scratch);
    this.deps.cutLog(batch, applied.index as LogIndex);
    return () => this.durable(generation);
  }

  private durable(generation: number): void {
    const { state, payloads } = this.deps;
    this.underWay = false;
    this.durableGeneration = generation;
    for (const [key, records] of state.overlay.frozenPuts(prefixes.payload)) {
      payloads.put(key.slice(1), asBuffer(records));
    }
    state.overlay.thaw();
    this.deps.saved();
    this.note();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
