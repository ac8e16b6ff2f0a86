/**
 * Every upper bound of the system, with its unit and its reason. Where a bound can be
 * configured, this is the default and `*Max` the highest value taken.
 */
import { assert } from "./assert.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;

export const limits = {
  /** Bytes of one payload by default; a task is a message, not a file. */
  payloadBytes: 1 * MiB,
  payloadBytesMax: 8 * MiB,
  /** Bytes of one result or error document: the same reason. */
  resultBytes: 1 * MiB,
  /** Bytes of an HTTP body: single routes, and batch routes. */
  bodyBytes: 8 * MiB,
  /** Bytes of one gRPC message in either direction. */
  grpcMessageBytes: 8 * MiB,
  /** Items in one HTTP batch. */
  batchItems: 1000,
  /** Tasks in one claim. */
  claimTasks: 1000,
  /** Encoded bytes of one claim's answer over gRPC: grpc-go's clients refuse more than 4 MiB. */
  claimGrpcBytes: 3.5 * MiB,
  /** Encoded bytes of one claim's answer over HTTP. */
  claimHttpBytes: 8 * MiB,
  /** Queues named in one claim or Ready. */
  claimQueues: 256,
  queueNameChars: 128,
  tenantChars: 63,
  workerIdChars: 128,
  idempotencyKeyBytes: 256,
  webhookChars: 2048,
  traceParentChars: 256,
  traceStateChars: 512,
  reasonBytes: 4 * KiB,
  jsonDepth: 64,
  priorityMax: 9,
  maxAttemptsMax: 1000,
  leaseSecondsMin: 1,
  leaseSecondsMax: 86_400,
  /** Ten years: longer delays are typing errors. */
  delaySecondsMax: 10 * 365 * 86_400,
  claimWaitSecondsMax: 30,
  resultWaitSecondsMax: 60,
  listPage: 1000,
  listRowsExamined: 20_000,
  /** Consecutive ids that share a row: the place is one byte. */
  runTasks: 256,
  /** Queues ever named in a shard: each costs about 300 bytes of memory for good. */
  queuesPerShard: 1_000_000,
  /** Tasks that one logged step may touch: bounds the time of one apply. */
  stepTasks: 1000,
  /** Commands in one log entry: the lease token has 12 bits for the place. */
  entryCommands: 4096,
  /** Bytes of one log entry, unless one command is larger. */
  entryBytes: 4 * MiB,
  /** Bytes waiting in the proposer of a shard before it refuses with `overloaded`. */
  proposerBytes: 16 * MiB,
  proposerCommands: 65_536,
  /** Bytes of entries proposed and not yet committed. */
  uncommittedBytes: 64 * MiB,
  /** A checkpoint is due at any of these three (DESIGN section 2). */
  checkpointOps: 5_000,
  checkpointBytes: 1 * MiB,
  checkpointMs: 250,
  /** Memory of unsaved rows per shard, and of clean rows kept for reading. */
  overlayBytes: 8 * MiB,
  windowBytes: 32 * MiB,
  /** Log kept below the checkpoint for a follower that is a little behind. */
  logKeepBytes: 64 * MiB,
  shards: 256,
  /** Waiting claims of one node: each is a small record. */
  waitingClaims: 100_000,
  /** Callers that wait for one node's results (GET /result with waitSeconds). */
  waitingReads: 20_000,
  /** Sleeps are cut to this: setTimeout overflows at 24.8 days, and clocks drift. */
  timerMsMax: 3_600_000,
  httpHeaderBytes: 16 * KiB,
  httpHeaders: 100,
  httpConnections: 20_000,
  grpcStreamsPerConnection: 1000,
  /** Seconds a peer may leave written bytes unread before its stream is closed. */
  grpcUnreadSeconds: 30,
  helloSeconds: 5,
} as const;

/** Relations between bounds that the code relies on. */
export function assertLimits(): void {
  assert(limits.runTasks <= 256, "the place of a task in its run is one byte", limits.runTasks);
  assert(limits.entryCommands <= 4096, "12 bits of the lease token", limits.entryCommands);
  assert(limits.payloadBytesMax <= limits.grpcMessageBytes, "a payload fits into a message", 0);
  assert(limits.entryBytes <= limits.proposerBytes, "an entry fits into the proposer", 0);
}
