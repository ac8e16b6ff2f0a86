/**
 * Log replication (Raft paper 5.3, thesis 3.5 and 10.2): what a leader sends, and what a follower
 * does with it. The leader's handling of answers stands in leader.ts.
 */
import { assert, present } from "../base/assert.ts";
import type { LogIndex, StoreId, Term } from "../base/brand.ts";
import type { Core } from "./core.ts";
import { payloadsSize } from "./log.ts";
import type { Progress } from "./progress.ts";
import { jointCommittedIndex } from "./quorum.ts";
import type { AppendMessage, Entry, EntryType, HeartbeatMessage } from "./types.ts";

export interface NewEntry {
  readonly type: EntryType;
  readonly data: Buffer;
}

/**
 * Leader: numbers the entries and puts them at the end of the log.
 * @returns false if too much is uncommitted already; the log is unchanged
 */
export function appendNew(core: Core, fresh: readonly NewEntry[]): boolean {
  let index = core.log.lastIndex();
  const entries: Entry[] = [];
  for (const { type, data } of fresh) {
    index = (index + 1) as LogIndex;
    entries.push({ index, term: core.term, type, data });
  }
  if (!takeUncommitted(core, payloadsSize(entries))) return false;
  core.log.append(entries);
  // The leader is one voter of many: it counts when its own disk has the entries (B19).
  core.acknowledge(core.id, index);
  return true;
}

/** One proposal always fits into an empty tail; empty entries (elections, joint) always fit. */
function takeUncommitted(core: Core, bytes: number): boolean {
  const sum = core.uncommittedBytes + bytes;
  if (core.uncommittedBytes > 0 && bytes > 0 && sum > core.config.maxUncommittedSize) return false;
  core.uncommittedBytes = sum;
  return true;
}

/** Entries were applied: room for proposals. Those of earlier terms were never counted. */
export function releaseUncommitted(core: Core, bytes: number): void {
  core.uncommittedBytes = Math.max(0, core.uncommittedBytes - bytes);
}

/** Leader: commits what a quorum has, if it is of this term. @returns whether it moved */
export function maybeCommit(core: Core): boolean {
  const { voters, votersOutgoing } = core.membership;
  const index = jointCommittedIndex(voters, votersOutgoing, core.matchOf);
  // No voters at all: an impossible configuration commits nothing.
  if (!Number.isFinite(index)) return false;
  return core.log.maybeCommit(index as LogIndex, core.term);
}

/** Leader: sends to everybody what they miss, or at least the commit index. */
export function broadcastAppend(core: Core): void {
  for (const id of core.memberIds) if (id !== core.id) sendAppend(core, id, true);
}

/**
 * Leader: sends the next entries, or a snapshot where they are compacted.
 * @param evenIfEmpty - an append without entries is of use too: it carries the commit index
 * @returns whether something was sent; call again for more while it is
 */
export function sendAppend(core: Core, to: StoreId, evenIfEmpty: boolean): boolean {
  const progress = present(core.progress.get(to), "progress of a member");
  if (progress.isPaused()) return false;
  const prevIndex = (progress.next - 1) as LogIndex;
  const prevTerm = core.log.term(prevIndex);
  if (prevTerm === undefined) return sendSnapshot(core, to, progress);
  // With a full window only an empty append goes out: if all that filled it was lost, its answer
  // brings the flow back.
  let entries: readonly Entry[] | undefined = [];
  if (progress.state !== "replicate" || !progress.inflights.isFull()) {
    entries = core.log.entriesFrom(progress.next as LogIndex, core.config.maxSizePerMsg);
  }
  if (entries === undefined) return sendSnapshot(core, to, progress);
  if (entries.length === 0 && !evenIfEmpty) return false;
  const commit = core.log.committed;
  const { id: from, term } = core;
  core.send({ kind: "append", from, to, term, prevIndex, prevTerm, entries, commit });
  progress.sentEntries(entries.length, payloadsSize(entries));
  progress.noteSentCommit(commit);
  return true;
}

function sendSnapshot(core: Core, to: StoreId, progress: Progress): boolean {
  // Nobody there: it would be lost, and the follower stuck in snapshot state.
  if (!progress.recentActive) return false;
  const snapshot = core.log.snapshot();
  if (snapshot === null) return false;
  assert(snapshot.index > 0, "a snapshot to send is not empty", snapshot.index);
  core.trace(`sends snapshot ${snapshot.index} to ${to}: it needs ${progress.next}`);
  progress.becomeSnapshot(snapshot.index);
  core.send({ kind: "snapshot", from: core.id, to, term: core.term, snapshot });
  return true;
}

/** Leader: says that it is there, and confirms reads up to `readRound`. */
export function broadcastHeartbeat(core: Core, readRound: number): void {
  for (const to of core.memberIds) {
    if (to === core.id) continue;
    const progress = present(core.progress.get(to), "progress of a member");
    // A follower may commit only what is known to be in its log (B15).
    const commit = Math.min(progress.match, core.log.committed) as LogIndex;
    core.send({ kind: "heartbeat", from: core.id, to, term: core.term, commit, readRound });
    progress.noteSentCommit(commit);
  }
}

/** Follower: appends if the logs meet at prev, else says where they may (Raft paper 5.3). */
export function handleAppend(core: Core, message: AppendMessage): void {
  const { from, prevIndex, prevTerm } = message;
  if (prevIndex < core.log.committed) {
    // Late or repeated: all of this up to the commit index is here for certain (B14, B17).
    core.acknowledge(from, core.log.committed);
    return;
  }
  const last = core.log.maybeAppend(prevIndex, prevTerm, message.entries, message.commit);
  if (last !== undefined) {
    core.acknowledge(from, last);
    return;
  }
  // The leader has nothing newer than prevTerm at or before prevIndex, so every entry of a
  // higher term here is a wrong one: skip them all at once.
  const start = Math.min(prevIndex, core.log.lastIndex()) as LogIndex;
  const hint = core.log.findConflictByTerm(start, prevTerm);
  core.send({
    kind: "appendResponse",
    from: core.id,
    to: from,
    term: core.term,
    index: prevIndex,
    reject: true,
    hintIndex: hint.index,
    hintTerm: hint.term,
  });
}

export function handleHeartbeat(core: Core, message: HeartbeatMessage): void {
  core.log.commitTo(message.commit);
  core.send({
    kind: "heartbeatResponse",
    from: core.id,
    to: message.from,
    term: core.term,
    readRound: message.readRound,
  });
}

/** Whether this leader knows which entries are committed (thesis 6.4, step 1). */
export function hasCommittedInTerm(core: Core): boolean {
  return (core.log.term(core.log.committed) ?? (0 as Term)) === core.term;
}
