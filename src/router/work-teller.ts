/**
 * Tells other nodes of the work of the shard here for which claims wait there (work-watch.ts is
 * their side): at once when they begin to wait, whenever tasks get ready that no claim here asks
 * for, and behind the answer of each claim of theirs, so that they know what it left. What changes
 * in one turn of the event loop is told in one frame per node.
 */
import type { StoreId } from "../base/brand.ts";
import type { Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { ClaimCommand } from "../queue/command.ts";
import type { Tenant } from "../queue/state.ts";
import type { Shard } from "../shard/shard.ts";
import { decodeWatch, encodeWork, type WatchedQueue, workFrames } from "./work-frames.ts";
import { anyQueue, type ToldWork, type WorkQueue } from "./work-source.ts";
import type { OwnerLink } from "./work-watch.ts";

export interface WorkTellerDeps {
  readonly link: OwnerLink;
  readonly timers: Timers;
  /** The shard of this node; null while it is not open. */
  readonly shard: () => Shard | null;
  /** Ready tasks of a queue for which no claim of this node asks. */
  readonly room: (queue: WorkQueue) => number;
}

interface Listener {
  readonly storeId: StoreId;
  /** Queue names by tenant. */
  readonly watched: Map<string, Set<string>>;
  count: number;
  /** What is to be told, in the same form. */
  readonly dirty: Map<string, Set<string>>;
  answers: number[];
  /** A word is due even if nothing has changed. */
  isDue: boolean;
}

/** Of any queue it is told whether there is much: so many queues or tasks are looked at. */
const anyMax = limits.claimTasks;
const retryMs = 20;
const priorities = 10;

export class WorkTeller {
  private readonly deps: WorkTellerDeps;
  private readonly listeners = new Map<StoreId, Listener>();
  /** Who watches what: by tenant, then by queue. */
  private readonly watchers = new Map<string, Map<string, Set<Listener>>>();
  private isScheduled = false;

  constructor(deps: WorkTellerDeps) {
    this.deps = deps;
  }

  /** Another node watches other queues. @throws DecodeError */
  watched(from: StoreId, body: Buffer): void {
    const { ask, added, dropped } = decodeWatch(body);
    const listener = this.listenerOf(from);
    for (const queue of added) this.add(listener, queue);
    for (const queue of dropped) this.remove(listener, queue);
    if (ask > 0) listener.answers.push(ask);
    this.schedule();
  }

  private listenerOf(storeId: StoreId): Listener {
    let listener = this.listeners.get(storeId);
    if (!listener) {
      const nothing = { watched: new Map(), count: 0, dirty: new Map(), answers: [] };
      listener = { storeId, ...nothing, isDue: false };
      this.listeners.set(storeId, listener);
    }
    return listener;
  }

  private add(listener: Listener, { tenant, queue }: WatchedQueue): void {
    const names = listener.watched.get(tenant) ?? new Set();
    if (!names.has(queue)) {
      if (listener.count >= limits.watchedQueues) return;
      listener.count++;
      listener.watched.set(tenant, names.add(queue));
      const queues = this.watchers.get(tenant) ?? new Map<string, Set<Listener>>();
      this.watchers.set(tenant, queues);
      queues.set(queue, (queues.get(queue) ?? new Set()).add(listener));
    }
    note(listener, tenant, queue);
  }

  private remove(listener: Listener, { tenant, queue }: WatchedQueue): void {
    const names = listener.watched.get(tenant);
    if (!names?.delete(queue)) return;
    listener.count--;
    forget(listener.dirty, tenant, queue);
    if (names.size === 0) listener.watched.delete(tenant);
    const queues = this.watchers.get(tenant);
    const watchers = queues?.get(queue);
    watchers?.delete(listener);
    if (watchers?.size === 0) queues?.delete(queue);
    if (queues?.size === 0) this.watchers.delete(tenant);
  }

  ownerGone(storeId: StoreId): void {
    const listener = this.listeners.get(storeId);
    if (!listener) return;
    for (const [tenant, names] of [...listener.watched]) {
      for (const queue of [...names]) this.remove(listener, { tenant, queue });
    }
    this.listeners.delete(storeId);
  }

  /** A queue here has ready tasks for which no claim here asks. */
  spare(queue: WorkQueue): void {
    const tenant = queue.tenant.name;
    const queues = this.watchers.get(tenant);
    if (!queues) return;
    for (const name of [queue.name, anyQueue]) {
      for (const listener of queues.get(name) ?? []) note(listener, tenant, name);
    }
    this.schedule();
  }

  /** A claim of another node is being answered: it hears next what is left. */
  claimed(from: StoreId, { tenant, queues }: ClaimCommand): void {
    const listener = this.listeners.get(from);
    if (!listener) return;
    const names = listener.watched.get(tenant);
    for (const queue of queues ?? [anyQueue]) if (names?.has(queue)) note(listener, tenant, queue);
    listener.isDue = true;
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
    for (const listener of this.listeners.values()) if (!this.tell(listener)) isLeft = true;
    if (isLeft) this.deps.timers.after(retryMs, () => this.schedule());
  }

  /** @returns false if the rest is to be told later */
  private tell(listener: Listener): boolean {
    while (listener.dirty.size > 0 || listener.answers.length > 0 || listener.isDue) {
      const some = [...queuesOf(listener.dirty, limits.watchFrameQueues)];
      const works = some.map(({ tenant, queue }) => this.look(tenant, queue));
      const isLast = works.length < limits.watchFrameQueues;
      const body = encodeWork({ answered: isLast ? listener.answers : [], works });
      if (!this.deps.link.send(listener.storeId, workFrames.work, [body])) return false;
      for (const { tenant, queue } of some) forget(listener.dirty, tenant, queue);
      if (!isLast) continue;
      listener.answers = [];
      listener.isDue = false;
    }
    return true;
  }

  private look(tenantName: string, queue: string): ToldWork {
    const ready = new Array<number>(priorities).fill(0);
    const shard = this.deps.shard();
    const tenant = shard?.leads ? shard.state.tenants.get(tenantName) : undefined;
    const named = tenant?.queues.get(queue);
    if (named) this.addReady(ready, named);
    else if (tenant && queue === anyQueue) this.addAny(ready, tenant);
    return { tenant: tenantName, queue, ready };
  }

  private addAny(ready: number[], tenant: Tenant): void {
    let left = anyMax;
    for (let priority = priorities - 1; priority >= 0; priority--) {
      for (const queue of tenant.claimable[priority] ?? []) {
        // One that is claimable at several priorities is counted at each; that is near enough.
        const count = Math.min(this.deps.room(queue), queue.ready[priority] ?? 0);
        ready[priority] = (ready[priority] ?? 0) + Math.max(0, count);
        if (--left === 0 || (ready[priority] ?? 0) > anyMax) return;
      }
    }
  }

  /** Claims of this node take the highest priorities first. */
  private addReady(ready: number[], queue: WorkQueue): void {
    let taken = queue.readyTotal - this.deps.room(queue);
    for (let priority = priorities - 1; priority >= 0; priority--) {
      const count = queue.ready[priority] ?? 0;
      ready[priority] = Math.max(0, count - taken);
      taken = Math.max(0, taken - count);
    }
  }
}

function note(listener: Listener, tenant: string, queue: string): void {
  const names = listener.dirty.get(tenant) ?? new Set();
  listener.dirty.set(tenant, names.add(queue));
}

function forget(queues: Map<string, Set<string>>, tenant: string, queue: string): void {
  const names = queues.get(tenant);
  if (names?.delete(queue) && names.size === 0) queues.delete(tenant);
}

function* queuesOf(
  queues: ReadonlyMap<string, ReadonlySet<string>>,
  limit: number,
): Iterable<WatchedQueue> {
  let left = limit;
  for (const [tenant, names] of queues) {
    for (const queue of names) {
      if (left-- === 0) return;
      yield { tenant, queue };
    }
  }
}
