/**
 * One node in virtual time: the real shard, router, group commit and small files on a simulated
 * disk. It can be started, stopped in order, and ended at any event.
 *
 * down → starting → up → stopping → down; from any of them down by a crash; refused if its store
 * does not pass its checks.
 */
import { toShardId } from "../../src/base/brand.ts";
import type { LogFields, Logger } from "../../src/base/effects.ts";
import { AdminRouter } from "../../src/router/admin-router.ts";
import { ShardRouter } from "../../src/router/shard-router.ts";
import { Shard, type ShardDeps, type ShardOptions } from "../../src/shard/shard.ts";
import { createFenceFile } from "../../src/storage/fence-file.ts";
import { createGroupCommit } from "../../src/storage/group-commit.ts";
import { type Kv, StorageError } from "../../src/storage/kv.ts";
import { type DataDirectory, openDataDirectory } from "../../src/storage/store-directory.ts";
import { checkStoreLog } from "../../src/storage/store-log.ts";
import { createVoteFile } from "../../src/storage/vote-file.ts";
import type { Truth } from "./checkers/truth.ts";
import { type MachineClock, ProcessTime } from "./clock.ts";
import { createMemoryFiles } from "./memory-files.ts";
import { createMemoryKv } from "./memory-kv.ts";
import type { Stream } from "./random.ts";
import { readAll } from "./read-all.ts";
import type { Scenario } from "./scenario.ts";
import { type LogTap, TappedKv } from "./tapped-kv.ts";
import { Violation } from "./violation.ts";
import { type CrashKind, VirtualDisk } from "./virtual-disk.ts";
import type { VirtualStore } from "./virtual-store.ts";
import type { Service } from "./world.ts";

export type NodeState = "down" | "starting" | "up" | "stopping" | "refused";

/** What a node tells the simulation. */
export interface NodeListener extends LogTap {
  trace(line: string): void;
  /** The store is open, nothing of it has been read yet. */
  storeOpened(store: VirtualStore): void;
  shardOpened(process: ProcessTime): void;
  /** The process is gone; nothing that it was asked will be answered. */
  ended(how: string): void;
  /** A bug has shown itself. */
  failed(error: unknown): void;
}

const root = "/data";
const shardId = toShardId(0);
const silent = { observe: () => undefined };
/** How much slower a disk that stalls is. */
export const stallFactor = 40;

/** What one process of the node has open. */
interface Running {
  readonly shard: Shard;
  readonly router: ShardRouter;
  readonly service: Service;
  readonly kv: Kv;
  readonly directory: DataDirectory;
}

export class SimNode {
  readonly disk: VirtualDisk;
  readonly machine: MachineClock;
  state: NodeState = "down";
  /** Mean µs of one operation of its disk. */
  diskUs: number;
  stalledUntilUs = 0;
  storePath = "";
  private readonly scenario: Scenario;
  private readonly random: { readonly disk: Stream; readonly node: Stream };
  private readonly listener: NodeListener;
  private process: ProcessTime;
  private running: Running | null = null;

  constructor(
    scenario: Scenario,
    machine: MachineClock,
    random: { readonly disk: Stream; readonly node: Stream },
    listener: NodeListener,
  ) {
    this.scenario = scenario;
    this.machine = machine;
    this.random = random;
    this.listener = listener;
    this.diskUs = scenario.diskUs;
    this.process = new ProcessTime(machine);
    this.disk = new VirtualDisk({
      unit: () => random.disk.unit(),
      schedule: (callback) => this.process.schedule(this.latencyUs(), callback),
    });
  }

  private latencyUs(): number {
    const { nowUs } = this.machine.time;
    const factor = nowUs < this.stalledUntilUs ? stallFactor : 1;
    return this.random.disk.around(this.diskUs) * factor;
  }

  get shard(): Shard | null {
    return this.running?.shard ?? null;
  }

  get router(): ShardRouter | null {
    return this.service && (this.running?.router ?? null);
  }

  /** Null while nothing can be asked of the node. */
  get service(): Service | null {
    return this.state === "up" ? (this.running?.service ?? null) : null;
  }

  get store(): VirtualStore {
    return this.disk.store(this.storePath);
  }

  monotonicMs(): number {
    return this.process.monotonicMs();
  }

  /** Starts a process. What it runs into is told to the listener. */
  start(): void {
    this.state = "starting";
    const life = new ProcessTime(this.machine);
    this.process = life;
    this.open(life)
      .then((running) => {
        if (!life.alive) return;
        this.running = running;
        this.state = "up";
        this.listener.trace("node is up");
        running.shard.start(running.router);
      })
      .catch((error: unknown) => this.died(life, error));
  }

