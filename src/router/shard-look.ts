/** What the admin port looks at of one shard: here, or on the node that has it (remote-look.ts). */
import { writeTaskId } from "../base/task-id.ts";
import {
  readPlaces,
  type Scan,
  type ScanBounds,
  scanTasks,
  type TaskFilter,
  type TaskRef,
} from "../shard/listing.ts";
import { countsOf, type QueueCounts, queueNames } from "../shard/queue-counts.ts";
import type { TaskRead } from "../shard/reads.ts";
import { findRetained, type Retained, type RetainedBounds } from "../shard/retained.ts";
import type { Shard } from "../shard/shard.ts";

/** One queue of a shard. */
export interface QueueLook extends Omit<QueueCounts, "oldestReadyMs"> {
  /** 0 if no task is ready. */
  readonly oldestReadyAgeMs: number;
  /** Tasks in any state. */
  readonly tasks: number;
}

export interface NameBounds {
  /** Names behind this one. */
  readonly after: string;
  readonly limit: number;
}

export interface ShardLook {
  readonly id: number;
  /** Resolves when looks see all that was acknowledged before. @throws QueueError no_leader */
  barrier(): Promise<void>;
  scan(filter: TaskFilter, bounds: ScanBounds): Promise<Scan>;
  /**
   * The tasks at these places of one run, without results; null where one is gone. At least the
   * first; those that are left out are to be asked for again.
   */
  read(tenant: string, refs: readonly TaskRef[]): Promise<readonly (TaskRead | null)[]>;
  names(tenant: string, bounds: NameBounds): Promise<readonly string[]>;
  /** null if nobody used the queue. */
  counts(tenant: string, queue: string): Promise<QueueLook | null>;
  retained(tenant: string, from: string, bounds: RetainedBounds): Promise<Retained>;
}

/** @param turn - lets the event loop turn */
export function lookHere(shard: Shard, turn: () => Promise<void>): ShardLook {
  return {
    id: shard.id,
    barrier: () => shard.consensus.readBarrier(),
    scan: (filter, bounds) => scanTasks(shard, filter, bounds),
    read: (tenant, refs) => readPlaces(shard, tenant, refs),
    names: (tenant, bounds) => queueNames(shard, tenant, bounds, turn),
    counts: (tenant, queue) => lookAtQueue(shard, tenant, queue),
    retained: (tenant, from, bounds) =>
      findRetained(shard, tenant, from, bounds, (runKey, place) => idOf(shard, runKey, place)),
  };
}

async function lookAtQueue(shard: Shard, tenant: string, name: string): Promise<QueueLook | null> {
  const queue = shard.state.findQueue(tenant, name);
  if (!queue) return null;
  const { oldestReadyMs, ...counts } = await countsOf(shard, queue);
  const oldestReadyAgeMs = oldestReadyMs === 0 ? 0 : Math.max(0, shard.now() - oldestReadyMs);
  const tasks = queue.readyTotal + queue.delayed + queue.leased + queue.dead + queue.ended;
  return { ...counts, oldestReadyAgeMs, tasks };
}

function idOf({ id: shard, shardCount }: Shard, runKey: string, place: number): Buffer {
  const id = Buffer.allocUnsafe(16);
  writeTaskId(Buffer.from(runKey, "latin1"), place, shard, shardCount, id);
  return id;
}
