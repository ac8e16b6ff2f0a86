/**
 * The router's port: all that an edge may ask of the queue. Edges translate; they know neither
 * shards nor Raft. Batches stay whole: one builder and one callback per frame, results as columns,
 * no object and no Promise per task.
 *
 * Ids are 16 bytes (base/task-id.ts). Times are ms since 1970 (leader time). Every call is scoped
 * by tenant: a task of another tenant does not exist. Callbacks run later in the event loop, never
 * inside the call that takes them, exactly once each; they must not throw.
 */
import type { QueueError } from "../base/errors.ts";
import type { TaskState } from "../base/task-state.ts";
import type { Grant, TaskExtras } from "../shard/grants.ts";
import type { ResultView, TaskRead } from "../shard/reads.ts";
import type { PassOn } from "./shard-routes.ts";

export type { Grant, PassOn, ResultView, TaskExtras, TaskState };

/** What a new task is, apart from its payload. Checked by the edge (names, ranges). */
export interface NewTask {
  readonly queue: string;
  /** 0..9 */
  readonly priority: number;
  /** 1..1000 */
  readonly maxAttempts: number;
  /** ms from the moment the leader numbers it; 0 = at once. Ignored when runAtMs is set. */
  readonly delayMs: number;
  /** ms since 1970, or 0 for none. */
  readonly runAtMs: number;
  readonly extras: TaskExtras | null;
  /** Idempotency key, 1..256 bytes of UTF-8, or null. */
  readonly idempotencyKey: string | null;
}

/**
 * Collects the tasks of one frame or request. `add` copies the payload at once, so the caller may
 * reuse its buffers and the NewTask object.
 */
export interface CreateBatch {
  readonly count: number;
  /** The payload is bytes[from..to). */
  add(task: NewTask, bytes: Uint8Array, from: number, to: number): void;
  /** Adds an item that is refused already, so that results stay in the frame's order. */
  addRefused(error: QueueError): void;
  /**
   * Sends everything off. May be called once.
   * @param runId - 16 bytes: the id that the first task shall have (SPEC section 4), or null
   */
  send(runId: Uint8Array | null, done: (results: CreateResults) => void): void;
}

/** Answers in the order of `add`. All acknowledged ones are committed and durable. */
export interface CreateResults {
  readonly count: number;
  /** Per task 0 (ok) or the number of its error code (base/errors.ts). */
  readonly codes: Uint8Array;
  /** 16 bytes per task; zeros where the code is not 0. */
  readonly ids: Buffer;
  /** Per task 1 if the id existed already with the same request. */
  readonly duplicates: Uint8Array;
  /** Per task: leader time at which it was made, and the time until which it is delayed (0: none). */
  readonly createdAtMs: Float64Array;
  readonly runAtMs: Float64Array;
  /** The error of task i with text, field and leader; undefined where the code is 0. */
  error(i: number): QueueError | undefined;
}

export interface ClaimRequest {
  readonly tenant: string;
  /** Queues to take from; null = every queue of the tenant. Names are checked by the edge. */
  readonly queues: readonly string[] | null;
  /** 1..1000 */
  readonly count: number;
  /** Bytes that the encoded answer may have; the first task is always granted. */
  readonly bytesMax: number;
  /** 1,000..86,400,000 */
  readonly leaseMs: number;
  /** 1..128 characters */
  readonly workerId: string;
  /** How long to wait for work: 0 = do not; Infinity = until it comes or `cancel`. */
  readonly waitMs: number;
}

export type ClaimOutcome =
  | { readonly kind: "granted"; readonly grants: readonly Grant[]; readonly count: number }
  | { readonly kind: "empty" }
  | { readonly kind: "failed"; readonly error: QueueError };

export interface ClaimHandle {
  /**
   * The caller is gone or has waited long enough. If `done` has not been called it is never called;
   * tasks granted meanwhile are abandoned at once, without back-off.
   */
  cancel(): void;
}

