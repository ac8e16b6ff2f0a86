/**
 * Makes a damaged LevelDB table readable again, without what is damaged in it, and gets out of its
 * broken blocks what can be told to be whole: LevelDB itself would serve a broken block as it is, or
 * hide all that follows it.
 *
 * The form of a table is told in table-check.ts. A table keeps its bytes up to the footer; behind its
 * old end comes a new index that names the good blocks only, and the footer, which LevelDB looks for
 * at the old end less 48 bytes, leads there.
 */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import {
  footerBytes,
  maskCrc,
  readPlace,
  type TablePlace,
  tableMagic,
  trailerBytes,
} from "./table-check.ts";

/** One version of a row, as a table holds it. */
export interface TableEntry {
  readonly key: Buffer;
  /** The higher one of a key is newer. */
  readonly sequence: number;
  /** The record as it is stored; null: the row was deleted. */
  readonly record: Buffer | null;
}

export interface TableRescue {
  /** The table without its broken blocks; null if it is whole. */
  readonly table: Buffer | null;
  readonly brokenBlocks: number;
  /** Bytes in which no block could be found. */
  readonly lostBytes: number;
  /** What the broken blocks held, as far as it can be parsed; records are not verified. */
  readonly entries: readonly TableEntry[];
}

/** Whether a record is whole. */
export type IsRecord = (key: Buffer, record: Buffer) => boolean;

/** Kind of a block that is not compressed: there are no others. */
const plain = 0;
const tags = { deletion: 0, value: 1 } as const;
const tagBytes = 8;
/** A block is larger than 4 KiB by one row at the most, and a row is a payload or a run's at most. */
const blockBytesMax = 24 * 1024 * 1024;

interface Found {
  readonly places: readonly TablePlace[];
  readonly lostBytes: number;
}

/**
 * @param table - what is there of it
 * @param size - its bytes, as the store knows them: LevelDB looks for the footer at their end
 */
export function rescueTable(table: Buffer, size: number, isRecord: IsRecord): TableRescue {
  const indexed = placesByIndex(table);
  const { places, lostBytes } = indexed ?? placesByScan(table, isRecord);
  const good: { readonly place: TablePlace; readonly last: Buffer }[] = [];
  const entries: TableEntry[] = [];
  for (const place of places) {
    const block = table.subarray(place.at, place.at + place.size);
    const last = isWhole(table, place) ? lastKey(block) : null;
    if (last) good.push({ place, last });
    else entries.push(...entriesOf(block, isRecord));
  }
  const brokenBlocks = places.length - good.length;
  const isFit = table.length === size && indexed !== null && brokenBlocks === 0;
  const mended = isFit ? null : withIndex(table, size, good);
  return { table: mended, brokenBlocks, lostBytes, entries };
}

/** All versions of rows in a table that is whole, or has been made readable. */
export function* tableEntries(table: Buffer): Iterable<TableEntry> {
  for (const { at, size } of placesByIndex(table)?.places ?? []) {
    yield* entriesOf(table.subarray(at, at + size), () => false);
  }
}

