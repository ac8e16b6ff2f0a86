/**
 * One Raft group alive: the only place where the pure parts meet I/O. The loop is always the same,
 * with one voter or with several: propose → persist and send → commit → apply → answer.
 *
 * States: opened → running (ticks; serves while it leads and has applied an entry of its term) →
 * closed. A fatal error closes it at once: nothing is acknowledged any more.
 */
import type { ShardId } from "../base/brand.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { createRunKeySource } from "../base/task-id.ts";
import type { Command } from "../queue/command.ts";
import { equalSettings } from "../queue/settings.ts";
import type { State } from "../queue/state.ts";
import { NO_ONE, type SoftState, type StorageApplyMessage } from "../raft/types.ts";
import type { Kv } from "../storage/kv.ts";
import { AppendWriter } from "./append-writer.ts";
import { EntryApplier } from "./applier.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import { Checkpointer } from "./checkpointer.ts";
import { Consensus } from "./consensus.ts";
import { FenceKeeper } from "./fence-keeper.ts";
import { createLeaderClock, type LeaderClock } from "./leader-clock.ts";
import { defaultReadAhead } from "./loader.ts";
import type { LogStore } from "./log-store.ts";
import { Notices } from "./notices.ts";
import { Proposals } from "./proposals.ts";
import { type CommandSink, type CreateDraft, Proposer, silentSink } from "./proposer.ts";
import { Records } from "./records.ts";
import { putCleanMark, type Recovered, recover } from "./recovery.ts";
import type { ShardDeps, ShardListener, ShardOptions, ShardStats } from "./shard-port.ts";
import { createShardRaft } from "./shard-raft.ts";
import { Timekeeper } from "./timekeeper.ts";

export type { ShardDeps, ShardListener, ShardOptions, ShardStats };

export class Shard {
  readonly id: ShardId;
  readonly shardCount: number;
  readonly state: State;
  readonly kv: Kv;
  readonly records: Records;
  private readonly deps: ShardDeps;
  private readonly options: ShardOptions;
  private readonly log: LogStore;
  private readonly applier: EntryApplier;
  private readonly proposer: Proposer;
  private readonly leaderClock: LeaderClock;
  private readonly checkpointer: Checkpointer;
  private readonly writer: AppendWriter;
  private readonly timekeeper: Timekeeper;
  /** Its part in the group. */
  readonly consensus: Consensus;
  private listener: ShardListener | null = null;
  private readonly proposals = new Proposals();
  private flushScheduled = false;
  private readonly fence: FenceKeeper;
  /**
   * `lost`: entries may have been acknowledged and lost, so that their lease tokens must not be
   * given again; `raising`: the offset that sees to it is logged, and not yet durable.
   */
  private tokens: "safe" | "lost" | "raising";
  private serving = false;
  private closed = false;
  private readonly notices = new Notices(this);

  /** @throws StorageError corrupt: the log has a gap or lost its end; io */
  static async open(deps: ShardDeps, options: ShardOptions): Promise<Shard> {
    const { kv, vote, fence } = deps;
    return new Shard(deps, options, await recover(kv, vote, fence, options));
  }

  private constructor(deps: ShardDeps, options: ShardOptions, recovered: Recovered) {
    const { state, log, applied } = recovered;
    this.id = options.shard;
    this.shardCount = options.shardCount;
    this.tokens = recovered.wasCut && options.durability.kind === "interval" ? "lost" : "safe";
    this.deps = deps;
    this.options = options;
    this.state = state;
    this.kv = deps.kv;
    this.log = log;
    this.records = new Records(state, deps.kv);
    const random = new Uint8Array(6);
    deps.random.fill(random);
    this.proposer = new Proposer(createRunKeySource(random));
    this.leaderClock = createLeaderClock(deps.clock, state.counters.timeMs);
    state.events = this.notices;
    this.applier = this.createApplier(applied);
    this.checkpointer = this.createCheckpointer();
    this.writer = this.createWriter();
    const { fence, clock, timers, random: source, link = null } = deps;
    this.fence = new FenceKeeper({ fence, clock, timers, fatal: (error) => this.fail(error) });
    this.timekeeper = new Timekeeper({
      ...{ state, timers, clock: this.leaderClock },
      serves: () => this.serving && !this.closed,
      submit: (command, sink) => this.submit(command, 0, sink),
    });
    this.consensus = new Consensus(
      {
        ...{ log, link, timers, random: source, clock: this.leaderClock, logger: deps.logger },
        raft: createShardRaft(deps, options, recovered),
        appliedIndex: () => this.applier.applied.index,
        serves: () => this.serving && !this.closed,
        writer: this.writer,
        apply: (message) => this.apply(message),
        roleChanged: (soft) => this.roleChanged(soft),
        sendSnapshot: (to) => deps.sendSnapshot?.(this, to) ?? false,
        monotonicMs: () => clock.monotonicMs(),
        ticked: () => this.scheduleFlush(),
        membersChanged: () => {
          this.checkpointer.want();
          this.listener?.members?.(this);
        },
      },
      options,
    );
  }

  private createApplier(applied: AppliedPoint): EntryApplier {
    const { state, kv, deps, options } = this;
    return new EntryApplier(
      {
        ...{ state, kv, clock: deps.clock, timers: deps.timers },
        readAhead: options.readAhead ?? defaultReadAhead,
        takeSinks: (entry) => this.proposals.take(entry),
        confChange: (entry) => this.consensus.changeMembership(entry),
        mustHold: () => this.checkpointer.isOverfull,
        turnOver: () => this.turnOver(),
        fatal: (error) => this.fail(error),
      },
      applied,
    );
  }

