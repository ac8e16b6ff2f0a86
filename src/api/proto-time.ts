/** Times in messages: google.protobuf.Timestamp. */
import type { ByteWriter } from "../base/bytes.ts";
import { putNumberField, sizedTag, WireReader } from "./proto-wire.ts";

/** Writes a Timestamp field. @param ms - since 1970, 0 or more */
export function putTimestampField(writer: ByteWriter, field: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  writer.varint(sizedTag(field));
  const lengthAt = writer.length;
  writer.u8(0);
  putNumberField(writer, 1, seconds);
  putNumberField(writer, 2, (ms - seconds * 1000) * 1_000_000);
  writer.buffer[lengthAt] = writer.length - lengthAt - 1;
}

/**
 * A Timestamp in buffer[from..to) as ms since 1970. A part of a millisecond counts
 * as a whole one (never before its time); times before 1970 are 0.
 */
export function readTimestamp(buffer: Buffer, from: number, to: number): number {
  const reader = new WireReader(buffer, from, to);
  let seconds = 0;
  let nanos = 0;
  while (reader.at < to) {
    const tag = reader.varint();
    if (tag === 8) seconds = reader.varint();
    else if (tag === 16) nanos = reader.int32();
    else reader.skip(tag);
  }
  // int64: from 2^63 up it stands for a negative number.
  if (seconds >= 2 ** 63) return 0;
  return seconds * 1000 + Math.max(0, Math.ceil(nanos / 1_000_000));
}
