/**
 * One replica of a shard over its whole life: its store may be replaced by one that the leader sent,
 * and then the shard starts anew from it, as after a crash. What others say goes to the shard that
 * is alive.
 *
 * running → replacing (the old shard is abandoned, the new store comes into force) → running
 */
import { assert } from "../base/assert.ts";
import type { ShardId, StoreId } from "../base/brand.ts";
import type { Clock, Logger, Random, Timers } from "../base/effects.ts";
import type { FenceFile } from "../storage/fence-file.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import type { Kv } from "../storage/kv.ts";
import { StoreCompactor } from "../storage/store-compactor.ts";
import type { StoreCopier } from "../storage/store-copy.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import type { GroupLink, GroupReceiver, PeerLink } from "./peer-link.ts";
import { prepareStore } from "./prepare-store.ts";
import { type ReplicaMessage, shardFrames } from "./replica-frames.ts";
import { Shard, type ShardListener, type ShardOptions } from "./shard.ts";
import { decodeAnswer, decodeChunk, decodeOffer } from "./snapshot-frames.ts";
import { SnapshotReceiver } from "./snapshot-receiver.ts";
import { SnapshotSender } from "./snapshot-sender.ts";

/** What is open of a shard's directory. */
export interface ReplicaStore {
  readonly kv: Kv;
  readonly commit: GroupCommit;
  readonly vote: VoteFile;
  readonly fence: FenceFile;
  readonly path: string;
}

/** A shard's directory with its generations (storage/store-directory.ts). */
export interface ReplicaStores {
  /** Opens the store in force, with its files. */
  open(): Promise<ReplicaStore>;
  /** Opens a store that is being made, for its checks. */
  openAt(path: string): Promise<Kv>;
  /** Where the generation after the one in force is made. */
  nextPath(): string;
  /** Lets the next generation come into force, durably, and removes the old one. */
  switchToNext(): void;
  /** Whether so many bytes more find room. */
  hasSpace(bytes: number): boolean;
}

export interface ReplicaDeps {
  readonly stores: ReplicaStores;
  readonly copier: StoreCopier;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** null: a group without other replicas. */
  readonly peers: PeerLink | null;
  readonly onFatal: (error: unknown) => void;
  /** Another shard object stands for the replica from now on. */
  readonly replaced: (shard: Shard) => void;
}

/** What a replica does for its peers. */
interface Exchange {
  readonly link: GroupLink;
  readonly sender: SnapshotSender;
  readonly receiver: SnapshotReceiver;
}

export class Replica implements GroupReceiver {
  readonly id: ShardId;
  private readonly deps: ReplicaDeps;
  private readonly options: ShardOptions;
  private current: { readonly shard: Shard; readonly store: ReplicaStore } | null = null;
  private exchange: Exchange | null = null;
  private compactor: StoreCompactor | null = null;
  private listener: ShardListener | null = null;
  private replacing: Promise<void> | null = null;
  private closed = false;

  private constructor(deps: ReplicaDeps, options: ShardOptions) {
    this.id = options.shard;
    this.deps = deps;
    this.options = options;
  }

  /** @throws StorageError corrupt, missing, io */
  static async open(deps: ReplicaDeps, options: ShardOptions): Promise<Replica> {
    const replica = new Replica(deps, options);
    await replica.openShard();
    return replica;
  }

  get shard(): Shard {
    assert(this.current !== null, "an open replica", this.id);
    return this.current.shard;
  }

  private async openShard(): Promise<void> {
    const { deps, options } = this;
    const { stores, clock, timers, random, logger, peers, onFatal } = deps;
    const store = await stores.open();
    const link = peers?.group(this.id);
    const { kv, commit, vote, fence } = store;
    const shard = await Shard.open(
      {
        ...{ kv, commit, vote, fence, clock, timers, random, logger, onFatal },
        ...(link && { link }),
        sendSnapshot: (_, to) => this.exchange?.sender.send(to) ?? false,
      },
      options,
    );
    this.current = { shard, store };
    this.compactor = new StoreCompactor({ kv, clock, timers, logger, onFatal });
    this.exchange = link ? this.createExchange(link, store, shard) : null;
  }

  private createExchange(link: GroupLink, store: ReplicaStore, shard: Shard): Exchange {
    const { copier, timers, random, stores } = this.deps;
    const logger = this.deps.logger.child({ shard: this.id });
    const { consensus } = shard;
    const sender = new SnapshotSender({
      ...{ link, copier, timers, random, logger },
      commit: store.commit,
      storePath: store.path,
      savedPoint: () => consensus.savedPoint,
      ended: (to, ok) => consensus.snapshotSent(to, ok),
    });
    const receiver = new SnapshotReceiver({
      ...{ link, copier, timers, logger },
      nextPath: () => stores.nextPath(),
      refusal: (from, _, bytes) => {
        if (consensus.leaderId !== from) return "it does not lead";
        return stores.hasSpace(bytes) ? "" : "no room on the disk";
      },
      hasEntry: (point) => consensus.hasEntry(point),
      prepare: (path, point, signal) => this.prepare(path, point, signal),
      handOver: () => this.replace(),
    });
    return { link, sender, receiver };
  }

  private async prepare(path: string, point: AppliedPoint, signal: AbortSignal): Promise<void> {
    const kv = await this.deps.stores.openAt(path);
    try {
      await prepareStore(kv, point, signal);
    } finally {
      await kv.close();
    }
  }

  start(listener: ShardListener): void {
    this.listener = listener;
    this.deps.peers?.attach(this.id, this);
    this.shard.start(listener);
  }

  private replace(): void {
    this.replacing = this.goOnFromNext().catch((error: unknown) => this.deps.onFatal(error));
  }

  private async goOnFromNext(): Promise<void> {
    const { current, deps, listener } = this;
    assert(current !== null && listener !== null, "a running replica", this.id);
    this.exchange?.sender.stop();
    this.exchange = null;
    await this.compactor?.stop();
    await current.shard.abandon();
    await current.store.kv.close();
    deps.stores.switchToNext();
    if (this.closed) {
      this.current = null;
      return;
    }
    await this.openShard();
    deps.replaced(this.shard);
    this.shard.start(listener);
  }

  // What others say

  message(received: ReplicaMessage): void {
    this.current?.shard.consensus.receive(received);
  }

  bulk(from: StoreId, type: number, body: Buffer): void {
    const { exchange } = this;
    if (!exchange) return;
    if (type === shardFrames.snapshotOffer) exchange.receiver.offered(from, decodeOffer(body));
    else if (type === shardFrames.snapshotChunk) exchange.receiver.chunk(from, decodeChunk(body));
    else if (type === shardFrames.snapshotAnswer) {
      exchange.sender.answered(from, decodeAnswer(body));
    }
  }

  peerGone(storeId: StoreId, reset: boolean): void {
    this.current?.shard.consensus.peerGone(storeId, reset);
    this.exchange?.sender.peerGone(storeId);
    this.exchange?.receiver.peerGone(storeId);
  }

  /** Ends in order: a last checkpoint, everything closed. */
  async close(): Promise<void> {
    this.closed = true;
    this.deps.peers?.detach(this.id, this);
    this.exchange?.sender.stop();
    await this.exchange?.receiver.stop();
    await this.replacing;
    if (!this.current) return;
    await this.compactor?.stop();
    await this.current.shard.close();
    await this.current.store.kv.close();
    this.current = null;
  }
}
