/**
 * A small cluster in virtual time: real shards and routers, stores in memory, a network without
 * faults that can be cut. For tests that drive one thing; the simulator attacks everything at once.
 */
import { type ShardId, type StoreId, toShardId, toStoreId } from "../../src/base/brand.ts";
import type { Logger } from "../../src/base/effects.ts";
import { PeerCalls } from "../../src/router/peer-calls.ts";
import { createRaftView } from "../../src/router/raft-view.ts";
import { ShardRouter } from "../../src/router/shard-router.ts";
import type { Members } from "../../src/shard/members.ts";
import { PeerLink } from "../../src/shard/peer-link.ts";
import { foundedBy, unfounded } from "../../src/shard/recovery.ts";
import { Replica } from "../../src/shard/replica.ts";
import { createReplicaStores } from "../../src/shard/replica-stores.ts";
import type { Shard } from "../../src/shard/shard.ts";
import { createGroupCommit } from "../../src/storage/group-commit.ts";
import { openDataDirectory } from "../../src/storage/store-directory.ts";
import type { Channel, Transport, TransportListener } from "../../src/transport/transport.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../sim/clock.ts";
import { createMemoryFiles } from "../sim/memory-files.ts";
import { createMemoryKv } from "../sim/memory-kv.ts";
import { createMemoryStoreCopier } from "../sim/memory-store-copy.ts";
import { Stream } from "../sim/random.ts";
import { VirtualDisk } from "../sim/virtual-disk.ts";

const silent = { observe: () => undefined };
const metrics = { batchOps: silent, batchBytes: silent, syncSeconds: silent };
const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};
const settings = {
  backoffPolicy: "fixed",
  backoffBaseMs: 1000,
  backoffMaxMs: 10_000,
  doneRetentionMs: 3_600_000,
  deadRetentionMs: 3_600_000,
} as const;

export class LabNode {
  readonly storeId: StoreId;
  readonly name: string;
  readonly machine: MachineClock;
  readonly disk: VirtualDisk;
  life: ProcessTime;
  replicas: Replica[] = [];
  router: ShardRouter | null = null;
  link: PeerLink | null = null;
  shards: Shard[] = [];
  replacements = 0;
  private readonly lab: Lab;
  private readonly random: Stream;

  constructor(lab: Lab, number: number) {
    this.lab = lab;
    this.storeId = toStoreId(number);
    this.name = `n${number}`;
    this.machine = new MachineClock(lab.time, 1_800_000_000_000 + number * 1_000_000, 1);
    this.life = new ProcessTime(this.machine);
    this.random = new Stream(number, "lab");
    this.disk = new VirtualDisk({
      unit: () => this.random.unit(),
      schedule: (callback) => this.life.schedule(300, callback),
    });
  }

  get shard(): Shard {
    return this.shards[0] as Shard;
  }

  async start(founders: Members | null): Promise<void> {
    const { disk, lab } = this;
    const life = new ProcessTime(this.machine);
    this.life = life;
    const files = createMemoryFiles(disk);
    const openStore = (path: string, options: { readonly createIfMissing: boolean }) =>
      createMemoryKv(disk, path, options);
    const random = this.random.source;
    const directory = await openDataDirectory(
      { files, random, openStore },
      {
        root: "/data",
        shards: lab.shardIds,
        expect: { nodeId: this.name, shardCount: lab.shardIds.length, clusterNodes: [] },
        create: true,
        allowUnsafeFilesystem: true,
      },
    );
    const onFatal = (error: unknown) => {
      if (life.alive) this.lab.errors.push(error);
    };
    const transport = lab.transport(this);
    const link = new PeerLink({ transport, timers: life });
    const calls = new PeerCalls({ transport, timers: life, random });
    this.link = link;
    link.setNode({
      frame: (from, type, body) => calls.frame(from, type, body),
      peerFound: () => undefined,
      peerGone: (storeId) => calls.peerGone(storeId),
      refused: () => undefined,
    });
    const ids = founders?.map(({ storeId }) => storeId) ?? [];
    const founding = founders ? foundedBy(ids, founders) : unfounded;
    this.replicas = [];
    this.shards = [];
    for (const place of directory.shards) {
      const stores = createReplicaStores({
        files,
        path: place.path,
        openKv: (path) => createMemoryKv(disk, path, { createIfMissing: false }),
        createCommit: (kv) => createGroupCommit({ kv, clock: life, metrics, onFatal }),
        hasSpace: () => true,
      });
      const replica = await Replica.open(
        {
          ...{ stores, clock: life, timers: life, random, logger: quiet, peers: link, onFatal },
          copier: createMemoryStoreCopier(disk),
          replaced: (shard) => {
            this.shards[place.shard] = shard;
            this.replacements++;
          },
        },
        {
          ...{ shard: place.shard, shardCount: lab.shardIds.length, storeId: this.storeId },
          ...{ settings, founding, tickMs: 50, electionTicks: 6, durability: { kind: "always" } },
        },
      );
      this.replicas.push(replica);
      this.shards.push(replica.shard);
    }
    this.router = new ShardRouter({
      ...{ shards: this.shards, clock: life, timers: life, nodeId: this.name },
      cluster: createRaftView({ calls, forward: lab.forward, shards: this.shards }),
    });
    for (const replica of this.replicas) replica.start(this.router);
    lab.online(this);
  }

