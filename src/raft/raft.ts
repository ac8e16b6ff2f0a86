/**
 * RaftNode: one replica of one group, for its driver.
 *
 * The driver calls tick, step and propose; whenever hasReady() says so it takes a Ready and
 * carries it out. With asyncStorageWrites it does not wait: storage writes are messages whose
 * responses it delivers when they are done, so that replication goes on while the disk works.
 */
import { assert } from "../base/assert.ts";
import type { LogIndex, StoreId, Term } from "../base/brand.ts";
import { confChangeEntryType, encodeConfChange } from "./conf-change-codec.ts";
import { Core } from "./core.ts";
import { startElection } from "./election.ts";
import { checkQuorum, handleSnapshotReport, handleUnreachable } from "./leader.ts";
import { applyConfChange } from "./membership.ts";
import { currentReadRound } from "./read-index.ts";
import { broadcastHeartbeat } from "./replication.ts";
import { askReadIndex, askTransfer, proposeEntries, step, stepChecked } from "./step.ts";
import {
  type ConfChange,
  type Entry,
  type HardState,
  LOCAL_APPEND,
  LOCAL_APPLY,
  type Membership,
  type Message,
  NO_ONE,
  type ProposeOutcome,
  type RaftConfig,
  type RaftNode,
  type RaftStatus,
  type Ready,
  type Role,
  type SnapshotMeta,
  type SoftState,
  type StepOutcome,
} from "./types.ts";

/** @throws InvariantError if the configuration or the stored state is not sound */
export function createRaftNode(config: RaftConfig): RaftNode {
  return new Node(config);
}

class Node implements RaftNode {
  private readonly core: Core;
  private readonly isAsync: boolean;
  /** What the last Ready told. */
  private softState: SoftState;
  private hardState: HardState;
  /** Without asyncStorageWrites: what the driver's work will mean once it is done. */
  private onAdvance: Message[] = [];
  private isReadyTaken = false;

  constructor(config: RaftConfig) {
    this.core = new Core(config);
    this.isAsync = config.asyncStorageWrites;
    this.softState = { leaderId: this.core.leaderId, role: this.core.role };
    this.hardState = this.core.hardState();
  }

  get id(): StoreId {
    return this.core.id;
  }
  get role(): Role {
    return this.core.role;
  }
  get term(): Term {
    return this.core.term;
  }
  get leaderId(): StoreId {
    return this.core.leaderId;
  }
  get transferee(): StoreId {
    return this.core.transferee;
  }
  get commitIndex(): LogIndex {
    return this.core.log.committed;
  }
  get appliedIndex(): LogIndex {
    return this.core.log.applied;
  }
  get lastIndex(): LogIndex {
    return this.core.log.lastIndex();
  }
  get membership(): Membership {
    return this.core.membership;
  }

  tick(): void {
    this.core.pace.tick();
    if (this.core.role === "leader") tickLeader(this.core);
    else tickElection(this.core);
  }

  step(message: Message): StepOutcome {
    return stepChecked(this.core, message);
  }

  propose(data: Buffer): ProposeOutcome {
    return proposeEntries(this.core, [{ type: "normal", data }]);
  }

  proposeConfChange(change: ConfChange): ProposeOutcome {
    const entry = { type: confChangeEntryType(change), data: encodeConfChange(change) };
    return proposeEntries(this.core, [entry]);
  }

  applyConfChange(change: ConfChange): Membership {
    return applyConfChange(this.core, change);
  }

  readIndex(requestId: number): boolean {
    return askReadIndex(this.core, this.core.id, requestId);
  }

  transferLeadership(target: StoreId): void {
    askTransfer(this.core, target);
  }

  forgetLeader(): void {
    const { core } = this;
    // A lease that others rely on would be cut short.
    if (core.role !== "follower" || core.config.readOnly === "lease") return;
    core.leaderId = NO_ONE;
  }

  reportUnreachable(id: StoreId): void {
    if (this.core.role === "leader") handleUnreachable(this.core, id);
  }

  reportSnapshot(id: StoreId, ok: boolean): void {
    if (this.core.role === "leader") handleSnapshotReport(this.core, id, ok);
  }

  campaign(): void {
    startElection(this.core, this.core.config.preVote ? "preElection" : "election");
  }

  setElectionTimeout(ticks: number): void {
    assert(ticks > 0, "an election timeout", ticks);
    this.core.electionTimeout = ticks;
  }

  hasReady(): boolean {
    const { core } = this;
    return (
      core.outbox.length > 0 ||
      core.afterAppend.length > 0 ||
      core.log.unstable.hasNextEntries() ||
      core.log.hasNextCommitted(!this.isAsync) ||
      this.isSoftStateNew() ||
      this.isHardStateNew() ||
      core.log.unstable.nextSnapshot() !== null ||
      core.readStates.length > 0
    );
  }

