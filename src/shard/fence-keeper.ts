/** Rewrites the fence beside the store as entries become durable, at most once a second. */
import type { Clock } from "../base/effects.ts";
import type { Entry } from "../raft/types.ts";
import type { FenceFile } from "../storage/fence-file.ts";

const everyMs = 1_000;

export interface FenceKeeperDeps {
  readonly fence: FenceFile;
  readonly clock: Clock;
  readonly fatal: (error: unknown) => void;
}

export class FenceKeeper {
  private readonly deps: FenceKeeperDeps;
  private saving = false;
  private savedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: FenceKeeperDeps) {
    this.deps = deps;
  }

  /** The entry and all before it are durable. */
  synced(last: Entry): void {
    const now = this.deps.clock.monotonicMs();
    if (this.saving || now - this.savedMs < everyMs) return;
    this.saving = true;
    this.savedMs = now;
    this.deps.fence
      .save({ term: last.term, index: last.index })
      .then(() => {
        this.saving = false;
      })
      .catch((error: unknown) => this.deps.fatal(error));
  }
}
