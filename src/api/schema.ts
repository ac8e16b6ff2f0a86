/**
 * What requests look like: one schema per body, in two dialects. `v1` is strict: unknown fields
 * and values out of range are refused. `codeq`, for codeQ's clients, ignores the former and clamps
 * the latter (in the handlers), so its schemas ask for types only.
 */
import Type from "typebox";
import { limits } from "../base/limits.ts";
import { type TaskState, taskStates } from "../base/task-state.ts";
import type { RawJson } from "./json-reader.ts";

export type Dialect = "v1" | "codeq";

/** Names of queues; on the wire they travel as `command`. */
export const queueNamePattern = "^[A-Za-z0-9._:-]{1,128}$";
/** Digits without a leading zero: opaque to clients, but it grows. */
const leaseTokenPattern = "^[1-9][0-9]{0,19}$";
const printable = "^[\\x20-\\x7e]+$";
const noControls = "^[^\\x00-\\x1f\\x7f]+$";

/** A value that is walked over and kept as it was sent. */
const raw = Type.Unsafe<RawJson>({ description: "Any JSON value, kept as it was sent" });

const delaySecondsRange = { minimum: 0, maximum: limits.delaySecondsMax };

function createFields(dialect: Dialect) {
  return {
    command: Type.String({ pattern: queueNamePattern }),
    payload: raw,
    priority: Type.Optional(integer(dialect, 0, limits.priorityMax)),
    maxAttempts: Type.Optional(integer(dialect, 1, limits.maxAttemptsMax)),
    delaySeconds: Type.Optional(Type.Number(inRange(dialect, delaySecondsRange))),
    runAt: Type.Optional(Type.String({ maxLength: 40, description: "RFC 3339" })),
    idempotencyKey: Type.Optional(
      Type.String({ minLength: 1, maxLength: limits.idempotencyKeyBytes }),
    ),
    webhook: Type.Optional(
      Type.String({ pattern: "^https?://[\\x21-\\x7e]+$", maxLength: limits.webhookChars }),
    ),
    traceParent: Type.Optional(
      Type.String({ pattern: printable, maxLength: limits.traceParentChars }),
    ),
    traceState: Type.Optional(
      Type.String({ pattern: printable, maxLength: limits.traceStateChars }),
    ),
  };
}

function claimFields(dialect: Dialect) {
  return {
    commands: Type.Optional(
      Type.Array(Type.String({ pattern: queueNamePattern }), { maxItems: limits.claimQueues }),
    ),
    leaseSeconds: Type.Optional(integer(dialect, limits.leaseSecondsMin, limits.leaseSecondsMax)),
    waitSeconds: Type.Optional(integer(dialect, 0, limits.claimWaitSecondsMax)),
    workerId: Type.Optional(workerId()),
  };
}

/** The fields by which a claim's holder shows that it is the one. */
function holderFields() {
  return {
    leaseToken: Type.Optional(Type.String({ pattern: leaseTokenPattern })),
    workerId: Type.Optional(workerId()),
  };
}

/** Which tasks of a queue an admin means. */
function choiceFields(dialect: Dialect) {
  return {
    ids: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: limits.batchItems }),
    ),
    limit: Type.Optional(integer(dialect, 1, limits.actionTasks)),
  };
}

function states() {
  const state = Type.Unsafe<TaskState>({ type: "string", enum: [...taskStates] });
  return Type.Array(state, { minItems: 1, maxItems: taskStates.length });
}

function resultFields() {
  return {
    status: Type.Unsafe<"COMPLETED" | "FAILED">({ type: "string", enum: ["COMPLETED", "FAILED"] }),
    result: Type.Optional(raw),
    error: Type.Optional(Type.String({ minLength: 1 })),
    ...holderFields(),
  };
}

/** A node's name, and where it listens. */
const nodeIdPattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const addressPattern = "^[A-Za-z0-9_.\\-\\[\\]:]{1,255}:[0-9]{1,5}$";

