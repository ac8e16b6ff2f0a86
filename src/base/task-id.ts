/**
 * Task ids: 16 bytes, written as a UUID (DESIGN section 2).
 *
 * | bytes | version 7 (made by a server or a client)              | version 8 (idempotency key)  |
 * | 0–5   | ms since 1970                                         | SHA-256 of tenant and key,   |
 * | 6–7   | 0x7 in the high nibble, 12 bits counter of runs       | first 16 bytes, with version |
 * | 8–13  | variant 0b10 and 46 random bits per process start     | and variant bits set         |
 * | 14    | place in its run, 0..255                              |                              |
 * | 15    | smallest value with which the id hashes to its shard  |                              |
 *
 * Bytes 0–13 of a version 7 id are its run's key (14 bytes). A version 8 id is a run of one: its
 * key is all 16 bytes and its place 0. Keys travel as latin1 strings where a Map needs them.
 */
import { assert } from "./assert.ts";
import { type Fnv64, fnvByte, fnvBytes, fnvModWith, fnvStart } from "./fnv1a64.ts";

export const taskIdBytes = 16;
export const runKeyBytes = 14;

const hexPairs: readonly string[] = Array.from({ length: 256 }, (_, i) =>
  i.toString(16).padStart(2, "0"),
);
const nibbles = buildNibbles();

function buildNibbles(): Uint8Array {
  const table = new Uint8Array(128).fill(255);
  for (let i = 0; i < 16; i++) {
    table["0123456789abcdef".charCodeAt(i)] = i;
    table["0123456789ABCDEF".charCodeAt(i)] = i;
  }
  return table;
}

/** Writes the text of the id at `bytes[at..at+16)`: 36 characters, lower case. */
export function formatTaskId(bytes: Uint8Array, at = 0): string {
  let text = "";
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
    text += hexPairs[bytes[at + i] as number];
  }
  return text;
}

/**
 * Parses the text of an id into `out[at..at+16)`.
 * @returns false when the text is not a UUID of version 7 or 8; `out` is then undefined
 */
export function parseTaskId(text: string, out: Uint8Array, at = 0): boolean {
  if (text.length !== 36) return false;
  let from = 0;
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) {
      if (text.charCodeAt(from) !== 45) return false;
      from++;
    }
    const high = text.charCodeAt(from);
    const low = text.charCodeAt(from + 1);
    if (high > 127 || low > 127) return false;
    const value = ((nibbles[high] as number) << 4) | (nibbles[low] as number);
    if (value > 255 || nibbles[low] === 255) return false;
    out[at + i] = value;
    from += 2;
  }
  return isTaskId(out, at);
}

/** Whether the bytes carry version 7 or 8 and the RFC 9562 variant. */
export function isTaskId(bytes: Uint8Array, at = 0): boolean {
  const version = (bytes[at + 6] as number) >> 4;
  return (version === 7 || version === 8) && (bytes[at + 8] as number) >> 6 === 2;
}

/** Version of the id: 7 = in a run of up to 256, 8 = derived from a key, alone. */
export function taskIdVersion(bytes: Uint8Array, at = 0): number {
  return (bytes[at + 6] as number) >> 4;
}

/** Length of the run key of this id: 14, or 16 for a keyed task. */
export function runKeyLength(bytes: Uint8Array, at = 0): number {
  return taskIdVersion(bytes, at) === 8 ? taskIdBytes : runKeyBytes;
}

const scratch: Fnv64 = { hi: 0, lo: 0 };

/**
 * The run that was looked at last and the hash of its key: ids come in batches of one run, and this
 * is most of their hash (measured at 128 of a run, four shards: 0.9 µs less per task and cycle).
 */
const lastRun = { key: new Uint8Array(runKeyBytes), hi: 0, lo: 0, isSet: false };