  private async open(life: ProcessTime): Promise<Running> {
    const { disk, scenario } = this;
    const files = createMemoryFiles(disk);
    const random = this.random.node.source;
    const openStore = (path: string, options: { readonly createIfMissing: boolean }) =>
      createMemoryKv(disk, path, options);
    const directory = await openDataDirectory(
      { files, random, openStore },
      {
        root,
        shards: [shardId],
        expect: { nodeId: "n1", shardCount: 1, clusterNodes: [] },
        create: true,
        allowUnsafeFilesystem: false,
      },
    );
    const place = directory.shards[0] as (typeof directory.shards)[0];
    const store = await openStore(place.kvPath, { createIfMissing: false });
    checkStoreLog(files, place.kvPath);
    await readAll(store);
    this.storePath = place.kvPath;
    this.listener.storeOpened(this.store);
    const kv = new TappedKv(store, this.listener);
    const onFatal = (error: unknown) => this.died(life, error);
    const metrics = { batchOps: silent, batchBytes: silent, syncSeconds: silent };
    const deps: ShardDeps = {
      kv,
      commit: createGroupCommit({ kv, clock: life, metrics, onFatal }),
      vote: createVoteFile(files, place.path),
      fence: createFenceFile(files, place.path),
      clock: life,
      timers: life,
      random,
      logger: new TraceLogger((line) => this.listener.trace(line)),
      onFatal,
    };
    const shard = await Shard.open(deps, {
      ...shardOptions(scenario),
      storeId: place.identity.storeId,
    });
    this.listener.shardOpened(life);
    const router = new ShardRouter({ shards: [shard], clock: life, timers: life, nodeId: "n1" });
    const service = {
      ...{ name: "n1", router, admin: adminOf(router, life), wallMs: () => life.wallMs() },
      get isAlive() {
        return life.alive;
      },
      isUpToDate: ({ lastIndex }: Truth) => shard.stats().applied === lastIndex,
    };
    return { shard, router, service, kv, directory };
  }

  /** Ends the process between two events. */
  crash(kind: CrashKind): void {
    this.end(kind);
  }

  private end(how: string): void {
    this.process.alive = false;
    this.running = null;
    this.state = "down";
    this.disk.crash(how === "power" ? "power" : "kill");
    this.listener.ended(how);
  }

  /** The process ends itself because of an error. */
  private died(life: ProcessTime, error: unknown): void {
    if (!life.alive) return;
    this.listener.trace(`node ends: ${String(error)}`);
    if (!(error instanceof StorageError)) {
      this.listener.failed(error);
      return;
    }
    this.end(`error ${error.code}`);
    if (error.code !== "io") this.state = "refused";
  }

  /** Stops in order, as on SIGTERM. */
  stop(): void {
    const { running, process: life } = this;
    if (!running) return;
    this.state = "stopping";
    this.stopAll(running)
      .then(() => {
        if (!life.alive) return;
        life.alive = false;
        this.running = null;
        this.state = "down";
        this.listener.ended("stopped");
      })
      .catch((error: unknown) => this.died(life, error));
  }

  private async stopAll({ router, shard, kv, directory }: Running): Promise<void> {
    router.drain();
    await shard.close();
    await kv.close();
    await directory.release();
  }
}

/** What operators may ask of a node. */
export function adminOf(router: ShardRouter, life: ProcessTime): AdminRouter {
  return new AdminRouter({
    ...{ routes: router.routes, timers: life, clock: life, peers: () => [] },
    self: { id: "", version: "", raftEnabled: false, raftAddr: "", httpUrl: "", grpcAddr: "" },
    admit: (shard) => router.admitSettle(shard, 0),
  });
}

function shardOptions(scenario: Scenario): Omit<ShardOptions, "storeId"> {
  const { settings, durability, readAhead } = scenario;
  return {
    shard: shardId,
    shardCount: 1,
    settings,
    durability,
    tickMs: 50,
    electionTicks: 6,
    readAhead,
  };
}

class TraceLogger implements Logger {
  private readonly trace: (line: string) => void;

  constructor(trace: (line: string) => void) {
    this.trace = trace;
  }

  debug(): void {
    // Raft's own words are many and say nothing that the trace does not.
  }

  info(text: string, fields: LogFields = {}): void {
    this.trace(`${text} ${JSON.stringify(fields)}`);
  }

  warn(text: string, fields: LogFields = {}): void {
    this.info(text, fields);
  }

  error(text: string, fields: LogFields = {}): void {
    throw new Violation(`logged as an error: ${text} ${JSON.stringify(fields)}`);
  }

  child(): Logger {
    return this;
  }
}
