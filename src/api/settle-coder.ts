/**
 * What workers say about tasks they hold: `result`, `result_batch`, `nack`, `heartbeat` and
 * `abandon` events, written by clients and read by servers. As in create-coder.ts the frame that a
 * server reads is its own cursor.
 */
import { isUtf8 } from "node:buffer";
import { type ByteWriter, DecodeError } from "../base/bytes.ts";
import { parseTaskIdAscii } from "./proto-task-id.ts";
import {
  type Arm,
  closeItem,
  countItems,
  finishFrame,
  frameWriter,
  openItem,
  putBytesField,
  putNumberField,
  putTextField,
  varintBytes,
  WireReader,
} from "./proto-wire.ts";

/** Numbers of the arms of WorkerClientEvent. */
export const settleArms = {
  result: 3,
  nack: 4,
  heartbeat: 5,
  abandon: 6,
  resultBatch: 7,
} as const;

export type SettleFrameKind = "result" | "nack" | "heartbeat" | "abandon" | "result_batch";

const noBytes = new Uint8Array(0);
const leaseTokenTag = 20 * 8;
const immediateTag = 21 * 8;

/** One of the five events as it came, and a cursor over its items. */
export class SettleFrame {
  readonly kind: SettleFrameKind;
  readonly buffer: Buffer;
  readonly count: number;
  /** Where each item's task_id stands in `buffer`, for the acks. */
  readonly idFrom: Uint32Array;
  readonly idTo: Uint32Array;

  // The item under the cursor.
  /** The 16 bytes of task_id; of no meaning when `hasId` is false. */
  readonly id = new Uint8Array(16);
  /** Whether task_id is the text of a task id. */
  hasId = false;
  /** 0 = none given; above 2^53 it is rounded, and no lease has such a token. */
  leaseToken = 0;
  /** Of a result; "other" is any other text. */
  status: "COMPLETED" | "FAILED" | "other" = "other";
  /** result_json, or from = to. */
  resultFrom = 0;
  resultTo = 0;
  /** error of a result, reason of a nack: UTF-8, or from = to. */
  textFrom = 0;
  textTo = 0;
  /** delay_seconds of a nack, extend_seconds of a heartbeat. */
  seconds = 0;
  immediate = false;

  private readonly reader: WireReader;
  private readonly end: number;
  private nextAt: number;
  private index = 0;

  /** @throws DecodeError when the frame's outer structure is broken */
  constructor(buffer: Buffer, arm: Arm) {
    this.kind = kindOfArm(arm.field);
    this.buffer = buffer;
    this.count = this.kind === "result_batch" ? countItems(buffer, arm.from, arm.to) : 1;
    this.idFrom = new Uint32Array(this.count);
    this.idTo = new Uint32Array(this.count);
    this.reader = new WireReader(buffer);
    this.nextAt = arm.from;
    this.end = arm.to;
  }

  /** Moves to the next item. @throws DecodeError when it is malformed */
  next(): boolean {
    if (this.index === this.count) return false;
    const reader = this.reader;
    if (this.kind !== "result_batch") {
      this.readItem(this.nextAt, this.end);
      return true;
    }
    reader.move(this.nextAt, this.end);
    for (let tag = reader.varint(); tag !== 10; tag = reader.varint()) reader.skip(tag);
    this.nextAt = reader.span();
    this.readItem(reader.at, this.nextAt);
    return true;
  }

  private readItem(from: number, to: number): void {
    const reader = this.reader;
    reader.move(from, to);
    this.hasId = false;
    this.leaseToken = 0;
    this.status = "other";
    this.resultFrom = 0;
    this.resultTo = 0;
    this.textFrom = 0;
    this.textTo = 0;
    this.seconds = 0;
    this.immediate = false;
    const isResult = this.kind === "result" || this.kind === "result_batch";
    while (reader.at < to) {
      const tag = reader.varint();
      if (tag === 10) this.readId(reader);
      else if (tag === leaseTokenTag) this.leaseToken = reader.varint();
      else if (isResult) this.readResultField(reader, tag);
      else this.readOtherField(reader, tag);
    }
    this.index++;
  }

  private readId(reader: WireReader): void {
    const to = reader.span();
    this.idFrom[this.index] = reader.at;
    this.idTo[this.index] = to;
    this.hasId = parseTaskIdAscii(this.buffer, reader.at, to, this.id);
    if (!this.hasId) assertUtf8(this.buffer, reader.at, to);
    reader.at = to;
  }