/** All body schemas of one dialect, by route. Made once per server and dialect. */
export function createBodySchemas(dialect: Dialect) {
  const closed = dialect === "v1" ? { additionalProperties: false } : {};
  const items = { minItems: 1, maxItems: limits.batchItems };
  return {
    create: Type.Object(createFields(dialect), closed),
    /** The items are checked one by one with `create`: a bad one does not spoil the others. */
    createBatch: Type.Object({ tasks: Type.Array(Type.Unknown(), items) }, closed),
    claim: Type.Object(claimFields(dialect), closed),
    claimBatch: Type.Object(
      { ...claimFields(dialect), count: Type.Optional(integer(dialect, 1, limits.claimTasks)) },
      closed,
    ),
    heartbeat: Type.Object(
      {
        extendSeconds: Type.Optional(integer(dialect, 1, limits.leaseSecondsMax)),
        ...holderFields(),
      },
      closed,
    ),
    abandon: Type.Object(holderFields(), closed),
    nack: Type.Object(
      {
        delaySeconds: Type.Optional(Type.Number(inRange(dialect, delaySecondsRange))),
        reason: Type.Optional(Type.String({ maxLength: limits.reasonBytes })),
        ...holderFields(),
      },
      closed,
    ),
    result: Type.Object(resultFields(), closed),
    resultItem: Type.Object({ taskId: Type.String(), ...resultFields() }, closed),
    /** The items are checked one by one with `resultItem`. */
    resultBatch: Type.Object(
      { results: Type.Array(Type.Unknown(), items), workerId: Type.Optional(workerId()) },
      closed,
    ),
    redrive: Type.Object(choiceFields(dialect), closed),
    purge: Type.Object({ states: Type.Optional(states()), ...choiceFields(dialect) }, closed),
    cleanup: Type.Object(
      {
        limit: Type.Optional(integer(dialect, 1, limits.actionTasks)),
        before: Type.Optional(Type.String({ maxLength: 40, description: "RFC 3339" })),
      },
      closed,
    ),
    member: Type.Object(
      {
        id: Type.String({ pattern: nodeIdPattern }),
        raft: Type.String({ pattern: addressPattern, description: "host:port" }),
        http: Type.Optional(Type.String({ maxLength: 300, pattern: "^https?://[^/]+/?$" })),
        grpc: Type.Optional(Type.String({ pattern: addressPattern, description: "host:port" })),
      },
      closed,
    ),
    transfer: Type.Object(
      {
        shard: Type.Optional(integer(dialect, 0, limits.shards - 1)),
        to: Type.Optional(Type.String({ pattern: nodeIdPattern })),
      },
      closed,
    ),
    empty: Type.Object({}, closed),
  };
}

export type BodySchemas = ReturnType<typeof createBodySchemas>;
export type CreateBody = Type.Static<BodySchemas["create"]>;
export type ClaimBatchBody = Type.Static<BodySchemas["claimBatch"]>;
export type ResultBody = Type.Static<BodySchemas["result"]>;
export type ResultItem = Type.Static<BodySchemas["resultItem"]>;
export type RedriveBody = Type.Static<BodySchemas["redrive"]>;
export type PurgeBody = Type.Static<BodySchemas["purge"]>;
export type MemberBody = Type.Static<BodySchemas["member"]>;
export type TransferBody = Type.Static<BodySchemas["transfer"]>;
export type CleanupBody = Type.Static<BodySchemas["cleanup"]>;
export type CreateBatchBody = Type.Static<BodySchemas["createBatch"]>;
export type ResultBatchBody = Type.Static<BodySchemas["resultBatch"]>;

function workerId() {
  return Type.String({ minLength: 1, maxLength: limits.workerIdChars, pattern: noControls });
}

function integer(dialect: Dialect, minimum: number, maximum: number) {
  return Type.Integer(inRange(dialect, { minimum, maximum }));
}

function inRange(dialect: Dialect, range: { readonly minimum: number; readonly maximum: number }) {
  return dialect === "v1" ? range : {};
}