/** Sets `scratch` to the hash of the run key and place at `id[at..at+15)`. */
function hashPlace(id: Uint8Array, at: number): void {
  if (!isLastRun(id, at)) {
    fnvStart(scratch);
    fnvBytes(scratch, id, at, at + runKeyBytes);
    for (let i = 0; i < runKeyBytes; i++) lastRun.key[i] = id[at + i] as number;
    lastRun.hi = scratch.hi;
    lastRun.lo = scratch.lo;
    lastRun.isSet = true;
  }
  scratch.hi = lastRun.hi;
  scratch.lo = lastRun.lo;
  fnvByte(scratch, id[at + runKeyBytes] as number);
}

function isLastRun(id: Uint8Array, at: number): boolean {
  // From the end: the random bytes there are the same for all runs of a process, but not the counter.
  for (let i = runKeyBytes - 1; i >= 0; i--) if (lastRun.key[i] !== id[at + i]) return false;
  return lastRun.isSet;
}

/** The shard of an id: fnv1a64 of its 16 bytes, mod `shards`. */
export function shardOfTaskId(bytes: Uint8Array, at: number, shards: number): number {
  if (shards === 1) return 0;
  hashPlace(bytes, at);
  return fnvModWith(scratch, bytes[at + 15] as number, shards);
}

/**
 * The shard of an id, if the id can be one of a task: byte 15 of a version 7 id must be the one
 * that its run gives it.
 * @returns -1 for bytes that are no id of a task
 */
export function shardOfTask(bytes: Uint8Array, at: number, shards: number): number {
  if (!isTaskId(bytes, at)) return -1;
  const last = bytes[at + 15] as number;
  if (shards === 1) return taskIdVersion(bytes, at) === 8 || last === 0 ? 0 : -1;
  hashPlace(bytes, at);
  const shard = fnvModWith(scratch, last, shards);
  if (taskIdVersion(bytes, at) === 8) return shard;
  for (let byte = 0; byte < last; byte++) {
    if (fnvModWith(scratch, byte, shards) === shard) return -1;
  }
  return shard;
}

/**
 * Writes the full id of a task of a run into `out[at..at+16)`.
 * @param key - 14 bytes of a run, or 16 of a keyed task
 * @param place - 0..255; 0 for a keyed task
 */
export function writeTaskId(
  key: Uint8Array,
  place: number,
  shard: number,
  shards: number,
  out: Uint8Array,
  at = 0,
): void {
  for (let i = 0; i < key.length; i++) out[at + i] = key[i] as number;
  if (key.length === taskIdBytes) return;
  out[at + 14] = place;
  out[at + 15] = shards === 1 ? 0 : lastByte(out, at, shard, shards);
}

function lastByte(id: Uint8Array, at: number, shard: number, shards: number): number {
  hashPlace(id, at);
  for (let byte = 0; byte < 256; byte++) {
    if (fnvModWith(scratch, byte, shards) === shard) return byte;
  }
  assert(false, "some last byte leads to every shard", shard, shards);
  return 0;
}

/** Makes run keys: time, a counter within the millisecond, and random bits of this process. */
export interface RunKeySource {
  /** Writes the next 14-byte run key; keys of one source never repeat and sort by time. */
  next(wallMs: number, out: Uint8Array, at: number): void;
}

export function createRunKeySource(randomBytes: Uint8Array): RunKeySource {
  assert(randomBytes.length >= 6, "46 random bits", randomBytes.length);
  let ms = 0;
  let counter = 0;
  return {
    next(wallMs, out, at) {
      if (wallMs > ms) {
        ms = wallMs;
        counter = 0;
      } else if (++counter === 4096) {
        // 4,096 runs in one millisecond, or a clock that stands still: borrow from the future.
        ms++;
        counter = 0;
      }
      let rest = ms;
      for (let i = 5; i >= 0; i--) {
        out[at + i] = rest % 256;
        rest = Math.floor(rest / 256);
      }
      out[at + 6] = 0x70 | (counter >> 8);
      out[at + 7] = counter & 255;
      out[at + 8] = 0x80 | ((randomBytes[0] as number) & 63);
      for (let i = 1; i < 6; i++) out[at + 8 + i] = randomBytes[i] as number;
    },
  };
}
