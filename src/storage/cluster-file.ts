/**
 * Which cluster a node's data directory belongs to: `<root>/cluster`, written once, when the cluster
 * is founded or the node is taken in. A directory that has none waits for either.
 */
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { readSealedFile, writeSealedFile } from "./sealed-file.ts";

const version = 1;
const name = "cluster";

export interface Founder {
  readonly storeId: number;
  readonly nodeId: string;
  readonly raft: string;
  readonly http: string;
  readonly grpc: string;
}

export interface ClusterFile {
  /** 32 hex digits. */
  readonly clusterId: string;
  /** The voters that it began with; empty: the node came later, and gets the state from others. */
  readonly founders: readonly Founder[];
}

/** Durable when it returns. @throws StorageError io */
export function writeClusterFile(files: Files, root: string, content: ClusterFile): void {
  writeSealedFile(files, root, name, version, content);
  files.syncDirectorySync(root);
}

/** @returns null if there is none @throws StorageError corrupt, newer_format, io */
export function readClusterFile(files: Files, root: string): ClusterFile | null {
  if (!files.existsSync(`${root}/${name}`)) return null;
  const content = readSealedFile(files, root, name, version);
  if (!isClusterFile(content)) {
    throw new StorageError("corrupt", `${root}/${name}: a field is missing or malformed`);
  }
  return content;
}

function isClusterFile(content: unknown): content is ClusterFile {
  if (typeof content !== "object" || content === null) return false;
  const { clusterId, founders } = content as Readonly<Record<string, unknown>>;
  return typeof clusterId === "string" && Array.isArray(founders) && founders.every(isFounder);
}

function isFounder(value: unknown): value is Founder {
  if (typeof value !== "object" || value === null) return false;
  const { storeId, nodeId, raft, http, grpc } = value as Readonly<Record<string, unknown>>;
  const texts = [nodeId, raft, http, grpc].every((text) => typeof text === "string");
  return texts && typeof storeId === "number" && Number.isSafeInteger(storeId);
}
