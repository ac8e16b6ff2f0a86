/**
 * Who of the members keeps up, as their leader sees it: a member that often lacks what was committed
 * a while ago, its disk being slow, would be no good leader, though it has caught up at this moment.
 */
import type { LogIndex, StoreId } from "../base/brand.ts";
import type { ProgressStatus } from "../raft/progress-status.ts";

export class MemberPace {
  private readonly lagMs: number;
  /** What was committed at some time that is at most `lagMs` ago. */
  private mark: { readonly atMs: number; readonly index: LogIndex } | null = null;
  /** When each member was seen behind last; a member that is new counts as behind. */
  private readonly behindMs = new Map<StoreId, number>();

  /** @param lagMs - a member may lack what was committed within so many ms */
  constructor(lagMs: number) {
    this.lagMs = lagMs;
  }

  /** To be called at every tick while this replica leads. */
  note(nowMs: number, commit: LogIndex, progress: readonly ProgressStatus[]): void {
    const { mark } = this;
    const isTime = mark !== null && nowMs - mark.atMs >= this.lagMs;
    for (const { id, match } of progress) {
      const isBehind = isTime && match < mark.index;
      if (isBehind || !this.behindMs.has(id)) this.behindMs.set(id, nowMs);
    }
    if (isTime || mark === null) this.mark = { atMs: nowMs, index: commit };
  }

  /** This replica does not lead any more: what it has seen is old when it leads again. */
  reset(): void {
    this.mark = null;
    this.behindMs.clear();
  }

  /** For how long a member has kept up. */
  steadyMs(id: StoreId, nowMs: number): number {
    return nowMs - (this.behindMs.get(id) ?? nowMs);
  }
}
