/**
 * A shard's part in its Raft group: the core and its loop, its ticks, reads that a quorum confirms,
 * changes of the membership, and what the log keeps for others.
 */
import type { LogIndex, StoreId } from "../base/brand.ts";
import type { Logger, TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { settledMembers } from "../raft/conf-change.ts";
import type { Entry, RaftNode, RaftStatus } from "../raft/types.ts";
import type { AppendWriter } from "./append-writer.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import { CommitStall, closestVoter } from "./commit-stall.ts";
import type { LogStore } from "./log-store.ts";
import { MemberPace } from "./member-pace.ts";
import type { Members } from "./members.ts";
import { MembershipProposer } from "./membership.ts";
import { RaftLoop, type RaftLoopDeps } from "./raft-loop.ts";
import { ReadBarrier } from "./read-barrier.ts";
import type { ReplicaMessage } from "./replica-frames.ts";
import type { ShardOptions } from "./shard-port.ts";

type LoopDeps = Omit<RaftLoopDeps, "keptFrom" | "persist" | "readAnswered" | "snapshotWanted">;

export interface ConsensusDeps extends LoopDeps {
  readonly log: LogStore;
  readonly writer: AppendWriter;
  readonly logger: Logger;
  readonly appliedIndex: () => number;
  /** It leads and has applied an entry of its term. */
  readonly serves: () => boolean;
  /** Begins to send the state to a member. @returns false if it cannot */
  readonly sendSnapshot: (to: StoreId) => boolean;
  readonly membersChanged: () => void;
  readonly monotonicMs: () => number;
  /** A tick is over. */
  readonly ticked: () => void;
}

export class Consensus {
  readonly raft: RaftNode;
  readonly loop: RaftLoop;
  readonly reads: ReadBarrier;
  readonly membership: MembershipProposer;
  private readonly deps: ConsensusDeps;
  private readonly options: ShardOptions;
  private tickTimer: TimerHandle | null = null;
  private stopped = false;
  /** Leader: when each member was last heard, monotonic ms. */
  private readonly heardMs = new Map<StoreId, number>();
  private readonly pace = new MemberPace(limits.commitStallMs);
  private readonly stall: CommitStall;

  constructor(deps: ConsensusDeps, options: ShardOptions) {
    const { raft, log, timers } = deps;
    this.deps = deps;
    this.options = options;
    this.raft = raft;
    this.stall = new CommitStall(Math.ceil(limits.commitStallMs / options.tickMs));
    this.reads = new ReadBarrier({
      timers,
      random: deps.random,
      ask: (requestId) => {
        const asked = raft.readIndex(requestId);
        this.loop.pump();
        return asked;
      },
      appliedIndex: deps.appliedIndex,
      retryMs: options.tickMs * options.electionTicks,
      tries: limits.readTries,
    });
    this.loop = new RaftLoop({
      ...deps,
      persist: (message) => deps.writer.persist(message),
      keptFrom: () => log.firstIndex(),
      readAnswered: (read) => this.reads.answered(read),
      snapshotWanted: (to) => {
        if (!deps.sendSnapshot(to)) raft.reportSnapshot(to, false);
      },
    });
    this.membership = new MembershipProposer({
      raft,
      members: () => log.members,
      serves: deps.serves,
      proposed: () => this.loop.pump(),
    });
  }

  /** Starts ticking; a group of one voter elects itself at once. */
  start(): void {
    const { raft } = this;
    const { voters } = raft.membership;
    if (voters.length === 1 && voters[0] === raft.id) raft.campaign();
    this.scheduleTick();
    this.loop.pump();
  }

  private scheduleTick(): void {
    this.tickTimer = this.deps.timers.after(this.options.tickMs, () => {
      if (this.stopped) return;
      this.scheduleTick();
      this.noteMembers();
      this.watchDisk();
      this.leaveIfRemoved();
      this.raft.tick();
      this.loop.pump();
      this.membership.tick();
      this.deps.ticked();
    });
  }

  private noteMembers(): void {
    const { raft } = this;
    if (raft.role !== "leader") {
      this.pace.reset();
      this.heardMs.clear();
    }
    if (raft.role !== "leader" || raft.membership.voters.length === 1) return;
    const now = this.deps.monotonicMs();
    const { progress, commitIndex } = raft.status();
    for (const { id, recentActive } of progress) {
      // A new leader gives everybody the time to be heard.
      if (recentActive || !this.heardMs.has(id)) this.heardMs.set(id, now);
    }
    this.pace.note(now, commitIndex, progress);
  }

  /** A leader whose disk stands still hands over to somebody whose disk does not. */
  private watchDisk(): void {
    const { raft, deps } = this;
    const oldest = raft.role === "leader" ? deps.writer.oldestIndex : null;
    const target = this.stall.tick(oldest, () => raft.status());
    if (target === null) return;
    deps.logger.warn("hands over: a write to its own disk does not end", {
      shard: this.options.shard,
      to: target,
    });
    this.transferTo(target);
  }

  /** For so long followers wait for their leader, and a hand-over is tried, ms. */
  get electionMs(): number {
    return this.options.tickMs * this.options.electionTicks;
  }

  /** Leader: a member was heard of so long ago that nothing can be handed over to it. */
  isSilent(id: StoreId): boolean {
    const heardMs = this.heardMs.get(id) ?? Number.POSITIVE_INFINITY;
    if (this.deps.monotonicMs() - heardMs <= 2 * this.electionMs) return false;
    // This process may have stood still itself.
    return !this.raft.status().progress.some((member) => member.id === id && member.recentActive);
  }

  /**
   * A leader that was removed, perhaps by an entry that it committed only now, takes nothing any more:
   * somebody else leads on.
   */
  private leaveIfRemoved(): void {
    const { raft } = this;
    const { voters, votersOutgoing } = raft.membership;
    if (raft.role !== "leader" || [...voters, ...votersOutgoing].includes(raft.id)) return;
    const target = closestVoter(raft.status());
    if (target === null) return;
    this.deps.logger.info("hands over: it is no voter any more", {
      shard: this.options.shard,
      to: target,
    });
    this.transferTo(target);
  }

  /** Leader: for how long a member has had on its disk what was committed a second before. */
  steadyMs(id: StoreId): number {
    return this.pace.steadyMs(id, this.deps.monotonicMs());
  }

  // What other replicas say

  receive(received: ReplicaMessage): void {
    if (!this.stopped) this.loop.receive(received);
  }

  /** @param reset - its process ended, as against silence */
  peerGone(storeId: StoreId, reset: boolean): void {
    if (!this.stopped) this.loop.peerGone(storeId, reset);
  }

  /** The transfer of a snapshot to a member has ended. */
  snapshotSent(to: StoreId, ok: boolean): void {
    if (this.stopped) return;
    this.raft.reportSnapshot(to, ok);
    this.loop.pump();
  }

  /** Hands leadership over, if it is here; given up after an election timeout. */
  transferTo(target: StoreId): void {
    this.raft.transferLeadership(target);
    this.loop.pump();
  }

  /** A committed change of the membership takes force. */
  changeMembership(entry: Entry): void {
    const members = this.membership.apply(entry);
    this.deps.log.setMembership(this.raft.membership, members);
    this.membership.applied(entry);
    this.deps.membersChanged();
  }

  /** Resolves when a read here sees all that was acknowledged before. @throws QueueError no_leader */
  readBarrier(): Promise<void> {
    const { voters, votersOutgoing } = this.raft.membership;
    const isAlone = voters.length === 1 && votersOutgoing.length === 0;
    return isAlone && this.deps.serves() ? Promise.resolve() : this.reads.wait();
  }

  /** Who leads, as far as this replica knows; 0 = nobody. */
  get leaderId(): StoreId {
    return this.raft.leaderId;
  }

  /** Where the members are found, as of the applied index. */
  get members(): Members {
    return this.deps.log.members;
  }

  /** Voters and learners, for people. */
  settledMembers(): ReturnType<typeof settledMembers> {
    return settledMembers(this.membership.shown);
  }

  status(): RaftStatus {
    return this.raft.status();
  }

  /** What the last durable checkpoint holds. */
  get savedPoint(): AppliedPoint | null {
    return this.deps.log.snapshotMeta();
  }

  /** Whether this log holds that entry, so that a snapshot of it brings nothing new. */
  hasEntry({ index, term }: AppliedPoint): boolean {
    const { log } = this.deps;
    if (index <= this.raft.commitIndex) return true;
    return index <= log.lastIndex() && log.term(index as LogIndex) === term;
  }

  /** Entries from here on may have to be sent to another replica. */
  neededFrom(): number {
    const { raft } = this;
    if (raft.membership.voters.length <= 1 && raft.membership.learners.length === 0) {
      return Number.POSITIVE_INFINITY;
    }
    if (raft.role !== "leader") return this.loop.leaderKeptFrom;
    const since = this.deps.monotonicMs() - limits.logKeepMs;
    let from = Number.POSITIVE_INFINITY;
    for (const { id, match } of raft.status().progress) {
      const isNear = (this.heardMs.get(id) ?? Number.POSITIVE_INFINITY) >= since;
      if (isNear && id !== raft.id) from = Math.min(from, match + 1);
    }
    return from;
  }

  stop(): void {
    this.stopped = true;
    this.tickTimer?.cancel();
    this.loop.stop();
    this.reads.stop();
    this.membership.failAll();
  }
}
