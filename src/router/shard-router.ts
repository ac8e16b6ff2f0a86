/**
 * The router: finds the shard of each request, admits or refuses it, passes it on where another node
 * leads, wakes who waits. Tasks are routed by their id; a create without id goes to a shard that this
 * node leads.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { codeOfNumber, QueueError } from "../base/errors.ts";
import { formatTaskId, writeTaskId } from "../base/task-id.ts";
import type { CancelResult } from "../queue/command.ts";
import type { Queue } from "../queue/state.ts";
import type { Grant } from "../shard/grants.ts";
import type { TaskRead } from "../shard/reads.ts";
import type { Shard, ShardListener } from "../shard/shard.ts";
import { CreateBatchBuilder } from "./create-batch.ts";
import { decodeTaskQuestion, type TaskQuestion } from "./look-codec.ts";
import type { PeerRequest } from "./peer-calls.ts";
import { carryOut, unknownKind } from "./peer-requests.ts";
import { callKinds } from "./remote-codec.ts";
import { answerLook, answerTask, readThere } from "./remote-look.ts";
import type { ShardTarget } from "./remote-shard.ts";
import type {
  CancelNotice,
  ClaimHandle,
  ClaimOutcome,
  ClaimRequest,
  CreateBatch,
  ReadConsistency,
  ResultView,
  Router,
  RouterHealth,
  SettleBatch,
  TaskView,
} from "./router.ts";
import { type RouterMetrics, silentRouterMetrics } from "./router-metrics.ts";
import { SettleBatchBuilder } from "./settle-batch.ts";
import { lookHere } from "./shard-look.ts";
import { type ClusterView, type PassOn, ShardRoutes } from "./shard-routes.ts";
import { placeOf, type ResultOptions, TaskReads } from "./task-reads.ts";
import { Waiters } from "./waiters.ts";
import { type OwnerPort, WorkExchange } from "./work-exchange.ts";
import type { WorkSource } from "./work-source.ts";

export interface RouterDeps {
  /** All shards of the id space, by number; null where this node keeps no replica. */
  readonly shards: readonly (Shard | null)[];
  readonly clock: Clock;
  readonly timers: Timers;
  /** Name of the node, for health. */
  readonly nodeId: string;
  readonly metrics?: RouterMetrics;
  /** The other nodes; absent where there are none. */
  readonly cluster?: ClusterView;
  /** Requests of other nodes that are not about tasks. */
  readonly otherRequests?: (request: PeerRequest) => void;
}

/** How much the disk still takes (storage/free-space.ts). */
export type SpaceLevel = "ok" | "no_creates" | "drain_only" | "stop";

/** A replica this many entries behind what is committed has not caught up. */
const lagMax = 1_000;

export class ShardRouter implements Router, ShardListener {
  readonly shardCount: number;
  readonly metrics: RouterMetrics;
  readonly routes: ShardRoutes;
  private readonly deps: RouterDeps;
  private readonly waiters: Waiters;
  private readonly reads: TaskReads;
  private readonly exchange: WorkExchange | null;
  private readonly cancelListeners = new Set<(notice: CancelNotice) => void>();
  private readonly leadershipListeners = new Set<() => void>();
  private draining = false;
  private spaceLevel: SpaceLevel = "ok";

  constructor(deps: RouterDeps) {
    const { clock, timers } = deps;
    this.deps = deps;
    this.shardCount = deps.shards.length;
    this.metrics = deps.metrics ?? silentRouterMetrics;
    this.routes = new ShardRoutes({ shards: deps.shards, cluster: deps.cluster ?? null });
    this.reads = new TaskReads({
      routes: this.routes,
      clock,
      timers,
      isDraining: () => this.draining,
      readElsewhere: (shard, question) => this.readElsewhere(shard, question),
    });
    this.exchange = deps.cluster?.owners ? this.createExchange(deps.cluster.owners) : null;
    this.waiters = new Waiters({
      timers,
      metrics: this.metrics.claim,
      nowMs: () => clock.monotonicMs(),
      sources: () => this.sources(),
      remote: (source) => this.routes.remote(source.id),
      release: (grants) => this.release(grants),
      ...(this.exchange && { elsewhere: this.exchange }),
    });
    deps.cluster?.calls.handle((request) => this.requested(request));
  }

