/** What a worker is told, and what it can be asked. */
import type { Emits } from "./emitter.ts";
import type { QuorumQError } from "./errors.ts";
import type { WorkerEvents } from "./events.ts";
import type { AnyTasks, QueueOf } from "./task-map.ts";
import type { TaskHandler } from "./worker-task.ts";

/** @typeParam Tasks - payload type by queue; by default any payload of any queue */
export interface WorkerOptions<Tasks extends object = AnyTasks> {
  /** Queues to take from; absent = all that the token allows. */
  readonly queues?: readonly QueueOf<Tasks>[];
  readonly handler: TaskHandler<Tasks>;
  /** Handlers that run at the same time, 1..2000; default 10. */
  readonly concurrency?: number;
  /** Tasks fetched ahead of a free handler, 0..1000; default 0. Their leases are kept alive too. */
  readonly prefetch?: number;
  /** Tasks in one claim at most, 1..1000; default 100. */
  readonly batch?: number;
  /** Length of a lease, 1..86,400; default 300. */
  readonly leaseSeconds?: number;
  /** At most 128 characters; default the token's subject. */
  readonly workerId?: string;
  /**
   * Told of what goes wrong beside the handlers: a lost connection, a settlement that was refused
   * (the task is then redelivered or was settled by someone else). As `on("error")`, but there from
   * the first moment. Must not throw.
   */
  readonly onError?: (error: QuorumQError, taskId: string | undefined) => void;
}

/**
 * A worker. Its events (`WorkerEvents`) tell of tasks and of the connection:
 *
 * @example
 * worker.on("completed", ({ task, durationMs }) => histogram.observe(durationMs));
 * worker.on("dead", ({ task, error }) => alert(task.queue, error));
 * worker.once("drained", () => worker.stop());
 */
export interface Worker<Tasks extends object = AnyTasks> extends Emits<WorkerEvents<Tasks>> {
  /**
   * Connects and begins to claim. Resolves with the first connection.
   * @throws QuorumQError unauthenticated, permission_denied …: the server does not take this worker
   */
  start(): Promise<void>;
  /**
   * Claims no more, hands back what no handler has begun, gives running handlers their time, then
   * fires their signals and hands back the rest. Resolves when all of it is acknowledged and the
   * connection is closed. Called again it can only shorten the time.
   */
  stop(options?: { readonly graceSeconds?: number }): Promise<void>;
}
