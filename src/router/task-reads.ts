/**
 * Reads of single tasks, on any replica: linearizable by a quorum's word (SPEC section 7), and waits
 * for a task's end.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { formatTaskId, runKeyLength, shardOfTask, taskIdVersion } from "../base/task-id.ts";
import { readTask, type TaskRead } from "../shard/reads.ts";
import type { Shard } from "../shard/shard.ts";
import type { TaskQuestion } from "./look-codec.ts";
import type { ReadConsistency, ResultView, TaskView } from "./router.ts";
import type { ShardRoutes } from "./shard-routes.ts";

export interface TaskReadsDeps {
  readonly routes: ShardRoutes;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Reads that wait end early from then on. */
  readonly isDraining: () => boolean;
  /** Reads a task of a shard that this node keeps no replica of. */
  readonly readElsewhere: (shard: number, question: TaskQuestion) => Promise<TaskRead>;
}

/** One place of a task in its shard. */
export interface Place {
  readonly shard: number;
  readonly runKey: string;
  readonly place: number;
}

export interface ResultOptions {
  readonly waitMs: number;
  readonly consistency: ReadConsistency;
  readonly signal?: AbortSignal;
}

/** Pause before a node is asked again that did not wait as long as it was to. */
const pauseMs = 250;

/** @throws QueueError not_found where no task can have such an id */
export function placeOf(id: Uint8Array, shardCount: number): Place {
  const shard = shardOfTask(id, 0, shardCount);
  if (shard < 0) throw notFound();
  const runKey = Buffer.from(id.subarray(0, runKeyLength(id, 0))).toString("latin1");
  return { shard, runKey, place: taskIdVersion(id) === 8 ? 0 : (id[14] as number) };
}

export class TaskReads {
  private readonly deps: TaskReadsDeps;
  private readonly waits = new Map<string, Set<() => void>>();
  private waitCount = 0;

  constructor(deps: TaskReadsDeps) {
    this.deps = deps;
  }

  /** @throws QueueError not_found, not_leader, no_leader */
  async task(tenant: string, id: Uint8Array, consistency: ReadConsistency): Promise<TaskView> {
    return viewOf(id, await this.read(tenant, id, this.servedAs(consistency)));
  }

  /** Where no client is sent to a leader a read is served here as if it were the leader's. */
  private servedAs(consistency: ReadConsistency): ReadConsistency {
    const isServed = consistency !== "leader" || this.deps.routes.redirects;
    return isServed ? consistency : "linearizable";
  }

  private async read(
    tenant: string,
    id: Uint8Array,
    consistency: ReadConsistency,
  ): Promise<TaskRead> {
    const { routes } = this.deps;
    const at = placeOf(id, routes.shardCount);
    const shard = routes.replica(at.shard);
    if (!shard) {
      if (consistency === "leader") throw routes.notLeader(at.shard);
      return this.deps.readElsewhere(at.shard, { tenant, id, part: "task", waitMs: 0 });
    }
    await this.barrier(shard, consistency);
    try {
      const read = await readTask(shard, tenant, at.runKey, at.place);
      if (!read) throw notFound();
      return read;
    } catch (error) {
      // The replica has started anew from the leader's state, and that may be older than the barrier.
      if (error instanceof QueueError || routes.replica(at.shard) === shard) throw error;
      return this.read(tenant, id, consistency);
    }
  }

  /** Waits until a read of this replica is as consistent as was asked for. */
  async barrier(shard: Shard, consistency: ReadConsistency): Promise<void> {
    if (consistency === "leader" && !shard.leads) throw this.deps.routes.notLeader(shard.id);
    if (consistency !== "stale") await shard.consensus.readBarrier();
  }

  /** What another node asks for, from the replica here. @throws QueueError as the others */
  async answer({ tenant, id, waitMs }: TaskQuestion): Promise<TaskRead> {
    const { routes } = this.deps;
    const at = placeOf(id, routes.shardCount);
    if (!routes.replica(at.shard)) throw routes.notLeader(at.shard);
    if (waitMs > 0) await this.result(tenant, id, { waitMs, consistency: "linearizable" });
    return this.read(tenant, id, "linearizable");
  }

