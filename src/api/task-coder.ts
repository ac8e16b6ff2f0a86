/**
 * Tasks on their way to a worker: `task` and `task_batch` events, written by servers from grants
 * and read by clients.
 *
 * What all tasks of a grant share is encoded once and copied: 50 µs per 128 tasks of 200 bytes on
 * Node 20 (test/unit/proto/coder-speed.ts).
 */
import { ByteWriter } from "../base/bytes.ts";
import { writeTaskIdAscii } from "./proto-task-id.ts";
import { putTimestampField, readTimestamp } from "./proto-time.ts";
import {
  closeItem,
  finishFrame,
  frameWriter,
  openItem,
  putNumberField,
  putTextField,
  putVarint,
  varintBytes,
  WireReader,
} from "./proto-wire.ts";
import { formatTime } from "./rfc3339.ts";

/** Tasks of one run that were granted together (router/router.ts has the same shape). */
export interface GrantColumns {
  readonly tenant: string;
  readonly queue: string;
  readonly priority: number;
  readonly workerId: string;
  readonly leaseToken: number;
  readonly leaseUntilMs: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly count: number;
  /** 16 bytes per task. */
  readonly ids: Buffer;
  readonly attempts: Uint16Array;
  readonly maxAttempts: Uint16Array;
  /** Payload of task i is block[payloadFrom[i]..payloadTo[i]). */
  readonly block: Buffer;
  readonly payloadFrom: Uint32Array;
  readonly payloadTo: Uint32Array;
  readonly extras: readonly (TaskTexts | null)[] | null;
}

/** Texts that travel with a task. */
export interface TaskTexts {
  readonly webhook?: string;
  readonly traceParent?: string;
  readonly traceState?: string;
}

/** Numbers of the arms of WorkerServerEvent that carry tasks. */
export const taskArms = { task: 2, taskBatch: 8 } as const;

/** Tag, length and text of an id; payload's tag and length; attempts and max_attempts. */
const ownBytes = 38 + 6 + 3 + 3;

/** The event `task` for the first task of the grant. */
export function encodeTask(grant: GrantColumns): Buffer {
  const shared = encodeShared(grant);
  const size = (grant.payloadTo[0] as number) - (grant.payloadFrom[0] as number);
  const writer = frameWriter(shared.length + ownBytes + size + 8);
  const room = varintBytes(shared.length + ownBytes + size);
  const from = openItem(writer, room);
  putTask(writer, grant, 0, shared);
  closeItem(writer, from, room);
  return finishFrame(writer, taskArms.task);
}

/** The event `task_batch` for all tasks of the grants, in order. */
export function encodeTaskBatch(grants: readonly GrantColumns[]): Buffer {
  let bytes = 0;
  for (const grant of grants) bytes += expectedBytes(grant);
  const writer = frameWriter(bytes);
  for (const grant of grants) {
    const shared = encodeShared(grant);
    for (let i = 0; i < grant.count; i++) {
      const size = (grant.payloadTo[i] as number) - (grant.payloadFrom[i] as number);
      const room = varintBytes(shared.length + ownBytes - 4 + size);
      const from = openItem(writer, room);
      putTask(writer, grant, i, shared);
      closeItem(writer, from, room);
    }
  }
  return finishFrame(writer, taskArms.taskBatch);
}

function expectedBytes(grant: GrantColumns): number {
  let payloads = 0;
  for (let i = 0; i < grant.count; i++) {
    payloads += (grant.payloadTo[i] as number) - (grant.payloadFrom[i] as number);
  }
  const names = grant.queue.length + grant.tenant.length + grant.workerId.length;
  return payloads + grant.count * (ownBytes + names + 96);
}

/** The fields that all tasks of a grant have in common. */
function encodeShared(grant: GrantColumns): Buffer {
  const writer = new ByteWriter(256);
  putTextField(writer, 2, grant.queue);
  putNumberField(writer, 4, grant.priority);
  putTextField(writer, 7, "IN_PROGRESS");
  putTextField(writer, 8, grant.workerId);
  putTextField(writer, 9, formatTime(grant.leaseUntilMs));
  putTextField(writer, 11, grant.tenant);
  putTimestampField(writer, 12, grant.createdAtMs);
  putTimestampField(writer, 13, grant.updatedAtMs);
  putNumberField(writer, 20, grant.leaseToken);
  return writer.finish();
}

