/** The three frames by which one replica gives another its whole state (replica-frames.ts). */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { StoreFile } from "../storage/store-copy.ts";
import type { AppliedPoint } from "./checkpoint.ts";

/** "This is the state at that index, in these files." */
export interface SnapshotOffer {
  /** Chosen by the sender; stands in every frame of the transfer. */
  readonly transfer: number;
  /** The last entry that the rows contain. */
  readonly point: AppliedPoint;
  readonly files: readonly StoreFile[];
}

/** Bytes of one file; files and bytes come in order, without gaps. */
export interface SnapshotChunk {
  readonly transfer: number;
  readonly file: number;
  readonly at: number;
  readonly bytes: Buffer;
}

export const answerKinds = ["going", "refused", "done"] as const;

/** going: that many chunks are written; refused, done: the transfer is over. */
export interface SnapshotAnswer {
  readonly transfer: number;
  readonly kind: (typeof answerKinds)[number];
  readonly chunks: number;
  readonly reason: string;
}

export function encodeOffer({ transfer, point, files }: SnapshotOffer): Buffer {
  const out = new ByteWriter(64 + 32 * files.length);
  out.u64(transfer);
  out.u64(point.index);
  out.u64(point.term);
  out.varint(files.length);
  for (const { name, bytes } of files) {
    out.utf8(name);
    out.varint(bytes);
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeOffer(body: Buffer): SnapshotOffer {
  const input = new ByteReader(body);
  const transfer = input.u64();
  const point = { index: input.u64(), term: input.u64() };
  const count = input.varint();
  if (count > limits.snapshotFiles) throw new DecodeError(`${count} files in a snapshot`);
  const files = Array.from({ length: count }, () => {
    const name = input.sized().toString("latin1");
    return { name, bytes: input.varint() };
  });
  const isDistinct = new Set(files.map(({ name }) => name)).size === files.length;
  if (!isDistinct || !files.every(({ name }) => isStoreFileName(name))) {
    throw new DecodeError("a file of no store in a snapshot");
  }
  return { transfer, point, files };
}

/** Names come from another node: nothing else may ever be written. */
function isStoreFileName(name: string): boolean {
  return /^(\d{1,20}\.(ldb|sst|log)|MANIFEST-\d{1,20}|CURRENT|rows)$/.test(name);
}

export function encodeChunk(chunk: SnapshotChunk): Buffer[] {
  const head = new ByteWriter(24);
  head.u64(chunk.transfer);
  head.varint(chunk.file);
  head.varint(chunk.at);
  return [head.finish(), chunk.bytes];
}

/** @throws DecodeError */
export function decodeChunk(body: Buffer): SnapshotChunk {
  const input = new ByteReader(body);
  const [transfer, file, at] = [input.u64(), input.varint(), input.varint()];
  return { transfer, file, at, bytes: input.bytes(input.left) };
}

export function encodeAnswer({ transfer, kind, chunks, reason }: SnapshotAnswer): Buffer {
  const out = new ByteWriter(64);
  out.u64(transfer);
  out.u8(answerKinds.indexOf(kind));
  out.varint(chunks);
  out.utf8(reason);
  return out.finish();
}

/** @throws DecodeError */
export function decodeAnswer(body: Buffer): SnapshotAnswer {
  const input = new ByteReader(body);
  const transfer = input.u64();
  const kind = answerKinds[input.u8()];
  if (!kind) throw new DecodeError("unknown answer to a snapshot");
  return { transfer, kind, chunks: input.varint(), reason: input.sized().toString("utf8") };
}
