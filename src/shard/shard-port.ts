/** What a shard is given, how it is set up, and what it tells the node it runs on. */
import type { ShardId, StoreId } from "../base/brand.ts";
import type { Clock, Logger, Random, Timers } from "../base/effects.ts";
import type { Settings } from "../queue/command.ts";
import type { Queue } from "../queue/state.ts";
import type { Role } from "../raft/types.ts";
import type { FenceFile } from "../storage/fence-file.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import type { Kv } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import type { Durability } from "./append-writer.ts";
import type { ReadAhead } from "./loader.ts";
import type { LogStart } from "./log-store.ts";
import type { GroupLink } from "./peer-link.ts";
import type { Shard } from "./shard.ts";

export interface ShardDeps {
  readonly kv: Kv;
  readonly commit: GroupCommit;
  readonly vote: VoteFile;
  readonly fence: FenceFile;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** The way to the other replicas; absent where there are none. */
  readonly link?: GroupLink;
  /**
   * Begins to send the shard's state to a member; `consensus.snapshotSent` is to be called at its end.
   * @returns false if it cannot
   */
  readonly sendSnapshot?: (shard: Shard, to: StoreId) => boolean;
  /** Called once with the first error of the store or of the state: the node must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface ShardOptions {
  readonly shard: ShardId;
  readonly shardCount: number;
  readonly storeId: StoreId;
  /**
   * What a log begins with that nothing was ever written to. Default: a group of this replica alone.
   * Without voters it waits until it is taken into a group.
   */
  readonly founding?: LogStart;
  readonly settings: Settings;
  readonly durability: Durability;
  /** Length of a tick = Raft heartbeat interval, ms. */
  readonly tickMs: number;
  /** Election timeout at least, in ticks. */
  readonly electionTicks: number;
  readonly readAhead?: ReadAhead;
  /** Bytes of log kept for others below the checkpoint; default limits.logKeepBytes. */
  readonly logKeepBytes?: number;
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
  /** This replica leads and serves, or no longer; or another leader is known. */
  leadership(shard: Shard, leads: boolean): void;
  /** Another membership is in force. */
  members?(shard: Shard): void;
}

export interface ShardStats {
  readonly role: Role;
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly lastIndex: number;
  readonly overlayOps: number;
  readonly overlayBytes: number;
  readonly runBytes: number;
  readonly runs: number;
}
