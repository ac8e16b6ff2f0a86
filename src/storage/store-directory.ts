/**
 * A node's data directory:
 *
 *     <root>/lock/                 held open by the running process
 *     <root>/shard-<n>/header      who it belongs to, written once
 *                      vote fence  rewritten in place
 *                      current     names the generation in force
 *                      db-<g>/     the store
 *
 * Making it is atomic. Every shard is first built complete as shard-<n>.new; only when all are
 * there and synced does the renaming begin. So a crash leaves either no shard (start over), or some
 * renamed and the others complete under their first name (go on renaming). A shard that is missing
 * in any other way was lost, and nothing is ever made in its place.
 */
import { type ShardId, toStoreId } from "../base/brand.ts";
import type { Random } from "../base/effects.ts";
import { generationPath, readCurrent, writeCurrent } from "./current-file.ts";
import { initFenceFile } from "./fence-file.ts";
import type { Files } from "./files.ts";
import { type FilesystemVerdict, filesystemKind } from "./filesystem-kind.ts";
import { type Header, readHeader, type StoreIdentity, writeHeader } from "./header-file.ts";
import { type Kv, StorageError } from "./kv.ts";
import { initVoteFile } from "./vote-file.ts";

/** What the configuration says; a directory that says otherwise is refused. */
export interface DirectoryExpectation {
  readonly nodeId: string;
  readonly shardCount: number;
  /** cluster.nodes of the hash-routed mode, else empty. */
  readonly clusterNodes: readonly string[];
}

export interface DataDirectoryOptions {
  readonly root: string;
  /** Shards that this node keeps: all of them, or its own one in the hash-routed mode. */
  readonly shards: readonly ShardId[];
  readonly expect: DirectoryExpectation;
  /** Whether a directory that is made belongs to a cluster of its own at once; else to none yet. */
  readonly founded?: boolean;
  /** Make the directory if there is nothing in it. */
  readonly create: boolean;
  /** Take filesystems that lose data on a power cut, for development and tests. */
  readonly allowUnsafeFilesystem: boolean;
}

export interface DataDirectoryDeps {
  readonly files: Files;
  readonly random: Random;
  /** Opens a store, as createLevelKv does. */
  readonly openStore: (path: string, options: { readonly createIfMissing: boolean }) => Promise<Kv>;
}

export interface DataDirectory {
  readonly identity: StoreIdentity;
  /** Whether it was made by this call. */
  readonly isNew: boolean;
  readonly filesystem: FilesystemVerdict;
  /** In the order of `options.shards`. */
  readonly shards: readonly ShardDirectory[];
  /** Lets another process have it. All stores in it must be closed. */
  release(): Promise<void>;
}

export interface ShardDirectory {
  readonly shard: ShardId;
  readonly identity: StoreIdentity;
  /** Where vote, fence, header and current are. */
  readonly path: string;
  /** 1 or more. */
  readonly generation: number;
  /** The store in force. It exists: open it without createIfMissing. */
  readonly kvPath: string;
}

/**
 * Opens a node's data directory for this process alone, or makes it.
 * @throws StorageError locked, foreign, newer_format, corrupt, missing, unsuitable, io
 */
export async function openDataDirectory(
  deps: DataDirectoryDeps,
  options: DataDirectoryOptions,
): Promise<DataDirectory> {
  const { files } = deps;
  const { root } = options;
  const filesystem = checkFilesystem(files, options);
  // Refused before anything is written.
  if (survey(files, options) === undefined && !options.create) {
    throw new StorageError("missing", `${root} holds no queue`);
  }
  files.makeDirectorySync(root);
  const lock = await lockDirectory(deps, root);
  try {
    refuseHalfRecovered(files, root);
    // Another process may have made it before this one had the lock.
    const found = survey(files, options);
    const identity = found ?? (await makeAll(deps, options));
    finishRenames(files, options, identity);
    const shards = options.shards.map((shard) => openShardDirectory(files, root, shard, identity));
    return {
      identity,
      isNew: found === undefined,
      filesystem,
      shards,
      release: () => lock.close(),
    };
  } catch (error) {
    await lock.close();
    throw error;
  }
}

/**
 * Checks one shard of a data directory and finds its store.
 * @throws StorageError missing, corrupt, foreign, newer_format, io
 */
export function openShardDirectory(
  files: Files,
  root: string,
  shard: ShardId,
  identity: StoreIdentity,
): ShardDirectory {
  const path = shardPath(root, shard);
  const header = readHeader(files, path);
  checkShard(path, header, shard);
  checkSame(path, header, identity);
  const generation = readCurrent(files, path);
  const kvPath = generationPath(path, generation);
  if (!files.existsSync(kvPath)) throw new StorageError("missing", `${kvPath} is gone`);
  return { shard, identity, path, generation, kvPath };
}

export function shardPath(root: string, shard: ShardId): string {
  return `${root}/shard-${shard}`;
}

function newShardPath(root: string, shard: ShardId): string {
  return `${shardPath(root, shard)}.new`;
}

/** The directory that a path lies in; the working directory for a bare name. */
function parentOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end < 0 ? "." : path.slice(0, end) || "/";
}

