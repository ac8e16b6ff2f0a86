/** What the SDK's streams read: hot events as frames with columns, the others as decoded. */
import { ackArms } from "./ack-coder.ts";
import { CreateAckFrame, ResultAckFrame } from "./client-ack-frame.ts";
import { TaskFrame } from "./client-task-frame.ts";
import type { Wire } from "./proto.ts";
import type { ProducerServerEvent, WorkerServerEvent } from "./proto-events.ts";
import { findArm } from "./proto-wire.ts";
import { taskArms } from "./task-coder.ts";

export type ProducerEvent = CreateAckFrame | ProducerServerEvent;
export type WorkerEvent = TaskFrame | ResultAckFrame | WorkerServerEvent;

/** @returns the reader of the producers' stream; it throws DecodeError */
export function producerEventReader(wire: Wire): (bytes: Buffer) => ProducerEvent {
  const readOther = wire.producer.Stream.responseDeserialize;
  return (bytes) => {
    const arm = findArm(bytes, isHotProducerArm);
    return arm.field === 0 ? readOther(bytes) : new CreateAckFrame(bytes, arm);
  };
}

function isHotProducerArm(field: number): boolean {
  return field === ackArms.createBatch;
}

/** @returns the reader of the workers' stream; it throws DecodeError */
export function workerEventReader(wire: Wire): (bytes: Buffer) => WorkerEvent {
  const readOther = wire.worker.Stream.responseDeserialize;
  return (bytes) => {
    const arm = findArm(bytes, isHotWorkerArm);
    if (arm.field === 0) return readOther(bytes);
    return arm.field === ackArms.resultBatch
      ? new ResultAckFrame(bytes, arm)
      : new TaskFrame(bytes, arm);
  };
}

function isHotWorkerArm(field: number): boolean {
  return field === ackArms.resultBatch || field === taskArms.task || field === taskArms.taskBatch;
}