  /** The process is gone; the others' connections to it are reset. */
  crash(): void {
    this.life.alive = false;
    this.disk.crash("power");
    this.router = null;
    this.lab.offline(this);
  }
}

export interface LabOptions {
  readonly shards?: number;
  readonly forward?: boolean;
}

export class Lab {
  readonly time = new VirtualTime();
  readonly nodes: LabNode[] = [];
  readonly errors: unknown[] = [];
  readonly shardIds: readonly ShardId[];
  readonly forward: boolean;

  constructor({ shards = 1, forward = false }: LabOptions = {}) {
    this.shardIds = Array.from({ length: shards }, (_, i) => toShardId(i));
    this.forward = forward;
  }

  private readonly up = new Set<LabNode>();
  private readonly silenced = new Set<string>();

  add(): LabNode {
    const node = new LabNode(this, this.nodes.length + 1);
    this.nodes.push(node);
    return node;
  }

  members(): Members {
    return this.nodes.map(({ storeId, name }) => {
      return { storeId, nodeId: name, raft: "", http: `http://${name}`, grpc: name };
    });
  }

  online(node: LabNode): void {
    this.up.add(node);
  }

  offline(node: LabNode): void {
    this.up.delete(node);
    for (const other of this.up) {
      const { life, link } = other;
      life.after(1, () => link?.disconnected(node.storeId, true));
    }
  }

  /** From now on nothing that `from` sends reaches `to`; neither notices. */
  silence(from: LabNode, to: LabNode): void {
    this.silenced.add(`${from.name}>${to.name}`);
  }

  transport(node: LabNode): Transport {
    const deliver = (to: StoreId, channel: Channel, group: number, type: number, body: Buffer) => {
      const target = [...this.up].find(({ storeId }) => storeId === to);
      if (!target || !this.up.has(node)) return false;
      if (this.silenced.has(`${node.name}>${target.name}`)) return true;
      const { life, link } = target;
      life.schedule(200, () =>
        (link as TransportListener).frame(node.storeId, channel, group, type, body),
      );
      return true;
    };
    return {
      start: async () => undefined,
      setPeers: () => undefined,
      setClusterId: () => undefined,
      reject: () => undefined,
      send: (to, channel, group, type, parts) =>
        deliver(to, channel, group, type, Buffer.concat(parts)),
      waitingBytes: () => 0,
      whenBelow: (_to, _channel, _bytes, callback) => node.life.soon(callback),
      peers: () => [],
      close: async () => undefined,
    };
  }

  /** Lets time pass until it holds. @throws after so many virtual ms */
  async until(what: string, holds: () => boolean, withinMs = 10_000): Promise<void> {
    const end = this.time.nowUs + withinMs * 1000;
    const beat = () => this.time.after(1_000, beat);
    const first = beat();
    let reached = false;
    await this.time.run(() => {
      reached = holds();
      return reached || this.time.nowUs > end;
    });
    first.cancel();
    if (this.errors.length > 0) throw this.errors[0];
    if (!reached) throw new Error(`${what}: not within ${withinMs} ms`);
  }

  /** Calls back when it is fulfilled; a rejection fails the test. */
  watch(promise: Promise<void>, done: () => void): void {
    promise.then(done).catch((error: unknown) => this.errors.push(error));
  }

  start(node: LabNode, founders: Members | null, done: () => void): void {
    this.watch(node.start(founders), done);
  }

  leader(shard = 0): LabNode | undefined {
    return [...this.up].find((node) => node.shards[shard]?.leads);
  }

  /** Starts a group of so many voters and waits for its leader. */
  static async founded(count: number, options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options);
    for (let i = 0; i < count; i++) lab.add();
    const founders = lab.members();
    let started = 0;
    for (const node of lab.nodes) lab.start(node, founders, () => started++);
    await lab.until("all start", () => started === count);
    await lab.until("every shard has a leader", () =>
      lab.shardIds.every((shard) => lab.leader(shard) !== undefined),
    );
    return lab;
  }
}
