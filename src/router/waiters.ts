/**
 * Waiting claims of this node. They are woken by hints that a queue has ready tasks; no claim is
 * logged while the leader knows of no work. Per queue, and for claims of any queue, first come,
 * first served.
 *
 * States of a claim: waiting (in its lists) → claiming (a claim command is on its way to one shard)
 * → over; back to waiting if the command found nothing, since another claim was faster.
 */

import type { TimerHandle, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { ClaimCommand, ClaimedTasks, CommandResult } from "../queue/command.ts";
import type { Queue } from "../queue/state.ts";
import { type Grant, grantFromStore, grantInMemory } from "../shard/grants.ts";
import type { CommandSink } from "../shard/proposer.ts";
import type { Shard } from "../shard/shard.ts";
import type { ClaimHandle, ClaimOutcome, ClaimRequest } from "./router.ts";
import type { OperationMetrics } from "./router-metrics.ts";

export interface WaiterDeps {
  readonly timers: Timers;
  readonly metrics: OperationMetrics;
  /** Monotonic. */
  nowMs(): number;
  /** Shards that are led here and serve. */
  shards(): readonly Shard[];
  /** Gives tasks back that cannot be delivered. */
  release(grants: readonly Grant[]): void;
}

/** A wait ends up to this much early, never late (SPEC section 7). */
const earlyMs = 250;

class Waiter implements ClaimHandle {
  readonly owner: Waiters;
  readonly request: ClaimRequest;
  readonly done: (outcome: ClaimOutcome) => void;
  state: "waiting" | "claiming" | "over" = "over";
  lists: WaitList[] = [];
  timer: TimerHandle | null = null;
  /** Its time is up or it must not wait: if the command on its way finds nothing, that is the answer. */
  lastTry = false;
  canceled = false;
  shard: Shard | null = null;
  queue: Queue | null = null;
  order = 0;
  /** When it was asked for. */
  sinceMs = 0;
  /** When its claim command was sent. */
  sentMs = 0;

  constructor(owner: Waiters, request: ClaimRequest, done: (outcome: ClaimOutcome) => void) {
    this.owner = owner;
    this.request = request;
    this.done = done;
  }

  cancel(): void {
    this.owner.cancel(this);
  }

  // The sink of its claim command; `done` of a sink would be taken for the caller's.
  readonly sink: CommandSink = {
    done: (result: CommandResult) => this.owner.claimed(this, result),
    failed: (error: QueueError) => this.owner.claimFailed(this, error),
  };
}

/** Claims that wait for one queue, or for any, by order of arrival. */
class WaitList {
  private items: Waiter[] = [];
  private head = 0;
  live = 0;

  add(waiter: Waiter): void {
    const last = this.items[this.items.length - 1];
    this.live++;
    if (!last || last.order < waiter.order) {
      this.items.push(waiter);
      return;
    }
    // One that comes back after an empty claim: to its old place, near the front.
    let at = this.head;
    while (at < this.items.length && (this.items[at] as Waiter).order < waiter.order) at++;
    this.items.splice(at, 0, waiter);
  }

  first(): Waiter | undefined {
    for (;;) {
      const waiter = this.items[this.head];
      if (!waiter) return undefined;
      if (waiter.state === "waiting") return waiter;
      this.head++;
    }
  }

  /** One of the list has left. */
  left(): void {
    this.live--;
    if (this.items.length - this.head > 2 * this.live + 32 || this.head > 1024) {
      this.items = this.items.slice(this.head).filter((waiter) => waiter.state === "waiting");
      this.head = 0;
    }
  }
}

interface TenantLists {
  readonly any: WaitList;
  readonly byQueue: Map<string, WaitList>;
}

export class Waiters {
  private readonly deps: WaiterDeps;
  private readonly tenants = new Map<string, TenantLists>();
  /** Tasks asked for by claims on their way, by the queue that they were sent for. */
  private readonly asked = new Map<Queue, number>();
  private order = 0;
  private turn = 0;
  private waitingCount = 0;

  constructor(deps: WaiterDeps) {
    this.deps = deps;
  }

  get waiting(): number {
    return this.waitingCount;
  }

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    const waiter = new Waiter(this, request, done);
    waiter.order = this.order++;
    waiter.sinceMs = this.deps.nowMs();
    waiter.lastTry = request.waitMs <= 0;
    const found = this.findWork(request, waiter.lastTry);
    if (found) {
      this.send(waiter, found.shard, found.queue);
    } else if (waiter.lastTry) {
      this.deps.timers.soon(() => this.finish(waiter, { kind: "empty" }));
    } else if (this.waitingCount >= limits.waitingClaims) {
      const error = new QueueError("overloaded", "too many claims are waiting");
      this.deps.timers.soon(() => this.finish(waiter, { kind: "failed", error }));
    } else {
      this.wait(waiter);
    }
    return waiter;
  }

  private setTimer(waiter: Waiter): void {
    const { waitMs } = waiter.request;
    const endMs = waiter.sinceMs + waitMs - Math.min(earlyMs, waitMs / 2);
    const delay = Math.max(0, endMs - this.deps.nowMs());
    waiter.timer = this.deps.timers.after(delay, () => {
      waiter.timer = null;
      waiter.lastTry = true;
      if (waiter.state !== "waiting") return;
      this.leaveLists(waiter);
      this.finish(waiter, { kind: "empty" });
    });
  }

  /** A shard and a queue with ready tasks that no claim on its way will take. */
  private findWork(request: ClaimRequest, evenIfAsked: boolean): Found | null {
    const shards = this.deps.shards();
    for (let i = 0; i < shards.length; i++) {
      const shard = shards[(this.turn + i) % shards.length] as Shard;
      const queue = this.findQueue(shard, request, evenIfAsked);
      if (!queue) continue;
      this.turn = (this.turn + i + 1) % shards.length;
      return { shard, queue };
    }
    return null;
  }

  private findQueue(shard: Shard, request: ClaimRequest, evenIfAsked: boolean): Queue | null {
    const tenant = shard.state.tenants.get(request.tenant);
    if (!tenant) return null;
    if (request.queues) {
      for (const name of request.queues) {
        const queue = tenant.queues.get(name);
        if (queue && (evenIfAsked ? isClaimable(queue) : this.room(queue) > 0)) return queue;
      }
      return null;
    }
    for (let p = 9; p >= 0; p--) {
      for (const queue of tenant.claimable[p] as Queue[]) {
        if (evenIfAsked || this.room(queue) > 0) return queue;
      }
    }
    return null;
  }

  /** Ready tasks of a queue that no claim on its way has asked for. */
  private room(queue: Queue): number {
    return isClaimable(queue) ? queue.readyTotal - (this.asked.get(queue) ?? 0) : 0;
  }

  private lists(tenant: string): TenantLists {
    let lists = this.tenants.get(tenant);
    if (!lists) {
      lists = { any: new WaitList(), byQueue: new Map() };
      this.tenants.set(tenant, lists);
    }
    return lists;
  }

  private wait(waiter: Waiter): void {
    const { tenant, queues } = waiter.request;
    const lists = this.lists(tenant);
    waiter.state = "waiting";
    this.waitingCount++;
    if (queues === null) {
      waiter.lists.push(lists.any);
    } else {
      for (const name of queues) {
        let list = lists.byQueue.get(name);
        if (!list) {
          list = new WaitList();
          lists.byQueue.set(name, list);
        }
        waiter.lists.push(list);
      }
    }
    for (const list of waiter.lists) list.add(waiter);
    // Here, since a claim that found work at first may come to wait when another one was faster.
    if (!waiter.timer && Number.isFinite(waiter.request.waitMs)) this.setTimer(waiter);
  }

  private leaveLists(waiter: Waiter): void {
    waiter.state = "over";
    this.waitingCount--;
    for (const list of waiter.lists) list.left();
    waiter.lists = [];
    const { tenant, queues } = waiter.request;
    if (!queues) return;
    // Names come from outside: an emptied list is not kept.
    const { byQueue } = this.lists(tenant);
    for (const name of queues) if (byQueue.get(name)?.live === 0) byQueue.delete(name);
  }

  /** A queue of a shard led here has ready tasks: claims that wait for it go on. */
  wake(shard: Shard, queue: Queue): void {
    const lists = this.tenants.get(queue.tenant.name);
    if (!lists) return;
    while (this.room(queue) > 0) {
      const waiter = earlier(lists.byQueue.get(queue.name)?.first(), lists.any.first());
      if (!waiter) return;
      this.leaveLists(waiter);
      this.send(waiter, shard, queue);
    }
  }

  private send(waiter: Waiter, shard: Shard, queue: Queue): void {
    const { request } = waiter;
    waiter.state = "claiming";
    waiter.sentMs = this.deps.nowMs();
    waiter.shard = shard;
    waiter.queue = queue;
    this.asked.set(queue, (this.asked.get(queue) ?? 0) + request.count);
    const command: ClaimCommand = {
      kind: "claim",
      tenant: request.tenant,
      queues: request.queues,
      count: request.count,
      bytesMax: request.bytesMax,
      leaseMs: request.leaseMs,
      workerId: request.workerId,
    };
    const names = request.queues ? request.queues.length * limits.queueNameChars : 0;
    shard.submit(command, names, waiter.sink);
  }

  /** The claim command of a waiter is answered. */
  private returned(waiter: Waiter): void {
    const queue = waiter.queue as Queue;
    const left = (this.asked.get(queue) ?? 0) - waiter.request.count;
    if (left > 0) this.asked.set(queue, left);
    else this.asked.delete(queue);
  }

  claimed(waiter: Waiter, result: CommandResult): void {
    const shard = waiter.shard as Shard;
    const queue = waiter.queue as Queue;
    this.returned(waiter);
    if (result.kind === "claimed" && result.count > 0) {
      this.collect(waiter, shard, result.grants);
    } else if (waiter.canceled) {
      waiter.state = "over";
    } else if (waiter.lastTry) {
      this.finish(waiter, { kind: "empty" });
    } else {
      this.wait(waiter);
    }
    this.wake(shard, queue);
  }

  private collect(waiter: Waiter, shard: Shard, claimed: readonly ClaimedTasks[]): void {
    const { workerId } = waiter.request;
    const grants: (Grant | Promise<Grant | null>)[] = [];
    let waits = false;
    for (const tasks of claimed) {
      const grant = grantInMemory(shard, tasks, workerId);
      if (!grant) waits = true;
      grants.push(grant ?? grantFromStore(shard, tasks, workerId));
    }
    if (!waits) {
      this.deliver(waiter, grants as Grant[]);
      return;
    }
    Promise.all(grants)
      .then((all) => this.deliver(waiter, all.filter(isGrant)))
      .catch((cause: unknown) => shard.fail(cause));
  }

  private deliver(waiter: Waiter, grants: readonly Grant[]): void {
    if (waiter.canceled) {
      waiter.state = "over";
      if (grants.length > 0) this.deps.release(grants);
      return;
    }
    if (grants.length === 0) {
      // All of them were purged between the claim and the reading of their payload.
      if (waiter.lastTry) this.finish(waiter, { kind: "empty" });
      else this.wait(waiter);
      return;
    }
    let count = 0;
    for (const grant of grants) count += grant.count;
    this.deps.metrics.tasks.add(count);
    this.deps.metrics.seconds.observe((this.deps.nowMs() - waiter.sentMs) / 1000);
    this.finish(waiter, { kind: "granted", grants, count });
  }

  claimFailed(waiter: Waiter, error: QueueError): void {
    this.returned(waiter);
    if (waiter.canceled) waiter.state = "over";
    else this.finish(waiter, { kind: "failed", error });
  }

  private finish(waiter: Waiter, outcome: ClaimOutcome): void {
    waiter.state = "over";
    waiter.timer?.cancel();
    waiter.timer = null;
    if (!waiter.canceled) waiter.done(outcome);
  }

  cancel(waiter: Waiter): void {
    if (waiter.canceled) return;
    waiter.canceled = true;
    waiter.timer?.cancel();
    waiter.timer = null;
    if (waiter.state === "waiting") this.leaveLists(waiter);
  }

  /** Ends every waiting claim with this error. */
  failAll(error: QueueError): void {
    for (const lists of this.tenants.values()) {
      for (const list of [lists.any, ...lists.byQueue.values()]) {
        for (let waiter = list.first(); waiter; waiter = list.first()) {
          this.leaveLists(waiter);
          this.finish(waiter, { kind: "failed", error });
        }
      }
    }
  }
}

interface Found {
  readonly shard: Shard;
  readonly queue: Queue;
}

function isClaimable(queue: Queue): boolean {
  return !queue.paused && queue.readyTotal > 0;
}

function isGrant(grant: Grant | null): grant is Grant {
  return grant !== null;
}

function earlier(a: Waiter | undefined, b: Waiter | undefined): Waiter | undefined {
  if (!a || !b) return a ?? b;
  return a.order < b.order ? a : b;
}
