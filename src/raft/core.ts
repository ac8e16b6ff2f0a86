/**
 * The state of one replica, and the moves that every protocol part needs: sending, changing term,
 * becoming a follower. Who moves between roles, and why, stands in election.ts and leader.ts.
 *
 *   follower ─timeout─► pre-candidate ─won─► candidate ─won─► leader
 *      ▲                      │lost              │lost           │
 *      └──── higher term, a leader of this term, no quorum ──────┘
 */
import { assert } from "../base/assert.ts";
import type { LogIndex, StoreId, Term } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import {
  type ChangeOptions,
  type Configuration,
  emptyMembership,
  memberIds,
  type ProgressMap,
  restoreConfiguration,
} from "./conf-change.ts";
import { RaftLog } from "./log.ts";
import { Pace } from "./pace.ts";
import type { Progress } from "./progress.ts";
import {
  type HardState,
  LOCAL_APPLY,
  type Membership,
  type Message,
  NO_ONE,
  type RaftConfig,
  type ReadState,
  type Role,
} from "./types.ts";

/** A linearizable read that waits for this leader to be confirmed. */
export interface PendingRead {
  readonly round: number;
  readonly requestId: number;
  /** Who asked; answers go back there. */
  readonly from: StoreId;
  /** Commit index when it was asked: what the read must see. */
  readonly index: LogIndex;
}

export class Core {
  readonly config: RaftConfig;
  readonly id: StoreId;
  readonly log: RaftLog;
  term: Term;
  /** Whom this replica votes for in `term`. Invariant: set at most once per term. */
  vote: StoreId;
  role: Role = "follower";
  leaderId: StoreId = NO_ONE;
  membership: Membership = emptyMembership;
  progress: ProgressMap = new Map();
  /** Keys of `progress`, sorted: the order of everything that is sent to all. */
  memberIds: readonly StoreId[] = [];
  /** Answers to this replica's own (pre-)election. */
  readonly votes = new Map<StoreId, boolean>();

  /** Ticks since the leader was heard or a vote was cast; for a leader since the last check. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** Ticks after which a follower starts an election. */
  electionTimeout = 0;
  /** Random part of it, 0..electionTicks - 1, as long as the timeout is the shortest. */
  private electionDraw = 0;
  /** How long the others are silent at times. */
  readonly pace: Pace;
  /** Ticks since the leader of this term was heard; null: it was not heard yet. */
  leaderSilence: number | null = null;

  /** Leader: whom it hands over to; proposals are refused meanwhile. */
  transferee: StoreId = NO_ONE;
  /** Leader: it has asked to be replaced, and cannot take that back: it has no lease (B43). */
  isReplaceable = false;
  /** Leader: no further membership change until this index is applied. */
  pendingConfIndex = 0;
  /** Leader: payload bytes in the log and not yet applied. Never overestimated. */
  uncommittedBytes = 0;

  /** Leader: rounds of heartbeats that confirm reads; grows over terms, never reused (B46). */
  readRound = 0;
  readonly pendingReads: PendingRead[] = [];
  /** Leader: highest round that each member has confirmed. */
  readonly readAcks = new Map<StoreId, number>();
  /** Leader: asked before the term's first commit (thesis 6.4, step 1). */
  readonly earlyReads: { readonly from: StoreId; readonly requestId: number }[] = [];
  readStates: ReadState[] = [];

  /** May leave at once. */
  outbox: Message[] = [];
  /** May leave when everything handed out so far is durable: votes and acknowledgements. */
  afterAppend: Message[] = [];

  /** Built once: passed to the quorum functions on every acknowledgement. */
  readonly matchOf = (id: StoreId): number | undefined => this.progress.get(id)?.match;
  readonly voteOf = (id: StoreId): boolean | undefined => this.votes.get(id);
  readonly readAckOf = (id: StoreId): number | undefined => this.readAcks.get(id);

  constructor(config: RaftConfig) {
    checkConfig(config);
    this.config = config;
    this.id = config.id;
    this.pace = new Pace(config.electionTicks, config.electionTicksMax ?? config.electionTicks);
    this.log = new RaftLog(config.log, config.maxCommittedSizePerReady);
    const { hardState, membership } = config.log.initialState();
    this.term = hardState.term;
    this.vote = hardState.vote;
    // A stored commit index may be old: it need not be synced.
    if (hardState.commit > this.log.committed) this.log.commitTo(hardState.commit);
    if (config.appliedIndex > 0) this.log.appliedTo(config.appliedIndex, 0);
    this.install(restoreConfiguration(membership, this.changeOptions()));
    this.becomeFollower(this.term, NO_ONE);
  }

