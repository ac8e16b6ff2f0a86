/**
 * One shard of a data directory that nothing has open, as `recover` sees it: checked to the last row,
 * and, if it is damaged, made anew beside the old one, which comes into force by `apply` only.
 *
 * looked at → whole, or damaged → salvaged (the new store is built) → applied or discarded
 */
import { type ShardId, type StoreId, toLogIndex, toTerm } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { AppliedPoint } from "../shard/checkpoint.ts";
import { type GroupLook, groupOfOne, lookAtGroup } from "../shard/force-group.ts";
import { decodeLogStart, type LogStart, logStartKey } from "../shard/log-store.ts";
import { type RebuildReport, type RebuildSink, rebuildShard } from "../shard/rebuild.ts";
import { generationPath, readCurrent, writeCurrent } from "../storage/current-file.ts";
import { createFenceFile, type Fence, holdsFence, initFenceFile } from "../storage/fence-file.ts";
import type { Files } from "../storage/files.ts";
import { readHeader, type StoreIdentity, writeHeader } from "../storage/header-file.ts";
import { type Kv, type KvBatch, StorageError } from "../storage/kv.ts";
import { createLevelKv } from "../storage/level-kv.ts";
import { type Salvage, salvageStore } from "../storage/salvage.ts";
import { checkTablesAtStart } from "../storage/scrub.ts";
import { shardPath } from "../storage/store-directory.ts";
import { checkStoreLog } from "../storage/store-log.ts";
import { createVoteFile, initVoteFile, type Vote } from "../storage/vote-file.ts";

export interface RecoverShardDeps {
  readonly files: Files;
  readonly root: string;
  readonly identity: StoreIdentity;
  /** Where the log of a store begins that nothing was ever written to. */
  readonly first: LogStart;
}

/** A row or record that is not kept. */
export interface AsideRecord {
  readonly why: string;
  readonly key: Buffer;
  readonly bytes: Buffer;
}

/** What came of a damaged shard. */
export interface Rebuilt {
  readonly report: RebuildReport;
  /** As the damaged store tells it; null if it does not. */
  readonly start: LogStart | null;
  readonly asides: readonly AsideRecord[];
}

export class RecoverShard {
  readonly shard: ShardId;
  readonly path: string;
  /** What is wrong, a line each. */
  readonly damages: string[] = [];
  /** Of a shard that is whole. */
  look: GroupLook | null = null;
  /** Of one that is not. */
  rebuilt: Rebuilt | null = null;
  private readonly deps: RecoverShardDeps;
  /** Generation of the store that was found; 0 if there is none. */
  private readonly generation: number;

  constructor(deps: RecoverShardDeps, shard: ShardId) {
    this.deps = deps;
    this.shard = shard;
    this.path = shardPath(deps.root, shard);
    this.generation = generationOf(deps.files, this.path);
  }

  /**
   * Changes nothing that a start would not.
   * @param depth - everything, or as much as a start looks at
   * @throws StorageError io, locked
   */
  async check(depth: "all" | "start" = "all"): Promise<void> {
    try {
      await this.readAll(depth);
    } catch (error) {
      this.damages.push(damageOf(error));
    }
  }

  private async readAll(depth: "all" | "start"): Promise<void> {
    const { files, identity } = this.deps;
    const { shard: _, ...found } = readHeader(files, this.path);
    if (JSON.stringify(found) !== JSON.stringify(identity)) {
      throw new StorageError("corrupt", `${this.path}/header is of another store`);
    }
    const vote = this.readVote();
    const fence = this.readFence();
    const kvPath = generationPath(this.path, readCurrent(files, this.path));
    const budget = depth === "all" ? Number.POSITIVE_INFINITY : limits.startCheckBytes;
    const nothingElse = () => Promise.resolve();
    await checkTablesAtStart(files, kvPath, budget / identity.shardCount, nothingElse);
    const kv = await createLevelKv(kvPath, { createIfMissing: false });
    try {
      checkStoreLog(files, kvPath);
      const look = await this.readLog(kv, vote, fence);
      if (depth === "all") await this.readRows(kv, vote, fence);
      this.look = look;
    } finally {
      await kv.close();
    }
  }

