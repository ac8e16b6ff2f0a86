/**
 * Waiting claims of this node. They are woken by hints that a queue has ready tasks; no claim is
 * logged while the leader knows of no work. Per queue, and for claims of any queue, first come,
 * first served.
 *
 * States of a claim: waiting (in its lists) → claiming (a claim command is on its way to one shard)
 * → over; back to waiting if the command found nothing, since another claim was faster.
 */

import type { Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { ClaimCommand, ClaimedTasks, CommandResult } from "../queue/command.ts";
import { type Grant, grantFromStore, grantInMemory } from "../shard/grants.ts";
import type { Shard } from "../shard/shard.ts";
import type { RemoteClaim, RemoteShard } from "./remote-shard.ts";
import type { ClaimHandle, ClaimOutcome, ClaimRequest } from "./router.ts";
import type { OperationMetrics } from "./router-metrics.ts";
import { WaitLists } from "./wait-lists.ts";
import { Waiter, type WaiterOwner } from "./waiter.ts";
import { anyQueue, type Elsewhere, type WorkQueue, type WorkSource } from "./work-source.ts";

export interface WaiterDeps {
  readonly timers: Timers;
  readonly metrics: OperationMetrics;
  /** Monotonic. */
  nowMs(): number;
  /** Where claims of this node may find work. */
  sources(): readonly WorkSource[];
  /** The way to the leader of a shard that is not led here; null if none is known. */
  remote(source: WorkSource): RemoteShard | null;
  /** Gives tasks back that cannot be delivered. */
  release(grants: readonly Grant[]): void;
  /** Shards without replica here; absent where there are none. */
  readonly elsewhere?: Elsewhere;
}

/** A wait ends up to this much early, never late (SPEC section 7). */
const earlyMs = 250;
/** Where there is work both here and away, every so many claims go away, … */
const awayEvery = 16;
/** … and all of them while so many times as much is ready there. */
const awayFactor = 4;

export class Waiters implements WaiterOwner {
  private readonly deps: WaiterDeps;
  private readonly lists = new WaitLists<Waiter>();
  /** Tasks asked for by claims on their way, by the queue that they were sent for. */
  private readonly asked = new Map<WorkQueue, number>();
  private order = 0;
  private turn = 0;
  /** Claims that could go to a shard led here or to another one. */
  private choices = 0;

  constructor(deps: WaiterDeps) {
    this.deps = deps;
  }

  get waiting(): number {
    return this.lists.count;
  }

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    const waiter = new Waiter(this, request, done);
    waiter.order = this.order++;
    waiter.sinceMs = this.deps.nowMs();
    waiter.lastTry = request.waitMs <= 0;
    const found = this.findWork(request, waiter.lastTry);
    if (found) {
      this.send(waiter, found);
    } else if (waiter.lastTry) {
      const { elsewhere, timers } = this.deps;
      if (elsewhere) elsewhere.ask(request.tenant, request.queues, () => this.tryNow(waiter));
      else timers.soon(() => this.finish(waiter, { kind: "empty" }));
    } else if (!this.lists.hasRoom(waiter)) {
      const error = new QueueError("overloaded", "too many claims are waiting");
      this.deps.timers.soon(() => this.finish(waiter, { kind: "failed", error }));
    } else {
      this.wait(waiter);
    }
    return waiter;
  }

  /** It does not wait, and other nodes have told what they have. */
  private tryNow(waiter: Waiter): void {
    const found = waiter.canceled ? null : this.findWork(waiter.request, true);
    if (found) this.send(waiter, found);
    else this.finish(waiter, { kind: "empty" });
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

  /**
   * A source and a queue with ready tasks that no claim on its way will take: the highest head
   * priority over all of them first, equal ones in turn, but those led here before others.
   */
  private findWork(request: ClaimRequest, evenIfAsked: boolean): Found | null {
    const sources = this.deps.sources();
    let here: Found | null = null;
    let away: Found | null = null;
    for (let i = 0; i < sources.length; i++) {
      const source = sources[(this.turn + i) % sources.length] as WorkSource;
      const best: Found | null = source.leads ? here : away;
      const found = this.findQueue(source, request, evenIfAsked);
      if (!found || (best && found.priority <= best.priority)) continue;
      if (source.leads) here = found;
      else away = found;
    }
    const chosen = here && away ? this.choose(here, away) : (here ?? away);
    if (chosen) this.turn = (sources.indexOf(chosen.source) + 1) % sources.length;
    return chosen;
  }

  /**
   * A task of a shard that is led here costs no messages between nodes when it is claimed and
   * settled (four shards on three nodes: 72 % of the rate of one, in turn 58 %). That must not leave
   * the others behind where workers are at one node only: so not while much more waits there, and
   * not every time.
   */
  private choose(here: Found, away: Found): Found {
    if (here.priority !== away.priority) return here.priority > away.priority ? here : away;
    if (++this.choices % awayEvery === 0) return away;
    return this.room(away.queue) > awayFactor * this.room(here.queue) ? away : here;
  }

  private findQueue(source: WorkSource, request: ClaimRequest, evenIfAsked: boolean): Found | null {
    const tenant = source.state.tenants.get(request.tenant);
    if (!tenant) return null;
    if (request.queues === null) return this.findAny(source, tenant.claimable, evenIfAsked);
    let best: Found | null = null;
    for (const name of request.queues) {
      const queue = tenant.queues.get(name);
      if (!queue || !(evenIfAsked ? isClaimable(queue) : this.room(queue) > 0)) continue;
      const priority = headPriority(queue);
      if (!best || priority > best.priority) best = { source, queue, priority };
    }
    return best;
  }

  private findAny(
    source: WorkSource,
    claimable: readonly (readonly WorkQueue[])[],
    evenIfAsked: boolean,
  ): Found | null {
    for (let priority = 9; priority >= 0; priority--) {
      for (const queue of claimable[priority] as readonly WorkQueue[]) {
        if (evenIfAsked || this.room(queue) > 0) return { source, queue, priority };
      }
    }
    return null;
  }

  /** Ready tasks of a queue that no claim on its way has asked for. */
  room(queue: WorkQueue): number {
    return isClaimable(queue) ? queue.readyTotal - (this.asked.get(queue) ?? 0) : 0;
  }

  private wait(waiter: Waiter): void {
    const { tenant, queues } = waiter.request;
    waiter.state = "waiting";
    this.lists.add(waiter);
    this.deps.elsewhere?.watch(tenant, queues);
    // Here, since a claim that found work at first may come to wait when another one was faster.
    if (!waiter.timer && Number.isFinite(waiter.request.waitMs)) this.setTimer(waiter);
  }

  private leaveLists(waiter: Waiter): void {
    const { tenant, queues } = waiter.request;
    waiter.state = "over";
    this.lists.remove(waiter);
    this.deps.elsewhere?.unwatch(tenant, queues);
  }

  /** A queue has ready tasks: claims that wait for it go on. */
  wake(source: WorkSource, queue: WorkQueue): void {
    const { elsewhere } = this.deps;
    // Of hearsay each word concerns those who asked for it: there is another one for any queue.
    const named = queue.isTold === true && queue.name !== anyQueue;
    while (this.room(queue) > 0) {
      const waiter = this.lists.first(queue.tenant.name, queue.name, named);
      if (!waiter) {
        if (!queue.isTold) elsewhere?.spare(queue);
        return;
      }
      this.leaveLists(waiter);
      this.send(waiter, { source, queue });
    }
  }

  private send(waiter: Waiter, { source, queue }: Pick<Found, "source" | "queue">): void {
    const { request } = waiter;
    waiter.state = "claiming";
    waiter.sentMs = this.deps.nowMs();
    waiter.source = source;
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
    if (source.leads) source.submit(command, names, waiter.sink);
    else this.sendAway(waiter, source, command);
  }

  /** The leader's state is ahead of what is known of it here, which is what the waiter was woken by. */
  private sendAway(waiter: Waiter, source: WorkSource, command: ClaimCommand): void {
    const remote = this.deps.remote(source);
    if (!remote) {
      const error = new QueueError("no_leader", "no leader is known", { retryAfterSeconds: 1 });
      this.deps.timers.soon(() => this.claimFailed(waiter, error));
      return;
    }
    remote.claim(command, (outcome) => this.claimedAway(waiter, source, outcome));
  }

  private claimedAway(waiter: Waiter, source: WorkSource, outcome: RemoteClaim): void {
    if (outcome.kind === "failed") {
      this.claimFailed(waiter, outcome.error);
      return;
    }
    const queue = waiter.queue as WorkQueue;
    // Until the claim is seen here, its tasks would look as if nobody had them.
    const seen = () => {
      this.giveBack(queue, waiter.request.count);
      this.wake(source, queue);
    };
    if ("consensus" in source) source.consensus.reads.whenApplied(outcome.index, seen);
    else source.whenTold(seen);
    if (outcome.grants.length > 0) this.deliver(waiter, outcome.grants);
    else this.goOn(waiter);
  }

  /** The claim command of a waiter is answered. */
  private returned(waiter: Waiter): void {
    this.giveBack(waiter.queue as WorkQueue, waiter.request.count);
  }

  private giveBack(queue: WorkQueue, count: number): void {
    const left = (this.asked.get(queue) ?? 0) - count;
    if (left > 0) this.asked.set(queue, left);
    else this.asked.delete(queue);
  }

  claimed(waiter: Waiter, result: CommandResult): void {
    const shard = waiter.source as Shard;
    const queue = waiter.queue as WorkQueue;
    this.returned(waiter);
    if (result.kind === "claimed" && result.count > 0) {
      this.collect(waiter, shard, result.grants);
    } else this.goOn(waiter);
    this.wake(shard, queue);
  }

  /** Its claim found nothing. */
  private goOn(waiter: Waiter): void {
    if (waiter.canceled) waiter.state = "over";
    else if (waiter.lastTry) this.finish(waiter, { kind: "empty" });
    else this.wait(waiter);
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
    const isMoving = error.code === "no_leader" || error.code === "not_leader";
    if (waiter.canceled) waiter.state = "over";
    // While a leader moves the claim waits on, if it is still served here: the next leader wakes it.
    else if (isMoving && !waiter.lastTry && this.deps.sources().length > 0) this.wait(waiter);
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
    for (const waiter of this.lists.drained()) {
      this.leaveLists(waiter);
      this.finish(waiter, { kind: "failed", error });
    }
  }
}

interface Found {
  readonly source: WorkSource;
  readonly queue: WorkQueue;
  readonly priority: number;
}

function headPriority(queue: WorkQueue): number {
  let priority = 9;
  while (priority > 0 && queue.ready[priority] === 0) priority--;
  return priority;
}

function isClaimable(queue: WorkQueue): boolean {
  return !queue.paused && queue.readyTotal > 0;
}

function isGrant(grant: Grant | null): grant is Grant {
  return grant !== null;
}
