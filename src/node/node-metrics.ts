/** The metrics of store, shards and router. Names and meanings: deploy/OPERATIONS.md, "Metrics". */
import type { GaugeSample, Metrics } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

import type { Queue } from "../queue/state.ts";
import type { RouterMetrics } from "../router/router-metrics.ts";
import type { ShardRouter } from "../router/shard-router.ts";
import { oldestReadyInMemory, readOldestReady } from "../shard/queue-counts.ts";
import type { Shard } from "../shard/shard.ts";
import type { FreeSpace } from "../storage/free-space.ts";
import type { GroupCommitMetrics } from "../storage/group-commit.ts";
import type { NodeEffects } from "./lifecycle.ts";

/** From 100 µs to 10 s. */
const secondsBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const countBuckets = [1, 4, 16, 64, 256, 1024, 4096, 16384];
const byteBuckets = [1024, 4096, 16384, 65536, 262144, 1048576, 4194304];

/** How often the ages of queues that are not in memory are read from the store. */
const ageSampleMs = 10_000;

export function createCommitMetrics(metrics: Metrics, shard: number): GroupCommitMetrics {
  const labels = { shard: String(shard) };
  return {
    batchOps: metrics.histogram(
      "quorumq_commit_batch_ops",
      "Row operations in one synced batch",
      countBuckets,
      labels,
    ),
    batchBytes: metrics.histogram(
      "quorumq_commit_batch_bytes",
      "Bytes in one synced batch",
      byteBuckets,
      labels,
    ),
    syncSeconds: metrics.histogram(
      "quorumq_commit_sync_seconds",
      "Time to write and sync one batch",
      secondsBuckets,
      labels,
    ),
  };
}

export function createRouterMetrics(metrics: Metrics): RouterMetrics {
  const operation = (op: string) => ({
    tasks: metrics.counter("quorumq_tasks_total", "Tasks acknowledged, by operation", { op }),
    seconds: metrics.histogram(
      "quorumq_operation_seconds",
      "From a whole request to its answer, by operation; claims from the hint of work on",
      secondsBuckets,
      { op },
    ),
  });
  return { create: operation("create"), claim: operation("claim"), settle: operation("settle") };
}

/** Always 1: its labels say which node runs which version. */
export function tellNode(metrics: Metrics, node: string, version: string): void {
  metrics.gauge("quorumq_node_info", "Name and version of the node", { node, version }).set(1);
}

export interface ShardSampler {
  space(space: FreeSpace): void;
  stop(): void;
}

/** Registers gauges that look at the shards when they are scraped. */
export function startShardMetrics(effects: NodeEffects, router: ShardRouter): ShardSampler {
  const { metrics } = effects;
  const shards = () => router.routes.replicas();
  const ages = new ReadyAges(effects, shards);
  gaugePerShard(metrics, shards);
  metrics.gaugeFrom("quorumq_waiting_claims", "Claims that wait for work on this node", () => [
    { value: router.waitingClaims },
  ]);
  metrics.gaugeFrom(
    "quorumq_queue_tasks",
    "Tasks by queue and state, for the queues with the most ready tasks",
    () => deepestQueues(shards()).flatMap(queueSamples),
  );
  metrics.gaugeFrom(
    "quorumq_queue_oldest_ready_seconds",
    "Age of the oldest ready task, for the queues with the most ready tasks",
    () => ages.samples(),
  );
  let free: FreeSpace | null = null;
  metrics.gaugeFrom("quorumq_disk_free_bytes", "Free bytes of the data directory's disk", () =>
    free ? [{ value: free.freeBytes }] : [],
  );
  metrics.gaugeFrom(
    "quorumq_disk_reserve_bytes",
    "Free bytes below which creates are refused",
    () => (free ? [{ value: free.reserveBytes }] : []),
  );
  return {
    space: (space) => {
      free = space;
    },
    stop: () => ages.stop(),
  };
}