  private async readLog(kv: Kv, vote: Vote, fence: Fence): Promise<GroupLook> {
    const look = await lookAtGroup(kv, vote, this.deps.first);
    const { last } = look;
    if (!holdsFence(fence, toTerm(last.term), toLogIndex(last.index))) {
      const text = `the log ends at ${last.index}, synced was ${fence.index}`;
      throw new StorageError("corrupt", text);
    }
    return look;
  }

  private async readRows(kv: Kv, vote: Vote, fence: Fence): Promise<void> {
    const { first, identity } = this.deps;
    const sink = { put: () => undefined, turn: () => Promise.resolve() };
    const report = await rebuildShard(kv, sink, {
      ...{ group: groupOfOne(identity.storeId, []), first: pointOf(first), fence, term: vote.term },
      aside: (why, key) => {
        throw new StorageError("corrupt", `${why}: ${key.toString("hex")}`);
      },
    });
    const fault = faultOf(report);
    if (fault !== "") throw new StorageError("corrupt", fault);
  }

  private readVote(): Vote {
    const file = createVoteFile(this.deps.files, this.path);
    const vote = file.load();
    file.closeSync();
    return vote;
  }

  private readFence(): Fence {
    const file = createFenceFile(this.deps.files, this.path);
    const fence = file.load();
    file.closeSync();
    return fence;
  }

  /** Builds the store that takes the damaged one's place. @throws StorageError io */
  async salvage(): Promise<void> {
    const { files, identity, first } = this.deps;
    const { storeId } = identity;
    files.makeDirectorySync(this.path);
    const salvage = await salvageStore(files, this.oldPath, `${this.path}/salvage`);
    const asides: AsideRecord[] = [];
    try {
      const start = await startOf(salvage.kv);
      const report = await this.build(salvage, {
        ...{ group: groupOfOne(storeId, start?.members ?? first.members), first: pointOf(first) },
        fence: orElse<AppliedPoint>(() => this.readFence(), { index: 0, term: 0 }),
        term: orElse(() => this.readVote().term as number, 0),
        aside: (why, key, bytes) => asides.push({ why, key, bytes: Buffer.from(bytes) }),
      });
      for (const { key, record } of salvage.bad) {
        asides.push({ why: "a record that fails its check", key, bytes: record });
      }
      for (const damage of salvage.damages)
        if (!this.damages.includes(damage)) this.damages.push(damage);
      this.rebuilt = { report, start, asides };
    } finally {
      await salvage.close();
    }
  }

  private async build(
    { kv }: Salvage,
    options: Parameters<typeof rebuildShard>[2],
  ): Promise<RebuildReport> {
    const { files } = this.deps;
    const { newPath } = this;
    files.removeSync(newPath);
    files.makeDirectorySync(newPath);
    const target = await createLevelKv(newPath, { createIfMissing: true });
    try {
      const sink = new BatchSink(target);
      const report = await rebuildShard(kv, sink, options);
      await sink.finish();
      return report;
    } finally {
      await target.close();
      files.syncDirectorySync(newPath);
    }
  }

  private get oldPath(): string {
    return generationPath(this.path, this.generation);
  }

  private get newPath(): string {
    return generationPath(this.path, this.generation + 1);
  }

  /** The new store comes into force; the old one and what was not kept go to a folder. */
  apply(asidePath: string): void {
    const { files, identity } = this.deps;
    const { rebuilt, generation } = this;
    if (!rebuilt) return;
    const { last } = rebuilt.report;
    files.makeDirectorySync(asidePath);
    files.writeSync(`${asidePath}/records.jsonl`, linesOf(rebuilt.asides));
    // Each may be what was damaged; a vote that can be read stays.
    if (orElse(() => this.readVote(), null) === null) initVoteFile(files, this.path, last.term);
    files.removeSync(`${this.path}/fence`);
    initFenceFile(files, this.path, last);
    writeHeader(files, this.path, { ...identity, shard: this.shard });
    writeCurrent(files, this.path, generation + 1);
    const old = generationPath(this.path, generation);
    if (files.existsSync(old)) files.renameSync(old, `${asidePath}/store`);
    files.syncDirectorySync(this.path);
    files.syncDirectorySync(asidePath);
  }

