/**
 * The rare messages, through proto-loader's own functions: hello, hello_ack, error, cluster and
 * cancel. Objects of proto-loader are checked here and nowhere else.
 */
import type { MessageTypeDefinition, PackageDefinition } from "@grpc/proto-loader";
import { DecodeError } from "../base/bytes.ts";
import type { LeaderHint } from "../base/errors.ts";
import type {
  CancelEvent,
  ClusterEvent,
  ProducerHello,
  ProducerHelloAck,
  ServerErrorEvent,
  WireCluster,
  WireNode,
  WorkerHello,
  WorkerHelloAck,
} from "./proto-events.ts";

export type StreamName = "producer" | "worker";

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly leader: LeaderHint | undefined;
}

/** The rare events, each ready to be written. */
export interface ColdEncoders {
  encodeProducerHello(hello: { readonly token: string; readonly followLeader: boolean }): Buffer;
  encodeWorkerHello(hello: {
    readonly token: string;
    readonly workerId: string;
    readonly followLeader: boolean;
    readonly releaseOnClose: boolean;
  }): Buffer;
  encodeProducerHelloAck(
    ack: { readonly tenant: string; readonly subject: string } & WireCluster,
  ): Buffer;
  encodeWorkerHelloAck(
    ack: { readonly tenant: string; readonly workerId: string } & WireCluster,
  ): Buffer;
  encodeServerError(stream: StreamName, error: WireError): Buffer;
  encodeCluster(stream: StreamName, nodes: readonly WireNode[]): Buffer;
  encodeCancel(taskId: string, leaseToken: number): Buffer;
}

/** Every reader throws DecodeError when the message is malformed. */
export interface ColdCoder {
  readonly encoders: ColdEncoders;
  readProducerHello(bytes: Buffer): ProducerHello;
  readWorkerHello(bytes: Buffer): WorkerHello;
  readProducerHelloAck(bytes: Buffer): ProducerHelloAck;
  readWorkerHelloAck(bytes: Buffer): WorkerHelloAck;
  readServerError(stream: StreamName, bytes: Buffer): ServerErrorEvent;
  readCluster(stream: StreamName, bytes: Buffer): ClusterEvent;
  readCancel(bytes: Buffer): CancelEvent;
}

/** A decoded message: every field is set, since the loader fills in defaults. */
type Fields = Readonly<Record<string, unknown>>;
type MessageType = MessageTypeDefinition<object, object>;

export function createColdCoder(definition: PackageDefinition): ColdCoder {
  const producerClient = messageType(definition, "producerpb.ProducerClientEvent");
  const producerServer = messageType(definition, "producerpb.ProducerServerEvent");
  const workerClient = messageType(definition, "workerpb.WorkerClientEvent");
  const workerServer = messageType(definition, "workerpb.WorkerServerEvent");
  const server = { producer: producerServer, worker: workerServer };
  return {
    encoders: encodersOf({ producerClient, workerClient, ...server }),
    readProducerHello(bytes) {
      const hello = arm(producerClient, bytes, "hello");
      return {
        kind: "hello",
        token: text(hello, "token"),
        followLeader: bool(hello, "follow_leader"),
      };
    },
    readWorkerHello(bytes) {
      const hello = arm(workerClient, bytes, "hello");
      return {
        kind: "hello",
        token: text(hello, "token"),
        workerId: text(hello, "worker_id"),
        followLeader: bool(hello, "follow_leader"),
        releaseOnClose: bool(hello, "release_on_close"),
      };
    },
    readProducerHelloAck(bytes) {
      const ack = arm(producerServer, bytes, "hello_ack");
      const own = { tenant: text(ack, "tenant_id"), subject: text(ack, "subject") };
      return { kind: "hello_ack", ...own, ...clusterOf(ack) };
    },
    readWorkerHelloAck(bytes) {
      const ack = arm(workerServer, bytes, "hello_ack");
      const own = { tenant: text(ack, "tenant_id"), workerId: text(ack, "worker_id") };
      return { kind: "hello_ack", ...own, ...clusterOf(ack) };
    },
    readServerError(stream, bytes) {
      const error = arm(server[stream], bytes, "error");
      const leader = leaderOf(error["not_leader"]);
      return { kind: "error", code: text(error, "code"), message: text(error, "message"), leader };
    },
    readCluster(stream, bytes) {
      return { kind: "cluster", nodes: nodesOf(arm(server[stream], bytes, "cluster")) };
    },
    readCancel(bytes) {
      const cancel = arm(workerServer, bytes, "cancel");
      const leaseToken = number(cancel, "lease_token");
      return { kind: "cancel", taskId: text(cancel, "task_id"), leaseToken };
    },
  };
}

