/**
 * The form of every stored record, the same in each implementation of the Kv port:
 *
 *     version u8 | value | CRC32C u32 BE over key, version and value
 *
 * The key is part of the checksum, so that a value found under another key fails too (FAULTS S3).
 * LevelDB checks nothing itself: of 40 single-bit flips in a table 38 gave wrong values and none
 * an error (FAULTS F1).
 */
import { crc32c } from "../base/crc32c.ts";
import { StorageError } from "./kv.ts";

/** Version of the records' form; a store with a higher one was written by a later release. */
export const recordVersion = 1;

/** Bytes that a record has beyond its value. */
export const recordOverhead = 5;

/**
 * Writes the record of a key and value to the start of `out`.
 * @param out - at least value.length + recordOverhead bytes
 * @returns the length of the record
 */
export function writeRecord(key: Uint8Array, value: Uint8Array, out: Buffer): number {
  out[0] = recordVersion;
  out.set(value, 1);
  const end = value.length + 1;
  return out.writeUInt32BE(crc32c(out, 0, end, crc32c(key)), end);
}

/**
 * The value of a record, as a view of it.
 * @throws StorageError corrupt, newer_format
 */
export function readRecord(key: Uint8Array, record: Buffer): Buffer {
  const end = record.length - 4;
  if (end < 1) throw corrupt(key, `${record.length} bytes`);
  if (record.readUInt32BE(end) !== crc32c(record, 0, end, crc32c(key))) {
    throw corrupt(key, `checksum of ${record.length} bytes`);
  }
  if (record[0] !== recordVersion) {
    throw new StorageError("newer_format", `record version ${record[0]}, known: ${recordVersion}`);
  }
  return record.subarray(1, end);
}

function corrupt(key: Uint8Array, what: string): StorageError {
  const text = Buffer.from(key.subarray(0, 64)).toString("hex");
  return new StorageError("corrupt", `record of key ${text}: ${what}`);
}