  get isLearner(): boolean {
    return this.progress.get(this.id)?.isLearner ?? false;
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  changeOptions(): ChangeOptions {
    return {
      lastIndex: this.log.lastIndex(),
      maxInflightMsgs: this.config.maxInflightMsgs,
      maxInflightBytes: this.config.maxInflightBytes,
    };
  }

  configuration(): Configuration {
    return { membership: this.membership, progress: this.progress };
  }

  install(configuration: Configuration): void {
    this.membership = configuration.membership;
    this.progress = configuration.progress;
    this.memberIds = memberIds(configuration.membership);
  }

  /** Voters elect and are elected; a snapshot that is being written must be in place first. */
  isPromotable(): boolean {
    const own = this.progress.get(this.id);
    return own !== undefined && !own.isLearner && this.log.unstable.snapshot === null;
  }

  /** Puts a message on its way; what vouches for stored state waits until that is durable. */
  send(message: Message): void {
    switch (message.kind) {
      case "appendResponse":
      case "voteResponse":
      case "preVoteResponse":
        this.afterAppend.push(message);
        return;
      default:
        assert(message.to !== this.id, "only acknowledgements go to oneself", message.kind);
        this.outbox.push(message);
    }
  }

  /** Says up to which index this log equals the leader's. */
  acknowledge(to: StoreId, index: LogIndex): void {
    this.send({
      kind: "appendResponse",
      from: this.id,
      to,
      term: this.term,
      index,
      reject: false,
      hintIndex: 0 as LogIndex,
      hintTerm: 0 as Term,
    });
  }

  becomeFollower(term: Term, leaderId: StoreId): void {
    this.reset(term);
    this.leaderId = leaderId;
    this.role = "follower";
    this.trace(`became follower at term ${term}`);
  }

  /** The start of a role in `term`: what belonged to the role before is forgotten. */
  reset(term: Term): void {
    assert(term >= this.term, "terms only grow", this.term, term);
    if (this.term !== term) {
      this.term = term;
      this.vote = NO_ONE;
      this.leaderSilence = null;
    }
    this.leaderId = NO_ONE;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.transferee = NO_ONE;
    this.isReplaceable = false;
    this.votes.clear();
    const last = this.log.lastIndex();
    // The own log counts as matched here: a commit needs an entry of the new term on top, and
    // that one is acknowledged only when all before it is durable.
    for (const [id, progress] of this.progress)
      progress.restart(last + 1, id === this.id ? last : 0);
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.pendingReads.length = 0;
    this.readAcks.clear();
    this.earlyReads.length = 0;
  }

  /** Random, so that votes rarely split (Raft paper 5.2). */
  drawElectionTimeout(): void {
    const { electionTicks, random } = this.config;
    this.electionDraw = random(electionTicks);
    this.stretchElectionTimeout();
  }

  /** A member that is in its place was heard after so many ticks. */
  heardAfter(ticks: number): void {
    const before = this.pace.timeout;
    this.pace.heardAfter(ticks);
    if (this.pace.timeout !== before) this.stretchElectionTimeout();
  }

  private stretchElectionTimeout(): void {
    const { timeout } = this.pace;
    const random = Math.floor((this.electionDraw * timeout) / this.config.electionTicks);
    this.electionTimeout = timeout + random;
  }

  ownProgress(): Progress | undefined {
    return this.progress.get(this.id);
  }

  trace(text: string): void {
    this.config.logger?.(`${this.id} ${text}`);
  }
}

function checkConfig(config: RaftConfig): void {
  const { id, electionTicks, heartbeatTicks, checkQuorum, readOnly } = config;
  assert(id > 0 && id < LOCAL_APPLY, "a replica's id", id);
  assert(heartbeatTicks > 0, "heartbeat ticks", heartbeatTicks);
  assert(electionTicks > heartbeatTicks, "election ticks > heartbeat ticks", electionTicks);
  assert(config.maxSizePerMsg >= 0, "bytes per append", config.maxSizePerMsg);
  assert(config.maxCommittedSizePerReady > 0, "bytes to apply", config.maxCommittedSizePerReady);
  assert(config.maxUncommittedSize > 0, "uncommitted bytes", config.maxUncommittedSize);
  assert(readOnly === "safe" || checkQuorum, "lease reads need checkQuorum", readOnly);
  // A leader's check may take longer than others wait for it: its lease would be over.
  const grows = config.electionTicksMax !== undefined && config.electionTicksMax > electionTicks;
  assert(readOnly === "safe" || !grows, "lease reads need timeouts that do not grow", readOnly);
  assert(limits.pendingReads > 0, "reads may wait", limits.pendingReads);
}
