/** Tasks and results as HTTP tells them, and how they are read from an answer. */
import type { TaskState } from "../base/task-state.ts";
import { fieldOf, isTrue, maybeText, number, text } from "./http-json.ts";

export type { TaskState };

/** A task as it is now (README, HTTP reference). Absent strings are undefined. */
export interface TaskRecord {
  readonly id: string;
  readonly queue: string;
  /** The JSON value; undefined where the bytes are not JSON (`payloadBase64` then has them). */
  readonly payload: unknown;
  readonly payloadBase64: string | undefined;
  readonly priority: number;
  readonly state: TaskState;
  /** Deliveries so far. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly tenant: string;
  /** Who claimed it last. */
  readonly workerId: string | undefined;
  /** RFC 3339, as all times here. */
  readonly leaseUntil: string | undefined;
  readonly runAt: string | undefined;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** What went wrong last. */
  readonly error: string | undefined;
  readonly webhook: string | undefined;
  readonly traceParent: string | undefined;
  readonly traceState: string | undefined;
}

/** The answer to a create. */
export interface CreatedRecord extends TaskRecord {
  /** The idempotency key's task existed already, with the same request; maybe by a try before. */
  readonly duplicate: boolean;
}

/** A task that was claimed. */
export interface ClaimedRecord extends TaskRecord {
  /** Digits: shows that the claim is the latest one, in every settle and heartbeat. Only grows. */
  readonly leaseToken: string;
  readonly leaseUntil: string;
}

/** How a task ended. */
export interface ResultRecord {
  readonly status: "COMPLETED" | "FAILED";
  /** The JSON value; undefined where there is none, or its bytes are not JSON. */
  readonly result: unknown;
  readonly resultBase64: string | undefined;
  readonly error: string | undefined;
  readonly completedAt: string;
}

export function readTask(body: unknown): TaskRecord {
  return {
    id: text(body, "id"),
    queue: text(body, "command"),
    payload: fieldOf(body, "payload"),
    payloadBase64: maybeText(body, "payloadBase64"),
    priority: number(body, "priority"),
    state: text(body, "state") as TaskState,
    attempts: number(body, "attempts"),
    maxAttempts: number(body, "maxAttempts"),
    tenant: text(body, "tenantId"),
    workerId: maybeText(body, "workerId"),
    leaseUntil: maybeText(body, "leaseUntil"),
    runAt: maybeText(body, "runAt"),
    createdAt: text(body, "createdAt"),
    updatedAt: text(body, "updatedAt"),
    error: maybeText(body, "error"),
    webhook: maybeText(body, "webhook"),
    traceParent: maybeText(body, "traceParent"),
    traceState: maybeText(body, "traceState"),
  };
}

export function readCreated(body: unknown): CreatedRecord {
  return { ...readTask(body), duplicate: isTrue(body, "duplicate") };
}

export function readClaimed(body: unknown): ClaimedRecord {
  return {
    ...readTask(body),
    leaseToken: text(body, "leaseToken"),
    leaseUntil: text(body, "leaseUntil"),
  };
}

export function readResult(body: unknown): ResultRecord {
  return {
    status: text(body, "status") === "COMPLETED" ? "COMPLETED" : "FAILED",
    result: fieldOf(body, "result"),
    resultBase64: maybeText(body, "resultBase64"),
    error: maybeText(body, "error"),
    completedAt: text(body, "completedAt"),
  };
}
