/**
 * Creates on the producers' stream: `create` and `create_batch` events, written by clients and read
 * by servers.
 *
 * A server reads a frame in place. The frame is its own cursor: `next` moves to the next task and
 * sets the fields below, so no object is made per task; only where each seq stands is kept, for the
 * acks.
 */
import type { ByteWriter } from "../base/bytes.ts";
import { putTimestampField, readTimestamp } from "./proto-time.ts";
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
  sizedTag,
  varintBytes,
  WireReader,
  wireText,
} from "./proto-wire.ts";

/** Numbers of the arms of ProducerClientEvent. */
export const createArms = { create: 2, createBatch: 3 } as const;

const noBytes = new Uint8Array(0);

/** A `create` or `create_batch` event as it came, and a cursor over its tasks. */
export class CreateFrame {
  readonly kind: "create" | "create_batch";
  readonly buffer: Buffer;
  readonly count: number;
  /** Place of each task's raw seq varint in `buffer`; 0 = absent, which is seq 0. */
  readonly seqAt: Uint32Array;
  /** The batch's run id, or the lone task's; null for none. Known once all tasks were read. */
  runId: Buffer | null = null;

  // The task under the cursor. Texts are "" and numbers 0 where the field is absent.
  queue = "";
  priority = 0;
  maxAttempts = 0;
  delaySeconds = 0;
  /** ms since 1970; -1 = absent */
  runAtMs = -1;
  webhook = "";
  traceParent = "";
  traceState = "";
  idempotencyKey = "";
  payloadFrom = 0;
  payloadTo = 0;
  /** Bytes of the whole task as encoded. */
  taskBytes = 0;

  private readonly reader: WireReader;
  private readonly end: number;
  private nextAt: number;
  private index = 0;
  /** The tasks of a frame mostly have one queue: its text is made once. */
  private lastQueue = "";
  private queueFrom = 0;
  private queueTo = 0;

  /** @throws DecodeError when the frame's outer structure is broken */
  constructor(buffer: Buffer, arm: Arm) {
    this.kind = arm.field === createArms.create ? "create" : "create_batch";
    this.buffer = buffer;
    this.count = this.kind === "create" ? 1 : countItems(buffer, arm.from, arm.to);
    this.seqAt = new Uint32Array(this.count);
    this.reader = new WireReader(buffer);
    this.nextAt = arm.from;
    this.end = arm.to;
  }

  /**
   * Moves to the next task; after the last one, `runId` is set.
   * @throws DecodeError when it is malformed: the frame is then of no more use
   */
  next(): boolean {
    if (this.kind === "create") {
      if (this.index > 0) return false;
      this.readTask(this.nextAt, this.end);
      return true;
    }
    const reader = this.reader;
    reader.move(this.nextAt, this.end);
    while (reader.at < reader.end) {
      const tag = reader.varint();
      if (tag === 10) {
        const to = reader.span();
        this.nextAt = to;
        this.readTask(reader.at, to);
        return true;
      }
      if (tag === sizedTag(20)) this.runId = readRunId(reader);
      else reader.skip(tag);
    }
    this.nextAt = this.end;
    return false;
  }

  private readTask(from: number, to: number): void {
    const reader = this.reader;
    reader.move(from, to);
    this.taskBytes = to - from;
    this.clear();
    while (reader.at < to) this.readField(reader, reader.varint());
    this.index++;
  }

  private clear(): void {
    this.queue = "";
    this.priority = 0;
    this.maxAttempts = 0;
    this.delaySeconds = 0;
    this.runAtMs = -1;
    this.webhook = "";
    this.traceParent = "";
    this.traceState = "";
    this.idempotencyKey = "";
    this.payloadFrom = 0;
    this.payloadTo = 0;
  }

  private readField(reader: WireReader, tag: number): void {
    switch (tag) {
      case 8:
        this.seqAt[this.index] = reader.at;
        reader.varint();
        return;
      case 18:
        this.queue = this.readQueue(reader);
        return;
      case 26:
        this.payloadTo = reader.span();
        this.payloadFrom = reader.at;
        reader.at = this.payloadTo;
        return;
      case 32:
        this.priority = reader.int32();
        return;
      case 42:
        this.webhook = reader.text();
        return;
      case 48:
        this.maxAttempts = reader.int32();
        return;
      default:
        this.readRareField(reader, tag);
    }
  }

