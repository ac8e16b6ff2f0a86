/**
 * Which tables a LevelDB store consists of: read from its MANIFEST. A directory may hold others: one
 * that a flush or a compaction was writing when the process died is no part of the store, and
 * LevelDB removes it when it opens.
 *
 * Form (LevelDB's log_format.md): blocks of 32 KiB; records of crc u32 LE (masked), length u16 LE,
 * type u8 (1 whole, 2 first, 3 middle, 4 last), data; no record header in the last 6 bytes of a
 * block. Each record is a version edit: fields of a varint tag and what belongs to it.
 */
import { ByteReader, DecodeError } from "../base/bytes.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";

const blockBytes = 32 * 1024;
const headerBytes = 7;
const recordTypes = { whole: 1, first: 2, middle: 3, last: 4 } as const;
const tags = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

/** What a store consists of, by one state of its MANIFEST. */
export interface StoreFiles {
  /** Name and size of the MANIFEST that was read. */
  readonly manifest: string;
  readonly manifestBytes: Buffer;
  /** Numbers of the tables in force, ascending. */
  readonly tables: readonly number[];
  /** Their bytes, by number. */
  readonly tableBytes: ReadonlyMap<number, number>;
  /** Log files from this number on hold what no table has yet. */
  readonly logNumber: number;
}

/**
 * Numbers of the tables in force, ascending.
 * @throws StorageError corrupt, missing, io
 */
export function liveTables(files: Files, path: string): readonly number[] {
  return storeFiles(files, path).tables;
}

/** @throws StorageError corrupt, missing, io */
export function storeFiles(files: Files, path: string): StoreFiles {
  const name = files.readSync(`${path}/CURRENT`, 0, 64).toString("latin1").trimEnd();
  if (!/^MANIFEST-\d+$/.test(name)) throw new StorageError("corrupt", `${path}/CURRENT`);
  const manifest = `${path}/${name}`;
  const bytes = files.readSync(manifest, 0, files.sizeSync(manifest));
  const edits: Edits = { live: new Map(), logNumber: 0, prevLogNumber: 0 };
  try {
    for (const record of records(bytes)) applyEdit(record, edits);
  } catch (error) {
    if (error instanceof DecodeError) throw new StorageError("corrupt", manifest, error);
    throw error;
  }
  const { live, logNumber, prevLogNumber } = edits;
  return {
    manifest: name,
    manifestBytes: bytes,
    tables: [...live.keys()].sort((x, y) => x - y),
    tableBytes: live,
    logNumber: prevLogNumber > 0 ? Math.min(logNumber, prevLogNumber) : logNumber,
  };
}

interface Edits {
  readonly live: Map<number, number>;
  logNumber: number;
  prevLogNumber: number;
}

/** The records of a log file; one that was being written at its end is left out, as LevelDB does. */
function* records(bytes: Buffer): Iterable<Buffer> {
  let parts: Buffer[] = [];
  let at = 0;
  while (at + headerBytes <= bytes.length) {
    const left = blockBytes - (at % blockBytes);
    if (left < headerBytes) {
      at += left;
      continue;
    }
    const size = bytes.readUInt16LE(at + 4);
    const type = bytes[at + 6] as number;
    const from = at + headerBytes;
    if (type === 0 || from + size > bytes.length) return;
    parts.push(bytes.subarray(from, from + size));
    at = from + size;
    if (type === recordTypes.whole || type === recordTypes.last) {
      yield parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      parts = [];
    } else if (type !== recordTypes.first && type !== recordTypes.middle) {
      throw new DecodeError(`record type ${type}`);
    }
  }
}

function applyEdit(record: Buffer, edits: Edits): void {
  const { live } = edits;
  const input = new ByteReader(record);
  while (input.left > 0) {
    const tag = input.varint();
    switch (tag) {
      case tags.comparator:
        input.sized();
        break;
      case tags.logNumber:
        edits.logNumber = input.varint();
        break;
      case tags.prevLogNumber:
        edits.prevLogNumber = input.varint();
        break;
      case tags.nextFile:
      case tags.lastSequence:
        input.varint();
        break;
      case tags.compactPointer:
        input.varint();
        input.sized();
        break;
      case tags.deletedFile:
        input.varint();
        live.delete(input.varint());
        break;
      case tags.newFile: {
        input.varint();
        const number = input.varint();
        live.set(number, input.varint());
        input.sized();
        input.sized();
        break;
      }
      default:
        throw new DecodeError(`version edit with tag ${tag}`);
    }
  }
}