  /** Where replicas lie on one node each, work on other nodes is known by what they tell. */
  private createExchange(owners: OwnerPort): WorkExchange {
    const { clock, timers } = this.deps;
    const exchange = new WorkExchange({
      ...{ link: owners, clock, timers },
      wake: (source, queue) => this.waiters.wake(source, queue),
      room: (queue) => this.waiters.room(queue),
      shard: () => this.routes.replicas()[0] ?? null,
    });
    owners.handle(exchange);
    return exchange;
  }

  private readElsewhere(shard: number, question: TaskQuestion): Promise<TaskRead> {
    const remote = this.routes.remote(shard);
    if (!remote) return Promise.reject<TaskRead>(this.routes.notLeader(shard));
    return readThere(remote, question);
  }

  // Creates and settles

  createBatch(tenant: string, passOn: PassOn = "ifLeading"): CreateBatch {
    return new CreateBatchBuilder(this, tenant, passOn);
  }

  settleBatch(tenant: string, workerId: string, passOn: PassOn = "ifLeading"): SettleBatch {
    return new SettleBatchBuilder(this, { tenant, workerId, passOn });
  }

  nowMs(): number {
    return this.deps.clock.monotonicMs();
  }

  soon(callback: () => void): void {
    this.deps.timers.soon(callback);
  }

  admitCreate(shard: ShardTarget, bytes: number): void {
    if (this.draining) throw draining();
    if (this.spaceLevel !== "ok") {
      throw new QueueError("insufficient_storage", "the disk's reserve is reached", {
        retryAfterSeconds: 30,
      });
    }
    this.admit(shard, bytes);
  }

  admitSettle(shard: ShardTarget, bytes: number): void {
    if (this.spaceLevel === "stop") {
      throw new QueueError("insufficient_storage", "the disk is full", { retryAfterSeconds: 30 });
    }
    this.admit(shard, bytes);
  }

  private admit(shard: ShardTarget, bytes: number): void {
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

  /** Shards whose tasks claims of this node may get. */
  private claimable(): readonly Shard[] {
    const { routes } = this;
    const all = routes.passesOn([], "ifLeading");
    return routes.replicas().filter((shard) => shard.leads || all);
  }

  private sources(): readonly WorkSource[] {
    const here = this.claimable();
    const { exchange } = this;
    return exchange && here.length > 0 ? [...here, ...exchange.sources] : here;
  }

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    const error = this.claimRefusal(request);
    if (error) {
      this.soon(() => done({ kind: "failed", error }));
      return { cancel: () => undefined };
    }
    return this.waiters.claim(request, done);
  }

  private claimRefusal(request: ClaimRequest): QueueError | null {
    if (this.draining) return draining();
    if (this.spaceLevel === "drain_only" || this.spaceLevel === "stop") {
      return new QueueError("insufficient_storage", "the disk's reserve is used up", {
        retryAfterSeconds: 30,
      });
    }
    const [shard] = this.claimable();
    if (!shard) return this.routes.notLeader(this.shardWithWork(request));
    const led = this.routes.replicas().find(({ leads }) => leads);
    return !led || led.hasRoom(0)
      ? null
      : new QueueError("overloaded", "too much is waiting", { retryAfterSeconds: 1 });
  }