  private readRareField(reader: WireReader, tag: number): void {
    switch (tag) {
      case 58:
        this.idempotencyKey = reader.text();
        return;
      case 66: {
        const to = reader.span();
        this.runAtMs = readTimestamp(this.buffer, reader.at, to);
        reader.at = to;
        return;
      }
      case 72:
        this.delaySeconds = reader.int32();
        return;
      case 82:
        this.traceParent = reader.text();
        return;
      case 90:
        this.traceState = reader.text();
        return;
      case sizedTag(20):
        if (this.kind === "create") this.runId = readRunId(reader);
        else reader.skip(tag);
        return;
      default:
        reader.skip(tag);
    }
  }

  private readQueue(reader: WireReader): string {
    const to = reader.span();
    const from = reader.at;
    reader.at = to;
    const { buffer } = this;
    if (this.lastQueue !== "" && sameBytes(buffer, from, to, this.queueFrom, this.queueTo)) {
      return this.lastQueue;
    }
    this.lastQueue = wireText(buffer, from, to);
    this.queueFrom = from;
    this.queueTo = to;
    return this.lastQueue;
  }
}

function readRunId(reader: WireReader): Buffer | null {
  const bytes = reader.bytes();
  return bytes.length === 0 ? null : bytes;
}

function sameBytes(buffer: Buffer, from: number, to: number, at: number, end: number): boolean {
  if (to - from !== end - at) return false;
  for (let i = from, j = at; i < to; i++, j++) if (buffer[i] !== buffer[j]) return false;
  return true;
}

/** A task to be created, as the client SDK hands it over. Absent is the server's default. */
export interface CreateInput {
  /** Integer, 0..2^53 */
  readonly seq: number;
  readonly queue: string;
  readonly payload: Uint8Array;
  readonly priority?: number;
  readonly maxAttempts?: number;
  /** ms since 1970; wins over delaySeconds */
  readonly runAtMs?: number;
  readonly delaySeconds?: number;
  readonly idempotencyKey?: string;
  readonly webhook?: string;
  readonly traceParent?: string;
  readonly traceState?: string;
}

/**
 * The event `create`.
 * @param runId - 16 bytes that are the task's id, or null
 */
export function encodeCreate(task: CreateInput, runId: Uint8Array | null): Buffer {
  const writer = frameWriter(task.payload.length + 128);
  putTask(writer, task);
  putBytesField(writer, 20, runId ?? noBytes);
  return finishFrame(writer, createArms.create);
}

/**
 * The event `create_batch`.
 * @param runId - 16 bytes, the first task's id, or null
 */
export function encodeCreateBatch(tasks: readonly CreateInput[], runId: Uint8Array | null): Buffer {
  let expected = 64;
  for (const task of tasks) expected += task.payload.length + task.queue.length + 32;
  const writer = frameWriter(expected);
  for (const task of tasks) {
    const room = varintBytes(task.payload.length + task.queue.length + 16);
    const from = openItem(writer, room);
    putTask(writer, task);
    closeItem(writer, from, room);
  }
  putBytesField(writer, 20, runId ?? noBytes);
  return finishFrame(writer, createArms.createBatch);
}

function putTask(writer: ByteWriter, task: CreateInput): void {
  putNumberField(writer, 1, task.seq);
  putTextField(writer, 2, task.queue);
  putBytesField(writer, 3, task.payload);
  putNumberField(writer, 4, task.priority ?? 0);
  putTextField(writer, 5, task.webhook ?? "");
  putNumberField(writer, 6, task.maxAttempts ?? 0);
  putTextField(writer, 7, task.idempotencyKey ?? "");
  if (task.runAtMs !== undefined) putTimestampField(writer, 8, task.runAtMs);
  putNumberField(writer, 9, task.delaySeconds ?? 0);
  putTextField(writer, 10, task.traceParent ?? "");
  putTextField(writer, 11, task.traceState ?? "");
}
