/** What a leader tells of its members, for people, metrics and the transcripts: copies. */
import type { LogIndex, StoreId } from "../base/brand.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

/** What a leader knows of one member. */
export interface ProgressStatus {
  readonly id: StoreId;
  readonly state: ProgressState;
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly isLearner: boolean;
  readonly isPaused: boolean;
  readonly recentActive: boolean;
  /** Index of the snapshot under way; 0 = none. */
  readonly pendingSnapshot: LogIndex;
  readonly inflightMsgs: number;
  readonly inflightFull: boolean;
}
