/**
 * What the leader knows of one member and how it may send to it.
 *
 *   probe      one append at a time, to find where the logs meet
 *   replicate  a window of appends, sent without waiting
 *   snapshot   nothing, until the snapshot under way has arrived or failed
 *
 * probe → replicate: an append was accepted.  replicate → probe: one was rejected, or the member
 * was reported unreachable.  any → snapshot: what it needs is compacted.  snapshot → probe: the
 * transfer ended.  snapshot → replicate: the member answered from within the log.
 */
import { assert } from "../base/assert.ts";
import type { LogIndex, StoreId } from "../base/brand.ts";
import { Inflights } from "./inflights.ts";
import type { ProgressState, ProgressStatus } from "./progress-status.ts";

export interface Window {
  readonly maxInflightMsgs: number;
  readonly maxInflightBytes: number;
}

export class Progress {
  /** Highest index known to be equal and durable there. Invariant: match < next. */
  match = 0;
  /** First index of the next append. */
  next: number;
  state: ProgressState = "probe";
  /** Set while state is snapshot: the index of the one under way. 0 = none. */
  pendingSnapshot = 0;
  /** Heard from since the last check of the quorum. */
  recentActive = false;
  /** Leader: ticks since it was heard, from the start of the term on. */
  silence = 0;
  /** No append until something is heard. */
  flowPaused = false;
  isLearner: boolean;
  readonly inflights: Inflights;
  /** Highest commit index in a message sent. Regresses where that message may be lost. */
  private sentCommit = 0;

  constructor(next: number, isLearner: boolean, window: Window) {
    assert(next > 0, "match < next", next);
    this.next = next;
    this.isLearner = isLearner;
    this.inflights = new Inflights(window.maxInflightMsgs, window.maxInflightBytes);
  }

  /** Back to what is known of a member at the start of a term. */
  restart(next: number, match: number): void {
    this.resetState("probe");
    this.match = match;
    this.next = next;
    this.recentActive = false;
    this.silence = 0;
    this.sentCommit = 0;
  }

  becomeProbe(): void {
    if (this.state === "snapshot") {
      // If the snapshot arrived, go on behind it; if it failed, pendingSnapshot is 0 by now.
      const pending = this.pendingSnapshot;
      this.resetState("probe");
      this.next = Math.max(this.match + 1, pending + 1);
    } else {
      this.resetState("probe");
      this.next = this.match + 1;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.resetState("replicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: LogIndex): void {
    this.resetState("snapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  /** An append with these entries has been sent. */
  sentEntries(count: number, bytes: number): void {
    assert(this.state !== "snapshot", "no append during a snapshot", this.next);
    if (this.state === "replicate") {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, bytes);
      }
      // A full window: what was just sent is a probe, the flow waits for its answer.
      this.flowPaused = this.inflights.isFull();
    } else if (count > 0) {
      this.flowPaused = true;
    }
  }

  /** Whether sending `commit` now could move the member's commit index. */
  canBumpCommit(commit: LogIndex): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  noteSentCommit(commit: LogIndex): void {
    this.sentCommit = commit;
  }

  /** The member has everything up to `index`. @returns whether that is news */
  maybeUpdate(index: LogIndex): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.flowPaused = false;
    return true;
  }

  /**
   * An append was rejected: moves next back.
   * @param rejected - the prevIndex that did not match
   * @param matchHint - a guess at the highest index that does
   * @returns false if the rejection is an old one
   */
  maybeDecrement(rejected: number, matchHint: number): boolean {
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      // The optimistic appends since then are lost too: begin again from what is certain.
      this.next = this.match + 1;
    } else {
      // A probe goes out one at a time, so only the latest one's answer counts.
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, matchHint + 1), this.match + 1);
      this.flowPaused = false;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    assert(this.match < this.next, "match < next", this.match, this.next);
    return true;
  }

  isPaused(): boolean {
    return this.state === "snapshot" || this.flowPaused;
  }

  /** For a change of membership: the same progress under another kind. */
  withLearner(isLearner: boolean): Progress {
    if (isLearner === this.isLearner) return this;
    const copy: Progress = Object.assign(Object.create(Progress.prototype), this);
    copy.isLearner = isLearner;
    return copy;
  }

  status(id: StoreId): ProgressStatus {
    return {
      id,
      state: this.state,
      match: this.match as LogIndex,
      next: this.next as LogIndex,
      isLearner: this.isLearner,
      isPaused: this.isPaused(),
      recentActive: this.recentActive,
      pendingSnapshot: this.pendingSnapshot as LogIndex,
      inflightMsgs: this.inflights.count,
      inflightFull: this.inflights.isFull(),
    };
  }

  private resetState(state: ProgressState): void {
    this.flowPaused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.reset();
  }
}
