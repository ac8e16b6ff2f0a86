/**
 * Linearizable reads without log entries (thesis 6.4).
 *
 * safe   the leader notes its commit index, then lets a quorum confirm by a round of heartbeats
 *        that it still leads. Rounds are numbered and never reused, so an answer counts only for
 *        reads that were asked before its heartbeat left (FAULTS B46).
 * lease  the leader trusts that no other was elected within its election timeout. Only as good as
 *        the clocks (B47); the server does not use it. A leader that has asked to be replaced has
 *        none for the rest of its term: its request may arrive at any time (thesis 6.4.1, B43).
 */
import type { LogIndex, StoreId } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import type { Core } from "./core.ts";
import { jointCommittedIndex } from "./quorum.ts";
import { broadcastHeartbeat, hasCommittedInTerm } from "./replication.ts";

/**
 * Leader: a read of its own or of a follower.
 * @returns false if too many wait
 */
export function leaderReadIndex(core: Core, from: StoreId, requestId: number): boolean {
  if (!hasCommittedInTerm(core)) {
    // It may not know yet what earlier leaders committed (B45).
    if (core.earlyReads.length >= limits.pendingReads) return false;
    core.earlyReads.push({ from, requestId });
    return true;
  }
  const index = core.log.committed;
  const { voters, votersOutgoing } = core.membership;
  const isAlone = votersOutgoing.length === 0 && voters.length === 1 && voters[0] === core.id;
  const hasLease = core.config.readOnly === "lease" && !core.isReplaceable;
  if (hasLease || isAlone) {
    answer(core, from, requestId, index);
    return true;
  }
  if (core.pendingReads.length >= limits.pendingReads) return false;
  const round = ++core.readRound;
  core.pendingReads.push({ round, requestId, from, index });
  core.readAcks.set(core.id, round);
  broadcastHeartbeat(core, round);
  return true;
}

/** The round that an ordinary heartbeat confirms too; 0 = nothing waits. */
export function currentReadRound(core: Core): number {
  return core.pendingReads.length === 0 ? 0 : core.readRound;
}

/** Leader: `from` still follows as of that round. */
export function confirmReads(core: Core, from: StoreId, round: number): void {
  if (round === 0 || core.pendingReads.length === 0) return;
  core.readAcks.set(from, Math.max(core.readAcks.get(from) ?? 0, round));
  const { voters, votersOutgoing } = core.membership;
  const confirmed = jointCommittedIndex(voters, votersOutgoing, core.readAckOf);
  let done = 0;
  for (const read of core.pendingReads) {
    if (read.round > confirmed) break;
    answer(core, read.from, read.requestId, read.index);
    done++;
  }
  core.pendingReads.splice(0, done);
}

/** Leader: its term's first entry is committed, so reads asked before can go on. */
export function releaseEarlyReads(core: Core): void {
  if (core.earlyReads.length === 0 || !hasCommittedInTerm(core)) return;
  for (const { from, requestId } of core.earlyReads.splice(0)) {
    leaderReadIndex(core, from, requestId);
  }
}

function answer(core: Core, to: StoreId, requestId: number, index: LogIndex): void {
  if (to === core.id) core.readStates.push({ requestId, index });
  else {
    core.send({
      kind: "readIndexResponse",
      from: core.id,
      to,
      term: core.term,
      index,
      requestId,
    });
  }
}
