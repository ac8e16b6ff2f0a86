/** The events of both streams as the edge and the SDK see them: unions on `kind`. */
import type { DecodeError } from "../base/bytes.ts";
import type { LeaderHint } from "../base/errors.ts";
import type { CreateFrame } from "./create-coder.ts";
import type { Ready } from "./ready-coder.ts";
import type { CreateAcks, SettleAcks } from "./received-ack-coder.ts";
import type { SettleFrame } from "./settle-coder.ts";
import type { ReceivedTask } from "./task-coder.ts";

/** A message without an arm that this version knows. */
export interface UnsetEvent {
  readonly kind: "unset";
}

/** A message that is not protobuf, or breaks a bound of its form. */
export interface MalformedEvent {
  readonly kind: "malformed";
  readonly error: DecodeError;
}

export interface ProducerHello {
  readonly kind: "hello";
  readonly token: string;
  readonly followLeader: boolean;
}

export interface WorkerHello {
  readonly kind: "hello";
  readonly token: string;
  /** "" = the token's subject */
  readonly workerId: string;
  readonly followLeader: boolean;
  /** Leases that the stream holds are handed back when it ends. */
  readonly releaseOnClose: boolean;
}

/** What a server reads. The frames are cursors: reading them on may throw DecodeError. */
export type ProducerClientEvent = ProducerHello | CreateFrame | UnsetEvent | MalformedEvent;
export type WorkerClientEvent = WorkerHello | Ready | SettleFrame | UnsetEvent | MalformedEvent;

/** A node of the cluster, for clients. */
export interface WireNode {
  readonly id: string;
  /** host:port */
  readonly grpcAddr: string;
  /** URL */
  readonly httpAddr: string;
  readonly shardsLed: readonly number[];
}

/** What both HelloAcks tell of the cluster. */
export interface WireCluster {
  readonly nodeId: string;
  /** Shards of the task-id space, 1..256. */
  readonly shards: number;
  readonly nodes: readonly WireNode[];
}

export interface ProducerHelloAck extends WireCluster {
  readonly kind: "hello_ack";
  readonly tenant: string;
  readonly subject: string;
}

export interface WorkerHelloAck extends WireCluster {
  readonly kind: "hello_ack";
  readonly tenant: string;
  readonly workerId: string;
}

export interface ServerErrorEvent {
  readonly kind: "error";
  /** The error table's code in CamelCase, ErrNotLeader or FailedPrecondition. */
  readonly code: string;
  readonly message: string;
  readonly leader: LeaderHint | undefined;
}

export interface ClusterEvent {
  readonly kind: "cluster";
  readonly nodes: readonly WireNode[];
}

export interface TasksEvent {
  readonly kind: "task" | "task_batch";
  readonly tasks: readonly ReceivedTask[];
}

export interface CancelEvent {
  readonly kind: "cancel";
  readonly taskId: string;
  readonly leaseToken: number;
}

/** What a client reads. */
export type ProducerServerEvent =
  | ProducerHelloAck
  | CreateAcks
  | ServerErrorEvent
  | ClusterEvent
  | UnsetEvent;
export type WorkerServerEvent =
  | WorkerHelloAck
  | TasksEvent
  | SettleAcks
  | ServerErrorEvent
  | ClusterEvent
  | CancelEvent
  | UnsetEvent;
