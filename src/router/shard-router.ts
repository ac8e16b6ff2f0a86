/**
 * The router: finds the shard of each request, admits or refuses it, wakes who waits. Tasks are
 * routed by their id; a create without id goes to a shard that this node leads.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { codeOfNumber, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import {
  formatTaskId,
  isCanonicalTaskId,
  isTaskId,
  runKeyLength,
  shardOfTaskId,
  taskIdVersion,
  writeTaskId,
} from "../base/task-id.ts";
import type { CancelResult } from "../queue/command.ts";
import type { Queue } from "../queue/state.ts";
import type { Grant } from "../shard/grants.ts";
import { readTask, type TaskRead } from "../shard/reads.ts";
import type { Shard, ShardListener } from "../shard/shard.ts";
import { CreateBatchBuilder } from "./create-batch.ts";
import type {
  CancelNotice,
  ClaimHandle,
  ClaimOutcome,
  ClaimRequest,
  CreateBatch,
  ResultView,
  Router,
  RouterHealth,
  SettleBatch,
  TaskView,
} from "./router.ts";
import { type RouterMetrics, silentRouterMetrics } from "./router-metrics.ts";
import { SettleBatchBuilder } from "./settle-batch.ts";
import { Waiters } from "./waiters.ts";

export interface RouterDeps {
  /** All shards of the id space, by number. */
  readonly shards: readonly Shard[];
  readonly clock: Clock;
  readonly timers: Timers;
  /** Name of the node, for health. */
  readonly nodeId: string;
  readonly metrics?: RouterMetrics;
}

/** How much the disk still takes (storage/free-space.ts). */
export type SpaceLevel = "ok" | "no_creates" | "drain_only" | "stop";

/** One place of a task in its shard. */
interface Place {
  readonly shard: Shard;
  readonly runKey: string;
  readonly place: number;
}

interface ResultWait {
  readonly notify: () => void;
}

export class ShardRouter implements Router, ShardListener {
  readonly shardCount: number;
  readonly metrics: RouterMetrics;
  private readonly deps: RouterDeps;
  private readonly waiters: Waiters;
  private readonly cancelListeners = new Set<(notice: CancelNotice) => void>();
  private readonly leadershipListeners = new Set<() => void>();
  private readonly resultWaits = new Map<string, Set<ResultWait>>();
  private resultWaitCount = 0;
  private draining = false;
  private spaceLevel: SpaceLevel = "ok";
  private nextShard = 0;

  constructor(deps: RouterDeps) {
    this.deps = deps;
    this.shardCount = deps.shards.length;
    this.metrics = deps.metrics ?? silentRouterMetrics;
    this.waiters = new Waiters({
      timers: deps.timers,
      metrics: this.metrics.claim,
      nowMs: () => deps.clock.monotonicMs(),
      shards: () => deps.shards.filter((shard) => shard.leads),
      release: (grants) => this.release(grants),
    });
  }

  // Creates and settles

  createBatch(tenant: string): CreateBatch {
    return new CreateBatchBuilder(this, tenant);
  }

  settleBatch(tenant: string, workerId: string): SettleBatch {
    return new SettleBatchBuilder(this, tenant, workerId);
  }

  nowMs(): number {
    return this.deps.clock.monotonicMs();
  }

  soon(callback: () => void): void {
    this.deps.timers.soon(callback);
  }

  shard(index: number): Shard {
    return this.deps.shards[index] as Shard;
  }

  shardForNew(): Shard {
    const { shards } = this.deps;
    for (let i = 0; i < shards.length; i++) {
      const at = (this.nextShard + i) % shards.length;
      const shard = shards[at] as Shard;
      if (!shard.leads) continue;
      this.nextShard = (at + 1) % shards.length;
      return shard;
    }
    throw noLeader();
  }

  admitCreate(shard: Shard, bytes: number): void {
    if (this.draining) throw draining();
    if (this.spaceLevel !== "ok") {
      throw new QueueError("insufficient_storage", "the disk's reserve is reached", {
        retryAfterSeconds: 30,
      });
    }
    this.admit(shard, bytes);
  }

  admitSettle(shard: Shard, bytes: number): void {
    if (this.spaceLevel === "stop") {
      throw new QueueError("insufficient_storage", "the disk is full", { retryAfterSeconds: 30 });
    }
    this.admit(shard, bytes);
  }

