/**
 * One Raft group alive: the only place where the pure parts meet I/O. The loop is always the same,
 * with one voter or with several: propose → persist and send → commit → apply → answer.
 *
 * Ready work is carried out in this order: storage writes first (they are on their way while the
 * rest is done), then messages, then committed entries.
 */
import { assert } from "../base/assert.ts";
import { type ShardId, type StoreId, toLogIndex } from "../base/brand.ts";
import { ByteWriter } from "../base/bytes.ts";
import type { Clock, Logger, Random, TimerHandle, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { createRunKeySource } from "../base/task-id.ts";
import type { Command, Settings } from "../queue/command.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { Run } from "../queue/run.ts";
import type { ApplyEvents, Queue, State } from "../queue/state.ts";
import { createRaftNode } from "../raft/raft.ts";
import type {
  Entry,
  Membership,
  Message,
  RaftNode,
  StorageAppendMessage,
  StorageApplyMessage,
} from "../raft/types.ts";
import type { FenceFile } from "../storage/fence-file.ts";
import { holdsFence } from "../storage/fence-file.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import { type Kv, type KvBatch, StorageError } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import { EntryApplier } from "./applier.ts";
import { type AppliedPoint, evictRuns, putCheckpoint, readState } from "./checkpoint.ts";
import { defaultReadAhead, type ReadAhead } from "./loader.ts";
import { createLeaderClock, type LeaderClock } from "./leader-clock.ts";
import { LogStore } from "./log-store.ts";
import { PayloadCache } from "./payload-cache.ts";
import { type CommandSink, type CreateDraft, Proposer } from "./proposer.ts";

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
  readonly durability: { readonly kind: "always" } | { readonly kind: "interval"; readonly ms: number };
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

const fenceEveryMs = 1_000;

interface PendingAppend {
  entriesDone: boolean;
  voteDone: boolean;
  readonly responses: readonly Message[];
  /** Last entry of it, for the fence; null = no entries. */
  readonly last: Entry | null;
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
  private readonly scratch = new ByteWriter(16 * 1024);
  private readonly payloads = new PayloadCache(limits.payloadCacheBytes);
  private listener: ShardListener | null = null;

  /** Entries proposed here and not yet applied, by index. */
  private readonly proposed = new Map<number, { term: number; sinks: readonly CommandSink[] }>();
  private readonly appends: PendingAppend[] = [];
  private flushScheduled = false;
  private tickTimer: TimerHandle | null = null;

  private generation = 1;
  private durableGeneration = 0;
  private checkpointing = false;
  private firstChangeMs = -1;
  private checkpointTimer: TimerHandle | null = null;

  private fenceSaving = false;
  private fenceSavedMs = Number.NEGATIVE_INFINITY;
  private expiring = false;
  private dueTimer: TimerHandle | null = null;
  private dueTimerAt = Number.POSITIVE_INFINITY;

  /** interval durability: what waits to be written together. */
  private held = new HeldOps();
  private heldTimer: TimerHandle | null = null;

  /** This replica leads and has applied an entry of its term: it may serve. */
  private serving = false;
  private closed = false;
  private readonly readyQueues = new Set<Queue>();
  private readonly endedRuns = new Set<string>();

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
    if (!holdsFence(fence, log.term(log.lastIndex()), log.lastIndex())) {
      throw new StorageError(
        "corrupt",
        `shard ${options.shard}: the log ends at ${log.lastIndex()}, synced was ${fence.index}`,
      );
    }
    const clean = await takeCleanMark(deps.kv);
    const lostEnd = !clean && log.lastIndex() > 0 && options.durability.kind === "interval";
    return new Shard(deps, options, state, log, applied, lostEnd);
  }

  /** Entries may have been acknowledged and lost: their lease tokens must not be given again. */
  private raiseTokensWhenServing: boolean;

  private constructor(
    deps: ShardDeps,
    options: ShardOptions,
    state: State,
    log: LogStore,
    applied: AppliedPoint,
    lostEnd: boolean,
  ) {
    this.id = options.shard;
    this.raiseTokensWhenServing = lostEnd;
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
    this.applier = new EntryApplier(
      {
        state,
        kv: deps.kv,
        clock: deps.clock,
        timers: deps.timers,
        readAhead: options.readAhead ?? defaultReadAhead,
        takeSinks: (entry) => this.takeSinks(entry),
        confChange: (entry) => assert(false, "membership changes", entry.index),
        turnOver: () => this.turnOver(),
        fatal: (error) => this.fatal(error),
      },
      applied,
    );
    this.raft = createRaftNode({
      id: options.storeId,
      log,
      appliedIndex: toLogIndex(applied.index),
      electionTicks: options.electionTicks,
      heartbeatTicks: 1,
      random: (n) => Math.floor(deps.random.unit() * n),
      asyncStorageWrites: true,
      preVote: true,
      checkQuorum: true,
      maxSizePerMsg: 256 * 1024,
      maxCommittedSizePerReady: limits.entryBytes,
      maxUncommittedSize: limits.uncommittedBytes,
      maxInflightMsgs: 256,
      maxInflightBytes: limits.proposerBytes,
      readOnly: "safe",
      logger: (text) => deps.logger.debug(text, { shard: options.shard }),
    });
  }

  private events(): ApplyEvents {
    return {
      readyAdded: (queue) => this.readyQueues.add(queue),
      ended: (run) => this.endedRuns.add(run.key),
      leaseCanceled: (run, place, token, workerId) =>
        this.listener?.leaseCanceled(this, run.key, place, run.queue, token, workerId),
    };
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
      overlayBytes: state.overlay.bytes + state.dirtyBytes,
      runBytes: state.runBytes,
      runs: state.runs.size,
    };
  }

  get role(): RaftNode["role"] {
    return this.raft.role;
  }

  get leaderId(): StoreId {
    return this.raft.leaderId;
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
    if (this.flushScheduled || this.appends.length > 0 || this.closed) return;
    this.flushScheduled = true;
    this.deps.timers.soon(() => {
      this.flushScheduled = false;
      if (this.appends.length === 0) this.flush();
    });
  }

  private flush(): void {
    if (this.proposer.isEmpty || !this.serving || this.closed) return;
    if (this.checkpointing && this.overlayBytes() > limits.overlayBytes) return;
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

  private overlayBytes(): number {
    return this.state.overlay.bytes + this.state.dirtyBytes;
  }

  /** Carries out what the core has to be done. */
  private pump(): void {
    while (!this.closed && this.raft.hasReady()) {
      const ready = this.raft.ready();
      if (ready.softState && ready.softState.role !== "leader") this.stopServing();
      for (const message of ready.messages) {
        if (message.kind === "storageAppend") this.persist(message);
        else if (message.kind === "storageApply") this.apply(message);
        else assert(false, "a message to another replica", message.kind, message.to);
      }
    }
  }

  private persist(message: StorageAppendMessage): void {
    const { entries, hardState, responses } = message;
    const vote = this.deps.vote.load();
    const votes = hardState && (hardState.term !== vote.term || hardState.vote !== vote.vote);
    const last = entries[entries.length - 1] ?? null;
    const pending: PendingAppend = { entriesDone: !last, voteDone: !votes, responses, last };
    this.appends.push(pending);
    if (votes) {
      this.deps.vote
        .save(hardState.term, hardState.vote)
        .then(() => {
          pending.voteDone = true;
          this.deliverAppends();
        })
        .catch((error: unknown) => this.fatal(error));
    }
    if (last) this.write(entries, pending);
    else if (!votes) this.deliverAppends();
  }

  private write(entries: readonly Entry[], pending: PendingAppend): void {
    const { durability } = this.options;
    if (durability.kind === "interval") {
      // The log's reader sees the entries at once, the disk sees them together later.
      this.log.append(this.held, entries);
      this.heldTimer ??= this.deps.timers.after(durability.ms, () => this.writeHeld());
      this.deps.timers.soon(() => {
        pending.entriesDone = true;
        this.deliverAppends();
      });
      return;
    }
    let checkpointDone: (() => void) | null = null;
    this.deps.commit.add(
      (batch) => {
        this.log.append(batch, entries);
        if (this.checkpointDue()) checkpointDone = this.putCheckpoint(batch);
      },
      () => {
        checkpointDone?.();
        pending.entriesDone = true;
        this.deliverAppends();
      },
    );
  }

  private writeHeld(): void {
    this.heldTimer?.cancel();
    this.heldTimer = null;
    if (!this.held.isEmpty) this.writeAlone(false);
  }

  /** Writes what is held, with a checkpoint if one is due or wanted. */
  private writeAlone(checkpoint: boolean): void {
    const { held } = this;
    this.held = new HeldOps();
    let checkpointDone: (() => void) | null = null;
    this.deps.commit.add(
      (batch) => {
        held.moveTo(batch);
        if (this.checkpointDue() || (checkpoint && !this.checkpointing)) {
          checkpointDone = this.putCheckpoint(batch);
        }
      },
      () => checkpointDone?.(),
    );
  }

  /** Responses go out in the order of their writes. */
  private deliverAppends(): void {
    if (this.closed) return;
    let first = this.appends[0];
    if (!first?.entriesDone || !first.voteDone) return;
    while (first?.entriesDone && first.voteDone) {
      this.appends.shift();
      if (first.last) this.saveFence(first.last);
      for (const response of first.responses) this.deliver(response);
      first = this.appends[0];
    }
    this.pump();
    if (this.appends.length === 0) this.flush();
  }

  private deliver(message: Message): void {
    assert(message.to === this.options.storeId, "a message to this replica", message.to);
    this.raft.step(message);
  }

  private saveFence(last: Entry): void {
    if (this.options.durability.kind !== "always") return;
    const now = this.deps.clock.monotonicMs();
    if (this.fenceSaving || now - this.fenceSavedMs < fenceEveryMs) return;
    this.fenceSaving = true;
    this.fenceSavedMs = now;
    this.deps.fence
      .save({ term: last.term, index: last.index })
      .then(() => {
        this.fenceSaving = false;
      })
      .catch((error: unknown) => this.fatal(error));
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
    if (this.serving || this.closed) return;
    this.serving = true;
    const { state, options } = this;
    if (this.raiseTokensWhenServing) {
      this.raiseTokensWhenServing = false;
      this.submit({ kind: "raiseTokens" }, 0, silentSink);
    }
    if (!equalSettings(state.settings, options.settings)) {
      this.submit({ kind: "configure", settings: options.settings }, 0, silentSink);
    }
    this.deps.logger.info("shard leads", { shard: this.id, term: this.raft.term });
    this.listener?.leadership(this, true);
    this.scheduleFlush();
    this.scheduleDue();
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
    const { state, listener } = this;
    if (this.readyQueues.size > 0) {
      const queues = [...this.readyQueues];
      this.readyQueues.clear();
      listener?.ready(this, queues);
    }
    if (this.endedRuns.size > 0) {
      listener?.ended(this.endedRuns);
      this.endedRuns.clear();
    }
    this.noteChanges();
    if (state.runBytes > limits.windowBytes) {
      evictRuns(state, limits.windowBytes * 0.9, this.durableGeneration);
    }
    this.scheduleDue();
  }

  // Checkpoints

  private noteChanges(): void {
    const { state } = this;
    if (state.overlay.ops === 0 && state.dirtyRuns.length === 0 && state.dirtyQueues.size === 0) {
      return;
    }
    if (this.firstChangeMs < 0) this.firstChangeMs = this.deps.clock.monotonicMs();
    // A write that is on its way will be followed by one that carries the checkpoint.
    if (this.appends.length === 0 && this.checkpointDue()) {
      this.writeAlone(true);
      return;
    }
    this.checkpointTimer ??= this.deps.timers.after(limits.checkpointMs, () => {
      this.checkpointTimer = null;
      if (this.closed) return;
      if (this.checkpointDue()) this.writeAlone(true);
      else this.noteChanges();
    });
  }

  private checkpointDue(): boolean {
    if (this.checkpointing || this.firstChangeMs < 0 || !this.applier.isBetweenEntries) return false;
    const { state } = this;
    return (
      state.overlay.ops + state.dirtyRuns.length >= limits.checkpointOps ||
      this.overlayBytes() >= limits.checkpointBytes ||
      this.deps.clock.monotonicMs() - this.firstChangeMs >= limits.checkpointMs
    );
  }

  /** @returns what to do when the batch is durable */
  private putCheckpoint(batch: KvBatch): () => void {
    const { applied } = this.applier;
    const generation = this.generation++;
    this.checkpointing = true;
    this.firstChangeMs = -1;
    putCheckpoint(this.state, batch, applied, generation, this.scratch);
    const keep = this.raft.membership.voters.length > 1 ? limits.logKeepBytes : 0;
    this.log.cut(batch, toLogIndex(applied.index), keep);
    return () => {
      this.checkpointing = false;
      this.durableGeneration = generation;
      for (const [key, records] of this.state.overlay.frozenPuts(prefixes.payload)) {
        this.payloads.put(key.slice(1), asBuffer(records));
      }
      this.state.overlay.thaw();
      this.noteChanges();
    };
  }

  /** The task records of a run, if they are in memory. */
  recordsInMemory(run: Run): Buffer | undefined {
    if (run.inlineRecords) return run.inlineRecords;
    const unsaved = this.state.overlay.get(prefixes.payload + run.key);
    return unsaved ? asBuffer(unsaved) : this.payloads.get(run.key);
  }

  /** Reads the task records of a run. They never change; undefined if the run is gone. */
  async readRecords(runKey: string): Promise<Buffer | undefined> {
    const records = await this.kv.get(keyBytes(prefixes.payload + runKey));
    if (records) this.payloads.put(runKey, records);
    return records;
  }

  // Time

  private scheduleDue(): void {
    if (!this.serving || this.expiring || this.closed) return;
    const { due, retention } = this.state;
    const next = Math.min(due.nextDue(), retention.nextDue());
    if (next === Number.POSITIVE_INFINITY) return;
    const wait = next - this.leaderClock.now();
    if (wait <= 0) this.expire();
    else this.setDueTimer(next, wait);
  }

  private setDueTimer(at: number, wait: number): void {
    if (this.dueTimer && this.dueTimerAt <= at) return;
    this.dueTimer?.cancel();
    this.dueTimerAt = at;
    this.dueTimer = this.deps.timers.after(Math.min(wait, limits.timerMsMax), () => {
      this.dueTimer = null;
      this.dueTimerAt = Number.POSITIVE_INFINITY;
      this.scheduleDue();
    });
  }

  private expire(): void {
    this.expiring = true;
    const over = () => {
      this.expiring = false;
    };
    this.submit({ kind: "expire", limit: limits.stepTasks }, 0, { done: over, failed: over });
  }

  // End

  /** A read of its store failed: nothing it says can be trusted any more. */
  fail(error: unknown): void {
    this.fatal(error);
  }

  private fatal(error: unknown): void {
    if (this.closed) return;
    this.closed = true;
    this.applier.stop();
    this.deps.onFatal(error);
  }

  /** Writes what is left with a last checkpoint, and marks the store as cleanly closed. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.stopServing();
    this.writeHeld();
    await this.deps.commit.drain();
    this.closed = true;
    this.applier.stop();
    for (const timer of [this.tickTimer, this.checkpointTimer, this.dueTimer, this.heldTimer]) {
      timer?.cancel();
    }
    const error = new QueueError("unknown_outcome", "the node stopped");
    for (const { sinks } of this.proposed.values()) for (const sink of sinks) sink.failed(error);
    this.proposed.clear();
    this.deps.commit.add(
      (batch) => {
        this.held.moveTo(batch);
        if (this.applier.isBetweenEntries) this.putCheckpoint(batch);
        batch.put(cleanKey, Buffer.from([1]));
      },
      () => undefined,
    );
    await this.deps.commit.drain();
    this.deps.fence.closeSync();
    this.deps.vote.closeSync();
  }
}

const cleanKey = keyBytes(`${prefixes.meta}clean`);

/** Whether the last process closed the store in order; the mark is taken away durably. */
async function takeCleanMark(kv: Kv): Promise<boolean> {
  if (!(await kv.get(cleanKey))) return false;
  const batch = kv.batch();
  batch.del(cleanKey);
  await batch.write();
  return true;
}

const silentSink: CommandSink = { done: () => undefined, failed: () => undefined };

function equalSettings(a: Settings, b: Settings): boolean {
  return (
    a.backoffPolicy === b.backoffPolicy &&
    a.backoffBaseMs === b.backoffBaseMs &&
    a.backoffMaxMs === b.backoffMaxMs &&
    a.doneRetentionMs === b.doneRetentionMs &&
    a.deadRetentionMs === b.deadRetentionMs
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Operations kept back, in order. */
class HeldOps {
  private readonly ops: { readonly key: Uint8Array; readonly value: Uint8Array | null }[] = [];

  get isEmpty(): boolean {
    return this.ops.length === 0;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.ops.push({ key, value });
  }

  del(key: Uint8Array): void {
    this.ops.push({ key, value: null });
  }

  moveTo(batch: KvBatch): void {
    for (const { key, value } of this.ops) {
      if (value === null) batch.del(key);
      else batch.put(key, value);
    }
    this.ops.length = 0;
  }
}
