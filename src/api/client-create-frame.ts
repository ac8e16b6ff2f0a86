/**
 * `create_batch` events as the SDK writes them: the fields that tasks have in common are encoded
 * once and copied, so that a task costs its seq, two copies and no object. Measured on Node 20, 128
 * tasks with 200 bytes of payload each: a quarter of the time of `encodeCreateBatch`.
 */
import { ByteWriter } from "../base/bytes.ts";
import { type CreateInput, createArms } from "./create-coder.ts";
import { putTimestampField } from "./proto-time.ts";
import {
  putNumberField,
  putTextField,
  putVarint,
  sizedTag,
  varintBytes,
  varintTag,
} from "./proto-wire.ts";

/** Tasks of a frame that differ in nothing but their payload. */
export interface CreatePart {
  /** From `encodeTaskFields`. */
  readonly fields: Uint8Array;
  /** payloads[from..from+count) belong to the frame. */
  readonly payloads: readonly Uint8Array[];
  readonly from: number;
  readonly count: number;
}

/** All fields of a CreateTask but seq and payload. */
export function encodeTaskFields(task: Omit<CreateInput, "seq" | "payload">): Uint8Array {
  const writer = new ByteWriter(64 + task.queue.length);
  putTextField(writer, 2, task.queue);
  putNumberField(writer, 4, task.priority ?? 0);
  putTextField(writer, 5, task.webhook ?? "");
  putNumberField(writer, 6, task.maxAttempts ?? 0);
  putTextField(writer, 7, task.idempotencyKey ?? "");
  if (task.runAtMs !== undefined) putTimestampField(writer, 8, task.runAtMs);
  putNumberField(writer, 9, task.delaySeconds ?? 0);
  putTextField(writer, 10, task.traceParent ?? "");
  putTextField(writer, 11, task.traceState ?? "");
  return writer.finish();
}

/**
 * The event `create_batch`.
 * @param firstSeq - 1 or more; the tasks are numbered from it
 * @param runId - 16 bytes, the first task's id, or null
 */
export function encodeCreateParts(
  parts: readonly CreatePart[],
  firstSeq: number,
  runId: Uint8Array | null,
): Buffer {
  const runIdBytes = runId === null ? 0 : 3 + runId.length;
  const body = bodyBytes(parts, firstSeq) + runIdBytes;
  const out = Buffer.allocUnsafe(1 + varintBytes(body) + body);
  out[0] = sizedTag(createArms.createBatch);
  let at = putVarint(out, 1, body);
  let seq = firstSeq;
  for (const { fields, payloads, from, count } of parts) {
    for (let i = from; i < from + count; i++) {
      const payload = payloads[i] as Uint8Array;
      out[at++] = sizedTag(1);
      at = putVarint(out, at, taskBytes(fields, payload, seq));
      out[at++] = varintTag(1);
      at = putVarint(out, at, seq++);
      at = copyBytes(fields, out, at);
      if (payload.length > 0) {
        out[at++] = sizedTag(3);
        at = putVarint(out, at, payload.length);
        at = copyBytes(payload, out, at);
      }
    }
  }
  if (runId !== null) {
    at = putVarint(out, at, sizedTag(20));
    out[at++] = runId.length;
    copyBytes(runId, out, at);
  }
  return out;
}

function bodyBytes(parts: readonly CreatePart[], firstSeq: number): number {
  let bytes = 0;
  let seq = firstSeq;
  for (const { fields, payloads, from, count } of parts) {
    for (let i = from; i < from + count; i++) {
      const size = taskBytes(fields, payloads[i] as Uint8Array, seq++);
      bytes += 1 + varintBytes(size) + size;
    }
  }
  return bytes;
}

function taskBytes(fields: Uint8Array, payload: Uint8Array, seq: number): number {
  const { length } = payload;
  const own = length === 0 ? 0 : 1 + varintBytes(length) + length;
  return 1 + varintBytes(seq) + fields.length + own;
}

/** Short copies in a loop: a call into the buffer's own copy costs as much as about 100 bytes. */
function copyBytes(source: Uint8Array, out: Buffer, at: number): number {
  const { length } = source;
  if (length > 96) {
    out.set(source, at);
  } else {
    for (let i = 0; i < length; i++) out[at + i] = source[i] as number;
  }
  return at + length;
}
