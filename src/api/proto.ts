/**
 * Both gRPC services, loaded from proto/*.proto. Definitions are what proto-loader makes, except
 * that messages are written as finished buffers and read by the coders of this folder: by hand
 * where they are hot, by proto-loader where they are rare (hello, hello_ack, error, cluster,
 * cancel).
 */
import { fileURLToPath } from "node:url";
import * as protoLoader from "@grpc/proto-loader";
import { DecodeError } from "../base/bytes.ts";
import { ackArms } from "./ack-coder.ts";
import { CreateFrame, createArms } from "./create-coder.ts";
import { type ColdCoder, type ColdEncoders, createColdCoder } from "./proto-cold.ts";
import type {
  MalformedEvent,
  ProducerClientEvent,
  ProducerServerEvent,
  WorkerClientEvent,
  WorkerServerEvent,
} from "./proto-events.ts";
import { findArm } from "./proto-wire.ts";
import { decodeReady, readyArm } from "./ready-coder.ts";
import { decodeCreateAcks, decodeSettleAcks } from "./received-ack-coder.ts";
import { SettleFrame, settleArms } from "./settle-coder.ts";
import { decodeTasks, taskArms } from "./task-coder.ts";

/**
 * A service with one bidirectional method; grpc-js takes it on both sides (a type and not an
 * interface, because it asks for an index signature).
 */
export type StreamService<ClientEvent, ServerEvent> = {
  readonly Stream: {
    readonly path: string;
    readonly requestStream: true;
    readonly responseStream: true;
    /** Takes a finished event from an encode function. */
    readonly requestSerialize: (event: Buffer) => Buffer;
    /** Never throws: see MalformedEvent. */
    readonly requestDeserialize: (bytes: Buffer) => ClientEvent;
    readonly responseSerialize: (event: Buffer) => Buffer;
    /** @throws DecodeError: grpc-js ends the call with INTERNAL */
    readonly responseDeserialize: (bytes: Buffer) => ServerEvent;
  };
};

export interface Wire extends ColdEncoders {
  readonly producer: StreamService<ProducerClientEvent, ProducerServerEvent>;
  readonly worker: StreamService<WorkerClientEvent, WorkerServerEvent>;
  /** For server reflection, and for generic clients in tests. */
  readonly definition: protoLoader.PackageDefinition;
}

/** The files lie beside src and dist alike. */
const protoFolder = new URL("../../proto/", import.meta.url);

const helloArm = 1;
const serverArms = { error: { producer: 3, worker: 7 }, cluster: 20, cancel: 21 } as const;

/** Reads and compiles the .proto files (about 20 ms): once per server or client. */
export function loadWire(): Wire {
  const definition = protoLoader.loadSync(["producerpb.proto", "workerpb.proto"], {
    // Reflection shows the names as they are kept here.
    keepCase: true,
    longs: Number,
    defaults: true,
    arrays: true,
    oneofs: true,
    includeDirs: [fileURLToPath(protoFolder)],
  });
  const cold = createColdCoder(definition);
  return {
    producer: {
      Stream: {
        ...stream("/producerpb.ProducerStream/Stream"),
        requestDeserialize: guarded((bytes) => readProducerClientEvent(bytes, cold)),
        responseDeserialize: (bytes) => readProducerServerEvent(bytes, cold),
      },
    },
    worker: {
      Stream: {
        ...stream("/workerpb.WorkerStream/Stream"),
        requestDeserialize: guarded((bytes) => readWorkerClientEvent(bytes, cold)),
        responseDeserialize: (bytes) => readWorkerServerEvent(bytes, cold),
      },
    },
    definition,
    ...cold.encoders,
  };
}

function stream(path: string) {
  const same = (event: Buffer): Buffer => event;
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    responseSerialize: same,
  } as const;
}

/** What a client sends wrongly is an event as well: the edge ends its stream with the reason. */
function guarded<Event>(read: (bytes: Buffer) => Event): (bytes: Buffer) => Event | MalformedEvent {
  return (bytes) => {
    try {
      return read(bytes);
    } catch (error) {
      if (error instanceof DecodeError) return { kind: "malformed", error };
      throw error;
    }
  };
}

function readProducerClientEvent(bytes: Buffer, cold: ColdCoder): ProducerClientEvent {
  const arm = findArm(bytes, isProducerClientArm);
  switch (arm.field) {
    case 0:
      return { kind: "unset" };
    case helloArm:
      return cold.readProducerHello(bytes);
    default:
      return new CreateFrame(bytes, arm);
  }
}

function isProducerClientArm(field: number): boolean {
  return field === helloArm || field === createArms.create || field === createArms.createBatch;
}

function readWorkerClientEvent(bytes: Buffer, cold: ColdCoder): WorkerClientEvent {
  const arm = findArm(bytes, isWorkerClientArm);
  switch (arm.field) {
    case 0:
      return { kind: "unset" };
    case helloArm:
      return cold.readWorkerHello(bytes);
    case readyArm:
      return decodeReady(bytes, arm);
    default:
      return new SettleFrame(bytes, arm);
  }
}

function isWorkerClientArm(field: number): boolean {
  return field >= helloArm && field <= settleArms.resultBatch;
}

function readProducerServerEvent(bytes: Buffer, cold: ColdCoder): ProducerServerEvent {
  const arm = findArm(bytes, isProducerServerArm);
  switch (arm.field) {
    case 0:
      return { kind: "unset" };
    case helloArm:
      return cold.readProducerHelloAck(bytes);
    case serverArms.error.producer:
      return cold.readServerError("producer", bytes);
    case serverArms.cluster:
      return cold.readCluster("producer", bytes);
    default:
      return decodeCreateAcks(bytes, arm);
  }
}

function isProducerServerArm(field: number): boolean {
  return (field >= helloArm && field <= ackArms.createBatch) || field === serverArms.cluster;
}

function readWorkerServerEvent(bytes: Buffer, cold: ColdCoder): WorkerServerEvent {
  const arm = findArm(bytes, isWorkerServerArm);
  switch (arm.field) {
    case 0:
      return { kind: "unset" };
    case helloArm:
      return cold.readWorkerHelloAck(bytes);
    case taskArms.task:
      return { kind: "task", tasks: decodeTasks(bytes, arm.from, arm.to) };
    case taskArms.taskBatch:
      return { kind: "task_batch", tasks: decodeTasks(bytes, arm.from, arm.to) };
    case serverArms.error.worker:
      return cold.readServerError("worker", bytes);
    case serverArms.cluster:
      return cold.readCluster("worker", bytes);
    case serverArms.cancel:
      return cold.readCancel(bytes);
    default:
      return decodeSettleAcks(bytes, arm);
  }
}

function isWorkerServerArm(field: number): boolean {
  if (field >= helloArm && field <= ackArms.resultBatch) return true;
  return field === serverArms.cluster || field === serverArms.cancel;
}
