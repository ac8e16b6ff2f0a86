/**
 * Carries out what the core of one shard has to be done, and hands it what others say:
 * persist, send, apply, answer. The loop is the same with one voter and with several.
 */
import { assert } from "../base/assert.ts";
import type { StoreId } from "../base/brand.ts";
import type { Random, TimerHandle, Timers } from "../base/effects.ts";
import {
  isLocalTarget,
  type Message,
  type NetworkMessage,
  type RaftNode,
  type ReadState,
  type SoftState,
  type StorageAppendMessage,
  type StorageApplyMessage,
} from "../raft/types.ts";
import type { LeaderClock } from "./leader-clock.ts";
import type { GroupLink } from "./peer-link.ts";
import type { ReplicaMessage } from "./replica-frames.ts";

export interface RaftLoopDeps {
  readonly raft: RaftNode;
  /** null: a group that has no other replicas. */
  readonly link: GroupLink | null;
  readonly clock: LeaderClock;
  readonly timers: Timers;
  readonly random: Random;
  /** First index that this replica keeps, for its followers to keep too. */
  readonly keptFrom: () => number;
  readonly persist: (message: StorageAppendMessage) => void;
  readonly apply: (message: StorageApplyMessage) => void;
  readonly roleChanged: (soft: SoftState) => void;
  readonly readAnswered: (read: ReadState) => void;
  /** A member needs the whole state. */
  readonly snapshotWanted: (to: StoreId) => void;
}

/** After the leader's process ended a follower asks for votes so often, … */
const quickTries = 3;
/** … each after 0 to so many ms, since others ask at the same time. */
const quickMs = 50;

export class RaftLoop {
  /** First index that the leader keeps; followers do not cut what it may have to send again. */
  leaderKeptFrom = Number.POSITIVE_INFINITY;
  private readonly deps: RaftLoopDeps;
  private state: "idle" | "pumping" | "again" | "stopped" = "idle";
  private quickTimer: TimerHandle | null = null;

  constructor(deps: RaftLoopDeps) {
    this.deps = deps;
  }

  /** Carries out all that is to be done. Calls from inside of it are taken up by the outer one. */
  pump(): void {
    if (this.state === "stopped") return;
    if (this.state !== "idle") {
      this.state = "again";
      return;
    }
    const { raft } = this.deps;
    do {
      this.state = "pumping";
      // Each Ready is carried out whole before the next: entries are applied in their order.
      while (this.isRunning() && raft.hasReady()) this.carryOut();
    } while ((this.state as string) === "again");
    if (this.isRunning()) this.state = "idle";
  }

  private isRunning(): boolean {
    return this.state !== "stopped";
  }

  private carryOut(): void {
    const { deps } = this;
    const ready = deps.raft.ready();
    if (ready.softState) deps.roleChanged(ready.softState);
    for (const message of ready.messages) {
      if (!this.isRunning()) return;
      if (message.kind === "storageAppend") deps.persist(message);
      else if (message.kind === "storageApply") deps.apply(message);
      else if (message.kind === "snapshot") deps.snapshotWanted(message.to);
      else this.send(message as NetworkMessage);
    }
    for (const read of ready.readStates) deps.readAnswered(read);
  }

  private send(message: NetworkMessage): void {
    const { link, raft, clock } = this.deps;
    assert(link !== null, "a message to another replica", message.kind, message.to);
    const sent = link.send(message, clock.now(), this.deps.keptFrom());
    if (!sent && message.kind === "append") raft.reportUnreachable(message.to);
  }

  /** A response of the storage: to this core, or an acknowledgement for another replica. */
  deliver(message: Message): void {
    const { raft } = this.deps;
    if (message.to === raft.id) raft.step(message);
    else if (!isLocalTarget(message.to)) this.send(message as NetworkMessage);
  }

  /** Another replica says something. */
  receive({ message, timeMs, keptFrom }: ReplicaMessage): void {
    const { raft, clock } = this.deps;
    if (this.state === "stopped" || message.to !== raft.id) return;
    // State comes over the bulk channel and a new start; here it can only be a stray.
    if (message.kind === "snapshot") return;
    raft.step(message);
    const leads = message.kind === "append" || message.kind === "heartbeat";
    if (leads && raft.leaderId === message.from && raft.role === "follower") {
      clock.follow(timeMs, raft.term);
      this.leaderKeptFrom = keptFrom;
      this.quickTimer?.cancel();
      this.quickTimer = null;
    }
    this.pump();
  }

  /** A peer can no longer be reached. @param reset - its process ended, as against silence */
  peerGone(storeId: StoreId, reset: boolean): void {
    const { raft } = this.deps;
    if (raft.role === "leader") raft.reportUnreachable(storeId);
    if (!reset || raft.role !== "follower" || raft.leaderId !== storeId) return;
    raft.forgetLeader();
    this.askSoon(quickTries);
    this.pump();
  }

  private askSoon(triesLeft: number): void {
    const { raft, timers, random } = this.deps;
    const delay = (quickTries === triesLeft ? 0 : quickMs) + random.unit() * quickMs;
    this.quickTimer?.cancel();
    this.quickTimer = timers.after(delay, () => {
      this.quickTimer = null;
      if (this.state === "stopped" || raft.leaderId !== 0 || raft.role === "leader") return;
      raft.campaign();
      this.pump();
      if (triesLeft > 1) this.askSoon(triesLeft - 1);
    });
  }

  stop(): void {
    this.state = "stopped";
    this.quickTimer?.cancel();
  }
}
