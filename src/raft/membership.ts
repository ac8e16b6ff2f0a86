/**
 * Membership (thesis 4): when a change may be proposed, what happens when it is applied, and
 * snapshots, which bring a membership with them.
 *
 * A change is in force when it is applied. At most one is pending: the leader refuses the next
 * until the last is applied (FAULTS B36).
 */
import { assert } from "../base/assert.ts";
import type { LogIndex } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import {
  changeConfiguration,
  isJoint,
  isVoter,
  leavesJoint,
  restoreConfiguration,
} from "./conf-change.ts";
import { decodeConfChange } from "./conf-change-codec.ts";
import type { Core } from "./core.ts";
import {
  appendNew,
  broadcastAppend,
  maybeCommit,
  type NewEntry,
  sendAppend,
} from "./replication.ts";
import {
  type ConfChange,
  type Membership,
  NO_ONE,
  type SnapshotMessage,
  type SnapshotMeta,
} from "./types.ts";

/** Why the leader may not log this change now; undefined if it may. */
export function whyNotNow(core: Core, entry: NewEntry): string | undefined {
  let change: ConfChange;
  try {
    change = decodeConfChange(entry.data);
  } catch (error) {
    if (error instanceof DecodeError) return error.message;
    throw error;
  }
  if (core.config.disableConfChangeValidation) return undefined;
  if (core.pendingConfIndex > core.log.applied) {
    return `a change at index ${core.pendingConfIndex} is not applied (${core.log.applied} is)`;
  }
  if (isJoint(core.membership) && !leavesJoint(change)) return "a joint change is not left yet";
  if (!isJoint(core.membership) && leavesJoint(change)) return "there is no joint change to leave";
  // None is pending, so what is in force now is what the change will meet.
  const result = changeConfiguration(core.configuration(), change, core.changeOptions());
  return result.kind === "refused" ? result.reason : undefined;
}

/** A committed change takes force. @throws InvariantError if it is not possible */
export function applyConfChange(core: Core, change: ConfChange): Membership {
  const result = changeConfiguration(core.configuration(), change, core.changeOptions());
  assert(result.kind === "changed", "a committed change is possible", JSON.stringify(result));
  core.install(result.configuration);
  core.trace(`has a new membership: ${JSON.stringify(core.membership)}`);
  if (core.role === "leader") leaderAfterChange(core);
  return core.membership;
}

function leaderAfterChange(core: Core): void {
  const own = core.ownProgress();
  if (own === undefined || own.isLearner) {
    // It leads on, without counting itself, unless it shall go (thesis 4.2.2).
    if (core.config.stepDownOnRemoval) core.becomeFollower(core.term, NO_ONE);
    return;
  }
  if (core.membership.voters.length === 0) return;
  if (maybeCommit(core)) {
    broadcastAppend(core);
  } else {
    // New members need not wait for the next heartbeat.
    for (const id of core.memberIds) if (id !== core.id) sendAppend(core, id, false);
  }
  if (core.transferee !== NO_ONE && !isVoter(core.membership, core.transferee)) {
    core.transferee = NO_ONE;
  }
}

/** Entries up to `index` are applied: the leader ends a joint change that shall end by itself. */
export function maybeLeaveJoint(core: Core): void {
  if (core.role !== "leader" || !core.membership.autoLeave) return;
  if (core.log.applied < core.pendingConfIndex) return;
  // During a transfer nothing is proposed; the next applied entry comes by here again.
  if (core.transferee !== NO_ONE || core.ownProgress() === undefined) return;
  const leave: NewEntry = { type: "confChangeV2", data: Buffer.alloc(0) };
  core.pendingConfIndex = core.log.lastIndex() + 1;
  assert(appendNew(core, [leave]), "an empty entry always fits");
  broadcastAppend(core);
  core.trace("leaves the joint membership");
}

/** A leader sends the state instead of a log that it no longer has. */
export function handleSnapshot(core: Core, message: SnapshotMessage): void {
  if (restore(core, message)) core.acknowledge(message.from, core.log.lastIndex());
  else core.acknowledge(message.from, core.log.committed);
}

/** @returns false if it is old, or not for this replica (B24) */
function restore(core: Core, message: SnapshotMessage): boolean {
  const { index, term, membership } = message.snapshot;
  if (index <= core.log.committed) return false;
  assert(core.role === "follower", "only followers take snapshots", core.role);
  if (!isVoter(membership, core.id) && !membership.learners.includes(core.id)) {
    core.trace(`ignores snapshot ${index}: it is no member there`);
    return false;
  }
  if (core.log.matchTerm(index, term)) {
    // The log has it all: only the news that it is committed is of use.
    core.log.commitTo(index);
    return false;
  }
  core.log.restore(message.snapshot);
  core.trace(`restores snapshot ${index} of term ${term}`);
  return true;
}

/**
 * The driver has installed a snapshot: only now its membership is in force, since entries handed
 * out before it may have been applied until this moment, changes among them.
 */
export function snapshotApplied(core: Core, snapshot: SnapshotMeta): void {
  core.log.unstable.stableSnapshotTo(snapshot.index);
  if (snapshot.index <= core.log.applied) return;
  core.install(restoreConfiguration(snapshot.membership, core.changeOptions()));
  appliedTo(core, snapshot.index, 0);
}

/** The driver has applied everything up to `index`. */
export function appliedTo(core: Core, index: LogIndex, bytes: number): void {
  core.log.appliedTo(Math.max(index, core.log.applied) as LogIndex, bytes);
  maybeLeaveJoint(core);
}