/** Collects settles of one frame or request, of any mixture; results keep the order. */
export interface SettleBatch {
  readonly count: number;
  /**
   * @param id - 16 bytes at id[at..at+16); copied
   * @param leaseToken - 0 = none given: the batch's workerId decides
   */
  complete(id: Uint8Array, at: number, leaseToken: number, result: Uint8Array | null): void;
  /** @param error - UTF-8 text of the failure; the result is optional */
  fail(
    id: Uint8Array,
    at: number,
    leaseToken: number,
    error: Uint8Array,
    result: Uint8Array | null,
  ): void;
  /** @param delayMs - ms until ready again; -1 = by the backoff policy */
  nack(id: Uint8Array, at: number, leaseToken: number, delayMs: number, reason: string): void;
  abandon(id: Uint8Array, at: number, leaseToken: number): void;
  /** Hands a task back that its worker never got or can no longer work on: never with a back-off. */
  release(id: Uint8Array, at: number, leaseToken: number): void;
  /** @param extendMs - the lease ends this long from now; 0 = the length it was claimed with */
  heartbeat(id: Uint8Array, at: number, leaseToken: number, extendMs: number): void;
  /** Adds an item that is refused already (malformed id, too large). */
  addRefused(error: QueueError): void;
  send(done: (results: SettleResults) => void): void;
}

export interface SettleResults {
  readonly count: number;
  readonly codes: Uint8Array;
  /** nack: ms until ready; heartbeat: new end of the lease; complete and fail: when it ended. */
  readonly times: Float64Array;
  /** nack: 1 if it went to the dead letter queue. */
  readonly dead: Uint8Array;
  error(i: number): QueueError | undefined;
}

/** One task as it is now. Absent texts are "", absent numbers 0. */
export type TaskView = Omit<TaskRead, "result"> & { readonly id: string };

export type ReadConsistency = "linearizable" | "stale" | "leader";

export interface ShardHealth {
  readonly shard: number;
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: number;
  readonly leaderId: string;
  readonly commit: number;
  readonly applied: number;
  /** Committed entries not yet applied here. */
  readonly lag: number;
}

export interface RouterHealth {
  readonly ready: boolean;
  /** Why not, for a person; "" when ready. */
  readonly reason: string;
  readonly isLeader: boolean;
  readonly shards: readonly ShardHealth[];
}

/** Told when a leased task is canceled, so that its worker can be told. */
export interface CancelNotice {
  readonly tenant: string;
  readonly taskId: string;
  readonly leaseToken: number;
  readonly workerId: string;
}

export interface Router {
  /** How many shards the task-id space has. */
  readonly shardCount: number;
  /** @param passOn - when tasks of shards that are led elsewhere are passed on (shard-routes.ts) */
  createBatch(tenant: string, passOn?: PassOn): CreateBatch;
  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle;
  settleBatch(tenant: string, workerId: string, passOn?: PassOn): SettleBatch;
  /** @throws QueueError not_found, already_settled */
  cancel(tenant: string, id: Uint8Array): Promise<TaskView>;
  /** @throws QueueError not_found */
  task(tenant: string, id: Uint8Array, consistency: ReadConsistency): Promise<TaskView>;
  /**
   * The task and how it ended; waits up to waitMs for the end.
   * @returns result null if it has not ended
   * @throws QueueError not_found
   */
  result(
    tenant: string,
    id: Uint8Array,
    options: {
      readonly waitMs: number;
      readonly consistency: ReadConsistency;
      readonly signal?: AbortSignal;
    },
  ): Promise<{ readonly task: TaskView; readonly result: ResultView | null }>;
  health(): RouterHealth;
  /** @returns a function that ends the subscription */
  onCancel(listener: (notice: CancelNotice) => void): () => void;
  /** No new work from now on: creates and claims get `draining`, waiting claims are failed with it. */
  drain(): void;
}
