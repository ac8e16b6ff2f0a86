/** Real shards, router and admin router over a simulated disk, in the time of this process. */
import { toShardId } from "../../../src/base/brand.ts";
import type { QueueError } from "../../../src/base/errors.ts";
import { createClock, createRandom, createTimers } from "../../../src/platform/system.ts";
import { defaultSettings } from "../../../src/queue/state.ts";
import { AdminRouter } from "../../../src/router/admin-router.ts";
import type { ClaimOutcome, Grant, NewTask, SettleBatch } from "../../../src/router/router.ts";
import { ShardRouter } from "../../../src/router/shard-router.ts";
import { Shard } from "../../../src/shard/shard.ts";
import { createFenceFile } from "../../../src/storage/fence-file.ts";
import { createGroupCommit } from "../../../src/storage/group-commit.ts";
import type { Kv } from "../../../src/storage/kv.ts";
import { openDataDirectory } from "../../../src/storage/store-directory.ts";
import { createVoteFile } from "../../../src/storage/vote-file.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const silent = { observe: () => undefined };
const quiet = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};
const parts = {
  clock: createClock(),
  timers: createTimers(),
  random: createRandom(),
  logger: quiet,
};

export class Shards {
  readonly disk = new VirtualDisk({ unit: () => 0.5, schedule: (done) => setImmediate(done) });
  readonly stores: Kv[] = [];
  shards: Shard[] = [];
  router: ShardRouter;
  admin: AdminRouter;

  constructor() {
    this.router = this.createRouter();
    this.admin = this.createAdmin();
  }

  private createRouter(): ShardRouter {
    return new ShardRouter({ shards: this.shards, ...parts, nodeId: "n1" });
  }

  private createAdmin(): AdminRouter {
    const self = {
      id: "n1",
      version: "1.2.3",
      raftEnabled: false,
      raftAddr: "",
      httpUrl: "http://127.0.0.1:8080",
      grpcAddr: "127.0.0.1:9092",
    };
    const { router } = this;
    return new AdminRouter({
      routes: router.routes,
      timers: parts.timers,
      clock: parts.clock,
      self,
      peers: () => [],
      admit: (shard) => router.admitSettle(shard, 0),
    });
  }

  async open(count: number): Promise<void> {
    const files = createMemoryFiles(this.disk);
    const openStore = (path: string, options: { readonly createIfMissing: boolean }) =>
      createMemoryKv(this.disk, path, options);
    const directory = await openDataDirectory(
      { files, random: parts.random, openStore },
      {
        root: "/data",
        shards: Array.from({ length: count }, (_, i) => toShardId(i)),
        expect: { nodeId: "n1", shardCount: count, clusterNodes: [] },
        create: true,
        allowUnsafeFilesystem: false,
      },
    );
    const onFatal = (error: unknown) => {
      throw error;
    };
    const metrics = { batchOps: silent, batchBytes: silent, syncSeconds: silent };
    const shards: Shard[] = [];
    for (const place of directory.shards) {
      const kv = await openStore(place.kvPath, { createIfMissing: false });
      this.stores.push(kv);
      const deps = {
        ...parts,
        kv,
        commit: createGroupCommit({ kv, clock: parts.clock, metrics, onFatal }),
        vote: createVoteFile(files, place.path),
        fence: createFenceFile(files, place.path),
        onFatal,
      };
      const options = {
        shard: place.shard,
        shardCount: count,
        storeId: place.identity.storeId,
        settings: defaultSettings,
        durability: { kind: "always" } as const,
        tickMs: 50,
        electionTicks: 6,
      };
      shards.push(await Shard.open(deps, options));
    }
    this.shards = shards;
    this.router = this.createRouter();
    this.admin = this.createAdmin();
    const led = new Promise<void>((resolve) => {
      this.router.onLeadership(() => {
        if (shards.every((shard) => shard.leads)) resolve();
      });
    });
    for (const shard of shards) shard.start(this.router);
    await led;
  }

  async close(): Promise<void> {
    for (const shard of this.shards) await shard.close();
  }

  /** @returns the ids, 16 bytes each */
  create(tenant: string, tasks: readonly Partial<NewTask>[], payload = "1"): Promise<Buffer[]> {
    const batch = this.router.createBatch(tenant);
    const bytes = Buffer.from(payload);
    for (const task of tasks) batch.add({ ...plain, ...task }, bytes, 0, bytes.length);
    return new Promise((resolve, reject) => {
      batch.send(null, (results) => {
        const ids: Buffer[] = [];
        for (let i = 0; i < results.count; i++) {
          const error: QueueError | undefined = results.error(i);
          if (error) return reject(error);
          ids.push(Buffer.from(results.ids.subarray(16 * i, 16 * i + 16)));
        }
        resolve(ids);
      });
    });
  }

  claim(tenant: string, queue: string, count: number): Promise<readonly Grant[]> {
    return new Promise((resolve, reject) => {
      const request = {
        tenant,
        queues: [queue],
        count,
        bytesMax: 1 << 20,
        leaseMs: 60_000,
        workerId: "w",
        waitMs: 0,
      };
      this.router.claim(request, (outcome: ClaimOutcome) => {
        if (outcome.kind === "failed") reject(outcome.error);
        else resolve(outcome.kind === "granted" ? outcome.grants : []);
      });
    });
  }

  settle(tenant: string, add: (batch: SettleBatch) => void): Promise<void> {
    const batch = this.router.settleBatch(tenant, "w");
    add(batch);
    return new Promise((resolve, reject) => {
      batch.send((results) => {
        const error = results.error(0);
        if (error) reject(error);
        else resolve();
      });
    });
  }
}

const plain: NewTask = {
  queue: "q",
  priority: 0,
  maxAttempts: 5,
  delayMs: 0,
  runAtMs: 0,
  extras: null,
  idempotencyKey: null,
};

export async function openShards(count: number): Promise<Shards> {
  const shards = new Shards();
  await shards.open(count);
  return shards;
}
