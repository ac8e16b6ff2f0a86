/** Looks at the shard of another node, and what it sees, as bytes (remote-look.ts). */
import { unreachable } from "../base/assert.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { taskStates } from "../base/task-state.ts";
import type { TaskExtras } from "../shard/grants.ts";
import type { Scan, ScanBounds, TaskFilter, TaskRef } from "../shard/listing.ts";
import type { ResultView, TaskRead } from "../shard/reads.ts";
import type { Retained, RetainedBounds } from "../shard/retained.ts";
import type { NameBounds, QueueLook } from "./shard-look.ts";

/** A look, by its number on the wire. */
export type Look =
  | { readonly kind: "scan"; readonly filter: TaskFilter; readonly bounds: ScanBounds }
  | { readonly kind: "read"; readonly tenant: string; readonly refs: readonly TaskRef[] }
  | { readonly kind: "names"; readonly tenant: string; readonly bounds: NameBounds }
  | { readonly kind: "counts"; readonly tenant: string; readonly queue: string }
  | {
      readonly kind: "retained";
      readonly tenant: string;
      readonly from: string;
      readonly bounds: RetainedBounds;
    };

const lookKinds = ["scan", "read", "names", "counts", "retained"] as const;

export function encodeLook(look: Look): Buffer {
  const out = new ByteWriter(256);
  out.u8(lookKinds.indexOf(look.kind));
  switch (look.kind) {
    case "scan": {
      const { filter, bounds } = look;
      out.latin1(filter.tenant);
      optional(out, filter.queue);
      out.u16(filter.states);
      out.latin1(bounds.after);
      out.varint(bounds.limit);
      out.varint(bounds.rows);
      break;
    }
    case "read":
      out.latin1(look.tenant);
      writeRefs(out, look.refs);
      break;
    case "names":
      out.latin1(look.tenant);
      out.latin1(look.bounds.after);
      out.varint(look.bounds.limit);
      break;
    case "counts":
      out.latin1(look.tenant);
      out.latin1(look.queue);
      break;
    case "retained":
      out.latin1(look.tenant);
      out.latin1(look.from);
      out.varint(look.bounds.beforeMs);
      out.varint(look.bounds.limit);
      break;
    default:
      unreachable(look);
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeLook(body: Buffer): Look {
  const input = new ByteReader(body);
  const kind = lookKinds[input.u8()];
  const text = () => input.latin1();
  switch (kind) {
    case "scan": {
      const filter = { tenant: text(), queue: readOptional(input), states: input.u16() };
      const bounds = { after: text(), limit: input.varint(), rows: input.varint() };
      return { kind, filter, bounds };
    }
    case "read":
      return { kind, tenant: text(), refs: readRefs(input) };
    case "names":
      return { kind, tenant: text(), bounds: { after: text(), limit: input.varint() } };
    case "counts":
      return { kind, tenant: text(), queue: text() };
    case "retained": {
      const [tenant, from] = [text(), text()];
      return { kind, tenant, from, bounds: { beforeMs: input.varint(), limit: input.varint() } };
    }
    default:
      throw new DecodeError("unknown look");
  }
}

function optional(out: ByteWriter, text: string | null): void {
  out.u8(text === null ? 0 : 1);
  if (text !== null) out.latin1(text);
}

function readOptional(input: ByteReader): string | null {
  return input.u8() === 1 ? input.latin1() : null;
}

function readCount(input: ByteReader, itemBytes: number): number {
  const count = input.varint();
  if (count * itemBytes > input.left) throw new DecodeError(`${count} items`);
  return count;
}

function writeRefs(out: ByteWriter, refs: readonly TaskRef[]): void {
  out.varint(refs.length);
  for (const { id, runKey, place } of refs) {
    out.latin1(id);
    out.latin1(runKey);
    out.u8(place);
  }
}

function readRefs(input: ByteReader): TaskRef[] {
  const length = readCount(input, 3);
  return Array.from({ length }, () => {
    return { id: input.latin1(), runKey: input.latin1(), place: input.u8() };
  });
}

export function encodeScan({ refs, end }: Scan): Buffer {
  const out = new ByteWriter(64 + 40 * refs.length);
  optional(out, end);
  writeRefs(out, refs);
  return out.finish();
}

/** @throws DecodeError */
export function decodeScan(body: Buffer): Scan {
  const input = new ByteReader(body);
  const end = readOptional(input);
  return { end, refs: readRefs(input) };
}

export function encodeNames(names: readonly string[]): Buffer {
  const out = new ByteWriter(256);
  out.varint(names.length);
  for (const name of names) out.latin1(name);
  return out.finish();
}

/** @throws DecodeError */
export function decodeNames(body: Buffer): string[] {
  const input = new ByteReader(body);
  return Array.from({ length: readCount(input, 1) }, () => input.latin1());
}

/** Rates travel in thousandths. */
const rateScale = 1000;

export function encodeCounts(counts: QueueLook | null): Buffer {
  const out = new ByteWriter(96);
  out.u8(counts ? 1 : 0);
  if (!counts) return out.finish();
  const { ready, delayed, leased, dead, tasks, oldestReadyAgeMs, paused } = counts;
  for (const count of [ready, delayed, leased, dead, tasks]) out.varint(count);
  out.varint(Math.round(oldestReadyAgeMs));
  out.u8(paused ? 1 : 0);
  out.varint(Math.round(counts.createdPerSecond * rateScale));
  out.varint(Math.round(counts.settledPerSecond * rateScale));
  return out.finish();
}

/** @throws DecodeError */
export function decodeCounts(body: Buffer): QueueLook | null {
  const input = new ByteReader(body);
  if (input.u8() === 0) return null;
  const [ready, delayed, leased] = [input.varint(), input.varint(), input.varint()];
  const [dead, tasks, oldestReadyAgeMs] = [input.varint(), input.varint(), input.varint()];
  const paused = input.u8() === 1;
  const createdPerSecond = input.varint() / rateScale;
  const settledPerSecond = input.varint() / rateScale;
  const counts = { ready, delayed, leased, dead, tasks, oldestReadyAgeMs, paused };
  return { ...counts, createdPerSecond, settledPerSecond };
}

export function encodeRetained({ byQueue, count, next }: Retained): Buffer {
  const out = new ByteWriter(64 + 16 * count);
  out.varint(count);
  optional(out, next);
  out.varint(byQueue.size);
  for (const [queue, ids] of byQueue) {
    out.latin1(queue);
    out.varint(ids.length);
    for (const id of ids) out.bytes(id);
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeRetained(body: Buffer): Retained {
  const input = new ByteReader(body);
  const count = input.varint();
  const next = readOptional(input);
  const byQueue = new Map<string, Buffer[]>();
  for (let left = readCount(input, 2); left > 0; left--) {
    const queue = input.latin1();
    const length = readCount(input, 16);
    byQueue.set(
      queue,
      Array.from({ length }, () => input.bytes(16)),
    );
  }
  return { byQueue, count, next };
}

function writeRead(out: ByteWriter, read: TaskRead, { withResult }: { withResult: boolean }): void {
  out.latin1(read.tenant);
  out.latin1(read.queue);
  out.u8(read.priority);
  out.u8(taskStates.indexOf(read.state));
  for (const count of [read.attempts, read.maxAttempts, read.leaseToken]) out.varint(count);
  const { leaseUntilMs, runAtMs, createdAtMs, updatedAtMs } = read;
  for (const time of [leaseUntilMs, runAtMs, createdAtMs, updatedAtMs]) out.varint(time);
  out.utf8(read.workerId);
  out.utf8(read.error);
  out.sized(read.payload);
  out.u8(read.extras ? 1 : 0);
  const { webhook = "", traceParent = "", traceState = "" } = read.extras ?? {};
  if (read.extras) for (const text of [webhook, traceParent, traceState]) out.utf8(text);
  const result = withResult ? read.result : null;
  out.u8(result ? 1 : 0);
  if (!result) return;
  out.u8(result.status === "COMPLETED" ? 1 : 0);
  out.u8(result.result ? 1 : 0);
  if (result.result) out.sized(result.result);
  out.utf8(result.error);
  out.varint(result.completedAtMs);
}

function readRead(input: ByteReader): TaskRead {
  const [tenant, queue, priority] = [input.latin1(), input.latin1(), input.u8()];
  const state = taskStates[input.u8()];
  if (!state) throw new DecodeError("unknown state of a task");
  const [attempts, maxAttempts, leaseToken] = [input.varint(), input.varint(), input.varint()];
  const [leaseUntilMs, runAtMs] = [input.varint(), input.varint()];
  const [createdAtMs, updatedAtMs] = [input.varint(), input.varint()];
  const [workerId, error, payload] = [input.utf8(), input.utf8(), input.sized()];
  const extras = input.u8() === 1 ? readExtras(input) : null;
  const result = input.u8() === 1 ? readResult(input) : null;
  return {
    ...{ tenant, queue, priority, state, attempts, maxAttempts, leaseToken, leaseUntilMs, runAtMs },
    ...{ createdAtMs, updatedAtMs, workerId, error, payload, extras, result },
  };
}

function readExtras(input: ByteReader): TaskExtras {
  const [webhook, traceParent, traceState] = [input.utf8(), input.utf8(), input.utf8()];
  return {
    ...(webhook && { webhook }),
    ...(traceParent && { traceParent }),
    ...(traceState && { traceState }),
  };
}

function readResult(input: ByteReader): ResultView {
  const status = input.u8() === 1 ? "COMPLETED" : "FAILED";
  const result = input.u8() === 1 ? input.sized() : null;
  return { status, result, error: input.utf8(), completedAtMs: input.varint() };
}

/** As many as fit, the first in any case; without results. */
export function encodeReads(reads: readonly (TaskRead | null)[]): Buffer {
  const out = new ByteWriter(1024);
  out.u16(0);
  let count = 0;
  for (const read of reads) {
    if (count > 0 && read && out.length + bytesOf(read) > limits.listBytes) break;
    out.u8(read ? 1 : 0);
    if (read) writeRead(out, read, { withResult: false });
    count++;
  }
  out.buffer.writeUInt16BE(count, 0);
  return out.finish();
}

function bytesOf({ payload, error }: TaskRead): number {
  return payload.length + error.length;
}

/** @throws DecodeError */
export function decodeReads(body: Buffer): (TaskRead | null)[] {
  const input = new ByteReader(body);
  const length = input.u16();
  return Array.from({ length }, () => (input.u8() === 1 ? readRead(input) : null));
}

/** One task for GET: the whole of it, or, where that is too much for a frame, without its payload. */
export function encodeTask(read: TaskRead, part: TaskPart): Buffer {
  const out = new ByteWriter(1024 + read.payload.length);
  const shown = part === "result" ? { ...read, payload: Buffer.alloc(0) } : read;
  writeRead(out, shown, { withResult: part !== "task" });
  return out.finish();
}

/** @throws DecodeError */
export function decodeTask(body: Buffer): TaskRead {
  return readRead(new ByteReader(body));
}

/** What of a task is asked for: payload and result together may be too long for one frame. */
export type TaskPart = "task" | "result";
const taskParts: readonly TaskPart[] = ["task", "result"];

export interface TaskQuestion {
  readonly tenant: string;
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly part: TaskPart;
  /** Waits so long for its end. */
  readonly waitMs: number;
}

export function encodeTaskQuestion({ tenant, id, part, waitMs }: TaskQuestion): Buffer {
  const out = new ByteWriter(96);
  out.latin1(tenant);
  out.bytes(id);
  out.u8(taskParts.indexOf(part));
  out.varint(Math.round(waitMs));
  return out.finish();
}

/** @throws DecodeError */
export function decodeTaskQuestion(body: Buffer): TaskQuestion {
  const input = new ByteReader(body);
  const tenant = input.latin1();
  const id = input.bytes(16);
  const part = taskParts[input.u8()];
  if (!part) throw new DecodeError("unknown part of a task");
  return { tenant, id, part, waitMs: input.varint() };
}