/** The blocks that the index names; null if the way to them is damaged. */
function placesByIndex(table: Buffer): Found | null {
  const end = footerEnd(table);
  if (end === null) return null;
  try {
    const footer = new ByteReader(table.subarray(end - footerBytes, end));
    readPlace(footer);
    const index = readPlace(footer);
    if (!isWhole(table, index)) return null;
    const places: TablePlace[] = [];
    for (const { value } of blockEntries(table.subarray(index.at, index.at + index.size))) {
      const place = readPlace(new ByteReader(value));
      if (place.at + place.size + trailerBytes > table.length) return null;
      places.push(place);
    }
    return { places, lostBytes: 0 };
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** Where the footer ends: at the end, or, of a table that was mended, where its end was before. */
function footerEnd(table: Buffer): number | null {
  if (table.length < footerBytes) return null;
  const at = table.lastIndexOf(tableMagic);
  return at < footerBytes - tableMagic.length ? null : at + tableMagic.length;
}

/** Blocks lie end to end from the start: each one's size is the one whose checksum is right. */
function placesByScan(table: Buffer, isRecord: IsRecord): Found {
  const places: TablePlace[] = [];
  let at = 0;
  for (;;) {
    const size = sizeByChecksum(table, at);
    if (size === null) {
      const blockAt = (place: TablePlace) => table.subarray(place.at, place.at + place.size);
      const rows = places.filter((place) => holdsRows(blockAt(place), isRecord));
      return { places: rows, lostBytes: Math.max(0, table.length - at - footerBytes) };
    }
    places.push({ at, size });
    at += size + trailerBytes;
  }
}

/** Whether a whole block is one of rows: those of the filters and of the index end a table. */
function holdsRows(block: Buffer, isRecord: IsRecord): boolean {
  // Of a filter nothing can be parsed, and the index has no rows and none that was deleted.
  if (lastKey(block) === null) return false;
  for (const { key, value } of blockEntries(block)) {
    if (value.length === 0 || isRecord(key.subarray(0, -tagBytes), value)) return true;
  }
  return false;
}

function sizeByChecksum(table: Buffer, at: number): number | null {
  const max = Math.min(blockBytesMax, table.length - at - trailerBytes);
  let crc = 0;
  for (let size = 0; size <= max; size++) {
    // Up to here the block; its kind is one byte more.
    if (size > 0) crc = crc32c(table, at + size - 1, at + size, crc);
    if (size < 8 || table[at + size] !== plain) continue;
    const whole = crc32c(table, at + size, at + size + 1, crc);
    if (table.readUInt32LE(at + size + 1) === maskCrc(whole)) return size;
  }
  return null;
}

function isWhole(table: Buffer, { at, size }: TablePlace): boolean {
  const end = at + size;
  if (end + trailerBytes > table.length || table[end] !== plain) return false;
  return table.readUInt32LE(end + 1) === maskCrc(crc32c(table, at, end + 1));
}

interface BlockEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** @throws DecodeError */
function* blockEntries(block: Buffer): Iterable<BlockEntry> {
  const end = endOfEntries(block);
  if (end === null) throw new DecodeError("restarts of a block");
  yield* entriesFrom(new ByteReader(block, 0, end));
}

/** Where the entries end and the restart points begin; null if that cannot be. */
function endOfEntries(block: Buffer): number | null {
  if (block.length < 8) return null;
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4);
  return end >= 0 && end < block.length - 4 ? end : null;
}

/** @throws DecodeError behind the last entry that can be read */
function* entriesFrom(input: ByteReader): Iterable<BlockEntry> {
  let before = Buffer.alloc(0);
  while (input.left > 0) {
    const [shared, own, size] = [input.varint(), input.varint(), input.varint()];
    if (shared > before.length) throw new DecodeError(`${shared} bytes of a key before`);
    const key = Buffer.concat([before.subarray(0, shared), input.bytes(own)]);
    const value = input.bytes(size);
    before = key;
    yield { key, value };
  }
}

/** The last key of a block of rows, with its tag; null if it is none. */
function lastKey(block: Buffer): Buffer | null {
  let last: Buffer | null = null;
  try {
    for (const { key } of blockEntries(block)) {
      if (key.length <= tagBytes || key.readUInt8(key.length - tagBytes) > tags.value) return null;
      last = key;
    }
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
  return last;
}

/** What can be parsed of a block, from each of its restart points on. */
function entriesOf(block: Buffer, isRecord: IsRecord): readonly TableEntry[] {
  const end = endOfEntries(block) ?? block.length;
  const points = restarts(block, end);
  const found: TableEntry[] = [];
  for (const [i, from] of points.entries()) {
    const to = points[i + 1] ?? end;
    try {
      for (const entry of entriesFrom(new ByteReader(block, from, to))) {
        const row = tableEntry(entry, isRecord);
        if (row) found.push(row);
      }
    } catch (error) {
      // The rest up to the next restart point cannot be told apart.
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  return found;
}

function restarts(block: Buffer, end: number): readonly number[] {
  const points: number[] = [0];
  for (let at = end; at + 8 <= block.length; at += 4) {
    const point = block.readUInt32LE(at);
    if (point > (points.at(-1) ?? 0) && point < end) points.push(point);
  }
  return points;
}

function tableEntry({ key: tagged, value }: BlockEntry, isRecord: IsRecord): TableEntry | null {
  const at = tagged.length - tagBytes;
  if (at <= 0) return null;
  const key = tagged.subarray(0, at);
  const sequence = tagged.readUInt32LE(at + 4) * 0x100_0000 + (tagged.readUInt32LE(at) >>> 8);
  const tag = tagged[at];
  // A deletion has no value: one with a whole record is a put whose tag is broken.
  if (tag === tags.deletion && value.length === 0) return { key, sequence, record: null };
  if (tag === tags.value || isRecord(key, value)) return { key, sequence, record: value };
  return null;
}

function withIndex(
  table: Buffer,
  size: number,
  good: readonly { readonly place: TablePlace; readonly last: Buffer }[],
): Buffer {
  const bytes = Buffer.alloc(size);
  table.copy(bytes);
  const index = new ByteWriter(64 * good.length + 64);
  const points: number[] = [];
  for (const { place, last } of good) {
    const value = encodePlace(place);
    points.push(index.length);
    for (const length of [0, last.length, value.length]) index.varint(length);
    index.bytes(last);
    index.bytes(value);
  }
  const meta = sealBlock(new ByteWriter(16), []);
  const listed = sealBlock(index, points);
  const footer = new ByteWriter(footerBytes);
  footer.bytes(encodePlace({ at: size, size: meta.length - trailerBytes }));
  footer.bytes(encodePlace({ at: size + meta.length, size: listed.length - trailerBytes }));
  footer.bytes(new Uint8Array(footerBytes - tableMagic.length - footer.length));
  footer.bytes(tableMagic);
  footer.finish().copy(bytes, size - footerBytes);
  return Buffer.concat([bytes, meta, listed]);
}

function encodePlace({ at, size }: TablePlace): Buffer {
  const out = new ByteWriter(20);
  out.varint(at);
  out.varint(size);
  return out.finish();
}

/** A block with its restart points, kind and checksum. */
function sealBlock(entries: ByteWriter, points: readonly number[]): Buffer {
  const all = points.length === 0 ? [0] : points;
  const tail = Buffer.alloc(4 * all.length + 4);
  for (const [i, point] of all.entries()) tail.writeUInt32LE(point, 4 * i);
  tail.writeUInt32LE(all.length, 4 * all.length);
  const body = Buffer.concat([entries.finish(), tail, Buffer.of(plain)]);
  const trailer = Buffer.alloc(4);
  trailer.writeUInt32LE(maskCrc(crc32c(body)));
  return Buffer.concat([body, trailer]);
}
