/**
 * Verifies LevelDB's tables by the checksums that LevelDB writes into them and, through
 * classic-level, never reads back. The records' own checksums are not enough: of 600 single-bit
 * flips in a table they caught 555, but 24 made rows vanish without an error (a put became a
 * deletion by one bit of LevelDB's own part of the key, or the table's index lost a block).
 *
 * What it cannot see: a compaction that has already read the damaged block writes what it saw into
 * a new table, with a good checksum. So tables are checked at start and again from time to time.
 *
 * Form of a table (LevelDB's table_format.md): blocks, then a footer of 48 bytes with the places
 * (offset and size, varints) of the meta-index block and of the index block, and a magic number.
 * Each block is followed by its kind u8 and CRC32C u32 LE, masked, over block and kind. The
 * index lists the data blocks, the meta-index the filter behind them: per block a key, shortened
 * by what it shares with the one before, and its place.
 */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { limits } from "../base/limits.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { liveTables } from "./manifest.ts";

export const footerBytes = 48;
/** Kind and checksum behind each block. */
export const trailerBytes = 5;
/** The last eight bytes of every table, as they stand in the file. */
export const tableMagic = Buffer.from("57fb808b247547db", "hex");

/**
 * Paths of the tables that a store consists of, oldest first. A running store may remove any of them.
 * @throws StorageError corrupt, missing, io
 */
export function tableFiles(files: Files, path: string): string[] {
  return liveTables(files, path).map((number) => {
    const name = `${path}/${String(number).padStart(6, "0")}`;
    // Old stores have .sst; whether the file is there shows when it is read.
    return files.existsSync(`${name}.sst`) ? `${name}.sst` : `${name}.ldb`;
  });
}

/**
 * Reads one table (about 1 ms per MiB from memory) and verifies every byte of it.
 * @throws StorageError corrupt; missing if it is gone; io
 */
export function checkTable(files: Files, path: string): void {
  const size = files.sizeSync(path);
  if (size < footerBytes || size > limits.tableCheckBytes) throw corrupt(path, `${size} bytes`);
  const table = files.readSync(path, 0, size);
  if (!table.subarray(-tableMagic.length).equals(tableMagic)) throw corrupt(path, "footer");
  try {
    const footer = table.subarray(size - footerBytes, size - tableMagic.length);
    const end = checkBlocks(path, table, new ByteReader(footer));
    if (!isTidyFooter(footer)) throw corrupt(path, "footer");
    if (end !== size - footerBytes) throw corrupt(path, `blocks end at ${end} of ${size}`);
  } catch (error) {
    if (error instanceof DecodeError) throw corrupt(path, error.message);
    throw error;
  }
}

/** Checks every block, and that they lie end to end. @returns the end of the last */
function checkBlocks(path: string, table: Buffer, footer: ByteReader): number {
  const meta = readPlace(footer);
  const index = readPlace(footer);
  const dataEnd = checkListed(path, table, checkBlock(path, table, index), 0);
  const filterEnd = checkListed(path, table, checkBlock(path, table, meta), dataEnd);
  if (meta.at !== filterEnd) throw corrupt(path, `meta-index not at ${filterEnd}`);
  const metaEnd = meta.at + meta.size + trailerBytes;
  if (index.at !== metaEnd) throw corrupt(path, `index not at ${metaEnd}`);
  return metaEnd + index.size + trailerBytes;
}

/** Checks the blocks that a list of places names, the first at `from`. @returns the last one's end */
function checkListed(path: string, table: Buffer, list: Buffer, from: number): number {
  if (list.length < 4) throw corrupt(path, "list of blocks");
  const restarts = list.readUInt32LE(list.length - 4);
  const entries = new ByteReader(list, 0, Math.max(0, list.length - 4 - 4 * restarts));
  let end = from;
  while (entries.left > 0) {
    entries.varint(); // bytes shared with the key before
    const keyBytes = entries.varint();
    const placeBytes = entries.varint();
    entries.skip(keyBytes);
    const place = readPlace(new ByteReader(entries.bytes(placeBytes)));
    if (place.at !== end) throw corrupt(path, `block at ${place.at}, not at ${end}`);
    checkBlock(path, table, place);
    end = place.at + place.size + trailerBytes;
  }
  return end;
}

/** Where a block lies, its trailer not counted. */
export interface TablePlace {
  readonly at: number;
  readonly size: number;
}

/** @throws DecodeError */
export function readPlace(reader: ByteReader): TablePlace {
  const at = reader.varint();
  return { at, size: reader.varint() };
}

/** The block at a place, its checksum verified. */
function checkBlock(path: string, table: Buffer, { at, size }: TablePlace): Buffer {
  const end = at + size;
  if (end + trailerBytes > table.length) throw corrupt(path, `block at ${at}: ${size} bytes`);
  const masked = maskCrc(crc32c(table, at, end + 1));
  if (table.readUInt32LE(end + 1) !== masked) throw corrupt(path, `checksum of the block at ${at}`);
  return table.subarray(at, end);
}

/** LevelDB's mask: a checksum of bytes that hold checksums would be weak. */
export function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Whether the places stand in their shortest form, followed by zeros. */
function isTidyFooter(footer: Buffer): boolean {
  const reader = new ByteReader(footer);
  const tidy = new ByteWriter(footer.length);
  for (let i = 0; i < 4; i++) tidy.varint(reader.varint());
  tidy.bytes(new Uint8Array(footer.length - tidy.length));
  return tidy.finish().equals(footer);
}

function corrupt(path: string, what: string): StorageError {
  return new StorageError("corrupt", `table ${path}: ${what}`);
}
