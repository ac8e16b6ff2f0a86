/**
 * Keys of a shard's store. One-byte prefixes, integers big-endian, no separators: a key is never
 * built from raw input but from ids and numbers.
 *
 * | prefix | key after it                                      | value                                |
 * | ------ | ------------------------------------------------- | ------------------------------------ |
 * | L      | log index u64                                     | term, type, entry (shard/log-store)  |
 * | M      | name                                              | meta: applied index, counters …      |
 * | Q      | queue id u32                                      | tenant, name, paused, counts         |
 * | T      | tenant name                                       | cursor of its claims                 |
 * | R      | run key (14 or 16 bytes)                          | state block of the run (run-codec)   |
 * | P      | run key                                           | its task records (payloads)          |
 * | I      | queue id u32, 9 − priority u8, sequence u64       | run key, since when ready u48        |
 * | D      | due u48 ms, run key                               | – (leases and delays of that run end)|
 * | E      | due u48 ms, run key                               | – (retention of its ended tasks ends)|
 * | X      | sequence u64                                      | results and errors of one settle     |
 * | B      | queue id u32, run key                             | – (the run holds dead tasks)         |
 *
 * In memory, keys are latin1 strings of the same bytes: they hash fast and sort as bytes do.
 */

export const prefixes = {
  log: "L",
  meta: "M",
  queue: "Q",
  tenant: "T",
  run: "R",
  payload: "P",
  ready: "I",
  due: "D",
  retention: "E",
  result: "X",
  dead: "B",
} as const;

/** A latin1 string of the u32. */
export function u32Text(value: number): string {
  return String.fromCharCode(
    (value >>> 24) & 255,
    (value >>> 16) & 255,
    (value >>> 8) & 255,
    value & 255,
  );
}

/** A latin1 string of an integer below 2^48. */
export function u48Text(value: number): string {
  const high = Math.floor(value / 0x1_0000_0000);
  const low = value >>> 0;
  return String.fromCharCode(
    (high >>> 8) & 255,
    high & 255,
    (low >>> 24) & 255,
    (low >>> 16) & 255,
    (low >>> 8) & 255,
    low & 255,
  );
}

/** A latin1 string of an integer below 2^53, eight bytes. */
export function u64Text(value: number): string {
  return u32Text(Math.floor(value / 0x1_0000_0000)) + u32Text(value >>> 0);
}

export function readU32(text: string, at: number): number {
  return (
    text.charCodeAt(at) * 0x100_0000 +
    (text.charCodeAt(at + 1) << 16) +
    (text.charCodeAt(at + 2) << 8) +
    text.charCodeAt(at + 3)
  );
}

export function readU48(text: string, at: number): number {
  return (
    (text.charCodeAt(at) * 256 + text.charCodeAt(at + 1)) * 0x1_0000_0000 + readU32(text, at + 2)
  );
}

export function readU64(text: string, at: number): number {
  return readU32(text, at) * 0x1_0000_0000 + readU32(text, at + 4);
}

/** Characters before the sequence in the key of a ready row. */
export const readyPrefixChars = 6;

export function readyPrefix(queueId: number, priority: number): string {
  return prefixes.ready + u32Text(queueId) + String.fromCharCode(9 - priority);
}

/** The bytes of a key for the store. */
export function keyBytes(key: string): Buffer {
  return Buffer.from(key, "latin1");
}

/** First key behind all keys with this prefix; the prefix's last byte is below 255. */
export function endOfPrefix(prefix: string): string {
  const last = prefix.length - 1;
  for (let i = last; i >= 0; i--) {
    const code = prefix.charCodeAt(i);
    if (code < 255) return prefix.slice(0, i) + String.fromCharCode(code + 1);
  }
  return "\xff".repeat(prefix.length + 1);
}