function gaugePerShard(metrics: Metrics, shards: () => readonly Shard[]): void {
  const rows: [string, string, (shard: Shard) => number][] = [
    ["quorumq_raft_term", "Raft term", (shard) => shard.stats().term],
    ["quorumq_raft_commit_index", "Raft commit index", (shard) => shard.stats().commit],
    ["quorumq_raft_applied_index", "Raft applied index", (shard) => shard.stats().applied],
    ["quorumq_raft_is_leader", "1 if this node leads the shard", (shard) => (shard.leads ? 1 : 0)],
    [
      "quorumq_overlay_rows",
      "Row changes that no checkpoint has",
      (shard) => shard.stats().overlayOps,
    ],
    ["quorumq_overlay_bytes", "Their approximate bytes", (shard) => shard.stats().overlayBytes],
    ["quorumq_cached_run_bytes", "Bytes of runs in memory", (shard) => shard.stats().runBytes],
  ];
  for (const [name, help, value] of rows) {
    metrics.gaugeFrom(name, help, () =>
      shards().map((shard) => ({ value: value(shard), labels: { shard: String(shard.id) } })),
    );
  }
}

interface ShardQueue {
  readonly shard: Shard;
  readonly queue: Queue;
  readonly ready: number;
}

/**
 * The queues with the most ready tasks: a bounded label set, whatever names clients make up. Sorts a
 * few hundred at a time: of a hundred thousand queues all at once took 100 ms of the event loop.
 */
function deepestQueues(shards: readonly Shard[]): ShardQueue[] {
  const { metricQueues } = limits;
  let deepest: ShardQueue[] = [];
  let floor = -1;
  const cut = () => {
    deepest.sort((a, b) => b.ready - a.ready || a.queue.id - b.queue.id);
    deepest = deepest.slice(0, metricQueues);
    floor = deepest[metricQueues - 1]?.ready ?? -1;
  };
  for (const shard of shards) {
    for (const queue of shard.state.queues.values()) {
      const ready = queue.readyTotal;
      if (ready <= floor) continue;
      deepest.push({ shard, queue, ready });
      if (deepest.length >= 4 * metricQueues) cut();
    }
  }
  cut();
  return deepest;
}

function labelsOf({ shard, queue }: ShardQueue): Record<string, string> {
  return { shard: String(shard.id), tenant: queue.tenant.name, queue: queue.name };
}

function queueSamples(entry: ShardQueue): GaugeSample[] {
  const { queue, ready } = entry;
  const labels = labelsOf(entry);
  return [
    { value: ready, labels: { ...labels, state: "ready" } },
    { value: queue.delayed, labels: { ...labels, state: "delayed" } },
    { value: queue.leased, labels: { ...labels, state: "leased" } },
    { value: queue.dead, labels: { ...labels, state: "dead" } },
  ];
}

/** Since when the first task of a queue is ready: from memory, or read from the store now and then. */
class ReadyAges {
  private readonly effects: NodeEffects;
  private readonly shards: () => readonly Shard[];
  private readonly read = new Map<Queue, number>();
  private stopped = false;

  constructor(effects: NodeEffects, shards: () => readonly Shard[]) {
    this.effects = effects;
    this.shards = shards;
    this.schedule();
  }

  private schedule(): void {
    this.effects.timers.after(ageSampleMs, () => {
      if (this.stopped) return;
      this.sample()
        .then(() => this.schedule())
        .catch((error: unknown) => this.effects.logger.warn(`ages of queues: ${String(error)}`));
    });
  }

  private async sample(): Promise<void> {
    const deepest = deepestQueues(this.shards());
    this.read.clear();
    for (const { shard, queue, ready } of deepest) {
      if (ready === 0 || oldestReadyInMemory(queue) !== undefined || this.stopped) continue;
      const oldest = await readOldestReady(shard, queue);
      if (oldest > 0) this.read.set(queue, oldest);
    }
  }

  samples(): GaugeSample[] {
    const samples: GaugeSample[] = [];
    for (const entry of deepestQueues(this.shards())) {
      const { shard, queue, ready } = entry;
      if (ready === 0) continue;
      const since = oldestReadyInMemory(queue) ?? this.read.get(queue);
      if (since === undefined) continue;
      samples.push({ value: Math.max(0, shard.now() - since) / 1000, labels: labelsOf(entry) });
    }
    return samples;
  }

  stop(): void {
    this.stopped = true;
  }
}
