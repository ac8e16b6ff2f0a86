/** What there is to tell of one queue of a shard, beside its tasks. */
import { keyBytes, readU48, readyPrefix } from "../queue/keys.ts";
import type { Queue } from "../queue/state.ts";
import type { Shard } from "./shard.ts";

export interface QueueCounts {
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly dead: number;
  readonly paused: boolean;
  /** Since when the ready task that waits longest is ready, ms since 1970; 0 = none is. */
  readonly oldestReadyMs: number;
  readonly createdPerSecond: number;
  readonly settledPerSecond: number;
}

/** Rows looked at for the first that still stands. */
const firstRows = 64;

export async function countsOf(shard: Shard, queue: Queue): Promise<QueueCounts> {
  const now = shard.now();
  return {
    ready: queue.readyTotal,
    delayed: queue.delayed,
    leased: queue.leased,
    dead: queue.dead,
    paused: queue.paused,
    ...shard.state.paces.of(queue.id, now),
    oldestReadyMs: oldestReadyInMemory(queue) ?? (await readOldestReady(shard, queue)),
  };
}

/** As QueueCounts.oldestReadyMs; undefined if only the store can tell. Makes no window. */
export function oldestReadyInMemory(queue: Queue): number | undefined {
  let oldest = 0;
  for (let p = 0; p < 10; p++) {
    if ((queue.ready[p] as number) === 0) continue;
    const since = queue.oldestReady(p);
    if (since === undefined) return undefined;
    oldest = oldest === 0 ? since : Math.min(oldest, since);
  }
  return oldest;
}

/** The same from the rows. One that is being removed may be missed: then the next one tells. */
export async function readOldestReady(shard: Shard, queue: Queue): Promise<number> {
  let oldest = 0;
  for (let p = 0; p < 10; p++) {
    if ((queue.ready[p] as number) === 0) continue;
    const since = await readFirst(shard, readyPrefix(queue.id, p));
    if (since > 0) oldest = oldest === 0 ? since : Math.min(oldest, since);
  }
  return oldest;
}

async function readFirst(shard: Shard, prefix: string): Promise<number> {
  const { overlay } = shard.state;
  const lt = `${prefix}\xff`;
  const range = { gte: keyBytes(prefix), lt: keyBytes(lt), limit: firstRows };
  for (const { key, value } of await shard.kv.range(range)) {
    if (overlay.get(key.toString("latin1")) !== null) return readyAt(value);
  }
  let first = "";
  let since = 0;
  overlay.forRange(prefix, lt, (key, value) => {
    if (value === null || (first !== "" && key > first)) return;
    first = key;
    since = readyAt(value);
  });
  return since;
}

function readyAt(row: Uint8Array): number {
  return readU48(Buffer.from(row.buffer, row.byteOffset, row.length).toString("latin1", 0, 6), 0);
}

/** Looks at this many names in one turn of the event loop. */
const namesPerTurn = 20_000;

/**
 * The first names of a tenant's queues behind `after`, sorted.
 * @param turn - lets the event loop turn: there may be a million names
 */
export async function queueNames(
  shard: Shard,
  tenant: string,
  bounds: { readonly after: string; readonly limit: number },
  turn: () => Promise<void>,
): Promise<string[]> {
  let names: string[] = [];
  const cut = () => {
    names = names.sort().slice(0, bounds.limit);
  };
  let looked = 0;
  let last = "";
  for (const name of shard.state.tenants.get(tenant)?.queues.keys() ?? []) {
    if (++looked % namesPerTurn === 0) await turn();
    if (name <= bounds.after || (last !== "" && name >= last)) continue;
    names.push(name);
    if (names.length < 4 * bounds.limit) continue;
    cut();
    last = names[names.length - 1] ?? "";
  }
  cut();
  return names;
}
