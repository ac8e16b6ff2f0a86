/**
 * Who a shard directory belongs to: written once, when the directory is made, and checked at every
 * start, so that a node never serves another's data, nor its own under another shard count
 * (FAULTS S12).
 */
import { type ShardId, type StoreId, toShardId, toStoreId } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { readSealedFile, writeSealedFile } from "./sealed-file.ts";

/** Version of the whole directory's form; a later release raises it. */
export const formatVersion = 1;

/** What all shards of one node's data directory have in common. */
export interface StoreIdentity {
  /** 32 hex digits, the same on all nodes of a cluster. */
  readonly clusterId: string;
  /** The node's name. */
  readonly nodeId: string;
  /** Random, made with the directory and never reused: the replica's id in Raft. */
  readonly storeId: StoreId;
  /** Shards of the whole task-id space, 1..256. */
  readonly shardCount: number;
  /** The list cluster.nodes of the hash-routed mode, `id=host:port` each; empty in other modes. */
  readonly clusterNodes: readonly string[];
}

export interface Header extends StoreIdentity {
  readonly shard: ShardId;
}

/** Writes the header of a shard directory that is being made. */
export function writeHeader(files: Files, directory: string, header: Header): void {
  writeSealedFile(files, directory, "header", formatVersion, header);
}

/**
 * Reads and checks the header of a shard directory.
 * @throws StorageError missing, corrupt, newer_format, io
 */
export function readHeader(files: Files, directory: string): Header {
  const content = readSealedFile(files, directory, "header", formatVersion);
  const header = parseHeader(content);
  if (header === undefined) {
    throw new StorageError("corrupt", `${directory}/header: a field is missing or malformed`);
  }
  return header;
}

function parseHeader(content: unknown): Header | undefined {
  if (typeof content !== "object" || content === null) return undefined;
  const fields = content as Readonly<Record<string, unknown>>;
  const { clusterId, nodeId, storeId, shardCount, clusterNodes, shard } = fields;
  if (typeof clusterId !== "string" || typeof nodeId !== "string") return undefined;
  if (!isCount(storeId, Number.MAX_SAFE_INTEGER) || !isCount(shardCount, limits.shards)) {
    return undefined;
  }
  if (!isCount(shard, limits.shards - 1) || !isStringList(clusterNodes)) return undefined;
  return {
    clusterId,
    nodeId,
    storeId: toStoreId(storeId),
    shardCount,
    clusterNodes,
    shard: toShardId(shard),
  };
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}

function isStringList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
