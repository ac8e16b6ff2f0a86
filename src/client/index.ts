/**
 * The client SDK, published as `quorumq/client`.
 *
 * - `createProducer`: enqueue tasks; retries of its own never make a task twice.
 * - `createWorker`: run a handler for each task, with leases kept alive.
 * - `createHttpClient`: every route of the server's HTTP interface, typed.
 * - `createProducerStream`, `createWorkerStream`: the raw streams, one callback per frame.
 *
 * Programs that use it are in `examples/` beside this file.
 *
 * @module
 */
export type { CreateAckFrame } from "../api/client-ack-frame.ts";
export type { WireCluster } from "../api/proto-events.ts";
export type { CreateAcks } from "../api/received-ack-coder.ts";
export type { ConnectOptions } from "./connect.ts";
export type { EnqueueOutcome } from "./create-call.ts";
export type { FrameOutcome, SentFrame, StreamPart } from "./create-frame.ts";
export type { EncodedOptions, EnqueueItem, ItemOf, TaskOptions } from "./create-input.ts";
export type { Emits, Listener } from "./emitter.ts";
export {
  type ClientErrorCode,
  FailTask,
  QuorumQError,
  type QuorumQErrorDetail,
  RetryTask,
} from "./errors.ts";
export type {
  ClusterMember,
  ConnectionEvents,
  EndEvent,
  TaskEvent,
  WorkerEvents,
} from "./events.ts";
export { createHttpClient, type HttpClient, type HttpClientOptions } from "./http-client.ts";
export type {
  ClusterNode,
  ClusterNodes,
  HttpCluster,
  Membership,
  NewMember,
  NodeHealth,
  NodeOptions,
  RaftGroup,
  RaftStatus,
  ShardHealth,
} from "./http-cluster.ts";
export type {
  ActionOptions,
  ActionResult,
  HttpQueues,
  QueuePage,
  QueueRecord,
} from "./http-queues.ts";
export type {
  ClaimedRecord,
  CreatedRecord,
  ResultRecord,
  TaskRecord,
  TaskState,
} from "./http-records.ts";
export type { CallOptions } from "./http-request.ts";
export type {
  CreateItem,
  CreateOptions,
  CreateOutcome,
  HttpTasks,
  ReadOptions,
  TaskFilter,
  TaskPage,
} from "./http-tasks.ts";
export type {
  ClaimOptions,
  HolderOptions,
  HttpWork,
  ResultBatchItem,
  SettleOutcome,
} from "./http-work.ts";
export type { ClientLogger, LogLine } from "./logger.ts";
export {
  createProducer,
  type Enqueued,
  type EnqueueOptions,
  type Producer,
  type ProducerOptions,
} from "./producer.ts";
export {
  createProducerStream,
  type ProducerStream,
  type ProducerStreamEvents,
  type ProducerStreamOptions,
} from "./producer-stream.ts";
export type { ClientEffects } from "./system.ts";
export type { AnyTasks, JsonOf, QueueOf } from "./task-map.ts";
export { createWorker } from "./worker.ts";
export type { Worker, WorkerOptions } from "./worker-options.ts";
export {
  type Claim,
  createWorkerStream,
  type ReceivedTask,
  type ResultAckFrame,
  type ResultInput,
  type SettleAcks,
  type TaskFrame,
  type WorkerStream,
  type WorkerStreamEvents,
  type WorkerStreamOptions,
} from "./worker-stream.ts";
export type { TaskContext, TaskHandler, TaskOf, WorkerTask } from "./worker-task.ts";