  /** Where a claim that is not served here finds work, as far as this node knows. */
  private shardWithWork({ tenant, queues }: ClaimRequest): number {
    for (const shard of this.routes.replicas()) {
      for (const queue of shard.state.tenants.get(tenant)?.queues.values() ?? []) {
        const isAsked = queues === null || queues.includes(queue.name);
        if (isAsked && !queue.paused && queue.readyTotal > 0) return shard.id;
      }
    }
    return 0;
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

  async cancel(tenant: string, id: Uint8Array): Promise<TaskView> {
    await this.submitCancel(tenant, id);
    return this.task(tenant, id, "linearizable");
  }

  private submitCancel(tenant: string, id: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const { shard, runKey, place } = placeOf(id, this.shardCount);
      const target = this.routes.target(shard, this.routes.passesOn([shard], "ifConcerned"));
      this.admitSettle(target, 0);
      const key = Buffer.from(runKey, "latin1");
      target.submit({ kind: "cancel", tenant, key, place }, 0, {
        done: (result) => {
          const { code } = result as CancelResult;
          if (code === 0) resolve();
          else reject(cancelError(code));
        },
        failed: reject,
      });
    });
  }

  task(tenant: string, id: Uint8Array, consistency: ReadConsistency): Promise<TaskView> {
    return this.reads.task(tenant, id, consistency);
  }

  result(
    tenant: string,
    id: Uint8Array,
    options: ResultOptions,
  ): Promise<{ readonly task: TaskView; readonly result: ResultView | null }> {
    return this.reads.result(tenant, id, options);
  }

  // What other nodes pass on

  private requested(request: PeerRequest): void {
    carryOut(
      {
        led: (shard) => {
          const replica = this.routes.replica(shard);
          if (!replica?.leads) throw this.routes.notLeader(shard);
          return replica;
        },
        admitCreate: (shard, bytes) => this.admitCreate(shard, bytes),
        admitSettle: (shard, bytes) => this.admitSettle(shard, bytes),
        admitClaim: (shard) => this.admit(shard, 0),
        release: (grants) => this.release(grants),
        claimed: (from, command) => this.exchange?.claimed(from, command),
        other: (other) => this.otherRequest(other),
      },
      request,
    );
  }

  private otherRequest(request: PeerRequest): void {
    const { deps, reads, routes } = this;
    if (request.kind === callKinds.read) {
      const question = decodeTaskQuestion(request.body);
      answerTask(request, question, () => reads.answer(question));
    } else if (request.kind === callKinds.look) {
      const shard = routes.replica(request.shard);
      if (!shard) throw routes.notLeader(request.shard);
      const turn = () => new Promise<void>((resolve) => deps.timers.soon(resolve));
      answerLook(lookHere(shard, turn), request);
    } else if (deps.otherRequests && request.kind === callKinds.admin) {
      deps.otherRequests(request);
    } else unknownKind(request);
  }

  // What shards tell

  ready(shard: Shard, queues: Iterable<Queue>): void {
    if (!shard.leads && !this.routes.passesOn([], "ifLeading")) return;
    for (const queue of queues) this.waiters.wake(shard, queue);
  }

  ended(runKeys: ReadonlySet<string>): void {
    this.reads.ended(runKeys);
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

  leadership(shard: Shard): void {
    for (const listener of this.leadershipListeners) listener();
    const claimable = this.claimable();
    if (claimable.length === 0) this.waiters.failAll(this.routes.notLeader(shard.id));
    if (!claimable.includes(shard)) return;
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
    const shards = this.routes.replicas().map((shard) => {
      const { role, term, commit, applied } = shard.stats();
      const leaderId = this.leaderName(shard);
      return { shard: shard.id, role, term, leaderId, commit, applied, lag: commit - applied };
    });
    const reason = this.notReady();
    return { ready: reason === "", reason, isLeader: this.routes.leadsAny, shards };
  }

  private leaderName(shard: Shard): string {
    if (shard.leads) return this.deps.nodeId;
    return this.deps.cluster?.leaderOf(shard.id)?.hint.leaderId ?? "";
  }

  private notReady(): string {
    if (this.draining) return "the node drains";
    if (this.spaceLevel === "stop") return "the disk is full";
    if (this.routes.replicas().length === 0) return "the node belongs to no cluster yet";
    for (const shard of this.routes.replicas()) {
      if (this.leaderName(shard) === "") return `shard ${shard.id} has no leader`;
      const { commit, applied } = shard.stats();
      if (commit - applied > lagMax) return `shard ${shard.id} has not caught up`;
    }
    return "";
  }

  drain(): void {
    this.draining = true;
    this.exchange?.stop();
    this.waiters.failAll(draining());
    this.reads.wakeAll();
  }
}

function cancelError(number: number): QueueError {
  const code = codeOfNumber(number) ?? "internal";
  const text = code === "already_settled" ? "the task is finished already" : "no such task";
  return new QueueError(code, text);
}

function draining(): QueueError {
  return new QueueError("draining", "the node is stopping", { retryAfterSeconds: 1 });
}
