/**
 * A task record: what a producer gave, in the form in which it is logged and stored. The payload
 * block of a run is its records one after another, sliced from the create command.
 *
 * flags u8 (1 extras, 2 delay, 4 runAt), max attempts u16, payload length varint,
 * [delay ms u48 | runAt ms u48], [extras: length varint, webhook, traceParent, traceState sized],
 * payload.
 */
import { ByteReader, type ByteWriter, DecodeError } from "../base/bytes.ts";

const flagExtras = 1;
const flagDelay = 2;
const flagRunAt = 4;

/** Texts that travel with a task and that the queue does not look into; "" = none. */
export interface RecordExtras {
  readonly webhook: string;
  readonly traceParent: string;
  readonly traceState: string;
}

export interface TaskRecord {
  readonly maxAttempts: number;
  /** ms after the leader's time; 0 = none. */
  readonly delayMs: number;
  /** ms since 1970; 0 = none, wins over delayMs. */
  readonly runAtMs: number;
  readonly extras: RecordExtras | null;
}

/** Appends a record whose payload is bytes[from..to). */
export function encodeTaskRecord(
  out: ByteWriter,
  task: TaskRecord,
  bytes: Uint8Array,
  from: number,
  to: number,
): void {
  const size = to - from;
  const timed = task.runAtMs > 0 ? flagRunAt : task.delayMs > 0 ? flagDelay : 0;
  out.reserve(size + 24);
  out.u8(timed | (task.extras ? flagExtras : 0));
  out.u16(task.maxAttempts);
  out.varint(size);
  if (timed !== 0) out.u48(timed === flagRunAt ? task.runAtMs : task.delayMs);
  if (task.extras) encodeExtras(out, task.extras);
  out.reserve(size);
  if (size > 0) {
    if (size < 32)
      for (let i = 0; i < size; i++) out.buffer[out.length + i] = bytes[from + i] as number;
    else out.buffer.set(bytes.subarray(from, to), out.length);
    out.length += size;
  }
}

function encodeExtras(out: ByteWriter, extras: RecordExtras): void {
  const { webhook, traceParent, traceState } = extras;
  const size =
    Buffer.byteLength(webhook) + Buffer.byteLength(traceParent) + Buffer.byteLength(traceState);
  // Each of the three lengths takes one or two bytes; a fixed two-byte form keeps the size simple.
  out.varint(size + 6);
  for (const text of [webhook, traceParent, traceState]) {
    out.u16(Buffer.byteLength(text));
    out.reserve(text.length * 3);
    out.length += out.buffer.write(text, out.length, "utf8");
  }
}

/** One record while walking a block; reused from record to record. */
export class RecordCursor {
  readonly block: Buffer;
  at: number;
  readonly end: number;
  maxAttempts = 0;
  delayMs = 0;
  runAtMs = 0;
  payloadFrom = 0;
  payloadTo = 0;
  extrasFrom = 0;
  extrasTo = 0;
  /** Bytes of the whole record. */
  size = 0;

  constructor(block: Buffer, at = 0, end = block.length) {
    this.block = block;
    this.at = at;
    this.end = end;
  }

  /** Moves to the next record. @throws DecodeError when the block is malformed or at its end */
  next(): void {
    const { block } = this;
    const from = this.at;
    if (from + 4 > this.end) throw new DecodeError(`task record at ${from}`);
    const flags = block[from] as number;
    this.maxAttempts = ((block[from + 1] as number) << 8) | (block[from + 2] as number);
    this.at = from + 3;
    const payloadSize = this.varint();
    this.delayMs = 0;
    this.runAtMs = 0;
    if (flags & (flagDelay | flagRunAt)) {
      if (this.at + 6 > this.end) throw new DecodeError(`task record at ${from}`);
      const time = block.readUIntBE(this.at, 6);
      this.at += 6;
      if (flags & flagRunAt) this.runAtMs = time;
      else this.delayMs = time;
    }
    this.extrasFrom = 0;
    this.extrasTo = 0;
    if (flags & flagExtras) {
      const size = this.varint();
      this.extrasFrom = this.at;
      this.extrasTo = this.at + size;
      this.at = this.extrasTo;
    }
    this.payloadFrom = this.at;
    this.payloadTo = this.at + payloadSize;
    this.at = this.payloadTo;
    if (this.at > this.end) throw new DecodeError(`task record at ${from}`);
    this.size = this.at - from;
  }

  /** The extras of the current record, or null. */
  extras(): RecordExtras | null {
    if (this.extrasTo === 0) return null;
    const input = new ByteReader(this.block, this.extrasFrom, this.extrasTo);
    const webhook = input.bytes(input.u16()).toString();
    const traceParent = input.bytes(input.u16()).toString();
    return { webhook, traceParent, traceState: input.bytes(input.u16()).toString() };
  }

  private varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5; i++) {
      if (this.at >= this.end) throw new DecodeError(`task record at ${this.at}`);
      const byte = this.block[this.at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw new DecodeError(`task record at ${this.at}`);
  }
}
