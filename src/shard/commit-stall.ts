/**
 * Sees a leader's own disk stand still: a write that it began long ago has not ended, while another
 * voter has what was to be written on its disk. Then that one should lead: the write may take
 * seconds or for ever, and clients wait for it. Ticks are counted, not time: a process that stood
 * still itself has seen none of its writes end.
 */
import type { LogIndex, StoreId } from "../base/brand.ts";
import type { RaftStatus } from "../raft/types.ts";
import { NO_ONE } from "../raft/types.ts";

export class CommitStall {
  private readonly ticksMax: number;
  /** Last index of the oldest write under way, and for how many ticks it has been that. */
  private oldest: LogIndex | null = null;
  private ticks = 0;

  constructor(ticksMax: number) {
    this.ticksMax = ticksMax;
  }

  /**
   * To be called at every tick while this replica leads; otherwise with null.
   * @param oldest - last index of the oldest write under way; null: there is none
   * @returns who should lead instead; null: nobody
   */
  tick(oldest: LogIndex | null, status: () => RaftStatus): StoreId | null {
    if (oldest === null || oldest !== this.oldest) {
      this.oldest = oldest;
      this.ticks = 0;
      return null;
    }
    this.ticks++;
    return this.ticks < this.ticksMax ? null : bestVoter(oldest, status());
  }
}

function bestVoter(index: LogIndex, status: RaftStatus): StoreId | null {
  if (status.transferee !== NO_ONE) return null;
  const voters = status.progress.filter(({ isLearner }) => !isLearner);
  const active = voters.filter(({ id, recentActive }) => id !== status.id && recentActive);
  // Its own vote would wait for the same disk: the others must be able to elect without it.
  if (active.length * 2 <= voters.length) return null;
  const able = active.filter(({ match }) => match >= index);
  able.sort((a, b) => b.match - a.match || a.id - b.id);
  return able[0]?.id ?? null;
}

/** The voter that is closest behind its leader; null: there is none, or a hand-over is under way. */
export function closestVoter(status: RaftStatus): StoreId | null {
  if (status.transferee !== NO_ONE) return null;
  const able = status.progress.filter(
    ({ id, isLearner, recentActive }) => id !== status.id && !isLearner && recentActive,
  );
  able.sort((a, b) => b.match - a.match || a.id - b.id);
  return able[0]?.id ?? null;
}
