/**
 * A task that a worker holds.
 *
 * | state   | meaning                                     | moves to                             |
 * | waiting | fetched ahead, no handler yet               | running, ending (stop), over         |
 * | running | its handler works                           | ending (returned, threw, stop), over |
 * | ending  | its settlement is to be sent, or unanswered | over (acknowledged or refused)       |
 * | over    | not ours: settled, lost or canceled         |                                      |
 */
import type { ReceivedTask } from "../api/task-coder.ts";
import type { QuorumQError } from "./errors.ts";
import type { ClientLogger } from "./logger.ts";
import { type Settlement, type TaskContext, toWorkerTask, type WorkerTask } from "./worker-task.ts";

interface HeartbeatWaiter {
  readonly resolve: () => void;
  readonly reject: (error: QuorumQError) => void;
}

export class HeldTask {
  readonly task: ReceivedTask;
  state: "waiting" | "running" | "ending" | "over" = "waiting";
  settlement: Settlement | null = null;
  /** What the handler returned or threw. */
  outcome: unknown;
  /** When its handler began, monotonic ms; 0 = it did not. */
  startedMs = 0;
  /** Whether the settlement was sent on the present stream. */
  isSent = false;
  /** Passing refusals of the settlement in a row. */
  refusals = 0;
  /** When the lease ends for certain, by this machine's monotonic clock (ms). */
  leaseEndsMs: number;
  /** When the next heartbeat is due. */
  renewAtMs: number;
  /** The lease's end if the heartbeat under way succeeds; 0 = none under way. */
  nextLeaseEndsMs = 0;
  private view: WorkerTask | null = null;
  private controller: AbortController | null = null;
  private aborted: QuorumQError | null = null;
  private waiters: HeartbeatWaiter[] = [];

  constructor(task: ReceivedTask, nowMs: number, leaseMs: number) {
    this.task = task;
    this.leaseEndsMs = nowMs + leaseMs;
    this.renewAtMs = nowMs + leaseMs / 3;
  }

  /** As its handler and listeners see it. */
  get workerTask(): WorkerTask {
    this.view ??= toWorkerTask(this.task);
    return this.view;
  }

  /** @param beat - sends a heartbeat for so many ms; undefined = the lease's length */
  context(beat: (extendMs: number | undefined) => void, parent: ClientLogger): TaskContext {
    const signal = (): AbortSignal => this.signal();
    const { id: taskId, queue, attempts: attempt, traceParent, traceState } = this.task;
    let logger: ClientLogger | null = null;
    // Made on demand: most handlers never look at them.
    return {
      get signal() {
        return signal();
      },
      get logger() {
        logger ??= parent.child({ taskId, queue, attempt });
        return logger;
      },
      get trace() {
        return {
          ...(traceParent === "" ? {} : { traceParent }),
          ...(traceState === "" ? {} : { traceState }),
        };
      },
      heartbeat: (extendSeconds) =>
        new Promise((resolve, reject) => {
          if (this.aborted !== null) {
            reject(this.aborted);
            return;
          }
          this.waiters.push({ resolve, reject });
          beat(extendSeconds === undefined ? undefined : extendSeconds * 1000);
        }),
    };
  }

  /** The heartbeat under way was acknowledged. */
  renewed(): void {
    if (this.nextLeaseEndsMs > 0) this.leaseEndsMs = this.nextLeaseEndsMs;
    this.nextLeaseEndsMs = 0;
    for (const { resolve } of this.waiters.splice(0)) resolve();
  }

  /** Tells the handler that the task is not its any more. */
  abort(reason: QuorumQError): void {
    if (this.aborted !== null) return;
    this.aborted = reason;
    this.controller?.abort(reason);
    for (const { reject } of this.waiters.splice(0)) reject(reason);
  }

  private signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.aborted !== null) this.controller.abort(this.aborted);
    }
    return this.controller.signal;
  }
}
