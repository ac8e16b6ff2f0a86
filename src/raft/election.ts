/**
 * Elections (Raft paper 5.2 and 5.4.1; pre-vote and stickiness: thesis 9.6 and 4.2.3).
 *
 * A pre-vote asks whether an election could be won, and changes nothing anywhere: no term, no vote
 * (FAULTS B4, B5). Only after it is won does the real election raise the term.
 */
import { assert, present } from "../base/assert.ts";
import type { LogIndex, StoreId, Term } from "../base/brand.ts";
import type { Core } from "./core.ts";
import { jointVoteResult } from "./quorum.ts";
import { appendNew, broadcastAppend } from "./replication.ts";
import { NO_ONE, type VoteRequest, type VoteResponse } from "./types.ts";

/** transfer: the leader asked for it, so that pre-vote and stickiness do not apply. */
export type CampaignKind = "preElection" | "election" | "transfer";

const noData = Buffer.alloc(0);

/** Starts an election if this replica may be elected at all. */
export function startElection(core: Core, kind: CampaignKind): void {
  if (core.role === "leader") return;
  if (!core.isPromotable()) {
    core.trace("does not campaign: it cannot lead");
    return;
  }
  if (hasUnappliedConfChange(core)) {
    // It would ask the wrong members.
    core.trace("does not campaign: a membership change is not applied yet");
    return;
  }
  core.trace(`starts an election at term ${core.term}`);
  campaign(core, kind);
}

function campaign(core: Core, kind: CampaignKind): void {
  const isPreVote = kind === "preElection";
  if (isPreVote) becomePreCandidate(core);
  else becomeCandidate(core);
  // A pre-vote asks for the next term without taking it.
  const term = (isPreVote ? core.term + 1 : core.term) as Term;
  const lastIndex = core.log.lastIndex();
  const lastTerm = core.log.lastTerm();
  for (const to of core.memberIds) {
    const isVoter = !present(core.progress.get(to), "progress of a member").isLearner;
    if (!isVoter) continue;
    if (to === core.id) {
      // The own vote counts when it is durable (B1), like every other.
      const responseKind = isPreVote ? "preVoteResponse" : "voteResponse";
      core.send({ kind: responseKind, from: core.id, to, term, reject: false });
      continue;
    }
    core.send({
      kind: isPreVote ? "preVote" : "vote",
      from: core.id,
      to,
      term,
      lastIndex,
      lastTerm,
      transfer: kind === "transfer",
    });
  }
}

function becomePreCandidate(core: Core): void {
  assert(core.role !== "leader", "a leader does not become pre-candidate");
  core.votes.clear();
  core.leaderId = NO_ONE;
  core.role = "pre-candidate";
  core.trace(`became pre-candidate at term ${core.term}`);
}

function becomeCandidate(core: Core): void {
  assert(core.role !== "leader", "a leader does not become candidate");
  core.reset((core.term + 1) as Term);
  core.vote = core.id;
  core.role = "candidate";
  core.trace(`became candidate at term ${core.term}`);
}

function becomeLeader(core: Core): void {
  assert(core.role === "candidate", "only a candidate becomes leader", core.role);
  core.reset(core.term);
  core.leaderId = core.id;
  core.role = "leader";
  const own = present(core.ownProgress(), "a leader is a member");
  own.becomeReplicate();
  own.recentActive = true;
  // There may be a membership change in the log that is not applied yet: wait for all of it (B36).
  core.pendingConfIndex = core.log.lastIndex();
  // Entries of earlier terms commit only beneath one of this term (paper 5.4.2, B13).
  const isAppended = appendNew(core, [{ type: "normal", data: noData }]);
  assert(isAppended, "an empty entry always fits");
  core.trace(`became leader at term ${core.term}`);
}

/** A vote or a pre-vote is asked for; the term of `message` is not below ours. */
export function handleVoteRequest(core: Core, message: VoteRequest): void {
  const { kind, from, term, lastIndex, lastTerm } = message;
  const isPreVote = kind === "preVote";
  const canVote =
    // A repeated request gets the same answer (B9).
    core.vote === from ||
    (core.vote === NO_ONE && core.leaderId === NO_ONE) ||
    (isPreVote && term > core.term);
  // Learners vote too: who asks them knows of their promotion before they do (B10).
  const isGranted = canVote && core.log.isUpToDate(lastIndex, lastTerm);
  core.send({
    kind: isPreVote ? "preVoteResponse" : "voteResponse",
    from: core.id,
    to: from,
    // A grant carries the term asked for, which for a pre-vote is above ours.
    term: isGranted ? term : core.term,
    reject: !isGranted,
  });
  if (isGranted && !isPreVote) {
    core.electionElapsed = 0;
    core.vote = from;
  }
}

/** Whether a vote request with a higher term is ignored, since a leader is heard (B6). */
export function isInLease(core: Core, message: VoteRequest): boolean {
  const { checkQuorum } = core.config;
  if (message.transfer || !checkQuorum || core.leaderId === NO_ONE) return false;
  return core.electionElapsed < core.pace.timeout;
}

/** Candidates: counts an answer to the election that is under way. */
export function handleVoteResponse(core: Core, message: VoteResponse): void {
  const expected = core.role === "pre-candidate" ? "preVoteResponse" : "voteResponse";
  if (message.kind !== expected) return;
  recordVote(core, message.from, !message.reject);
  const { voters, votersOutgoing } = core.membership;
  const result = jointVoteResult(voters, votersOutgoing, core.voteOf);
  if (result === "won") {
    if (core.role === "pre-candidate") {
      campaign(core, "election");
    } else {
      becomeLeader(core);
      broadcastAppend(core);
    }
  } else if (result === "lost") {
    core.becomeFollower(core.term, NO_ONE);
  }
}

/** The first answer counts. */
function recordVote(core: Core, from: StoreId, granted: boolean): void {
  if (!core.votes.has(from)) core.votes.set(from, granted);
}

/** Page by page: what is committed and not applied may be long. */
function hasUnappliedConfChange(core: Core): boolean {
  const end = (core.log.committed + 1) as LogIndex;
  let at = (core.log.applied + 1) as LogIndex;
  while (at < end) {
    const page = core.log.slice(at, end, core.config.maxCommittedSizePerReady);
    assert(page !== undefined && page.length > 0, "unapplied entries are not compacted", at);
    if (page.some((entry) => entry.type !== "normal")) return true;
    at = (at + page.length) as LogIndex;
  }
  return false;
}
