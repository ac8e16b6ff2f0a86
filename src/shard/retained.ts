/** Finds the ended tasks of a tenant whose retention ends before a time, in the order of that end. */
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { keyBytes, prefixes, readU48, u48Text } from "../queue/keys.ts";
import { col, isEnded } from "../queue/run.ts";
import { findRun } from "./reads.ts";
import type { Shard } from "./shard.ts";

/** Retention rows looked at in one go; each leads to a run. */
const rowsPerLook = 256;

export interface RetainedBounds {
  /** Retentions that end before this, ms since 1970. */
  readonly beforeMs: number;
  readonly limit: number;
}

/** Tasks by queue: 16 bytes per id. */
export interface Retained {
  readonly byQueue: ReadonlyMap<string, Buffer[]>;
  readonly count: number;
  /** Key to go on from when these tasks are removed; null = nothing is left. */
  readonly next: string | null;
}

/**
 * @param from - "" or what the call before gave as `next`
 * @param idOf - the id of a task of a run, 16 bytes
 */
export async function findRetained(
  shard: Shard,
  tenant: string,
  from: string,
  bounds: RetainedBounds,
  idOf: (runKey: string, place: number) => Buffer,
): Promise<Retained> {
  const gte = from === "" ? prefixes.retention : from;
  const lt = prefixes.retention + u48Text(Math.max(0, Math.min(bounds.beforeMs, 2 ** 48 - 1)));
  const byQueue = new Map<string, Buffer[]>();
  if (gte >= lt) return { byQueue, count: 0, next: null };
  const { keys, isAll, end } = await readKeys(shard, gte, lt);
  let count = 0;
  for (const key of [...keys].sort()) {
    count += collect(shard, tenant, key, bounds.limit - count, byQueue, idOf);
    // Once more with this key: its run may hold more, and what was found is gone by then.
    if (count >= bounds.limit) return { byQueue, count, next: key };
  }
  return { byQueue, count, next: isAll ? null : end };
}

/** Keys of the store and of the overlay, as of one moment. */
async function readKeys(
  shard: Shard,
  gte: string,
  lt: string,
): Promise<{ readonly keys: Set<string>; readonly isAll: boolean; readonly end: string }> {
  const range = { gte: keyBytes(gte), lt: keyBytes(lt), limit: rowsPerLook };
  for (let i = 0; i < limits.retainedTries; i++) {
    const { overlay } = shard.state;
    const moment = overlay.thaws;
    const found = await shard.kv.range(range);
    // What the store got meanwhile, the overlay no longer tells.
    if (overlay.thaws !== moment) continue;
    const keys = new Set(found.map((row) => row.key.toString("latin1")));
    const isAll = found.length < rowsPerLook;
    const end = isAll ? lt : `${[...keys].at(-1) ?? lt}\0`;
    overlay.forRange(gte, end, (key, value) => {
      if (value === null) keys.delete(key);
      else keys.add(key);
    });
    return { keys, isAll, end };
  }
  throw new QueueError("overloaded", "too much is being written to read along", {
    retryAfterSeconds: 1,
  });
}

function collect(
  shard: Shard,
  tenant: string,
  key: string,
  limit: number,
  byQueue: Map<string, Buffer[]>,
  idOf: (runKey: string, place: number) => Buffer,
): number {
  const due = readU48(key, 1);
  const run = findRun(shard, key.slice(7));
  if (run?.queue.tenant.name !== tenant) return 0;
  const ids = byQueue.get(run.queue.name) ?? [];
  byQueue.set(run.queue.name, ids);
  let count = 0;
  for (let i = 0; i < run.count && count < limit; i++) {
    if (run.get(col.DUE, i) !== due || !isEnded(run.get(col.STATE, i))) continue;
    ids.push(idOf(run.key, i));
    count++;
  }
  return count;
}