function putTask(writer: ByteWriter, grant: GrantColumns, i: number, shared: Buffer): void {
  const from = grant.payloadFrom[i] as number;
  const to = grant.payloadTo[i] as number;
  writer.reserve(ownBytes + shared.length + to - from);
  const out = writer.buffer;
  let at = writer.length;
  out[at++] = 10;
  out[at++] = 36;
  writeTaskIdAscii(grant.ids, i * 16, out, at);
  at += 36;
  if (to > from) {
    out[at++] = 26;
    at = putVarint(out, at, to - from);
    at = copyBytes(grant.block, from, to, out, at);
  }
  out[at++] = 48;
  at = putVarint(out, at, grant.maxAttempts[i] as number);
  out[at++] = 80;
  at = putVarint(out, at, grant.attempts[i] as number);
  writer.length = copyBytes(shared, 0, shared.length, out, at);
  const texts = grant.extras?.[i];
  if (texts !== null && texts !== undefined) putTexts(writer, texts);
}

/** Short copies in a loop: a call into the buffer's own copy costs as much as about 100 bytes. */
function copyBytes(source: Buffer, from: number, to: number, out: Buffer, at: number): number {
  if (to - from > 96) {
    source.copy(out, at, from, to);
    return at + to - from;
  }
  let place = at;
  for (let i = from; i < to; i++) out[place++] = source[i] as number;
  return place;
}

function putTexts(writer: ByteWriter, texts: TaskTexts): void {
  putTextField(writer, 5, texts.webhook ?? "");
  putTextField(writer, 21, texts.traceParent ?? "");
  putTextField(writer, 22, texts.traceState ?? "");
}

/** A task as the client SDK gets it. */
export interface ReceivedTask {
  id: string;
  queue: string;
  /** A view of the frame it came in. */
  payload: Buffer;
  priority: number;
  webhook: string;
  maxAttempts: number;
  workerId: string;
  /** RFC 3339 */
  leaseUntil: string;
  attempts: number;
  tenant: string;
  createdAtMs: number;
  updatedAtMs: number;
  leaseToken: number;
  traceParent: string;
  traceState: string;
}

/**
 * The tasks of a `task` or `task_batch` message in buffer[from..to), which have the same form.
 * @throws DecodeError when it is malformed
 */
export function decodeTasks(buffer: Buffer, from: number, to: number): ReceivedTask[] {
  const outer = new WireReader(buffer, from, to);
  const inner = new WireReader(buffer, from, to);
  const tasks: ReceivedTask[] = [];
  while (outer.at < to) {
    const tag = outer.varint();
    if (tag !== 10) {
      outer.skip(tag);
      continue;
    }
    const end = outer.span();
    inner.move(outer.at, end);
    tasks.push(decodeTask(inner));
    outer.at = end;
  }
  return tasks;
}

function decodeTask(reader: WireReader): ReceivedTask {
  const task: ReceivedTask = {
    id: "",
    queue: "",
    payload: reader.buffer.subarray(0, 0),
    priority: 0,
    webhook: "",
    maxAttempts: 0,
    workerId: "",
    leaseUntil: "",
    attempts: 0,
    tenant: "",
    createdAtMs: 0,
    updatedAtMs: 0,
    leaseToken: 0,
    traceParent: "",
    traceState: "",
  };
  while (reader.at < reader.end) decodeTaskField(reader, reader.varint(), task);
  return task;
}

function decodeTaskField(reader: WireReader, tag: number, task: ReceivedTask): void {
  switch (tag) {
    case 10:
      task.id = reader.text();
      return;
    case 18:
      task.queue = reader.text();
      return;
    case 26:
      task.payload = reader.bytes();
      return;
    case 32:
      task.priority = reader.int32();
      return;
    case 42:
      task.webhook = reader.text();
      return;
    case 48:
      task.maxAttempts = reader.int32();
      return;
    case 66:
      task.workerId = reader.text();
      return;
    case 74:
      task.leaseUntil = reader.text();
      return;
    case 80:
      task.attempts = reader.int32();
      return;
    case 90:
      task.tenant = reader.text();
      return;
    case 98:
      task.createdAtMs = readTime(reader);
      return;
    case 106:
      task.updatedAtMs = readTime(reader);
      return;
    case 160:
      task.leaseToken = reader.varint();
      return;
    case 170:
      task.traceParent = reader.text();
      return;
    case 178:
      task.traceState = reader.text();
      return;
    default:
      reader.skip(tag);
  }
}

function readTime(reader: WireReader): number {
  const to = reader.span();
  const ms = readTimestamp(reader.buffer, reader.at, to);
  reader.at = to;
  return ms;
}