function checkFilesystem(files: Files, options: DataDirectoryOptions): FilesystemVerdict {
  const { root } = options;
  const place = files.existsSync(root) ? root : parentOf(root);
  const verdict = filesystemKind(files.filesystemSync(place).type);
  if (verdict.kind === "refused" && !options.allowUnsafeFilesystem) {
    throw new StorageError(
      "unsuitable",
      `${root} lies on ${verdict.name}, which may lose what was acknowledged`,
    );
  }
  return verdict;
}

/** What `recover` leaves while it works: what it found half done is done anew. */
export const recoveringName = "recovering";

/** What a process leaves that found its store damaged. */
export const damagedName = "damaged";

function refuseHalfRecovered(files: Files, root: string): void {
  if (!files.existsSync(`${root}/${recoveringName}`)) return;
  throw new StorageError("corrupt", `${root}: recover was cut short; run it again`);
}

/**
 * Keeps other processes out of a data directory until the lock is closed.
 * @throws StorageError locked, io
 */
export async function lockDirectory(
  deps: Pick<DataDirectoryDeps, "files" | "openStore">,
  root: string,
): Promise<Pick<Kv, "close">> {
  // Node has no file locks; an open store is one, and the kernel ends it with the process.
  deps.files.makeDirectorySync(`${root}/lock`);
  return deps.openStore(`${root}/lock`, { createIfMissing: true });
}

/** The identity in all headers that are there; undefined where there is no shard at all. */
function survey(files: Files, options: DataDirectoryOptions): StoreIdentity | undefined {
  const { root, expect } = options;
  if (!files.existsSync(root)) return undefined;
  let identity: StoreIdentity | undefined;
  for (const name of files.listSync(root)) {
    const digits = /^shard-(\d{1,3})$/.exec(name)?.[1];
    if (digits === undefined) continue;
    const path = `${root}/${name}`;
    const header = readHeader(files, path);
    checkExpected(path, header, expect);
    const wanted = options.shards.find((shard) => shard === Number(digits));
    if (wanted === undefined) {
      throw new StorageError("foreign", `${path}: this node keeps no shard ${digits}`);
    }
    checkShard(path, header, wanted);
    if (identity === undefined) identity = identityOf(header);
    else checkSame(path, header, identity);
  }
  return identity;
}

async function makeAll(
  deps: DataDirectoryDeps,
  options: DataDirectoryOptions,
): Promise<StoreIdentity> {
  const made = makeIdentity(deps.random, options.expect);
  const identity = options.founded === false ? { ...made, clusterId: "" } : made;
  for (const shard of options.shards) {
    await makeShard(deps, newShardPath(options.root, shard), { ...identity, shard });
  }
  return identity;
}

/** Makes one shard's directory with an empty store. */
export async function makeShard(
  deps: Pick<DataDirectoryDeps, "files" | "openStore">,
  path: string,
  header: Header,
): Promise<void> {
  const { files } = deps;
  files.removeSync(path);
  files.makeDirectorySync(path);
  const kvPath = generationPath(path, 1);
  files.makeDirectorySync(kvPath);
  const store = await deps.openStore(kvPath, { createIfMissing: true });
  await store.close();
  // LevelDB does not sync the names of its files.
  files.syncDirectorySync(kvPath);
  initVoteFile(files, path);
  initFenceFile(files, path);
  writeHeader(files, path, header);
  writeCurrent(files, path, 1);
}

function finishRenames(files: Files, options: DataDirectoryOptions, identity: StoreIdentity): void {
  const { root } = options;
  for (const shard of options.shards) {
    const path = shardPath(root, shard);
    if (files.existsSync(path)) continue;
    const built = newShardPath(root, shard);
    if (!files.existsSync(built)) throw new StorageError("missing", `${path} is gone`);
    checkSame(built, readHeader(files, built), identity);
    files.renameSync(built, path);
  }
  files.syncDirectorySync(root);
}

/** A store that there never was before. */
export function makeIdentity(random: Random, expect: DirectoryExpectation): StoreIdentity {
  const bytes = Buffer.alloc(24);
  random.fill(bytes);
  // 53 random bits; the lowest is set because 0 means "none".
  const high = bytes.readUInt32BE(16) & 0x1f_ffff;
  const low = (bytes.readUInt32BE(20) | 1) >>> 0;
  return {
    clusterId: bytes.toString("hex", 0, 16),
    nodeId: expect.nodeId,
    storeId: toStoreId(high * 0x1_0000_0000 + low),
    shardCount: expect.shardCount,
    clusterNodes: [...expect.clusterNodes],
  };
}

export function identityOf(header: Header): StoreIdentity {
  const { shard: _, ...identity } = header;
  return identity;
}

function checkExpected(path: string, header: Header, expect: DirectoryExpectation): void {
  checkField(path, "node", header.nodeId, expect.nodeId);
  checkField(path, "shard count", header.shardCount, expect.shardCount);
  checkField(path, "cluster.nodes", header.clusterNodes, expect.clusterNodes);
}

function checkShard(path: string, header: Header, shard: ShardId): void {
  checkField(path, "shard", header.shard, shard);
}

function checkSame(path: string, header: Header, identity: StoreIdentity): void {
  checkField(path, "store", identityOf(header), identity);
}

function checkField(path: string, what: string, found: unknown, wanted: unknown): void {
  // Identities are made field by field in one order, so equal ones have equal texts.
  const [has, wants] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (has === wants) return;
  throw new StorageError("foreign", `${path} belongs to another ${what}: ${has}, not ${wants}`);
}
