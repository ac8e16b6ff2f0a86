/**
 * Finds work in shards of which there is no replica here: tells the nodes that have them for which
 * queues claims wait here, and keeps what they tell of these. A queue is watched a little longer
 * than claims wait for it, so that workers that come again and again find what is known.
 */
import type { StoreId } from "../base/brand.ts";
import type { Clock, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { decodeWork, encodeWatch, type WatchedQueue, workFrames } from "./work-frames.ts";
import { anyQueue, type ToldShard, type WorkQueue, type WorkSource } from "./work-source.ts";

/** The way to the nodes that have the other shards. */
export interface OwnerLink {
  /** @returns false if it is certain that the frame was not sent */
  send(to: StoreId, type: number, parts: readonly Uint8Array[]): boolean;
}

export interface WorkWatchDeps {
  readonly link: OwnerLink;
  readonly clock: Clock;
  readonly timers: Timers;
  /** A source has work. */
  readonly wake: (source: WorkSource, queue: WorkQueue) => void;
}

interface Watch extends WatchedQueue {
  /** Claims that wait for it. */
  waits: number;
  idleSinceMs: number;
}

interface Owner {
  readonly shard: ToldShard;
  /** Watches that it has not been told of, and those that it shall forget, by key. */
  readonly added: Map<string, WatchedQueue>;
  readonly dropped: Map<string, WatchedQueue>;
}

interface Ask {
  readonly watched: Map<string, WatchedQueue>;
  readonly callbacks: (() => void)[];
  readonly owners: Set<StoreId>;
  timer: TimerHandle | null;
}

const retryMs = 20;

export class WorkWatch {
  private readonly deps: WorkWatchDeps;
  private readonly watches = new Map<string, Watch>();
  private readonly owners = new Map<StoreId, Owner>();
  private list: readonly ToldShard[] = [];
  /** Questions that are put, by number. */
  private readonly asks = new Map<number, Ask>();
  /** Those of this turn share one. */
  private nextAsk: Ask | null = null;
  private lastAsk = 0;
  private isScheduled = false;
  private sweepTimer: TimerHandle | null = null;

  constructor(deps: WorkWatchDeps) {
    this.deps = deps;
  }

  /** Shards that can be reached. */
  get sources(): readonly ToldShard[] {
    return this.list;
  }

  ownerFound(shard: ToldShard, storeId: StoreId): void {
    this.owners.set(storeId, { shard, added: new Map(this.watches), dropped: new Map() });
    this.list = [...this.owners.values()].map((owner) => owner.shard);
    this.schedule();
  }

  ownerGone(storeId: StoreId): void {
    const owner = this.owners.get(storeId);
    if (!owner) return;
    this.owners.delete(storeId);
    this.list = [...this.owners.values()].map((one) => one.shard);
    owner.shard.forget();
    for (const number of [...this.asks.keys()]) this.answered(number, storeId);
  }

  watch(tenant: string, queues: readonly string[] | null): void {
    for (const queue of queues ?? [anyQueue]) {
      const watch = this.obtain(tenant, queue);
      if (watch) watch.waits++;
    }
  }

  unwatch(tenant: string, queues: readonly string[] | null): void {
    for (const queue of queues ?? [anyQueue]) {
      const watch = this.watches.get(keyOf(tenant, queue));
      // With the table full, some are not watched.
      if (!watch || watch.waits === 0) continue;
      watch.waits--;
      watch.idleSinceMs = this.deps.clock.monotonicMs();
    }
    this.sweepLater();
  }

  /** Begins to watch a queue that is not; null if there are too many. */
  private obtain(tenant: string, queue: string): Watch | null {
    const key = keyOf(tenant, queue);
    const known = this.watches.get(key);
    if (known) return known;
    if (this.watches.size >= limits.watchedQueues) return null;
    const idleSinceMs = this.deps.clock.monotonicMs();
    const watch = { tenant, queue, waits: 0, idleSinceMs };
    this.watches.set(key, watch);
    for (const owner of this.owners.values()) {
      if (!owner.dropped.delete(key)) owner.added.set(key, watch);
    }
    this.schedule();
    this.sweepLater();
    return watch;
  }

  ask(tenant: string, queues: readonly string[] | null, done: () => void): void {
    if (this.owners.size === 0) {
      this.deps.timers.soon(done);
      return;
    }
    this.nextAsk ??= { watched: new Map(), callbacks: [], owners: new Set(), timer: null };
    for (const queue of queues ?? [anyQueue]) {
      if (this.obtain(tenant, queue))
        this.nextAsk.watched.set(keyOf(tenant, queue), { tenant, queue });
    }
    this.nextAsk.callbacks.push(done);
    this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.deps.timers.soon(() => {
      this.isScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    let isLeft = false;
    for (const [storeId, owner] of this.owners) {
      if (!this.tell(storeId, owner)) isLeft = true;
    }
    this.putAsk();
    if (isLeft) this.deps.timers.after(retryMs, () => this.schedule());
  }

  /** @returns false if the rest is to be sent later */
  private tell(storeId: StoreId, { added, dropped }: Owner): boolean {
    while (added.size + dropped.size > 0) {
      const some = [...added].slice(0, limits.watchFrameQueues);
      const gone = [...dropped].slice(0, limits.watchFrameQueues);
      const body = encodeWatch({ ask: 0, added: valuesOf(some), dropped: valuesOf(gone) });
      if (!this.deps.link.send(storeId, workFrames.watch, [body])) return false;
      for (const [key] of some) added.delete(key);
      for (const [key] of gone) dropped.delete(key);
    }
    return true;
  }

  private putAsk(): void {
    const ask = this.nextAsk;
    if (!ask) return;
    this.nextAsk = null;
    const number = ++this.lastAsk;
    const body = encodeWatch({ ask: number, added: [...ask.watched.values()], dropped: [] });
    for (const storeId of this.owners.keys()) {
      if (this.deps.link.send(storeId, workFrames.watch, [body])) ask.owners.add(storeId);
    }
    this.asks.set(number, ask);
    ask.timer = this.deps.timers.after(limits.workAskMs, () => this.end(number));
    if (ask.owners.size === 0) this.end(number);
  }

  private answered(number: number, storeId: StoreId): void {
    const ask = this.asks.get(number);
    if (ask?.owners.delete(storeId) && ask.owners.size === 0) this.end(number);
  }

  private end(number: number): void {
    const ask = this.asks.get(number);
    if (!ask) return;
    this.asks.delete(number);
    ask.timer?.cancel();
    for (const callback of ask.callbacks) callback();
  }

  /** A word of an owner. @throws DecodeError */
  told(from: StoreId, body: Buffer): void {
    const { answered, works } = decodeWork(body);
    const owner = this.owners.get(from);
    if (!owner) return;
    // What is no longer watched would never be dropped again.
    const wanted = works.filter(({ tenant, queue }) => this.watches.has(keyOf(tenant, queue)));
    for (const queue of owner.shard.tell(wanted)) this.deps.wake(owner.shard, queue);
    for (const number of answered) this.answered(number, from);
  }

  private sweepLater(): void {
    this.sweepTimer ??= this.deps.timers.after(limits.watchIdleMs, () => {
      this.sweepTimer = null;
      this.sweep();
    });
  }

  private sweep(): void {
    const before = this.deps.clock.monotonicMs() - limits.watchIdleMs;
    let idle = 0;
    for (const [key, watch] of this.watches) {
      if (watch.waits > 0) continue;
      idle++;
      if (watch.idleSinceMs > before) continue;
      this.watches.delete(key);
      for (const owner of this.owners.values()) {
        owner.shard.drop(watch.tenant, watch.queue);
        if (!owner.added.delete(key)) owner.dropped.set(key, watch);
      }
    }
    if (idle === 0) return;
    this.schedule();
    this.sweepLater();
  }

  stop(): void {
    this.sweepTimer?.cancel();
    for (const number of [...this.asks.keys()]) this.end(number);
  }
}

function keyOf(tenant: string, queue: string): string {
  return `${tenant}\0${queue}`;
}

function valuesOf(entries: readonly (readonly [string, WatchedQueue])[]): WatchedQueue[] {
  return entries.map(([, watched]) => watched);
}
