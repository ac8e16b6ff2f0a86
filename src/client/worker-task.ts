/** What a handler gets, and what becomes of what it returns or throws. */
import type { ReceivedTask } from "../api/task-coder.ts";
import { limits } from "../base/limits.ts";
import { encodeValue } from "./create-input.ts";
import { FailTask, QuorumQError, RetryTask } from "./errors.ts";
import type { ClientLogger } from "./logger.ts";
import type { AnyTasks, JsonOf, QueueOf } from "./task-map.ts";

/**
 * A claimed task, as its handler sees it: one type per queue of the map, told apart by `queue`.
 *
 * @example if (task.queue === "mail") await send(task.json().to);
 */
export type WorkerTask<Tasks extends object = AnyTasks> = {
  readonly [Queue in QueueOf<Tasks>]: TaskOf<Queue, Tasks[Queue]>;
}[QueueOf<Tasks>];

/** A claimed task of one queue. */
export interface TaskOf<Queue extends string, Payload> {
  readonly id: string;
  readonly queue: Queue;
  /** The payload's bytes as they were enqueued; empty for null. */
  readonly payload: Buffer;
  /**
   * The payload as JSON. That it has the map's type is the producers' word: nothing checks it.
   * @throws SyntaxError when it is none
   */
  json(): JsonOf<Payload>;
  readonly priority: number;
  /** Which delivery this is: 1 for the first. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly tenant: string;
  /** ms since 1970 */
  readonly createdAtMs: number;
  /** Grows with every claim of the task: a fencing token for other systems. */
  readonly leaseToken: number;
  /** "" = none */
  readonly traceParent: string;
  readonly traceState: string;
}

export interface TaskContext {
  /**
   * Fires when the task is not this worker's any more: its reason is a QuorumQError with code
   * `canceled`, `lease_lost`, or `closed` (the worker stopped and its grace time is over).
   */
  readonly signal: AbortSignal;
  /**
   * Lengthens the lease now; the worker does so by itself at every third of it.
   * @param extendSeconds - from now, 1..86,400; default the lease's length
   * @throws QuorumQError lease_lost, canceled, closed
   */
  heartbeat(extendSeconds?: number): Promise<void>;
  /** The connection's logger, with `taskId`, `queue` and `attempt` in each line. */
  readonly logger: ClientLogger;
  /**
   * The trace that the task came with (W3C Trace Context), to go on with it:
   * `producer.enqueue("next", payload, { ...context.trace })`.
   */
  readonly trace: { readonly traceParent?: string; readonly traceState?: string };
}

/**
 * Does the work. A returned value is the task's result, as JSON (a Uint8Array as it is; undefined =
 * none). `FailTask` fails the task for good, `RetryTask` chooses the delay, any other error is a
 * nack with its message: tried again by the backoff policy while attempts are left.
 */
export type TaskHandler<Tasks extends object = AnyTasks> = (
  task: WorkerTask<Tasks>,
  context: TaskContext,
) => unknown;

export type Settlement =
  | { readonly kind: "complete"; readonly result: Uint8Array | null }
  | { readonly kind: "fail"; readonly error: string; readonly result: Uint8Array | null }
  | {
      readonly kind: "nack";
      readonly reason: string;
      /** 0 = by the backoff policy; -1 = at once */
      readonly delaySeconds: number;
    }
  | { readonly kind: "abandon" };

export function toWorkerTask(task: ReceivedTask): WorkerTask {
  return {
    id: task.id,
    queue: task.queue,
    payload: task.payload,
    json: () => (task.payload.length === 0 ? null : JSON.parse(task.payload.toString())),
    priority: task.priority,
    attempt: task.attempts,
    maxAttempts: task.maxAttempts,
    tenant: task.tenant,
    createdAtMs: task.createdAtMs,
    leaseToken: task.leaseToken,
    traceParent: task.traceParent,
    traceState: task.traceState,
  };
}

/**
 * How a task ends whose handler returned.
 * @throws QuorumQError invalid_argument, payload_too_large: the value can not be a result
 */
export function completionOf(value: unknown): Settlement {
  return { kind: "complete", result: encodeResult(value) };
}

/** How a task ends whose handler threw. */
export function settlementOfError(error: unknown): Settlement {
  const reason = reasonOf(error);
  if (error instanceof RetryTask) {
    const { delaySeconds } = error;
    const delay = delaySeconds === undefined ? 0 : delaySeconds > 0 ? Math.ceil(delaySeconds) : -1;
    return { kind: "nack", reason, delaySeconds: Math.min(delay, limits.delaySecondsMax) };
  }
  if (!(error instanceof FailTask)) return { kind: "nack", reason, delaySeconds: 0 };
  try {
    return { kind: "fail", error: reason, result: encodeResult(error.result) };
  } catch {
    // The failure is what counts; a result that JSON has no form of is left out.
    return { kind: "fail", error: reason, result: null };
  }
}

function encodeResult(value: unknown): Uint8Array | null {
  if (value === undefined) return null;
  const bytes = encodeValue(value);
  if (bytes.length > limits.clientResultBytes) {
    throw new QuorumQError("payload_too_large", `result: ${bytes.length} bytes`);
  }
  return bytes;
}

/** At most a quarter of the bytes in characters: UTF-8 then always fits. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.slice(0, limits.reasonBytes / 4);
}
