/**
 * One node of a simulated cluster: real replicas, router, links and membership on a disk and clocks
 * of its own; only its edges are left out. Its machine and its name outlive its processes and its
 * disks.
 *
 * down → starting → up → stopping → down; from any of them down by a crash; refused if its store
 * does not pass its checks.
 */
import type { StoreId } from "../../../src/base/brand.ts";
import type { Logger } from "../../../src/base/effects.ts";
import { Cluster } from "../../../src/node/cluster.ts";
import { startLeaderBalance } from "../../../src/node/leader-balance.ts";
import { MemberService } from "../../../src/node/member-service.ts";
import { PeerCalls } from "../../../src/router/peer-calls.ts";
import { createRaftView } from "../../../src/router/raft-view.ts";
import { ShardRouter } from "../../../src/router/shard-router.ts";
import type { LogStart } from "../../../src/shard/log-store.ts";
import { PeerLink } from "../../../src/shard/peer-link.ts";
import { Replica } from "../../../src/shard/replica.ts";
import { createReplicaStores } from "../../../src/shard/replica-stores.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { readClusterFile, writeClusterFile } from "../../../src/storage/cluster-file.ts";
import { generationPath, readCurrent } from "../../../src/storage/current-file.ts";
import { createGroupCommit } from "../../../src/storage/group-commit.ts";
import { type Kv, StorageError } from "../../../src/storage/kv.ts";
import {
  type DataDirectory,
  openDataDirectory,
  type ShardDirectory,
} from "../../../src/storage/store-directory.ts";
import { checkStoreLog } from "../../../src/storage/store-log.ts";
import type { NodeAddress } from "../../../src/transport/transport.ts";
import { MachineClock, ProcessTime } from "../clock.ts";
import { createMemoryFiles } from "../memory-files.ts";
import { createMemoryKv } from "../memory-kv.ts";
import { createMemoryStoreCopier } from "../memory-store-copy.ts";
import { Stream } from "../random.ts";
import { readAll } from "../read-all.ts";
import { type CrashKind, VirtualDisk } from "../virtual-disk.ts";
import type { ClusterSim } from "./cluster-sim.ts";
import type { SimTransport } from "./sim-transport.ts";

export const root = "/data";
const silent = { observe: () => undefined };
const metrics = { batchOps: silent, batchBytes: silent, syncSeconds: silent };
const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

/** What one process of the node has open. */
interface Running {
  readonly life: ProcessTime;
  readonly directory: DataDirectory;
  readonly transport: SimTransport;
  readonly link: PeerLink;
  readonly cluster: Cluster;
  readonly router: ShardRouter;
  readonly members: MemberService;
  readonly shards: (Shard | null)[];
  readonly replicas: Replica[];
  /** Of the replicas, when it comes to belong to a cluster. */
  opening: Promise<void>;
}

export class SimNode {
  readonly name: string;
  readonly machine: MachineClock;
  disk: VirtualDisk;
  state: "down" | "starting" | "up" | "stopping" | "refused" = "down";
  private stalledUntilUs = 0;
  /** How much slower its disk is meanwhile. */
  private stallFactor = 1;
  /** It belongs to the nodes that found the cluster, and has not lost its disk. */
  isFounder: boolean;
  /** It is to be started again when it ends. */
  isKeptUp = false;
  /** Its store has rotted; at the next start that is noticed. */
  private isDamaged = false;
  private running: Running | null = null;
  private life: ProcessTime;
  private transport: SimTransport | null = null;
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  private readonly diskRandom: Stream;
  /** Mean µs of one operation of its disk. */
  readonly diskUs: number;
  private readonly logKeepBytes: number;

  constructor(sim: ClusterSim, name: string, isFounder: boolean) {
    const { seed, clocks } = sim.scenario;
    this.sim = sim;
    this.name = name;
    this.isFounder = isFounder;
    this.random = new Stream(seed, `node ${name}`);
    this.diskRandom = new Stream(seed, `disk ${name}`);
    const wallMs = 1_800_000_000_000 + this.random.between(-clocks.offsetMs, clocks.offsetMs);
    const rate = 1 + (this.random.unit() - 0.5) * 2 * clocks.rate;
    this.machine = new MachineClock(sim.time, wallMs, rate);
    this.diskUs = this.random.pick([150, 400, 2_000]);
    this.logKeepBytes = new Stream(seed, `log ${name}`).pick(sim.scenario.logKeepBytes);
    this.life = new ProcessTime(this.machine);
    this.disk = this.newDisk();
  }

  private newDisk(): VirtualDisk {
    return new VirtualDisk({
      unit: () => this.diskRandom.unit(),
      schedule: (callback) => {
        const factor = this.sim.time.nowUs < this.stalledUntilUs ? this.stallFactor : 1;
        this.life.schedule(this.diskRandom.around(this.diskUs) * factor, callback);
      },
    });
  }

