/**
 * Keeps the fence behind the log: an entry that is durable is covered by the fence at most a second
 * later, also when nothing follows it. Durability `interval` has no fence: there the log's end may
 * be lost.
 */
import type { Clock, TimerHandle, Timers } from "../base/effects.ts";
import type { Entry } from "../raft/types.ts";
import type { FenceFile } from "../storage/fence-file.ts";

/** The fence costs an fsync of its own: once in so many ms at the most. */
const everyMs = 1_000;

export interface FenceKeeperDeps {
  readonly fence: FenceFile;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly fatal: (error: unknown) => void;
}

export class FenceKeeper {
  private readonly deps: FenceKeeperDeps;
  /** The newest durable entry that the fence does not cover. */
  private uncovered: Entry | null = null;
  private saving: Promise<void> | null = null;
  private savedMs = Number.NEGATIVE_INFINITY;
  private timer: TimerHandle | null = null;
  private failure: { readonly error: unknown } | null = null;

  constructor(deps: FenceKeeperDeps) {
    this.deps = deps;
  }

  /** The entry and all before it are durable. */
  synced(last: Entry): void {
    if (this.failure) return;
    this.uncovered = last;
    if (this.saving || this.timer) return;
    const wait = this.savedMs + everyMs - this.deps.clock.monotonicMs();
    if (wait <= 0) {
      this.save();
      return;
    }
    this.timer = this.deps.timers.after(wait, () => {
      this.timer = null;
      this.save();
    });
  }

  private save(): void {
    const { uncovered, deps } = this;
    if (!uncovered) return;
    this.uncovered = null;
    this.savedMs = deps.clock.monotonicMs();
    this.saving = deps.fence
      .save({ term: uncovered.term, index: uncovered.index })
      .then(() => {
        this.saving = null;
        if (this.uncovered) this.synced(this.uncovered);
      })
      .catch((error: unknown) => {
        // Whoever waits for the save must not wait for ever, in a loop that lets nothing else run.
        this.saving = null;
        this.failure = { error };
        deps.fatal(error);
      });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /**
   * Covers all that is durable, waits for a save on its way, and closes the file.
   * @throws StorageError io: of that save, too
   */
  async close(): Promise<void> {
    while (this.saving) await this.saving;
    this.stop();
    if (this.failure) throw this.failure.error;
    const { fence } = this.deps;
    if (this.uncovered) fence.saveSync({ term: this.uncovered.term, index: this.uncovered.index });
    fence.closeSync();
  }
}
