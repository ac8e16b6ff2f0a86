/** Work in shards without replica here: what this node asks others, and what it tells them. */
import { type StoreId, toShardId } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import type { ClaimCommand } from "../queue/command.ts";
import type { Shard } from "../shard/shard.ts";
import { workFrames } from "./work-frames.ts";
import { type Elsewhere, ToldShard, type WorkQueue } from "./work-source.ts";
import { WorkTeller } from "./work-teller.ts";
import { type OwnerLink, WorkWatch, type WorkWatchDeps } from "./work-watch.ts";

/** What is heard of the nodes that have the other shards. */
export interface OwnerReceiver {
  found(shard: number, storeId: StoreId): void;
  gone(storeId: StoreId): void;
  /** @throws DecodeError */
  frame(from: StoreId, type: number, body: Buffer): void;
}

/** The nodes that have the other shards, each of them alone. */
export interface OwnerPort extends OwnerLink {
  handle(receiver: OwnerReceiver): void;
}

export interface WorkExchangeDeps extends WorkWatchDeps {
  readonly shard: () => Shard | null;
  readonly room: (queue: WorkQueue) => number;
}

export class WorkExchange implements Elsewhere, OwnerReceiver {
  private readonly watcher: WorkWatch;
  private readonly teller: WorkTeller;

  constructor(deps: WorkExchangeDeps) {
    this.watcher = new WorkWatch(deps);
    this.teller = new WorkTeller(deps);
  }

  get sources(): readonly ToldShard[] {
    return this.watcher.sources;
  }

  watch(tenant: string, queues: readonly string[] | null): void {
    this.watcher.watch(tenant, queues);
  }

  unwatch(tenant: string, queues: readonly string[] | null): void {
    this.watcher.unwatch(tenant, queues);
  }

  ask(tenant: string, queues: readonly string[] | null, done: () => void): void {
    this.watcher.ask(tenant, queues, done);
  }

  spare(queue: WorkQueue): void {
    this.teller.spare(queue);
  }

  /** A claim of another node is being answered. */
  claimed(from: StoreId, command: ClaimCommand): void {
    this.teller.claimed(from, command);
  }

  found(shard: number, storeId: StoreId): void {
    this.watcher.ownerFound(new ToldShard(toShardId(shard)), storeId);
  }

  gone(storeId: StoreId): void {
    this.watcher.ownerGone(storeId);
    this.teller.ownerGone(storeId);
  }

  frame(from: StoreId, type: number, body: Buffer): void {
    if (type === workFrames.watch) this.teller.watched(from, body);
    else if (type === workFrames.work) this.watcher.told(from, body);
    else throw new DecodeError(`frame of type ${type}`);
  }

  stop(): void {
    this.watcher.stop();
  }
}