  get address(): NodeAddress {
    const { name } = this;
    return { nodeId: name, raft: name, http: `http://${name}`, grpc: name };
  }

  /** Its disk is so many times as slow for so long. */
  stall(ms: number, factor: number): void {
    this.stalledUntilUs = this.sim.time.nowUs + ms * 1000;
    this.stallFactor = factor;
  }

  /** Replicas here; none while nothing runs. */
  get shards(): readonly (Shard | null)[] {
    return this.running?.shards ?? [];
  }

  get storeId(): StoreId | null {
    return this.running?.directory.identity.storeId ?? null;
  }

  /** Null while nothing can be asked of the node. */
  get router(): ShardRouter | null {
    return this.state === "up" ? (this.running?.router ?? null) : null;
  }

  get members(): MemberService | null {
    return this.state === "up" ? (this.running?.members ?? null) : null;
  }

  start(): void {
    const life = new ProcessTime(this.machine, (error) => this.died(life, error));
    this.life = life;
    this.state = "starting";
    this.sim.trace(`${this.name} starts`);
    this.open(life)
      .then(() => {
        if (!life.alive) return;
        this.state = "up";
        this.sim.trace(`${this.name} is up`);
      })
      .catch((error: unknown) => this.died(life, error));
  }

  private async open(life: ProcessTime): Promise<void> {
    const { disk, sim, name, address } = this;
    const files = createMemoryFiles(disk);
    const random = this.random.source;
    const directory = await openDataDirectory(
      { files, random, openStore: (path, options) => openAlive(life, disk, path, options) },
      {
        root,
        shards: sim.shardIds,
        expect: { nodeId: name, shardCount: sim.shardIds.length, clusterNodes: [] },
        create: true,
        founded: false,
        allowUnsafeFilesystem: true,
      },
    );
    const stored = readClusterFile(files, root);
    const { storeId } = directory.identity;
    const identity = { ...address, storeId, clusterId: stored?.clusterId ?? "", version: "sim" };
    const transport = sim.net.transport(identity, life);
    this.transport = transport;
    const link = new PeerLink({ transport, timers: life });
    const calls = new PeerCalls({ transport, timers: life, random });
    const shards: (Shard | null)[] = sim.shardIds.map(() => null);
    const peers = sim.configuredPeers(this);
    const cluster = new Cluster(
      {
        ...{ transport, link, calls, timers: life, random, logger: quiet, shards },
        save: (file) => writeClusterFile(files, root, file),
        founded: (start) => {
          running.opening = this.openReplicas(running, start);
          running.opening.catch((error: unknown) => this.died(life, error));
        },
        fatal: (error) => this.died(life, error),
      },
      {
        self: { ...address, storeId },
        peers,
        bootstrap: this.isFounder && sim.isBootstrap(this),
        ...{ stored, rejoin: false },
      },
    );
    const view = createRaftView({ calls, forward: sim.scenario.forward, shards });
    const router: ShardRouter = new ShardRouter({
      ...{ shards, clock: life, timers: life, nodeId: name, cluster: view },
      otherRequests: (request) => members.requested(request),
    });
    const members = new MemberService({ cluster, view, shards, clock: life, timers: life });
    const replicas: Replica[] = [];
    const parts = { life, directory, transport, link, cluster, router, members };
    const running: Running = { ...parts, shards, replicas, opening: Promise.resolve() };
    this.running = running;
    if (cluster.start) await this.openReplicas(running, cluster.start);
    await transport.start(link);
    cluster.run();
    startLeaderBalance({ cluster, shards, clock: life, timers: life, logger: quiet });
  }

  private async openReplicas(running: Running, start: LogStart): Promise<void> {
    const { directory, shards, replicas, router, cluster } = running;
    for (const place of directory.shards) {
      const replica = await this.openReplica(running, place, start);
      replicas.push(replica);
      shards[place.shard] = replica.shard;
    }
    const listener = {
      ready: router.ready.bind(router),
      ended: router.ended.bind(router),
      leaseCanceled: router.leaseCanceled.bind(router),
      leadership: (shard: Shard) => {
        this.sim.checks.role(this, shard);
        router.leadership(shard);
        const isNew = shard.consensus.raft.role === "leader" && !shard.leads;
        if (isNew) this.sim.reader.elected(this);
      },
      members: (shard: Shard) => {
        this.sim.checks.members(this, shard);
        cluster.membersChanged();
      },
    };
    for (const replica of replicas) replica.start(listener);
  }

