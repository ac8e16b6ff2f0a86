/**
 * One message into one replica: first its term (Raft paper 5.1), then what its kind means in the
 * present role.
 */
import { assert, unreachable } from "../base/assert.ts";
import type { LogIndex, StoreId, Term } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import type { Core } from "./core.ts";
import { handleVoteRequest, handleVoteResponse, isInLease, startElection } from "./election.ts";
import {
  handleAppendResponse,
  handleHeartbeatResponse,
  leaderPropose,
  startTransfer,
} from "./leader.ts";
import { entriesSize, payloadsSize } from "./log.ts";
import { appliedTo, handleSnapshot, snapshotApplied } from "./membership.ts";
import { leaderReadIndex } from "./read-index.ts";
import { handleAppend, handleHeartbeat, type NewEntry, releaseUncommitted } from "./replication.ts";
import {
  type AppendResponse,
  isLocalTarget,
  type Message,
  NO_ONE,
  type ProposeOutcome,
  type StepOutcome,
  type StorageAppendResponse,
  type StorageApplyResponse,
} from "./types.ts";

/** A message from outside: checked before anything changes. */
export function stepChecked(core: Core, message: Message): StepOutcome {
  const outcome = check(core, message);
  return outcome === "ok" ? step(core, message) : outcome;
}

function check(core: Core, message: Message): StepOutcome {
  const { kind, from, to, term } = message;
  if (to !== core.id || from === NO_ONE) return "invalid";
  const isStorage = kind === "storageAppendResponse" || kind === "storageApplyResponse";
  if (isStorage !== isLocalTarget(from)) return "invalid";
  if (isStorage) return "ok";
  if (term - core.term > limits.raftTermStep) return "invalid";
  if (term === 0 && kind !== "propose" && kind !== "readIndex") return "invalid";
  switch (kind) {
    case "appendResponse":
      if (!core.progress.has(from)) return "peerNotFound";
      return isAheadOfLeader(core, message) ? "invalid" : "ok";
    case "voteResponse":
    case "preVoteResponse":
    case "heartbeatResponse":
    case "readIndexResponse":
      return core.progress.has(from) ? "ok" : "peerNotFound";
    default:
      return from === core.id ? "invalid" : "ok";
  }
}

/** It claims to have taken entries that this leader, whose log only grows in its term, never had. */
function isAheadOfLeader(core: Core, { term, index, reject }: AppendResponse): boolean {
  if (core.role !== "leader" || term !== core.term || reject) return false;
  return index > core.log.lastIndex();
}

/** A message that is known to be well-formed, or of this replica itself. */
export function step(core: Core, message: Message): StepOutcome {
  if (message.term !== 0) {
    if (message.term > core.term && !acceptHigherTerm(core, message)) return "ok";
    if (message.term < core.term) {
      handleLowerTerm(core, message);
      return "ok";
    }
  }
  switch (message.kind) {
    case "vote":
    case "preVote":
      handleVoteRequest(core, message);
      return "ok";
    case "storageAppendResponse":
      handleStored(core, message);
      return "ok";
    case "storageApplyResponse":
      handleApplied(core, message);
      return "ok";
    case "propose":
      return proposeEntries(core, message.entries).kind === "dropped" ? "dropped" : "ok";
    case "readIndex":
      return askReadIndex(core, message.from, message.requestId) ? "ok" : "dropped";
    case "transferLeader":
      askTransfer(core, message.target);
      return "ok";
    case "storageAppend":
    case "storageApply":
      return "invalid";
    default:
      stepRole(core, message);
      return "ok";
  }
}

/** @returns false if the message ends here */
function acceptHigherTerm(core: Core, message: Message): boolean {
  switch (message.kind) {
    case "vote":
    case "preVote":
      if (isInLease(core, message)) {
        core.trace(`ignores a ${message.kind} of ${message.from}: a leader is heard`);
        return false;
      }
      if (message.kind === "preVote") return true;
      break;
    case "preVoteResponse":
      // A grant carries the term that was asked for; the term is taken when the quorum grants.
      if (!message.reject) return true;
      break;
    case "append":
    case "heartbeat":
    case "snapshot":
      core.becomeFollower(message.term, message.from);
      return true;
    default:
  }
  core.becomeFollower(message.term, NO_ONE);
  return true;
}

