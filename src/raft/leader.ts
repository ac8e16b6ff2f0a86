/**
 * What only a leader does: proposals, answers of its followers, hand-over, and the check that a
 * quorum still hears it.
 */
import type { LogIndex, StoreId } from "../base/brand.ts";
import type { Core } from "./core.ts";
import { whyNotNow } from "./membership.ts";
import type { Progress } from "./progress.ts";
import { jointVoteResult } from "./quorum.ts";
import { confirmReads, releaseEarlyReads } from "./read-index.ts";
import {
  appendNew,
  broadcastAppend,
  maybeCommit,
  type NewEntry,
  sendAppend,
} from "./replication.ts";
import {
  type AppendResponse,
  type HeartbeatResponse,
  NO_ONE,
  type ProposeOutcome,
} from "./types.ts";

const noData = Buffer.alloc(0);

/** Puts entries at the end of the log and sends them out. */
export function leaderPropose(core: Core, fresh: readonly NewEntry[]): ProposeOutcome {
  // A removed leader still leads until another is elected, but takes nothing new.
  if (core.ownProgress() === undefined) return { kind: "dropped", reason: "no longer a member" };
  if (core.transferee !== NO_ONE) return { kind: "dropped", reason: "leadership is handed over" };
  let refusal: string | undefined;
  const checked: NewEntry[] = [];
  for (const entry of fresh) {
    const reason = entry.type === "normal" ? undefined : whyNotNow(core, entry);
    if (reason !== undefined) {
      core.trace(`refuses a membership change: ${reason}`);
      refusal = reason;
      checked.push({ type: "normal", data: noData });
      continue;
    }
    checked.push(entry);
    if (entry.type !== "normal") {
      core.pendingConfIndex = core.log.lastIndex() + checked.length;
    }
  }
  if (!appendNew(core, checked)) return { kind: "dropped", reason: "too much is uncommitted" };
  broadcastAppend(core);
  if (refusal !== undefined) return { kind: "refused", reason: refusal };
  return { kind: "accepted", index: core.log.lastIndex(), term: core.term };
}

/** A member, or this replica's own disk, accepted or rejected an append. */
export function handleAppendResponse(core: Core, message: AppendResponse): void {
  const progress = core.progress.get(message.from);
  if (progress === undefined) return;
  noteHeard(core, progress);
  if (message.reject) handleReject(core, progress, message);
  else handleAccept(core, progress, message);
}

function noteHeard(core: Core, progress: Progress): void {
  // The own disk is no line.
  if (progress !== core.ownProgress()) core.heardAfter(progress.silence);
  progress.silence = 0;
  progress.recentActive = true;
}

function handleReject(core: Core, progress: Progress, message: AppendResponse): void {
  let { hintIndex } = message;
  if (message.hintTerm > 0) {
    // Nothing of this log with a higher term than the follower's can be in the follower's.
    hintIndex = core.log.findConflictByTerm(hintIndex, message.hintTerm).index;
  }
  if (!progress.maybeDecrement(message.index, hintIndex)) return;
  if (progress.state === "replicate") progress.becomeProbe();
  sendAppend(core, message.from, true);
}

function handleAccept(core: Core, progress: Progress, message: AppendResponse): void {
  const { from, index } = message;
  const isNews = progress.maybeUpdate(index);
  // A probe that finds nothing new still tells where the logs meet.
  if (!isNews && !(progress.match === index && progress.state === "probe")) return;
  if (progress.state === "probe") {
    progress.becomeReplicate();
  } else if (progress.state === "replicate") {
    progress.inflights.freeTo(index);
  } else if (progress.match + 1 >= core.log.firstIndex()) {
    // Whatever snapshot it took: from here on the log can serve it.
    progress.becomeProbe();
    progress.becomeReplicate();
  }
  if (maybeCommit(core)) {
    releaseEarlyReads(core);
    broadcastAppend(core);
  } else if (from !== core.id && progress.canBumpCommit(core.log.committed)) {
    sendAppend(core, from, true);
  }
  if (from === core.id) return;
  // The window may have room for several messages now. Each moves `next`, so this ends.
  while (sendAppend(core, from, false));
  if (from === core.transferee && progress.match === core.log.lastIndex()) timeoutNow(core, from);
}

export function handleHeartbeatResponse(core: Core, message: HeartbeatResponse): void {
  const { from } = message;
  const progress = core.progress.get(from);
  if (progress === undefined) return;
  noteHeard(core, progress);
  progress.flowPaused = false;
  // Behind, or being probed: an append, empty if need be, shows where it stands.
  if (progress.match < core.log.lastIndex() || progress.state === "probe") {
    sendAppend(core, from, true);
  }
  confirmReads(core, from, message.readRound);
}

export function handleUnreachable(core: Core, id: StoreId): void {
  const progress = core.progress.get(id);
  // What was sent optimistically is probably lost.
  if (progress?.state === "replicate") progress.becomeProbe();
}

/** A snapshot's transfer ended; wait for the member's own word, or a heartbeat before a retry. */
export function handleSnapshotReport(core: Core, id: StoreId, ok: boolean): void {
  const progress = core.progress.get(id);
  if (progress?.state !== "snapshot") return;
  if (!ok) progress.pendingSnapshot = 0 as LogIndex;
  progress.becomeProbe();
  progress.flowPaused = true;
}

/** Hands leadership over when `target` has the whole log (thesis 3.10; FAULTS B41). */
export function startTransfer(core: Core, target: StoreId): void {
  const progress = core.progress.get(target);
  if (progress === undefined || progress.isLearner) return;
  if (core.transferee === target) return;
  core.transferee = NO_ONE;
  if (target === core.id) return;
  // It has one election timeout (B42): tickLeader gives up after that.
  core.electionElapsed = 0;
  core.transferee = target;
  if (progress.match === core.log.lastIndex()) timeoutNow(core, target);
  else sendAppend(core, target, true);
}

function timeoutNow(core: Core, to: StoreId): void {
  core.isReplaceable = true;
  core.send({ kind: "timeoutNow", from: core.id, to, term: core.term });
}

/** Steps down if no quorum was heard since the last check (thesis 6.2; FAULTS B7). */
export function checkQuorum(core: Core): void {
  const { voters, votersOutgoing } = core.membership;
  const isActive = (id: StoreId): boolean => core.progress.get(id)?.recentActive ?? false;
  if (jointVoteResult(voters, votersOutgoing, isActive) !== "won") {
    core.trace("steps down: no quorum was heard");
    core.becomeFollower(core.term, NO_ONE);
  }
  for (const [id, progress] of core.progress) if (id !== core.id) progress.recentActive = false;
}