  private openReplica(
    { life, link, shards, directory }: Running,
    { shard, path }: ShardDirectory,
    founding: LogStart,
  ): Promise<Replica> {
    const { disk, sim } = this;
    const { settings, readAhead } = sim.scenario;
    const { logKeepBytes } = this;
    const onFatal = (error: unknown) => this.died(life, error);
    const stores = createReplicaStores({
      files: createMemoryFiles(disk),
      path,
      openKv: (at) => this.openChecked(life, at),
      createCommit: (kv) => createGroupCommit({ kv, clock: life, metrics, onFatal }),
      hasSpace: () => true,
    });
    return Replica.open(
      {
        ...{ stores, clock: life, timers: life, random: this.random.source, logger: quiet },
        ...{ peers: link, onFatal, copier: createMemoryStoreCopier(disk) },
        replaced: (replacement) => {
          if (!life.alive) return;
          shards[shard] = replacement;
          sim.counts.snapshots++;
          sim.trace(`${this.name}/${shard} goes on from ${replacement.stats().applied}`);
        },
      },
      {
        ...{ shard, shardCount: sim.shardIds.length, storeId: directory.identity.storeId },
        ...{ founding, settings, readAhead, logKeepBytes },
        durability: { kind: "always" },
        tickMs: 50,
        electionTicks: 6,
      },
    );
  }

  /** As at every start, which reads the tables that it can in the time it has. */
  private async openChecked(life: ProcessTime, path: string): Promise<Kv> {
    const { disk } = this;
    const kv = await openAlive(life, disk, path, { createIfMissing: false });
    checkStoreLog(createMemoryFiles(disk), path);
    if (this.isDamaged) await readAll(kv);
    return kv;
  }

  /** The process ends itself because of an error. */
  private died(life: ProcessTime, error: unknown): void {
    if (!life.alive) return;
    this.sim.trace(`${this.name} ends: ${String(error)}`);
    if (!(error instanceof StorageError)) {
      this.sim.fail(error);
      return;
    }
    this.crash("kill");
    if (error.code === "io") return;
    this.state = "refused";
    this.sim.refused(this, error);
  }

  /** Ends the process between two events. */
  crash(kind: CrashKind): void {
    if (this.state === "down" || this.state === "refused") return;
    this.sim.counts.crashes++;
    this.sim.trace(`${this.name} crashes: ${kind}`);
    this.end(() => this.disk.crash(kind), "dead");
  }

  private end(then: () => void, how: "closed" | "dead"): void {
    this.life.alive = false;
    this.state = "down";
    this.running = null;
    then();
    if (this.transport) this.sim.net.ended(this.transport, how);
    this.transport = null;
    this.sim.nodeEnded(this);
  }

  /** Its disk is gone; an empty one is in its place. */
  wipe(): void {
    this.crash("power");
    this.state = "down";
    this.isFounder = false;
    this.isDamaged = false;
    this.disk = this.newDisk();
    this.sim.trace(`${this.name} has an empty disk`);
  }

  /** Ends in order. */
  stop(): void {
    const { running, life } = this;
    if (this.state !== "up" || !running) return;
    this.state = "stopping";
    this.sim.trace(`${this.name} stops`);
    this.close(running)
      .then(() => {
        if (life.alive) this.end(() => undefined, "closed");
      })
      .catch((error: unknown) => this.died(life, error));
  }

  private async close(running: Running): Promise<void> {
    const { router, replicas, transport, directory, cluster } = running;
    router.drain();
    await this.handOver(running);
    await running.opening;
    for (const replica of replicas) await replica.close();
    cluster.stop();
    await transport.close();
    await directory.release();
  }

  /** Another node leads at once, if one is near. */
  private async handOver({ life, replicas }: Running): Promise<void> {
    for (const { shard } of replicas) {
      const { raft } = shard.consensus;
      const others = raft
        .status()
        .progress.filter(({ id, isLearner }) => id !== raft.id && !isLearner);
      const next = others.sort((a, b) => b.match - a.match)[0];
      if (next) shard.consensus.transferTo(next.id);
    }
    if (replicas.some(({ shard }) => shard.leads)) {
      await new Promise<void>((resolve) => life.after(200, resolve));
    }
  }

  /** @returns whether there was anything to damage in the shard's store */
  damage(shard: number, what: "log" | "table"): boolean {
    const store = this.disk.store(this.storePath(shard));
    // What the log has anew is taken from there.
    if (what === "table") store.flush();
    this.isDamaged = what === "log" ? store.rotLog() : store.rotTable();
    this.sim.trace(`${this.name}/${shard} rots: ${what} ${this.isDamaged}`);
    return this.isDamaged;
  }

  /** Where the store in force of a shard lies. */
  storePath(shard: number): string {
    const path = `${root}/shard-${shard}`;
    return generationPath(path, readCurrent(createMemoryFiles(this.disk), path));
  }
}

/** A process that has ended opens nothing any more, although its code still runs. */
function openAlive(
  life: ProcessTime,
  disk: VirtualDisk,
  path: string,
  options: { readonly createIfMissing: boolean },
): Promise<Kv> {
  return life.alive ? createMemoryKv(disk, path, options) : new Promise(() => undefined);
}
