/**
 * Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding), as far as the coders
 * of the hot messages need it: a reader that walks a frame in place, and the tags.
 *
 * A field whose wire type is not the expected one is an unknown field, and unknown fields are
 * skipped, as other implementations do: coders therefore switch on the whole tag.
 */
import { isUtf8 } from "node:buffer";
import { ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";

/** Groups nest; nobody has used them since proto2. Deeper ones are refused. */
const groupDepthMax = 16;

/** The tag of a field that holds a varint. */
export function varintTag(field: number): number {
  return field * 8;
}

/** The tag of a field that holds bytes, text or a message. */
export function sizedTag(field: number): number {
  return field * 8 + 2;
}

/** Walks the bytes buffer[at..end). Never reads past `end`: it throws DecodeError. */
export class WireReader {
  readonly buffer: Buffer;
  at: number;
  end: number;

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  /** Moves to another part of the same buffer. */
  move(at: number, end: number): void {
    this.at = at;
    this.end = end;
  }

  /** An unsigned integer; above 2^53 it is rounded, as any double is. */
  varint(): number {
    let at = this.at;
    if (at >= this.end) throw truncated(at);
    let byte = this.buffer[at++] as number;
    let value = byte & 127;
    for (let scale = 128; byte > 127; scale *= 128) {
      if (at >= this.end) throw truncated(at);
      if (at - this.at >= 10) throw new DecodeError(`varint over 10 bytes at ${this.at}`);
      byte = this.buffer[at++] as number;
      value += (byte & 127) * scale;
    }
    this.at = at;
    return value;
  }

  /** The low 32 bits of a varint as a signed integer: int32. */
  int32(): number {
    let at = this.at;
    if (at >= this.end) throw truncated(at);
    let byte = this.buffer[at++] as number;
    let value = byte & 127;
    for (let shift = 7; byte > 127; shift += 7) {
      if (at >= this.end) throw truncated(at);
      if (at - this.at >= 10) throw new DecodeError(`varint over 10 bytes at ${this.at}`);
      byte = this.buffer[at++] as number;
      if (shift < 32) value |= (byte & 127) << shift;
    }
    this.at = at;
    return value | 0;
  }

  /** A bool: any varint but 0 is true. */
  bool(): boolean {
    return this.varint() !== 0;
  }

  /** Reads a length; `at` then stands at the content, and its end is returned. */
  span(): number {
    const size = this.varint();
    const to = this.at + size;
    if (to > this.end) throw truncated(this.at);
    return to;
  }

  /** A text field. @throws DecodeError when it is not UTF-8 */
  text(): string {
    const to = this.span();
    const text = wireText(this.buffer, this.at, to);
    this.at = to;
    return text;
  }

  /** A bytes field as a view of the frame. */
  bytes(): Buffer {
    const to = this.span();
    const view = this.buffer.subarray(this.at, to);
    this.at = to;
    return view;
  }

  /** Passes over the value of an unknown field. */
  skip(tag: number): void {
    this.skipNested(tag, 0);
  }

  private skipNested(tag: number, depth: number): void {
    if (tag < 8) throw new DecodeError(`field number 0 at ${this.at}`);
    switch (tag & 7) {
      case 0:
        this.varint();
        return;
      case 1:
        this.forward(8);
        return;
      case 2:
        this.at = this.span();
        return;
      case 3:
        this.skipGroup(tag, depth + 1);
        return;
      case 5:
        this.forward(4);
        return;
      default:
        throw new DecodeError(`wire type ${tag & 7} at ${this.at}`);
    }
  }

  private skipGroup(tag: number, depth: number): void {
    if (depth > groupDepthMax) throw new DecodeError(`groups nest too deep at ${this.at}`);
    for (let inner = this.varint(); inner !== tag + 1; inner = this.varint()) {
      this.skipNested(inner, depth);
    }
  }

  private forward(size: number): void {
    if (this.at + size > this.end) throw truncated(this.at);
    this.at += size;
  }
}

function truncated(at: number): DecodeError {
  return new DecodeError(`message ends in the middle of a field at ${at}`);
}

/** The text buffer[from..to). @throws DecodeError when it is not UTF-8 */
export function wireText(buffer: Buffer, from: number, to: number): string {
  if (to - from <= 64 && isAscii(buffer, from, to)) return buffer.toString("latin1", from, to);
  if (!isUtf8(buffer.subarray(from, to))) throw new DecodeError(`text is not UTF-8 at ${from}`);
  return buffer.toString("utf8", from, to);
}

function isAscii(buffer: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if ((buffer[i] as number) > 127) return false;
  return true;
}

/** Which arm of an event's oneof is set (the last one wins), and where its message lies. */
export interface Arm {
  /** Field number; 0 when none of the frame's fields holds a message. */
  readonly field: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Finds the arm of an event.
 * @param known - whether the field is one of the oneof's arms; others are skipped
 */
export function findArm(buffer: Buffer, known: (field: number) => boolean): Arm {
  const reader = new WireReader(buffer);
  let field = 0;
  let from = 0;
  let to = 0;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    if ((tag & 7) !== 2 || !known(Math.floor(tag / 8))) {
      reader.skip(tag);
      continue;
    }
    to = reader.span();
    from = reader.at;
    field = Math.floor(tag / 8);
    reader.at = to;
  }
  return { field, from, to };
}

/** How many items the repeated message field 1 of buffer[from..to) has. */
export function countItems(buffer: Buffer, from: number, to: number): number {
  const reader = new WireReader(buffer, from, to);
  let count = 0;
  while (reader.at < to) {
    const tag = reader.varint();
    if (tag === 10) {
      count++;
      reader.at = reader.span();
    } else {
      reader.skip(tag);
    }
  }
  return count;
}

/** Bytes left free at the start of a frame for the tag and length of its arm. */
const frameHeadBytes = 8;

/** A writer for the body of one event; `finishFrame` ends it. @param bodyBytes - a guess */
export function frameWriter(bodyBytes: number): ByteWriter {
  const writer = new ByteWriter(frameHeadBytes + Math.min(bodyBytes, limits.grpcMessageBytes));
  writer.length = frameHeadBytes;
  return writer;
}

/**
 * Begins an item of the repeated message field 1: its tag, and room for its length.
 * @param room - bytes of the length as guessed (varintBytes); a wrong guess costs a move
 * @returns the place where the item's bytes start
 */
export function openItem(writer: ByteWriter, room: number): number {
  writer.u8(10);
  writer.reserve(room);
  writer.length += room;
  return writer.length;
}

/** Ends the item that starts at `from`: writes its length before its bytes. */
export function closeItem(writer: ByteWriter, from: number, room: number): void {
  const size = writer.length - from;
  const bytes = varintBytes(size);
  if (bytes !== room) {
    writer.reserve(bytes);
    writer.buffer.copyWithin(from - room + bytes, from, writer.length);
    writer.length += bytes - room;
  }
  putVarint(writer.buffer, from - room, size);
}

/**
 * Puts the arm's tag and length before the body that was written into a `frameWriter`.
 * @param field - number of the arm, 1..2047
 * @returns the whole event
 */
export function finishFrame(writer: ByteWriter, field: number): Buffer {
  const size = writer.length - frameHeadBytes;
  const tag = sizedTag(field);
  let at = frameHeadBytes - varintBytes(size) - varintBytes(tag);
  const start = at;
  at = putVarint(writer.buffer, at, tag);
  putVarint(writer.buffer, at, size);
  return writer.buffer.subarray(start, writer.length);
}

/** Bytes of an unsigned integer below 2^53 as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Writes an unsigned integer below 2^53; there must be room. @returns the place after it */
export function putVarint(buffer: Buffer, at: number, value: number): number {
  let rest = value;
  let to = at;
  while (rest >= 128) {
    buffer[to++] = (rest & 127) | 128;
    rest = rest < 0x8000_0000 ? rest >>> 7 : Math.floor(rest / 128);
  }
  buffer[to++] = rest;
  return to;
}

/** Writes a varint field unless it is 0, the default. */
export function putNumberField(writer: ByteWriter, field: number, value: number): void {
  if (value <= 0) return;
  writer.varint(varintTag(field));
  writer.varint(value);
}

/** Writes a text field unless it is empty, the default. */
export function putTextField(writer: ByteWriter, field: number, value: string): void {
  if (value === "") return;
  writer.varint(sizedTag(field));
  writer.utf8(value);
}

/** Writes a bytes field unless it is empty, the default. */
export function putBytesField(writer: ByteWriter, field: number, value: Uint8Array): void {
  if (value.length === 0) return;
  writer.varint(sizedTag(field));
  writer.sized(value);
}