function encodersOf(types: {
  readonly producerClient: MessageType;
  readonly workerClient: MessageType;
  readonly producer: MessageType;
  readonly worker: MessageType;
}): ColdEncoders {
  return {
    encodeProducerHello({ token, followLeader }) {
      return types.producerClient.serialize({ hello: { token, follow_leader: followLeader } });
    },
    encodeWorkerHello({ token, workerId, followLeader, releaseOnClose }) {
      const flags = { follow_leader: followLeader, release_on_close: releaseOnClose };
      return types.workerClient.serialize({ hello: { token, worker_id: workerId, ...flags } });
    },
    encodeProducerHelloAck({ tenant, subject, ...cluster }) {
      const own = { tenant_id: tenant, subject };
      return types.producer.serialize({ hello_ack: { ...own, ...wireCluster(cluster) } });
    },
    encodeWorkerHelloAck({ tenant, workerId, ...cluster }) {
      const own = { tenant_id: tenant, worker_id: workerId };
      return types.worker.serialize({ hello_ack: { ...own, ...wireCluster(cluster) } });
    },
    encodeServerError(stream, { code, message, leader }) {
      const detail = leader === undefined ? {} : { not_leader: wireLeader(leader) };
      return types[stream].serialize({ error: { code, message, ...detail } });
    },
    encodeCluster(stream, nodes) {
      return types[stream].serialize({ cluster: { nodes: nodes.map(wireNode) } });
    },
    encodeCancel(taskId, leaseToken) {
      return types.worker.serialize({ cancel: { task_id: taskId, lease_token: leaseToken } });
    },
  };
}

function wireCluster(cluster: WireCluster): object {
  const { nodeId, shards, nodes } = cluster;
  return { node_id: nodeId, shards, nodes: nodes.map(wireNode) };
}

function wireNode(node: WireNode): object {
  const { id, grpcAddr, httpAddr, shardsLed } = node;
  return { id, grpc_addr: grpcAddr, http_addr: httpAddr, shards_led: [...shardsLed] };
}

function wireLeader(leader: LeaderHint): object {
  const { shard, term, leaderId, leaderGrpc, leaderHttp } = leader;
  const addresses = { leader_grpc_addr: leaderGrpc, leader_http_addr: leaderHttp };
  return { shard, leader_id: leaderId, ...addresses, term };
}

function messageType(definition: PackageDefinition, name: string): MessageType {
  return definition[name] as MessageType;
}

/** Decodes an event and takes one arm out of it. */
function arm(type: MessageType, bytes: Buffer, name: string): Fields {
  let event: Fields;
  try {
    event = type.deserialize(bytes) as Fields;
  } catch (error) {
    throw new DecodeError(`${name} is malformed`, { cause: error });
  }
  return (event[name] ?? {}) as Fields;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") return "";
  // The loader puts U+FFFD where bytes are no UTF-8; no name or token has one.
  if (value.includes("\uFFFD")) throw new DecodeError(`${name} is not UTF-8`);
  return value;
}

function bool(fields: Fields, name: string): boolean {
  return fields[name] === true;
}

function number(fields: Fields, name: string): number {
  return Number(fields[name] ?? 0);
}

function clusterOf(ack: Fields): WireCluster {
  return { nodeId: text(ack, "node_id"), shards: number(ack, "shards"), nodes: nodesOf(ack) };
}

function nodesOf(fields: Fields): WireNode[] {
  const nodes = (fields["nodes"] ?? []) as readonly Fields[];
  return nodes.map((node) => ({
    id: text(node, "id"),
    grpcAddr: text(node, "grpc_addr"),
    httpAddr: text(node, "http_addr"),
    shardsLed: (node["shards_led"] ?? []) as readonly number[],
  }));
}

function leaderOf(value: unknown): LeaderHint | undefined {
  if (value === null || value === undefined) return undefined;
  const fields = value as Fields;
  return {
    shard: number(fields, "shard"),
    term: number(fields, "term"),
    leaderId: text(fields, "leader_id"),
    leaderHttp: text(fields, "leader_http_addr"),
    leaderGrpc: text(fields, "leader_grpc_addr"),
  };
}