function handleLowerTerm(core: Core, message: Message): void {
  switch (message.kind) {
    case "append":
    case "heartbeat":
      // An old leader that this replica, with its higher term, cannot follow, and that would
      // never hear of the term, since (pre-)votes are ignored while it is heard. Tell it.
      if (core.config.checkQuorum || core.config.preVote) {
        core.acknowledge(message.from, 0 as LogIndex);
      }
      return;
    case "preVote":
      // Else a replica with a lower term and a longer log would ask for ever.
      core.send({
        kind: "preVoteResponse",
        from: core.id,
        to: message.from,
        term: core.term,
        reject: true,
      });
      return;
    case "storageAppendResponse":
      // The entries may have been replaced since, and come back as others with the same index
      // and term (B20). A snapshot holds committed state: it stays valid.
      if (message.snapshot !== null) snapshotApplied(core, message.snapshot);
      return;
    default:
  }
}

/** Kinds that mean something in a leader's life; the term is the present one. */
function stepRole(core: Core, message: Message): void {
  switch (message.kind) {
    case "append":
    case "heartbeat":
    case "snapshot":
      if (!followSender(core, message.from, message.kind)) return;
      if (message.kind === "append") handleAppend(core, message);
      else if (message.kind === "heartbeat") handleHeartbeat(core, message);
      else handleSnapshot(core, message);
      return;
    case "appendResponse":
      if (core.role === "leader") handleAppendResponse(core, message);
      return;
    case "heartbeatResponse":
      if (core.role === "leader") handleHeartbeatResponse(core, message);
      return;
    case "voteResponse":
    case "preVoteResponse":
      if (isCandidate(core)) handleVoteResponse(core, message);
      return;
    case "timeoutNow":
      // No pre-vote: the leader itself wants to be replaced.
      if (core.role === "follower") startElection(core, "transfer");
      return;
    case "readIndexResponse":
      if (core.role !== "follower") return;
      core.readStates.push({ requestId: message.requestId, index: message.index });
      return;
    default:
      assert(false, "a kind that a role handles", message.kind);
  }
}

function isCandidate(core: Core): boolean {
  return core.role === "candidate" || core.role === "pre-candidate";
}

/** @returns false if this replica leads and the message is to be ignored */
function followSender(
  core: Core,
  from: StoreId,
  kind: "append" | "heartbeat" | "snapshot",
): boolean {
  if (kind !== "snapshot") {
    // Two leaders in one term: election safety is gone, and with it every promise (paper 5.2).
    const isOnly = core.leaderId === NO_ONE || core.leaderId === from;
    assert(isOnly, "at most one leader in a term", core.term, core.leaderId, from);
  }
  if (core.role === "leader") return false;
  // Candidates of a pre-vote as well: it went on while they asked whether it was gone.
  if (core.leaderSilence !== null) core.heardAfter(core.leaderSilence);
  core.leaderSilence = 0;
  if (isCandidate(core)) core.becomeFollower(core.term, from);
  core.electionElapsed = 0;
  core.leaderId = from;
  return true;
}

function handleStored(core: Core, message: StorageAppendResponse): void {
  if (message.index > 0) core.log.unstable.stableTo(message.index, message.logTerm);
  if (message.snapshot !== null) snapshotApplied(core, message.snapshot);
}

function handleApplied(core: Core, message: StorageApplyResponse): void {
  const last = message.entries[message.entries.length - 1];
  if (last === undefined) return;
  appliedTo(core, last.index, entriesSize(message.entries));
  releaseUncommitted(core, payloadsSize(message.entries));
}

/** Proposals of this replica, or passed on by a follower. */
export function proposeEntries(core: Core, entries: readonly NewEntry[]): ProposeOutcome {
  switch (core.role) {
    case "leader":
      return leaderPropose(core, entries);
    case "candidate":
    case "pre-candidate":
      return { kind: "dropped", reason: "no leader is known" };
    case "follower": {
      const to = core.leaderId;
      if (to === NO_ONE) return { kind: "dropped", reason: "no leader is known" };
      if (core.config.disableProposalForwarding) {
        return { kind: "dropped", reason: "another replica leads" };
      }
      core.send({ kind: "propose", from: core.id, to, term: 0 as Term, entries });
      return { kind: "forwarded", to };
    }
    default:
      return unreachable(core.role);
  }
}

/** @returns false if no answer will come */
export function askReadIndex(core: Core, from: StoreId, requestId: number): boolean {
  if (core.role === "leader") return leaderReadIndex(core, from, requestId);
  // Only its own requests are passed on: a second hop could not find the way back.
  if (core.role !== "follower" || core.leaderId === NO_ONE || from !== core.id) return false;
  const to = core.leaderId;
  core.send({ kind: "readIndex", from: core.id, to, term: 0 as Term, requestId });
  return true;
}

export function askTransfer(core: Core, target: StoreId): void {
  if (core.role === "leader") {
    startTransfer(core, target);
  } else if (core.role === "follower" && core.leaderId !== NO_ONE) {
    const { id: from, leaderId: to, term } = core;
    core.send({ kind: "transferLeader", from, to, term, target });
  }
}
