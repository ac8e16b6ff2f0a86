/**
 * The group-commit writer: the one loop that writes to a store. At most one synced batch is in
 * flight; what arrives meanwhile goes into the one that is forming, which follows at once.
 * No timer: when the disk is idle a write goes out in the same turn.
 *
 * States: idle (nothing forming) → starting (forming, goes out when this turn's code has run) →
 * writing (one in flight, maybe one forming) → idle or writing; failed, from any, for good. The
 * first error is handed to `onFatal` once, and no callback is ever called again: what was in
 * flight may or may not be on disk (FAULTS F4), so it is neither acknowledged nor refused.
 */
import { assert } from "../base/assert.ts";
import type { Clock, Histogram } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { Kv, KvBatch } from "./kv.ts";

export interface GroupCommit {
  /**
   * Puts operations into the forming batch, synchronously, and calls back when the batch that
   * holds them is durable. Callbacks run in the order of the calls. Nothing happens after a
   * failure: the node is about to end.
   */
  add(fill: (batch: KvBatch) => void, done: () => void): void;
  /** Whether a write is in flight. */
  readonly busy: boolean;
  /** Operations and bytes waiting in the forming batch; callers hold back by these. */
  readonly formingOps: number;
  readonly formingBytes: number;
  /**
   * Calls back once while no write is in flight: behind the one that is, before the next one. The
   * call may look at the store's files, which do not change meanwhile. Not after a failure.
   */
  between(work: () => void): void;
  /**
   * Resolves when everything added so far is durable.
   * @throws whatever was handed to onFatal
   */
  drain(): Promise<void>;
}

/** What is measured of each synced batch. */
export interface GroupCommitMetrics {
  readonly batchOps: Histogram;
  readonly batchBytes: Histogram;
  readonly syncSeconds: Histogram;
}

export interface GroupCommitDeps {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly metrics: GroupCommitMetrics;
  /** Called once, with the first error. The process must stop acknowledging and end. */
  readonly onFatal: (error: unknown) => void;
}

export function createGroupCommit(deps: GroupCommitDeps): GroupCommit {
  return new Writer(deps);
}

type Done = () => void;
type State = "idle" | "starting" | "writing" | "failed";

class Writer implements GroupCommit {
  readonly #deps: GroupCommitDeps;
  #state: State = "idle";
  #failure: unknown;
  #forming: KvBatch | undefined;
  /** Callers of the forming batch, and an emptied array that the next one will use. */
  #waiting: Done[] = [];
  #spare: Done[] = [];
  #between: (() => void)[] = [];
  /** Of the drains that wait; at most a few, at shutdown. */
  readonly #rejects = new Set<(error: unknown) => void>();

  constructor(deps: GroupCommitDeps) {
    this.#deps = deps;
  }

  get busy(): boolean {
    return this.#state === "writing";
  }

  get formingOps(): number {
    return this.#forming?.ops ?? 0;
  }

  get formingBytes(): number {
    return this.#forming?.bytes ?? 0;
  }

  add(fill: (batch: KvBatch) => void, done: Done): void {
    if (this.#state === "failed") return;
    try {
      this.#take(fill, done);
    } catch (error) {
      // Half a fill must never reach the disk.
      this.#fail(error);
      return;
    }
    if (this.#state !== "idle") return;
    this.#state = "starting";
    // One microtask per idle period, so that all of this turn's callers share the sync.
    queueMicrotask(() => void this.#loop());
  }

  between(work: () => void): void {
    if (this.#state === "failed") return;
    if (this.#state !== "writing") {
      work();
      return;
    }
    this.#between.push(work);
  }

  drain(): Promise<void> {
    if (this.#state === "failed") return Promise.reject(this.#failure);
    if (this.#state === "idle") return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#rejects.add(reject);
      this.add(fillNothing, () => {
        this.#rejects.delete(reject);
        resolve();
      });
    });
  }

  #take(fill: (batch: KvBatch) => void, done: Done): void {
    const { length } = this.#waiting;
    assert(length < limits.groupCommitCallers, "callers of one batch", length);
    this.#forming ??= this.#deps.kv.batch();
    fill(this.#forming);
    const { bytes } = this.#forming;
    assert(bytes <= limits.groupCommitBytes, "bytes of one batch", bytes);
    this.#waiting.push(done);
  }

  /** Writes batch after batch until nothing is waiting. Never rejects. */
  async #loop(): Promise<void> {
    if (this.#state === "failed") return;
    this.#state = "writing";
    try {
      while (this.#forming !== undefined) {
        const batch = this.#forming;
        const callers = this.#waiting;
        this.#forming = undefined;
        this.#waiting = this.#spare;
        await this.#write(batch);
        if (this.#hasFailed()) return;
        for (const done of callers) done();
        callers.length = 0;
        this.#spare = callers;
        for (const work of this.#between.splice(0)) work();
      }
      this.#state = "idle";
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Whether a caller's fill failed while the write was in flight. */
  #hasFailed(): boolean {
    return this.#state === "failed";
  }

  async #write(batch: KvBatch): Promise<void> {
    if (batch.ops === 0) {
      await batch.discard();
      return;
    }
    const { clock, metrics } = this.#deps;
    const { ops, bytes } = batch;
    const startMs = clock.monotonicMs();
    await batch.write();
    metrics.syncSeconds.observe((clock.monotonicMs() - startMs) / 1000);
    metrics.batchOps.observe(ops);
    metrics.batchBytes.observe(bytes);
  }

  #fail(error: unknown): void {
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#failure = error;
    this.#forming = undefined;
    this.#waiting = [];
    for (const reject of this.#rejects) reject(error);
    this.#rejects.clear();
    this.#deps.onFatal(error);
  }
}

function fillNothing(): void {
  // A drain only wants to know when what came before it is durable.
}
