/** One node of a simulated cluster: real replicas, router and links on a disk and clocks of its own. */
import { type ShardId, type StoreId, toStoreId } from "../../../src/base/brand.ts";
import type { Logger } from "../../../src/base/effects.ts";
import { PeerCalls } from "../../../src/router/peer-calls.ts";
import { createRaftView } from "../../../src/router/raft-view.ts";
import { ShardRouter } from "../../../src/router/shard-router.ts";
import type { Members } from "../../../src/shard/members.ts";
import { PeerLink } from "../../../src/shard/peer-link.ts";
import { foundedBy, unfounded } from "../../../src/shard/recovery.ts";
import { Replica } from "../../../src/shard/replica.ts";
import { createReplicaStores } from "../../../src/shard/replica-stores.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { createGroupCommit } from "../../../src/storage/group-commit.ts";
import { type Kv, StorageError } from "../../../src/storage/kv.ts";
import { type DataDirectory, openDataDirectory } from "../../../src/storage/store-directory.ts";
import { MachineClock, ProcessTime } from "../clock.ts";
import { createMemoryFiles } from "../memory-files.ts";
import { createMemoryKv } from "../memory-kv.ts";
import { createMemoryStoreCopier } from "../memory-store-copy.ts";
import { Stream } from "../random.ts";
import { VirtualDisk } from "../virtual-disk.ts";
import type { ClusterSim } from "./cluster-sim.ts";

const silent = { observe: () => undefined };
const metrics = { batchOps: silent, batchBytes: silent, syncSeconds: silent };
const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

/** A process that has ended opens nothing any more, although its code still runs. */
function openAlive(
  life: ProcessTime,
  disk: VirtualDisk,
  path: string,
  options: { readonly createIfMissing: boolean },
): Promise<Kv> {
  return life.alive ? createMemoryKv(disk, path, options) : new Promise(() => undefined);
}

export class SimNode {
  readonly storeId: StoreId;
  readonly name: string;
  readonly machine: MachineClock;
  disk: VirtualDisk;
  life: ProcessTime;
  state: "down" | "starting" | "up" | "stopping" = "down";
  shards: (Shard | null)[] = [];
  router: ShardRouter | null = null;
  private replicas: Replica[] = [];
  private directory: DataDirectory | null = null;
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  /** Mean µs of one operation of its disk. */
  private readonly diskUs: number;

  constructor(sim: ClusterSim, number: number) {
    const { scenario } = sim;
    this.sim = sim;
    this.storeId = toStoreId(number);
    this.name = `n${number}`;
    this.random = new Stream(scenario.seed, `node ${number}`);
    // Wall clocks agree: a process that has just started goes by its own.
    const wallMs = 1_800_000_000_000 + this.random.between(-1, 1);
    this.machine = new MachineClock(sim.time, wallMs, 1 + (this.random.unit() - 0.5) * 0.001);
    this.diskUs = this.random.pick([150, 400, 2_000]);
    this.life = new ProcessTime(this.machine);
    this.disk = new VirtualDisk({
      unit: () => this.random.unit(),
      schedule: (callback) => this.life.schedule(this.random.around(this.diskUs), callback),
    });
  }

  start(founders: Members | null): void {
    const life = new ProcessTime(this.machine);
    this.life = life;
    this.state = "starting";
    this.open(life, founders)
      .then(() => {
        if (!life.alive) return;
        this.state = "up";
        this.sim.trace(`${this.name} is up`);
      })
      .catch((error: unknown) => this.died(life, error));
  }

