/**
 * The client SDK, published as `quorumq/client`.
 *
 * - `createProducer`: enqueue tasks; retries of its own never make a task twice.
 * - `createWorker`: run a handler for each task, with leases kept alive.
 * - `createHttpClient`: look up tasks and results, cancel.
 * - `createProducerStream`, `createWorkerStream`: the raw streams, one callback per frame.
 */
export type { CreateAckFrame } from "../api/client-ack-frame.ts";
export type { CreateAcks } from "../api/received-ack-coder.ts";
export type { ConnectOptions } from "./connect.ts";
export type { EnqueueOutcome } from "./create-call.ts";
export type { FrameOutcome, SentFrame, StreamPart } from "./create-frame.ts";
export type { EncodedOptions, EnqueueItem, TaskOptions } from "./create-input.ts";
export {
  type ClientErrorCode,
  FailTask,
  QuorumQError,
  type QuorumQErrorDetail,
  RetryTask,
} from "./errors.ts";
export {
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
  type ResultRecord,
  type TaskRecord,
} from "./http-client.ts";
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
  type ProducerStreamOptions,
} from "./producer-stream.ts";
export type { ClientEffects } from "./system.ts";
export {
  createWorker,
  type Worker,
  type WorkerOptions,
} from "./worker.ts";
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
export type { TaskContext, TaskHandler, WorkerTask } from "./worker-task.ts";
