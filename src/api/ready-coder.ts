/** The event `ready`, a worker's wish for tasks: written by clients, read by servers. */
import { DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import {
  type Arm,
  finishFrame,
  frameWriter,
  putNumberField,
  sizedTag,
  WireReader,
} from "./proto-wire.ts";

/** Number of the arm of WorkerClientEvent. */
export const readyArm = 2;

export interface Ready {
  readonly kind: "ready";
  /** Queues to take from, as sent; none = all that the token allows. */
  readonly queues: readonly string[];
  /** As sent: 0 or less is the default. */
  readonly leaseSeconds: number;
  readonly count: number;
}

/** @throws DecodeError when it is malformed, or names more than `limits.claimQueues` queues */
export function decodeReady(buffer: Buffer, arm: Arm): Ready {
  const reader = new WireReader(buffer, arm.from, arm.to);
  const queues: string[] = [];
  let leaseSeconds = 0;
  let count = 0;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    if (tag === 10) {
      if (queues.length === limits.claimQueues) {
        throw new DecodeError(`commands: more than ${limits.claimQueues}`);
      }
      queues.push(reader.text());
    } else if (tag === 16) leaseSeconds = reader.int32();
    else if (tag === 24) count = reader.int32();
    else reader.skip(tag);
  }
  return { kind: "ready", queues, leaseSeconds, count };
}

/** @param ready - leaseSeconds and count 0 or more; 0 = the default */
export function encodeReady(ready: Omit<Ready, "kind">): Buffer {
  const writer = frameWriter(64);
  for (const queue of ready.queues) {
    writer.varint(sizedTag(1));
    writer.utf8(queue);
  }
  putNumberField(writer, 2, ready.leaseSeconds);
  putNumberField(writer, 3, ready.count);
  return finishFrame(writer, readyArm);
}