  private async open(life: ProcessTime, founders: Members | null): Promise<void> {
    const { disk, sim } = this;
    const files = createMemoryFiles(disk);
    const random = this.random.source;
    const directory = await openDataDirectory(
      { files, random, openStore: (path, options) => openAlive(life, disk, path, options) },
      {
        root: "/data",
        shards: sim.shardIds,
        expect: { nodeId: this.name, shardCount: sim.shardIds.length, clusterNodes: [] },
        create: true,
        allowUnsafeFilesystem: true,
      },
    );
    this.directory = directory;
    const transport = sim.net.transport(this.storeId, life);
    const link = new PeerLink({ transport, timers: life });
    const calls = new PeerCalls({ transport, timers: life });
    link.setNode({
      frame: (from, type, body) => calls.frame(from, type, body),
      peerFound: () => undefined,
      peerGone: (storeId) => calls.peerGone(storeId),
      refused: () => undefined,
    });
    const shards: (Shard | null)[] = sim.shardIds.map(() => null);
    this.shards = shards;
    this.replicas = [];
    for (const place of directory.shards) {
      const replica = await this.openReplica(life, link, place, founders);
      this.replicas.push(replica);
      shards[place.shard] = replica.shard;
    }
    const router = new ShardRouter({
      ...{ shards, clock: life, timers: life, nodeId: this.name },
      cluster: createRaftView({ calls, forward: sim.scenario.forward, shards }),
    });
    this.router = router;
    const listener = {
      ready: router.ready.bind(router),
      ended: router.ended.bind(router),
      leaseCanceled: router.leaseCanceled.bind(router),
      leadership: (shard: Shard) => {
        if (shard.leads) sim.checks.leads(this, shard);
        router.leadership(shard);
      },
    };
    for (const replica of this.replicas) replica.start(listener);
    const { storeId, name } = this;
    const address = { nodeId: name, raft: "", http: `http://${name}`, grpc: name };
    sim.net.online({
      identity: { ...address, storeId, clusterId: "", version: "sim" },
      life,
      listener: link,
    });
  }

  private openReplica(
    life: ProcessTime,
    peers: PeerLink,
    place: DataDirectory["shards"][0],
    founders: Members | null,
  ): Promise<Replica> {
    const { disk, sim } = this;
    const onFatal = (error: unknown) => this.died(life, error);
    const shard: ShardId = place.shard;
    const ids = founders?.map(({ storeId }) => storeId) ?? [];
    const stores = createReplicaStores({
      files: createMemoryFiles(disk),
      path: place.path,
      openKv: (path) => openAlive(life, disk, path, { createIfMissing: false }),
      createCommit: (kv) => createGroupCommit({ kv, clock: life, metrics, onFatal }),
      hasSpace: () => true,
    });
    return Replica.open(
      {
        ...{ stores, clock: life, timers: life, random: this.random.source, logger: quiet },
        ...{ peers, onFatal, copier: createMemoryStoreCopier(disk) },
        replaced: (replacement) => {
          if (!life.alive) return;
          this.shards[shard] = replacement;
          sim.counts.snapshots++;
        },
      },
      {
        ...{ shard, shardCount: sim.shardIds.length, storeId: this.storeId },
        founding: founders ? foundedBy(ids, founders) : unfounded,
        settings: sim.scenario.settings,
        durability: { kind: "always" },
        tickMs: 50,
        electionTicks: 6,
        readAhead: sim.scenario.readAhead,
        logKeepBytes: sim.scenario.logKeepBytes,
      },
    );
  }

  private died(life: ProcessTime, error: unknown): void {
    if (!life.alive) return;
    this.sim.trace(`${this.name} ends: ${String(error)}`);
    if (error instanceof StorageError && error.code === "io") this.crash("kill");
    else this.sim.fail(error);
  }

  crash(kind: "kill" | "power"): void {
    this.life.alive = false;
    this.state = "down";
    this.router = null;
    this.shards = [];
    this.disk.crash(kind);
    this.sim.net.offline(this.storeId);
  }

  /** Ends in order. */
  stop(): void {
    if (this.state !== "up") return;
    const { life } = this;
    this.state = "stopping";
    this.router?.drain();
    const close = async () => {
      for (const replica of this.replicas) await replica.close();
      await this.directory?.release();
    };
    close()
      .then(() => {
        if (!life.alive) return;
        life.alive = false;
        this.state = "down";
        this.router = null;
        this.sim.net.offline(this.storeId);
      })
      .catch((error: unknown) => this.died(life, error));
  }
}