  private createCheckpointer(): Checkpointer {
    const { state, deps, options } = this;
    return new Checkpointer({
      state,
      clock: deps.clock,
      timers: deps.timers,
      payloads: this.records.cache,
      boundary: () => (this.applier.isBetweenEntries ? this.applier.applied : null),
      cutLog: (batch, applied) => {
        const { logKeepBytes: keep = limits.logKeepBytes } = options;
        this.log.cut(batch, applied, this.consensus.neededFrom(), keep);
      },
      saved: () => {
        this.log.checkpointSaved();
        this.applier.resume();
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
      ...{ log, commit: deps.commit, vote: deps.vote, timers: deps.timers },
      durability: options.durability,
      maybeCheckpoint: (batch) => this.checkpointer.maybePut(batch),
      deliver: (responses, last) => {
        if (this.closed) return;
        if (last && this.options.durability.kind === "always") this.fence.synced(last);
        for (const response of responses) this.consensus.loop.deliver(response);
      },
      delivered: () => {
        this.consensus.loop.pump();
        if (!this.writer.isWriting) this.flush();
      },
      fatal: (error) => this.fail(error),
    });
  }

  /** Starts ticking; a group of one voter elects itself at once. */
  start(listener: ShardListener): void {
    this.listener = listener;
    this.consensus.start();
  }

  /** Whether this replica leads and serves. */
  get leads(): boolean {
    return this.serving;
  }

  /** Nothing that was offered is still on its way. */
  get isIdle(): boolean {
    return this.closed || (this.proposer.isEmpty && this.proposals.size === 0);
  }

  /** Leader time now. */
  now(): number {
    return this.leaderClock.now();
  }

  stats(): ShardStats {
    const { state } = this;
    const { raft } = this.consensus;
    return {
      role: raft.role,
      term: raft.term,
      commit: raft.commitIndex,
      applied: this.applier.applied.index,
      lastIndex: raft.lastIndex,
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
    // Leadership is being handed over: what waits is proposed if that fails, else sent elsewhere.
    if (this.consensus.raft.transferee !== NO_ONE) return;
    // The checkpoint's end is followed by a turn that comes here again.
    if (this.checkpointer.isOverfull) return;
    this.propose();
  }

  private propose(): void {
    const proposal = this.proposer.take(this.leaderClock.now());
    if (!proposal) return;
    const outcome = this.consensus.raft.propose(proposal.data);
    if (outcome.kind === "accepted") {
      this.proposals.add(outcome.index, outcome.term, proposal.sinks);
    } else {
      const error = new QueueError("overloaded", "too much is waiting to be committed");
      for (const sink of proposal.sinks) sink.failed(error);
    }
    this.consensus.loop.pump();
  }

  private roleChanged({ role }: SoftState): void {
    if (role !== "leader") this.stopServing();
    this.listener?.leadership(this, this.serving);
  }

  private apply(message: StorageApplyMessage): void {
    this.applier.add(message.entries, () => {
      const last = message.entries[message.entries.length - 1];
      for (const response of message.responses) this.consensus.loop.deliver(response);
      if (last && last.term === this.consensus.raft.term && this.consensus.raft.role === "leader")
        this.startServing();
      this.consensus.loop.pump();
    });
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
    this.deps.logger.info("shard leads", { shard: this.id, term: this.consensus.raft.term });
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
          if (this.consensus.raft.role === "leader") this.startServing();
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
    this.consensus.membership.failAll();
    // Most of what is under way shows soon whether it was committed; nobody waits for ever.
    const { tickMs, electionTicks } = this.options;
    const { term } = this.consensus.raft;
    this.deps.timers.after(2 * tickMs * electionTicks, () => {
      this.proposals.failUpTo(term, "leadership was lost");
    });
  }

  /** After a turn of applying: tell what happened, and see what is due. */
  private turnOver(): void {
    if (this.closed) return;
    this.consensus.reads.applied();
    this.consensus.membership.look();
    this.notices.tell(this.listener);
    this.checkpointer.note();
    this.timekeeper.look();
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
    this.consensus.stop();
  }

  /** Stops as a crash would, for a store that another one replaces; nobody is acknowledged any more. */
  async abandon(): Promise<void> {
    if (this.closed) return;
    this.stopServing();
    this.closed = true;
    this.stop();
    this.proposals.failAll("the replica starts anew");
    await this.deps.commit.drain();
    await this.closeFiles();
  }

  /** Writes what is left with a last checkpoint; the store is clean then, but for tokens to be raised. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.stopServing();
    this.writer.writeHeld();
    await this.deps.commit.drain();
    this.closed = true;
    this.stop();
    this.proposals.failAll("the node stopped");
    this.deps.commit.add(
      (batch) => {
        // Entries may have been acknowledged since the held ones were written.
        this.writer.putHeld(batch);
        this.checkpointer.putLast(batch);
        if (this.tokens === "safe") putCleanMark(batch);
      },
      () => undefined,
    );
    await this.deps.commit.drain();
    await this.closeFiles();
  }

  private async closeFiles(): Promise<void> {
    await this.fence.close();
    await this.writer.votesSaved();
    this.deps.vote.closeSync();
  }
}