  ready(): Ready {
    assert(!this.isReadyTaken, "advance before the next ready");
    const { core } = this;
    const { log } = core;
    const hardState = this.isHardStateNew() ? core.hardState() : null;
    const entries = log.unstable.nextEntries();
    const snapshot = log.unstable.nextSnapshot();
    const committedEntries = log.nextCommitted(!this.isAsync);
    const mustSync =
      entries.length > 0 || core.term !== this.hardState.term || core.vote !== this.hardState.vote;
    const softState = this.isSoftStateNew() ? { leaderId: core.leaderId, role: core.role } : null;
    const { readStates, outbox: messages } = core;
    core.readStates = [];
    core.outbox = [];
    const ready = {
      softState,
      hardState,
      readStates,
      entries,
      snapshot,
      committedEntries,
      messages,
      mustSync,
    };
    if (this.isAsync) this.addStorageMessages(ready);
    else this.holdUntilAdvance(ready);
    core.afterAppend = [];
    log.unstable.acceptInProgress();
    log.acceptApplying(committedEntries, !this.isAsync);
    if (softState !== null) this.softState = softState;
    if (hardState !== null) this.hardState = hardState;
    return ready;
  }

  advance(): void {
    assert(!this.isAsync && this.isReadyTaken, "advance follows a ready");
    this.isReadyTaken = false;
    const messages = this.onAdvance;
    this.onAdvance = [];
    for (const message of messages) step(this.core, message);
  }

  status(): RaftStatus {
    const { core } = this;
    const isLeader = core.role === "leader";
    return {
      id: core.id,
      role: core.role,
      term: core.term,
      vote: core.vote,
      leaderId: core.leaderId,
      commitIndex: core.log.committed,
      appliedIndex: core.log.applied,
      lastIndex: core.log.lastIndex(),
      membership: core.membership,
      transferee: core.transferee,
      progress: isLeader
        ? core.memberIds.flatMap((id) => core.progress.get(id)?.status(id) ?? [])
        : [],
    };
  }

  private isSoftStateNew(): boolean {
    const { leaderId, role } = this.softState;
    return leaderId !== this.core.leaderId || role !== this.core.role;
  }

  private isHardStateNew(): boolean {
    const { term, vote, commit } = this.hardState;
    const { core } = this;
    return term !== core.term || vote !== core.vote || commit !== core.log.committed;
  }

  private addStorageMessages(ready: Ready & { messages: Message[] }): void {
    const { core } = this;
    const { entries, hardState, snapshot, mustSync, committedEntries } = ready;
    const isWrite = entries.length > 0 || hardState !== null || snapshot !== null;
    if (isWrite || core.afterAppend.length > 0) {
      // Acknowledgements first: a leader's own one finds the new entries still in memory.
      const responses = core.afterAppend;
      this.addStoredResponse(responses, snapshot);
      ready.messages.push({
        kind: "storageAppend",
        from: core.id,
        to: LOCAL_APPEND,
        term: hardState?.term ?? (0 as Term),
        entries,
        hardState,
        snapshot,
        mustSync,
        responses,
      });
    }
    if (committedEntries.length > 0) {
      ready.messages.push({
        kind: "storageApply",
        from: core.id,
        to: LOCAL_APPLY,
        term: 0 as Term,
        entries: committedEntries,
        responses: [this.appliedResponse(committedEntries)],
      });
    }
  }

  private holdUntilAdvance(ready: Ready & { messages: Message[] }): void {
    this.isReadyTaken = true;
    for (const message of this.core.afterAppend) {
      if (message.to === this.core.id) this.onAdvance.push(message);
      else ready.messages.push(message);
    }
    this.addStoredResponse(this.onAdvance, ready.snapshot);
    if (ready.committedEntries.length > 0) {
      this.onAdvance.push(this.appliedResponse(ready.committedEntries));
    }
  }

  /**
   * The acknowledgement names the end of the log as of now, not of this write: writes finish in
   * order, and it is dropped when the term has changed meanwhile. So one acknowledgement after
   * a truncation cannot pass for another (FAULTS B20).
   */
  private addStoredResponse(responses: Message[], snapshot: SnapshotMeta | null): void {
    const { core } = this;
    const hasUnstable = core.log.unstable.entries.length > 0;
    if (!hasUnstable && snapshot === null) return;
    responses.push({
      kind: "storageAppendResponse",
      from: LOCAL_APPEND,
      to: core.id,
      term: core.term,
      index: hasUnstable ? core.log.lastIndex() : (0 as LogIndex),
      logTerm: hasUnstable ? core.log.lastTerm() : (0 as Term),
      snapshot,
    });
  }

  private appliedResponse(entries: readonly Entry[]): Message {
    const { id } = this.core;
    return {
      kind: "storageApplyResponse",
      from: LOCAL_APPLY,
      to: id,
      term: 0 as Term,
      entries,
    };
  }
}

function tickElection(core: Core): void {
  core.electionElapsed++;
  if (core.leaderSilence !== null) core.leaderSilence++;
  if (core.electionElapsed < core.electionTimeout || !core.isPromotable()) return;
  core.electionElapsed = 0;
  startElection(core, core.config.preVote ? "preElection" : "election");
}

function tickLeader(core: Core): void {
  core.heartbeatElapsed++;
  core.electionElapsed++;
  for (const progress of core.progress.values()) progress.silence++;
  if (core.electionElapsed >= core.pace.timeout) {
    core.electionElapsed = 0;
    if (core.config.checkQuorum) checkQuorum(core);
    // A hand-over that takes this long has failed: proposals are welcome again (B42).
    if (core.role === "leader") core.transferee = NO_ONE;
  }
  if (core.role !== "leader" || core.heartbeatElapsed < core.config.heartbeatTicks) return;
  core.heartbeatElapsed = 0;
  broadcastHeartbeat(core, currentReadRound(core));
}