  private readResultField(reader: WireReader, tag: number): void {
    switch (tag) {
      case 18: {
        const text = reader.text();
        this.status = text === "COMPLETED" || text === "FAILED" ? text : "other";
        return;
      }
      case 26:
        this.resultTo = reader.span();
        this.resultFrom = reader.at;
        reader.at = this.resultTo;
        return;
      case 34:
        this.readText(reader);
        return;
      default:
        reader.skip(tag);
    }
  }

  private readOtherField(reader: WireReader, tag: number): void {
    if (tag === 16 && this.kind !== "abandon") this.seconds = reader.int32();
    else if (tag === 26 && this.kind === "nack") this.readText(reader);
    else if (tag === immediateTag && this.kind === "nack") this.immediate = reader.bool();
    else reader.skip(tag);
  }

  private readText(reader: WireReader): void {
    this.textTo = reader.span();
    this.textFrom = reader.at;
    assertUtf8(this.buffer, this.textFrom, this.textTo);
    reader.at = this.textTo;
  }
}

function kindOfArm(field: number): SettleFrameKind {
  switch (field) {
    case settleArms.result:
      return "result";
    case settleArms.nack:
      return "nack";
    case settleArms.heartbeat:
      return "heartbeat";
    case settleArms.abandon:
      return "abandon";
    default:
      return "result_batch";
  }
}

function assertUtf8(buffer: Buffer, from: number, to: number): void {
  if (!isUtf8(buffer.subarray(from, to))) throw new DecodeError(`text is not UTF-8 at ${from}`);
}

/** A result as the client SDK hands it over. */
export interface ResultInput {
  readonly taskId: string;
  /** 0 = none */
  readonly leaseToken: number;
  readonly status: "COMPLETED" | "FAILED";
  readonly result: Uint8Array | null;
  /** "" when completed */
  readonly error: string;
}

/** The event `result`. */
export function encodeResult(input: ResultInput): Buffer {
  const writer = frameWriter(96 + (input.result?.length ?? 0));
  putResult(writer, input);
  return finishFrame(writer, settleArms.result);
}

/** The event `result_batch`. */
export function encodeResultBatch(inputs: readonly ResultInput[]): Buffer {
  let expected = 0;
  for (const input of inputs) expected += 80 + (input.result?.length ?? 0);
  const writer = frameWriter(expected);
  for (const input of inputs) {
    const room = varintBytes(64 + (input.result?.length ?? 0) + input.error.length);
    const from = openItem(writer, room);
    putResult(writer, input);
    closeItem(writer, from, room);
  }
  return finishFrame(writer, settleArms.resultBatch);
}

function putResult(writer: ByteWriter, input: ResultInput): void {
  putTextField(writer, 1, input.taskId);
  putTextField(writer, 2, input.status);
  putBytesField(writer, 3, input.result ?? noBytes);
  putTextField(writer, 4, input.error);
  putNumberField(writer, 20, input.leaseToken);
}

/** The event `nack`. @param delaySeconds - 0 = by the backoff policy; -1 = at once */
export function encodeNack(
  taskId: string,
  leaseToken: number,
  options: { readonly delaySeconds: number; readonly reason: string },
): Buffer {
  const writer = frameWriter(96 + options.reason.length);
  putTextField(writer, 1, taskId);
  putNumberField(writer, 2, options.delaySeconds);
  putTextField(writer, 3, options.reason);
  putNumberField(writer, 20, leaseToken);
  putNumberField(writer, 21, options.delaySeconds < 0 ? 1 : 0);
  return finishFrame(writer, settleArms.nack);
}

/** The event `heartbeat`. @param extendSeconds - 0 = the length the task was claimed with */
export function encodeHeartbeat(
  taskId: string,
  leaseToken: number,
  options: { readonly extendSeconds: number },
): Buffer {
  const writer = frameWriter(64);
  putTextField(writer, 1, taskId);
  putNumberField(writer, 2, options.extendSeconds);
  putNumberField(writer, 20, leaseToken);
  return finishFrame(writer, settleArms.heartbeat);
}

/** The event `abandon`. */
export function encodeAbandon(taskId: string, leaseToken: number): Buffer {
  const writer = frameWriter(64);
  putTextField(writer, 1, taskId);
  putNumberField(writer, 20, leaseToken);
  return finishFrame(writer, settleArms.abandon);
}
