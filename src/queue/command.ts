/**
 * The logged commands and their results. A command is decided upon by `apply` alone; what stands
 * here is what the log carries. Bodies that hold many tasks stay encoded: apply reads them where
 * they lie in the entry.
 */
import type { Run } from "./run.ts";

/** Number of a command's kind in the log. Append-only; a replica that meets another one stops. */
export const commandKinds = {
  create: 1,
  claim: 2,
  settle: 3,
  cancel: 4,
  expire: 5,
  redrive: 6,
  purge: 7,
  pause: 8,
  configure: 9,
  raiseTokens: 10,
} as const;

/** One run of new tasks of one queue and priority. */
export interface CreateCommand {
  readonly kind: "create";
  readonly tenant: string;
  readonly queue: string;
  readonly priority: number;
  /** Run key, 14 bytes, or the 16 of a keyed task. */
  readonly key: Buffer;
  readonly count: number;
  /** 16 bytes over what a repeated request must agree in; null where the server chose the id. */
  readonly requestHash: Buffer | null;
  /** The task records, one after another (task-record.ts). */
  readonly records: Buffer;
}

/** Which tasks it gets is decided by apply. */
export interface ClaimCommand {
  readonly kind: "claim";
  readonly tenant: string;
  /** Names, or null for every queue of the tenant. */
  readonly queues: readonly string[] | null;
  readonly count: number;
  readonly bytesMax: number;
  readonly leaseMs: number;
  readonly workerId: string;
}

/** What an item of a settle does. Append-only: logged and stored. */
export const settleOps = {
  complete: 1,
  fail: 2,
  nack: 3,
  abandon: 4,
  /** An abandon that the server makes for a worker it could not reach: never with a back-off. */
  release: 5,
  heartbeat: 6,
} as const;

/**
 * Ends or lengthens claims. The body is groups of consecutive items of one operation, run and
 * token: op u8, key length u8, key, token varint, count varint, bytes varint, then items:
 * place u8 and by operation
 * complete: result (length + 1 varint, 0 = none, bytes);
 * fail: error sized, result as above;
 * nack: delay ms + 1 varint (0 = by policy), reason sized;
 * abandon, release: nothing; heartbeat: extend ms varint (0 = as claimed).
 */
export interface SettleCommand {
  readonly kind: "settle";
  readonly tenant: string;
  readonly workerId: string;
  /** Items in all groups. */
  readonly count: number;
  readonly groups: Buffer;
}

export interface CancelCommand {
  readonly kind: "cancel";
  readonly tenant: string;
  readonly key: Buffer;
  readonly place: number;
}

/** Ends leases, delays and retentions that are due at the entry's time, `limit` tasks at most. */
export interface ExpireCommand {
  readonly kind: "expire";
  readonly limit: number;
}

/** Dead tasks back to ready: the named ones, or the first `limit` of the queue. */
export interface RedriveCommand {
  readonly kind: "redrive";
  readonly tenant: string;
  readonly queue: string;
  /** 16 bytes per id; empty = any dead task of the queue. */
  readonly ids: Buffer;
  readonly limit: number;
}

/** Removes named tasks that are in one of the states. */
export interface PurgeCommand {
  readonly kind: "purge";
  readonly tenant: string;
  readonly queue: string;
  readonly ids: Buffer;
  /** Bit s is set for taskState s. */
  readonly states: number;
}

export interface PauseCommand {
  readonly kind: "pause";
  readonly tenant: string;
  readonly queue: string;
  readonly paused: boolean;
}

/** The replicated settings that apply depends on. A new leader logs its own if they differ. */
export interface Settings {
  readonly backoffPolicy: BackoffPolicy;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly doneRetentionMs: number;
  readonly deadRetentionMs: number;
}

export const backoffPolicies = [
  "exp_full_jitter",
  "exp_equal_jitter",
  "exponential",
  "linear",
  "fixed",
] as const;
export type BackoffPolicy = (typeof backoffPolicies)[number];

export interface ConfigureCommand {
  readonly kind: "configure";
  readonly settings: Settings;
}

/** Raises the offset of lease tokens by 2^24 log indexes: after a log may have lost its end. */
export interface RaiseTokensCommand {
  readonly kind: "raiseTokens";
}

export type Command =
  | CreateCommand
  | ClaimCommand
  | SettleCommand
  | CancelCommand
  | ExpireCommand
  | RedriveCommand
  | PurgeCommand
  | PauseCommand
  | ConfigureCommand
  | RaiseTokensCommand;

/** Results. `code` and `codes` hold 0 or an error code's number (base/errors.ts). */
export type CommandResult =
  | CreateResult
  | ClaimResult
  | SettleResult
  | CancelResult
  | { readonly kind: "expired"; readonly count: number; readonly more: boolean }
  | { readonly kind: "redriven"; readonly count: number }
  | { readonly kind: "purged"; readonly count: number }
  | { readonly kind: "paused"; readonly paused: boolean; readonly code: number }
  | { readonly kind: "done" };

export interface CreateResult {
  readonly kind: "created";
  readonly code: number;
  /** The run existed already, made by the same request. */
  readonly duplicate: boolean;
  readonly createdAt: number;
  /** Per task the time it is delayed to, 0 = ready; null = all ready. */
  readonly runAt: Float64Array | null;
}

export interface ClaimResult {
  readonly kind: "claimed";
  readonly grants: readonly ClaimedTasks[];
  readonly count: number;
}

/** Tasks of one run that one claim got. */
export interface ClaimedTasks {
  readonly run: Run;
  readonly places: Uint8Array;
  readonly attempts: Uint16Array;
  readonly leaseToken: number;
  readonly leaseUntil: number;
}

export interface SettleResult {
  readonly kind: "settled";
  readonly codes: Uint8Array;
  /** nack: delay given, ms; heartbeat: new end of the lease; complete, fail: when it ended. */
  readonly times: Float64Array;
  /** 1 = went to the dead letter queue. */
  readonly dead: Uint8Array;
}

export interface CancelResult {
  readonly kind: "canceled";
  readonly code: number;
  /** The lease that ended by it; 0 = none. */
  readonly leaseToken: number;
  readonly workerId: string;
}