  /** What was built is given up. */
  discard(): void {
    if (this.rebuilt) this.deps.files.removeSync(this.newPath);
  }

  /** Opens the store in force, for changes of its group. */
  async withStore<T>(work: (kv: Kv, vote: Vote) => Promise<T>): Promise<T> {
    const kvPath = generationPath(this.path, readCurrent(this.deps.files, this.path));
    const kv = await createLevelKv(kvPath, { createIfMissing: false });
    try {
      return await work(kv, this.readVote());
    } finally {
      await kv.close();
    }
  }

  get storeId(): StoreId {
    return this.deps.identity.storeId;
  }
}

/** Rows as they come, in batches that are synced. */
class BatchSink implements RebuildSink {
  private readonly kv: Kv;
  private batch: KvBatch;

  constructor(kv: Kv) {
    this.kv = kv;
    this.batch = kv.batch();
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.batch.put(key, value);
  }

  async turn(): Promise<void> {
    const { ops, bytes } = this.batch;
    if (ops < limits.checkpointOps && bytes < limits.checkpointBytes) return;
    await this.batch.write();
    this.batch = this.kv.batch();
  }

  async finish(): Promise<void> {
    await this.batch.write();
  }
}

/** As `current` says, or the newest that is there. */
function generationOf(files: Files, path: string): number {
  const named = orElse(() => readCurrent(files, path), 0);
  if (named > 0 || !files.existsSync(path)) return named;
  const numbers = files.listSync(path).map((name) => /^db-(\d+)$/.exec(name)?.[1]);
  return Math.max(0, ...numbers.map((number) => Number(number ?? 0)));
}

function pointOf({ cutIndex: index, cutTerm: term }: LogStart): AppliedPoint {
  return { index, term };
}

async function startOf(kv: Kv): Promise<LogStart | null> {
  const row = await kv.get(logStartKey);
  return row ? orElse(() => decodeLogStart(row), null) : null;
}

/** What rows that are all whole do not tell together; "" if nothing is wrong with them. */
function faultOf(report: RebuildReport): string {
  const lost = lossesOf(report);
  if (lost.length > 0) return lost.join(", ");
  const { missingRows, strayRows, gaps } = report;
  if (gaps.length > 0) return "the log has gaps";
  return missingRows + strayRows > 0
    ? `index rows: ${missingRows} missing, ${strayRows} stray`
    : "";
}

/** What a store that was built anew lacks, for people. */
export function lossesOf(report: RebuildReport): string[] {
  const counts: readonly (readonly [number, string])[] = [
    [report.withoutPayload, "tasks whose payload is gone"],
    [report.withoutState, "tasks whose state is gone"],
    [report.withoutQueue, "tasks whose queue's name is gone"],
    [report.brokenRuns, "runs of up to 256 tasks whose state is broken"],
    [report.withoutResult, "results or errors of tasks that are kept"],
  ];
  const lost = counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  if (report.isPointLost) lost.push("how far the rows had come");
  return lost;
}

function linesOf(asides: readonly AsideRecord[]): Buffer {
  const lines = asides.map(({ why, key, bytes }) =>
    JSON.stringify({ why, key: key.toString("hex"), base64: bytes.toString("base64") }),
  );
  return Buffer.from(lines.map((line) => `${line}\n`).join(""));
}

/** @throws what is no damage: another process's lock, a newer format, a disk that fails */
function damageOf(error: unknown): string {
  if (error instanceof DecodeError) return error.message;
  const isDamage =
    error instanceof StorageError && (error.code === "corrupt" || error.code === "missing");
  if (isDamage) return error.message;
  throw error;
}

/** What can be read, or something else where it is damaged. */
function orElse<T>(read: () => T, other: T): T {
  try {
    return read();
  } catch (error) {
    damageOf(error);
    return other;
  }
}
