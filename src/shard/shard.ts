/**
 * One Raft group alive: the only place where the pure parts meet I/O. The loop is always the same,
 * with one voter or with several: propose → persist and send → commit → apply → answer.
 *
 * States: opened → running (ticks; serves while it leads and has applied an entry of its term) →
 * closed. A fatal error closes it at once: nothing is acknowledged any more.
 */
import { assert } from "../base/assert.ts";
import { type ShardId, type StoreId, toLogIndex } from "../base/brand.ts";
import type { Clock, Logger, Random, TimerHandle, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { createRunKeySource } from "../base/task-id.ts";
import type { Command, Settings } from "../queue/command.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { Run } from "../queue/run.ts";
import type { ApplyEvents, Queue, State } from "../queue/state.ts";
import { createRaftNode } from "../raft/raft.ts";
import type { Entry, Membership, Message, RaftNode, StorageApplyMessage } from "../raft/types.ts";
import { type FenceFile, holdsFence } from "../storage/fence-file.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import { type Kv, StorageError } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import { AppendWriter, type Durability } from "./append-writer.ts";
import { EntryApplier } from "./applier.ts";
import { type AppliedPoint, readState } from "./checkpoint.ts";
import { Checkpointer } from "./checkpointer.ts";
import { FenceKeeper } from "./fence-keeper.ts";
import { createLeaderClock, type LeaderClock } from "./leader-clock.ts";
import { defaultReadAhead, type ReadAhead } from "./loader.ts";
import { LogStore } from "./log-store.ts";
import { PayloadCache } from "./payload-cache.ts";
import { type CommandSink, type CreateDraft, Proposer } from "./proposer.ts";
import { Timekeeper } from "./timekeeper.ts";

export interface ShardDeps {
  readonly kv: Kv;
  readonly commit: GroupCommit;
  readonly vote: VoteFile;
  readonly fence: FenceFile;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** Called once with the first error of the store or of the state: the node must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface ShardOptions {
  readonly shard: ShardId;
  readonly shardCount: number;
  readonly storeId: StoreId;
  readonly settings: Settings;
  readonly durability: Durability;
  /** Length of a tick = Raft heartbeat interval, ms. */
  readonly tickMs: number;
  /** Election timeout at least, in ticks. */
  readonly electionTicks: number;
  readonly readAhead?: ReadAhead;
}

/** What the node hears of a shard. Calls come after each turn of applying, never inside a call. */
export interface ShardListener {
  /** Queues that got ready tasks, each once per turn. */
  ready(shard: Shard, queues: Iterable<Queue>): void;
  leaseCanceled(
    shard: Shard,
    runKey: string,
    place: number,
    queue: Queue,
    leaseToken: number,
    workerId: string,
  ): void;
  /** Tasks of these runs ended. */
  ended(runKeys: ReadonlySet<string>): void;
  /** This replica leads and serves, or no longer. */
  leadership(shard: Shard, leads: boolean): void;
}

export interface ShardStats {
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly overlayOps: number;
  readonly overlayBytes: number;
  readonly runBytes: number;
  readonly runs: number;
}

const cleanKey = keyBytes(`${prefixes.meta}clean`);
const silentSink: CommandSink = { done: () => undefined, failed: () => undefined };

export class Shard {
  readonly id: ShardId;
  readonly state: State;
  readonly kv: Kv;
  private readonly deps: ShardDeps;
  private readonly options: ShardOptions;
  private readonly log: LogStore;
  private readonly raft: RaftNode;
  private readonly applier: EntryApplier;
  private readonly proposer: Proposer;
  private readonly leaderClock: LeaderClock;
  private readonly payloads = new PayloadCache(limits.payloadCacheBytes);
  private readonly checkpointer: Checkpointer;
  private readonly writer: AppendWriter;
  private readonly timekeeper: Timekeeper;
  private listener: ShardListener | null = null;

  /** Entries proposed here and not yet applied, by index. */
  private readonly proposed = new Map<number, { term: number; sinks: readonly CommandSink[] }>();
  private flushScheduled = false;
  private tickTimer: TimerHandle | null = null;
  private readonly fence: FenceKeeper;
  /**
   * `lost`: entries may have been acknowledged and lost, so that their lease tokens must not be
   * given again; `raising`: the offset that sees to it is logged, and not yet durable.
   */
  private tokens: "safe" | "lost" | "raising";
  private serving = false;
  private closed = false;
  private readonly readyQueues = new Set<Queue>();
  private readonly endedRuns = new Set<string>();

  /** @throws StorageError corrupt: the log has a gap or lost its end; io */
  static async open(deps: ShardDeps, options: ShardOptions): Promise<Shard> {
    const { state, applied } = await readState(deps.kv);
    const alone: Membership = {
      voters: [options.storeId],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    const log = await LogStore.open(deps.kv, deps.vote.load(), applied.index, alone);
    const fence = deps.fence.load();
    const last = log.lastIndex();
    if (!holdsFence(fence, log.term(last), last)) {
      const text = `shard ${options.shard}: the log ends at ${last}, synced was ${fence.index}`;
      throw new StorageError("corrupt", text);
    }
    const clean = await takeCleanMark(deps.kv);
    // A log may have been lost whole: that it was ever led shows in the vote.
    const hasLed = deps.vote.load().term > 0;
    const lostEnd = !clean && hasLed && options.durability.kind === "interval";
    return new Shard(deps, options, state, log, applied, lostEnd);
  }

  private constructor(
    deps: ShardDeps,
    options: ShardOptions,
    state: State,
    log: LogStore,
    applied: AppliedPoint,
    lostEnd: boolean,
  ) {
    this.id = options.shard;
    this.tokens = lostEnd ? "lost" : "safe";
    this.deps = deps;
    this.options = options;
    this.state = state;
    this.kv = deps.kv;
    this.log = log;
    const random = new Uint8Array(6);
    deps.random.fill(random);
    this.proposer = new Proposer(createRunKeySource(random));
    this.leaderClock = createLeaderClock(deps.clock, state.counters.timeMs);
    state.events = this.events();
    this.applier = this.createApplier(applied);
    this.checkpointer = this.createCheckpointer();
    this.writer = this.createWriter();
    const { fence, clock, timers } = deps;
    this.fence = new FenceKeeper({ fence, clock, timers, fatal: (error) => this.fail(error) });
    this.timekeeper = new Timekeeper({
      state,
      timers: deps.timers,
      clock: this.leaderClock,
      serves: () => this.serving && !this.closed,
      submit: (command, sink) => this.submit(command, 0, sink),
    });
    this.raft = this.createRaft(applied);
  }

  private events(): ApplyEvents {
    return {
      readyAdded: (queue) => this.readyQueues.add(queue),
      ended: (run) => this.endedRuns.add(run.key),
      leaseCanceled: (run, place, token, workerId) =>
        this.listener?.leaseCanceled(this, run.key, place, run.queue, token, workerId),
    };
  }

  private createApplier(applied: AppliedPoint): EntryApplier {
    const { state, kv, deps, options } = this;
    return new EntryApplier(
      {
        state,
        kv,
        clock: deps.clock,
        timers: deps.timers,
        readAhead: options.readAhead ?? defaultReadAhead,
        takeSinks: (entry) => this.takeSinks(entry),
        confChange: (entry) => assert(false, "membership changes", entry.index),
        turnOver: () => this.turnOver(),
        fatal: (error) => this.fail(error),
      },
      applied,
    );
  }

  private createCheckpointer(): Checkpointer {
    const { state, deps, payloads } = this;
    return new Checkpointer({
      state,
      clock: deps.clock,
      timers: deps.timers,
      payloads,
      boundary: () => (this.applier.isBetweenEntries ? this.applier.applied : null),
      cutLog: (batch, applied) => {
        const keep = this.raft.membership.voters.length > 1 ? limits.logKeepBytes : 0;
        this.log.cut(batch, applied, keep);
      },
      writeAlone: () => {
        if (!this.closed) this.writer.writeAlone();
      },
      isWriting: () => this.writer.isWriting,
    });
  }

  private createWriter(): AppendWriter {
    const { log, deps, options } = this;
    return new AppendWriter({
      log,
      commit: deps.commit,
      vote: deps.vote,
      timers: deps.timers,
      durability: options.durability,
      maybeCheckpoint: (batch) => this.checkpointer.maybePut(batch),
      deliver: (responses, last) => {
        if (this.closed) return;
        if (last && this.options.durability.kind === "always") this.fence.synced(last);
        for (const response of responses) this.deliver(response);
      },
      delivered: () => {
        this.pump();
        if (!this.writer.isWriting) this.flush();
      },
      fatal: (error) => this.fail(error),
    });
  }

  private createRaft(applied: AppliedPoint): RaftNode {
    const { deps, options, log } = this;
    return createRaftNode({
      id: options.storeId,
      log,
      appliedIndex: toLogIndex(applied.index),
      electionTicks: options.electionTicks,
      heartbeatTicks: 1,
      random: (n) => Math.floor(deps.random.unit() * n),
      asyncStorageWrites: true,
      preVote: true,
      checkQuorum: true,
      maxSizePerMsg: limits.appendBytes,
      maxCommittedSizePerReady: limits.entryBytes,
      maxUncommittedSize: limits.uncommittedBytes,
      maxInflightMsgs: limits.inflightAppends,
      maxInflightBytes: limits.proposerBytes,
      readOnly: "safe",
      logger: (text) => deps.logger.debug(text, { shard: options.shard }),
    });
  }

  /** Starts ticking; a group of one voter elects itself at once. */
  start(listener: ShardListener): void {
    this.listener = listener;
    const { voters } = this.raft.membership;
    if (voters.length === 1 && voters[0] === this.options.storeId) this.raft.campaign();
    this.scheduleTick();
    this.pump();
  }

  private scheduleTick(): void {
    this.tickTimer = this.deps.timers.after(this.options.tickMs, () => {
      if (this.closed) return;
      this.scheduleTick();
      this.raft.tick();
      this.pump();
    });
  }

  /** Whether this replica leads and serves. */
  get leads(): boolean {
    return this.serving;
  }

  get shardCount(): number {
    return this.options.shardCount;
  }

  get role(): RaftNode["role"] {
    return this.raft.role;
  }

  /** Nothing that was offered is still on its way. */
  get isIdle(): boolean {
    return this.closed || (this.proposer.isEmpty && this.proposed.size === 0);
  }

  /** Leader time now. */
  now(): number {
    return this.leaderClock.now();
  }

  stats(): ShardStats {
    const { raft, state } = this;
    return {
      term: raft.term,
      commit: raft.commitIndex,
      applied: this.applier.applied.index,
      overlayOps: state.overlay.ops + state.dirtyRuns.length,
      overlayBytes: this.checkpointer.unsavedBytes,
      runBytes: state.runBytes,
      runs: state.runs.size,
    };
  }

  /** Whether so many bytes more can be taken; otherwise answer `overloaded`. */
  hasRoom(bytes: number): boolean {
    return this.proposer.hasRoom(bytes);
  }

  /** Offers a command; its sink is called when it is applied. @param bulkBytes - of its body */
  submit(command: Command, bulkBytes: number, sink: CommandSink): void {
    this.proposer.add(command, bulkBytes, sink);
    this.scheduleFlush();
  }

  create(draft: CreateDraft): void {
    this.proposer.addCreate(draft);
    this.scheduleFlush();
  }

  /** What arrives in one turn of the event loop, or during a write, shares an entry. */
  private scheduleFlush(): void {
    if (this.flushScheduled || this.writer.isWriting || this.closed) return;
    this.flushScheduled = true;
    this.deps.timers.soon(() => {
      this.flushScheduled = false;
      if (!this.writer.isWriting) this.flush();
    });
  }

  private flush(): void {
    if (this.proposer.isEmpty || !this.serving || this.closed) return;
    // The checkpoint's end is followed by a turn that comes here again.
    if (this.checkpointer.isOverfull) return;
    this.propose();
  }

  private propose(): void {
    const proposal = this.proposer.take(this.leaderClock.now());
    if (!proposal) return;
    const outcome = this.raft.propose(proposal.data);
    if (outcome.kind === "accepted") {
      this.proposed.set(outcome.index, { term: outcome.term, sinks: proposal.sinks });
    } else {
      const error = new QueueError("overloaded", "too much is waiting to be committed");
      for (const sink of proposal.sinks) sink.failed(error);
    }
    this.pump();
  }

  /** Carries out what the core has to be done. */
  private pump(): void {
    while (!this.closed && this.raft.hasReady()) {
      const ready = this.raft.ready();
      if (ready.softState && ready.softState.role !== "leader") this.stopServing();
      for (const message of ready.messages) {
        if (message.kind === "storageAppend") this.writer.persist(message);
        else if (message.kind === "storageApply") this.apply(message);
        else assert(false, "a message to another replica", message.kind, message.to);
      }
    }
  }

  private deliver(message: Message): void {
    assert(message.to === this.options.storeId, "a message to this replica", message.to);
    this.raft.step(message);
  }

  private apply(message: StorageApplyMessage): void {
    this.applier.add(message.entries, () => {
      const last = message.entries[message.entries.length - 1];
      for (const response of message.responses) this.deliver(response);
      if (last && last.term === this.raft.term && this.raft.role === "leader") this.startServing();
      this.pump();
    });
  }

  private takeSinks(entry: Entry): readonly CommandSink[] | null {
    const proposed = this.proposed.get(entry.index);
    if (!proposed) return null;
    this.proposed.delete(entry.index);
    if (proposed.term === entry.term) return proposed.sinks;
    const error = new QueueError("unknown_outcome", "leadership was lost");
    for (const sink of proposed.sinks) sink.failed(error);
    return null;
  }

  private startServing(): void {
    if (this.serving || this.closed || this.tokens === "raising") return;
    const { state, options } = this;
    // The wall clock may stand before the entries that this process found.
    this.leaderClock.observe(state.counters.timeMs);
    if (this.tokens === "lost") {
      this.raiseTokens();
      return;
    }
    this.serving = true;
    if (!equalSettings(state.settings, options.settings)) {
      this.submit({ kind: "configure", settings: options.settings }, 0, silentSink);
    }
    this.deps.logger.info("shard leads", { shard: this.id, term: this.raft.term });
    this.listener?.leadership(this, true);
    this.scheduleFlush();
    this.timekeeper.look();
  }

  /**
   * Raises the tokens' offset and serves only when that is durable: were it lost like the end
   * before it, the next process would raise it to the same again.
   */
  private raiseTokens(): void {
    this.tokens = "raising";
    const raised = () => {
      this.writer.writeHeld();
      this.deps.commit
        .drain()
        .then(() => {
          this.tokens = "safe";
          if (this.raft.role === "leader") this.startServing();
        })
        .catch((error: unknown) => this.fail(error));
    };
    const failed = () => {
      this.tokens = "lost";
    };
    this.proposer.add({ kind: "raiseTokens" }, 0, { done: raised, failed });
    this.propose();
  }

  private stopServing(): void {
    if (!this.serving) return;
    this.serving = false;
    this.proposer.failAll(new QueueError("no_leader", "leadership was lost"));
    this.listener?.leadership(this, false);
  }

  /** After a turn of applying: tell what happened, and see what is due. */
  private turnOver(): void {
    if (this.closed) return;
    const { listener } = this;
    if (this.readyQueues.size > 0) {
      const queues = [...this.readyQueues];
      this.readyQueues.clear();
      listener?.ready(this, queues);
    }
    if (this.endedRuns.size > 0) {
      listener?.ended(this.endedRuns);
      this.endedRuns.clear();
    }
    this.checkpointer.note();
    this.timekeeper.look();
  }

  /** The task records of a run, if they are in memory. */
  recordsInMemory(run: Run): Buffer | undefined {
    if (run.inlineRecords) return run.inlineRecords;
    const unsaved = this.state.overlay.get(prefixes.payload + run.key);
    if (!unsaved) return this.payloads.get(run.key);
    return Buffer.from(unsaved.buffer, unsaved.byteOffset, unsaved.length);
  }

  /** Reads the task records of a run. They never change; undefined if the run is gone. */
  async readRecords(runKey: string): Promise<Buffer | undefined> {
    const records = await this.kv.get(keyBytes(prefixes.payload + runKey));
    if (records) this.payloads.put(runKey, records);
    return records;
  }

  /** Its store or its state cannot be trusted any more: nothing is answered from now on. */
  fail(error: unknown): void {
    if (this.closed) return;
    this.closed = true;
    this.stop();
    this.deps.onFatal(error);
  }

  private stop(): void {
    this.applier.stop();
    this.checkpointer.stop();
    this.timekeeper.stop();
    this.writer.stop();
    this.fence.stop();
    this.tickTimer?.cancel();
  }

  /** Writes what is left with a last checkpoint, and marks the store as cleanly closed. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.stopServing();
    this.writer.writeHeld();
    await this.deps.commit.drain();
    this.closed = true;
    this.stop();
    const error = new QueueError("unknown_outcome", "the node stopped");
    for (const { sinks } of this.proposed.values()) for (const sink of sinks) sink.failed(error);
    this.proposed.clear();
    this.deps.commit.add(
      (batch) => {
        // Entries may have been acknowledged since the held ones were written.
        this.writer.putHeld(batch);
        this.checkpointer.putLast(batch);
        batch.put(cleanKey, Buffer.from([1]));
      },
      () => undefined,
    );
    await this.deps.commit.drain();
    await this.fence.close();
    await this.writer.votesSaved();
    this.deps.vote.closeSync();
  }
}

/** Whether the last process closed the store in order; the mark is taken away durably. */
async function takeCleanMark(kv: Kv): Promise<boolean> {
  if (!(await kv.get(cleanKey))) return false;
  const batch = kv.batch();
  batch.del(cleanKey);
  await batch.write();
  return true;
}

function equalSettings(a: Settings, b: Settings): boolean {
  return (
    a.backoffPolicy === b.backoffPolicy &&
    a.backoffBaseMs === b.backoffBaseMs &&
    a.backoffMaxMs === b.backoffMaxMs &&
    a.doneRetentionMs === b.doneRetentionMs &&
    a.deadRetentionMs === b.deadRetentionMs
  );
}
