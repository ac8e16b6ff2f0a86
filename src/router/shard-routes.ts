/**
 * Where the commands of each shard go. A shard that is led here is asked directly; what belongs to
 * another node is passed on, or refused with the leader's address for the caller to go there
 * (SPEC section 3: 307 and ErrNotLeader).
 */
import type { StoreId } from "../base/brand.ts";
import { toShardId } from "../base/brand.ts";
import { type LeaderHint, QueueError } from "../base/errors.ts";
import type { Shard } from "../shard/shard.ts";
import type { PeerCalls } from "./peer-calls.ts";
import { RemoteShard, type ShardTarget } from "./remote-shard.ts";
import type { OwnerPort } from "./work-exchange.ts";

/** What this node knows of the others. */
export interface ClusterView {
  readonly calls: PeerCalls;
  /** Whether everything is passed on, so that clients see no redirects (`routing: forward`). */
  readonly forward: boolean;
  /** The node that leads a shard, if another one does and it is known; null otherwise. */
  leaderOf(shard: number): RemoteLeader | null;
  /** Nodes with shards of which there is no replica here; absent where every node has all. */
  readonly owners?: OwnerPort;
}

export interface RemoteLeader {
  readonly storeId: StoreId;
  readonly hint: LeaderHint;
}

/** When a request is passed on: if this node leads any shard, or one of those it concerns. */
export type PassOn = "ifLeading" | "ifConcerned";

export interface RoutesDeps {
  /** By number; null where this node keeps no replica. Elements are replaced as replicas restart. */
  readonly shards: readonly (Shard | null)[];
  /** null: this node is alone. */
  readonly cluster: ClusterView | null;
}

export class ShardRoutes {
  readonly shardCount: number;
  private readonly deps: RoutesDeps;
  private nextShard = 0;

  constructor(deps: RoutesDeps) {
    this.deps = deps;
    this.shardCount = deps.shards.length;
  }

  /** The replica of a shard here, leading or not. */
  replica(shard: number): Shard | null {
    return this.deps.shards[shard] ?? null;
  }

  /** Replicas here. */
  replicas(): readonly Shard[] {
    return this.deps.shards.filter((shard) => shard !== null);
  }

  leads(shard: number): boolean {
    return this.deps.shards[shard]?.leads === true;
  }

  /** Whether clients may be sent to another node. */
  get redirects(): boolean {
    return this.deps.cluster?.forward !== true;
  }

  get leadsAny(): boolean {
    return this.deps.shards.some((shard) => shard?.leads);
  }

  /** Whether a request that concerns these shards is passed on where they are led elsewhere. */
  passesOn(shards: Iterable<number>, passOn: PassOn): boolean {
    const { cluster } = this.deps;
    if (!cluster) return false;
    if (cluster.forward) return true;
    if (passOn === "ifLeading") return this.leadsAny;
    for (const shard of shards) if (this.leads(shard)) return true;
    return false;
  }

  /**
   * Where commands of a shard go.
   * @throws QueueError not_leader, no_leader
   */
  target(shard: number, passesOn: boolean): ShardTarget {
    const local = this.deps.shards[shard];
    if (local?.leads) return local;
    const remote = passesOn ? this.remote(shard) : null;
    if (!remote) throw this.notLeader(shard);
    return remote;
  }

  /** The shard as another node leads it, for claims; null if that is not known. */
  remote(shard: number): RemoteShard | null {
    const { cluster } = this.deps;
    const leader = cluster?.leaderOf(shard);
    if (!cluster || !leader) return null;
    return new RemoteShard(toShardId(shard), cluster.calls, leader.storeId, this.redirects);
  }

  /**
   * The shard that takes new tasks without ids of their own: one that is led here, in turn, if there
   * is one.
   * @throws QueueError not_leader, no_leader
   */
  forNew(): ShardTarget {
    const { shards } = this.deps;
    for (let i = 0; i < shards.length; i++) {
      const at = (this.nextShard + i) % shards.length;
      const shard = shards[at];
      if (!shard?.leads) continue;
      this.nextShard = (at + 1) % shards.length;
      return shard;
    }
    this.nextShard = (this.nextShard + 1) % shards.length;
    return this.target(this.nextShard, !this.redirects);
  }

  /** Why this node does not answer for a shard. */
  notLeader(shard: number): QueueError {
    const hint = this.deps.cluster?.leaderOf(shard)?.hint;
    return hint ? notLeader(hint) : noLeader();
  }
}

export function notLeader(leader: LeaderHint): QueueError {
  return new QueueError("not_leader", `${leader.leaderId} leads shard ${leader.shard}`, { leader });
}

export function noLeader(): QueueError {
  return new QueueError("no_leader", "no leader is known at the moment", { retryAfterSeconds: 1 });
}