  /** @throws QueueError not_found, not_leader, no_leader, overloaded */
  async result(
    tenant: string,
    id: Uint8Array,
    options: ResultOptions,
  ): Promise<{ readonly task: TaskView; readonly result: ResultView | null }> {
    const { clock, routes } = this.deps;
    const at = placeOf(id, routes.shardCount);
    const until = clock.monotonicMs() + options.waitMs - Math.min(250, options.waitMs / 2);
    let consistency = this.servedAs(options.consistency);
    if (!routes.replica(at.shard) && consistency !== "leader") {
      return this.resultElsewhere({ tenant, id, shard: at.shard, until }, options);
    }
    for (;;) {
      // Listen first, then look: an end in between is not missed.
      const ended = new Ended();
      const stop = options.waitMs > 0 ? this.onEnded(at.runKey, ended.notify) : null;
      try {
        const read = await this.read(tenant, id, consistency);
        const left = until - clock.monotonicMs();
        const isOver = left <= 0 || this.deps.isDraining() || options.signal?.aborted;
        if (read.result || !stop || isOver) return { task: viewOf(id, read), result: read.result };
        await this.wait(ended, left, options);
        // What this replica has been told of is there; nobody has to be asked again.
        if (consistency === "linearizable") consistency = "stale";
      } finally {
        stop?.();
      }
    }
  }

  /** The node that has the shard waits, a while at a time. */
  private async resultElsewhere(
    { tenant, id, shard, until }: ElsewhereWait,
    options: ResultOptions,
  ): Promise<{ readonly task: TaskView; readonly result: ResultView | null }> {
    const { clock, readElsewhere, isDraining } = this.deps;
    for (;;) {
      const askedMs = clock.monotonicMs();
      const waitMs = Math.min(Math.max(0, until - askedMs), limits.peerWaitMs);
      const { result } = await readElsewhere(shard, { tenant, id, part: "result", waitMs });
      const left = until - clock.monotonicMs();
      if (result || left <= 0 || isDraining() || options.signal?.aborted) {
        const task = await readElsewhere(shard, { tenant, id, part: "task", waitMs: 0 });
        return { task: viewOf(id, task), result };
      }
      const isEarly = clock.monotonicMs() - askedMs < waitMs / 2;
      if (isEarly) await this.wait(new Ended(), Math.min(left, pauseMs), options);
    }
  }

  private async wait(ended: Ended, ms: number, { signal }: ResultOptions): Promise<void> {
    const timer = this.deps.timers.after(ms, ended.notify);
    signal?.addEventListener("abort", ended.notify, { once: true });
    await ended.promise;
    timer.cancel();
    signal?.removeEventListener("abort", ended.notify);
  }

  private onEnded(runKey: string, notify: () => void): () => void {
    if (this.waitCount >= limits.waitingReads) {
      throw new QueueError("overloaded", "too many callers wait for results", {
        retryAfterSeconds: 1,
      });
    }
    const waits = this.waits.get(runKey) ?? new Set();
    waits.add(notify);
    this.waits.set(runKey, waits);
    this.waitCount++;
    return () => {
      if (!waits.delete(notify)) return;
      this.waitCount--;
      if (waits.size === 0 && this.waits.get(runKey) === waits) this.waits.delete(runKey);
    };
  }

  /** Tasks of these runs ended. */
  ended(runKeys: ReadonlySet<string>): void {
    if (this.waits.size === 0) return;
    for (const key of runKeys) for (const notify of this.waits.get(key) ?? []) notify();
  }

  /** Every wait looks once more. */
  wakeAll(): void {
    for (const waits of this.waits.values()) for (const notify of waits) notify();
  }
}

interface ElsewhereWait {
  readonly tenant: string;
  readonly id: Uint8Array;
  readonly shard: number;
  /** Monotonic. */
  readonly until: number;
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

function notFound(): QueueError {
  return new QueueError("not_found", "no such task");
}