  private admit(shard: Shard, bytes: number): void {
    if (!shard.leads) throw noLeader();
    if (!shard.hasRoom(bytes)) {
      throw new QueueError("overloaded", "too much is waiting to be written", {
        retryAfterSeconds: 1,
      });
    }
  }

  setSpaceLevel(level: SpaceLevel): void {
    this.spaceLevel = level;
  }

  // Claims

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    const error = this.claimRefusal();
    if (error) {
      this.soon(() => done({ kind: "failed", error }));
      return { cancel: () => undefined };
    }
    return this.waiters.claim(request, done);
  }

  private claimRefusal(): QueueError | null {
    if (this.draining) return draining();
    if (this.spaceLevel === "drain_only" || this.spaceLevel === "stop") {
      return new QueueError("insufficient_storage", "the disk's reserve is used up", {
        retryAfterSeconds: 30,
      });
    }
    const led = this.deps.shards.find((shard) => shard.leads);
    if (!led) return noLeader();
    return led.hasRoom(0)
      ? null
      : new QueueError("overloaded", "too much is waiting", { retryAfterSeconds: 1 });
  }

  /** Claims that wait on this node. */
  get waitingClaims(): number {
    return this.waiters.waiting;
  }

  private release(grants: readonly Grant[]): void {
    for (const grant of grants) {
      const batch = this.settleBatch(grant.tenant, grant.workerId);
      for (let i = 0; i < grant.count; i++) batch.release(grant.ids, 16 * i, grant.leaseToken);
      // If this is not logged either, the leases run out.
      batch.send(() => undefined);
    }
  }

  // Single tasks

  /** @throws QueueError not_found where no task can have such an id */
  private find(id: Uint8Array): Place {
    if (!isTaskId(id, 0) || !isCanonicalTaskId(id, 0, this.shardCount)) throw notFound();
    const shard = this.shard(shardOfTaskId(id, 0, this.shardCount));
    const runKey = Buffer.from(id.subarray(0, runKeyLength(id, 0))).toString("latin1");
    return { shard, runKey, place: taskIdVersion(id) === 8 ? 0 : (id[14] as number) };
  }

  cancel(tenant: string, id: Uint8Array): Promise<TaskView> {
    return this.submitCancel(tenant, id).then(() => this.task(tenant, id));
  }

  private submitCancel(tenant: string, id: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const { shard, runKey, place } = this.find(id);
      this.admitSettle(shard, 0);
      const key = Buffer.from(runKey, "latin1");
      shard.submit({ kind: "cancel", tenant, key, place }, 0, {
        done: (result) => {
          const { code } = result as CancelResult;
          if (code === 0) resolve();
          else reject(cancelError(code));
        },
        failed: reject,
      });
    });
  }

  async task(tenant: string, id: Uint8Array): Promise<TaskView> {
    const place = this.find(id);
    return viewOf(id, await this.read(tenant, place));
  }

  private async read(tenant: string, place: Place): Promise<TaskRead> {
    if (!place.shard.leads) throw noLeader();
    const read = await readTask(place.shard, tenant, place.runKey, place.place);
    if (!read) throw notFound();
    return read;
  }

  async result(
    tenant: string,
    id: Uint8Array,
    options: { readonly waitMs: number; readonly signal?: AbortSignal },
  ): Promise<{ readonly task: TaskView; readonly result: ResultView | null }> {
    const place = this.find(id);
    const { timers, clock } = this.deps;
    const until = clock.monotonicMs() + options.waitMs - Math.min(250, options.waitMs / 2);
    for (;;) {
      // Listen first, then look: an end in between is not missed.
      const ended = new Ended();
      const stop = options.waitMs > 0 ? this.onEnded(place.runKey, ended.notify) : null;
      try {
        const read = await this.read(tenant, place);
        const left = until - clock.monotonicMs();
        if (read.result || !stop || left <= 0 || this.draining || options.signal?.aborted) {
          return { task: viewOf(id, read), result: read.result };
        }
        const timer = timers.after(left, ended.notify);
        options.signal?.addEventListener("abort", ended.notify, { once: true });
        await ended.promise;
        timer.cancel();
        options.signal?.removeEventListener("abort", ended.notify);
      } finally {
        stop?.();
      }
    }
  }

  private onEnded(runKey: string, notify: () => void): () => void {
    if (this.resultWaitCount >= limits.waitingReads) {
      throw new QueueError("overloaded", "too many callers wait for results", {
        retryAfterSeconds: 1,
      });
    }
    const wait: ResultWait = { notify };
    const waits = this.resultWaits.get(runKey) ?? new Set();
    waits.add(wait);
    this.resultWaits.set(runKey, waits);
    this.resultWaitCount++;
    return () => {
      if (!waits.delete(wait)) return;
      this.resultWaitCount--;
      if (waits.size === 0 && this.resultWaits.get(runKey) === waits)
        this.resultWaits.delete(runKey);
    };
  }

  // What shards tell

  ready(shard: Shard, queues: Iterable<Queue>): void {
    for (const queue of queues) this.waiters.wake(shard, queue);
  }

  ended(runKeys: ReadonlySet<string>): void {
    if (this.resultWaits.size === 0) return;
    for (const key of runKeys) {
      for (const wait of this.resultWaits.get(key) ?? []) wait.notify();
    }
  }

  leaseCanceled(
    shard: Shard,
    runKey: string,
    place: number,
    queue: Queue,
    leaseToken: number,
    workerId: string,
  ): void {
    if (this.cancelListeners.size === 0) return;
    const id = Buffer.alloc(16);
    writeTaskId(Buffer.from(runKey, "latin1"), place, shard.id, this.shardCount, id);
    const notice = { tenant: queue.tenant.name, taskId: formatTaskId(id), leaseToken, workerId };
    for (const listener of this.cancelListeners) listener(notice);
  }

  leadership(shard: Shard, leads: boolean): void {
    for (const listener of this.leadershipListeners) listener();
    if (!leads && !this.deps.shards.some((other) => other.leads)) this.waiters.failAll(noLeader());
    if (!leads) return;
    for (const queue of shard.state.queues.values()) this.waiters.wake(shard, queue);
  }

  /** Calls back when a shard got or lost its leader here. @returns a function that ends it */
  onLeadership(listener: () => void): () => void {
    this.leadershipListeners.add(listener);
    return () => this.leadershipListeners.delete(listener);
  }

  onCancel(listener: (notice: CancelNotice) => void): () => void {
    this.cancelListeners.add(listener);
    return () => this.cancelListeners.delete(listener);
  }

  // Health and end

  health(): RouterHealth {
    const shards = this.deps.shards.map((shard) => {
      const stats = shard.stats();
      return {
        shard: shard.id,
        role: stats.role,
        term: stats.term,
        leaderId: shard.leads ? this.deps.nodeId : "",
        commit: stats.commit,
        applied: stats.applied,
        lag: stats.commit - stats.applied,
      };
    });
    const isLeader = this.deps.shards.some((shard) => shard.leads);
    const reason = this.notReady();
    return { ready: reason === "", reason, isLeader, shards };
  }

  private notReady(): string {
    if (this.draining) return "the node drains";
    if (this.spaceLevel === "stop") return "the disk is full";
    const waiting = this.deps.shards.find((shard) => !shard.leads);
    return waiting ? `shard ${waiting.id} has no leader` : "";
  }

  drain(): void {
    this.draining = true;
    this.waiters.failAll(draining());
    for (const waits of this.resultWaits.values()) for (const wait of waits) wait.notify();
  }
}

/** A promise that is resolved from outside, once or more often. */
class Ended {
  readonly promise: Promise<void>;
  notify: () => void = () => undefined;

  constructor() {
    this.promise = new Promise((resolve) => {
      this.notify = resolve;
    });
  }
}

function viewOf(id: Uint8Array, read: TaskRead): TaskView {
  const { result: _, ...task } = read;
  return { id: formatTaskId(id), ...task };
}

function cancelError(number: number): QueueError {
  const code = codeOfNumber(number) ?? "internal";
  const text = code === "already_settled" ? "the task is finished already" : "no such task";
  return new QueueError(code, text);
}

function noLeader(): QueueError {
  return new QueueError("no_leader", "no leader is known at the moment", { retryAfterSeconds: 1 });
}

function draining(): QueueError {
  return new QueueError("draining", "the node is stopping", { retryAfterSeconds: 1 });
}

function notFound(): QueueError {
  return new QueueError("not_found", "no such task");
}
