/**
 * A small record that is rewritten in place with one fsync: two slots, written in turn, each with
 * a sequence number and a checksum. A write that a crash cuts short damages only the slot it went
 * to; the other still holds the value before it.
 *
 * Each slot holds its record twice, half a slot apart, in the same write: one rotten sector must
 * not silently bring the value before the last one back, which for a vote would be a second vote
 * in one term. Layout of a file of 8 KiB:
 *
 *     0    slot 0, copy 0     2048  slot 0, copy 1     4096  slot 1, copy 0     6144  slot 1, copy 1
 *
 * A copy: magic u32, version u8, sequence u64, the fields as u64, CRC32C u32 over all before it.
 */
import { assert } from "../base/assert.ts";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import type { Files, SlotFileHandle } from "./files.ts";
import { StorageError } from "./kv.ts";

const version = 1;
const slotBytes = 4096;
const copyBytes = slotBytes / 2;
const fileBytes = 2 * slotBytes;

/** What a kind of slot file holds. */
export interface SlotFormat {
  /** Name for errors: "vote", "fence". */
  readonly name: string;
  /** Four bytes that start every copy. */
  readonly magic: number;
  /** Integers below 2^53 in a record. */
  readonly fields: number;
}

export interface SlotFile {
  /** The newest record. */
  readonly values: readonly number[];
  /**
   * Writes a record and syncs it: one fsync. One at a time. After a failure nothing more is taken.
   * @throws StorageError io: the outcome is unknown
   */
  save(values: readonly number[]): Promise<void>;
  saveSync(values: readonly number[]): void;
  closeSync(): void;
}

/** Makes the file with a first record. The name is durable once its directory is synced. */
export function createSlotFile(
  files: Files,
  path: string,
  format: SlotFormat,
  values: readonly number[],
): void {
  const bytes = Buffer.alloc(fileBytes);
  bytes.set(encodeSlot(format, 1, values), slotOffset(1));
  files.writeSync(path, bytes);
}

/**
 * Opens the file and takes the newest valid copy.
 * @throws StorageError missing, corrupt (no copy is valid), newer_format, io
 */
export function openSlotFile(files: Files, path: string, format: SlotFormat): SlotFile {
  const handle = files.openSync(path);
  try {
    return new Slots(handle, path, format, newest(handle.readSync(0, fileBytes), path, format));
  } catch (error) {
    handle.closeSync();
    throw error;
  }
}

interface SlotRecord {
  readonly sequence: number;
  readonly values: readonly number[];
}

class Slots implements SlotFile {
  readonly #handle: SlotFileHandle;
  readonly #path: string;
  readonly #format: SlotFormat;
  #record: SlotRecord;
  #saving = false;
  #failed = false;

  constructor(handle: SlotFileHandle, path: string, format: SlotFormat, record: SlotRecord) {
    this.#handle = handle;
    this.#path = path;
    this.#format = format;
    this.#record = record;
  }

  get values(): readonly number[] {
    return this.#record.values;
  }

  async save(values: readonly number[]): Promise<void> {
    const record = this.#begin(values);
    await this.#handle.write(slotOffset(record.sequence), this.#encode(record));
    this.#end(record);
  }

  saveSync(values: readonly number[]): void {
    const record = this.#begin(values);
    this.#handle.writeSync(slotOffset(record.sequence), this.#encode(record));
    this.#end(record);
  }

  closeSync(): void {
    this.#handle.closeSync();
  }

  #encode(record: SlotRecord): Buffer {
    return encodeSlot(this.#format, record.sequence, record.values);
  }

  #begin(values: readonly number[]): SlotRecord {
    if (this.#failed) throw new StorageError("io", `${this.#path} failed before`);
    assert(!this.#saving, "one write at a time", this.#path);
    this.#saving = true;
    // Taken back in #end: a write that threw leaves the file failed for good.
    this.#failed = true;
    return { sequence: this.#record.sequence + 1, values };
  }

  #end(record: SlotRecord): void {
    this.#saving = false;
    this.#failed = false;
    this.#record = record;
  }
}

function slotOffset(sequence: number): number {
  return (sequence % 2) * slotBytes;
}

function encodeSlot(format: SlotFormat, sequence: number, values: readonly number[]): Buffer {
  assert(values.length === format.fields, "fields of a slot", values.length, format.fields);
  const writer = new ByteWriter(64);
  writer.u32(format.magic);
  writer.u8(version);
  writer.u64(sequence);
  for (const value of values) {
    assert(Number.isSafeInteger(value) && value >= 0, `${format.name} field`, value);
    writer.u64(value);
  }
  writer.u32(crc32c(writer.buffer, 0, writer.length));
  const slot = Buffer.alloc(slotBytes);
  slot.set(writer.finish(), 0);
  slot.set(writer.finish(), copyBytes);
  return slot;
}

function newest(bytes: Buffer, path: string, format: SlotFormat): SlotRecord {
  let best: SlotRecord | undefined;
  for (let at = 0; at < fileBytes; at += copyBytes) {
    const record = decodeCopy(bytes.subarray(at, at + copyBytes), path, format);
    if (record !== undefined && (best === undefined || record.sequence > best.sequence)) {
      best = record;
    }
  }
  if (best === undefined) throw new StorageError("corrupt", `${path}: no copy is valid`);
  return best;
}

function decodeCopy(bytes: Buffer, path: string, format: SlotFormat): SlotRecord | undefined {
  const size = 4 + 1 + 8 + 8 * format.fields + 4;
  if (bytes.length < size || bytes.readUInt32BE(0) !== format.magic) return undefined;
  if (bytes.readUInt32BE(size - 4) !== crc32c(bytes, 0, size - 4)) return undefined;
  const reader = new ByteReader(bytes, 4);
  const found = reader.u8();
  if (found !== version) {
    throw new StorageError("newer_format", `${path}: version ${found}, known: ${version}`);
  }
  const sequence = reader.u64();
  return { sequence, values: Array.from({ length: format.fields }, () => reader.u64()) };
}
