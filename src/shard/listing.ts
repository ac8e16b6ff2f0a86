/**
 * Finds tasks of one shard in the order of their ids: a walk over the run rows of the store with
 * what is not yet in it laid over them, window by window. Each window is one moment; between two
 * windows the event loop turns, so a walk never holds anybody up.
 *
 * A position is 16 bytes as a latin1 string: every task whose id is not above it has been looked at.
 */
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { formatTaskId, runKeyBytes, taskIdBytes, writeTaskId } from "../base/task-id.ts";
import { endOfPrefix, keyBytes, prefixes } from "../queue/keys.ts";
import { col, type Run } from "../queue/run.ts";
import { decodeRun } from "../queue/run-codec.ts";
import type { Queue, State } from "../queue/state.ts";
import { completeRead, findRun, headOf, readOutcome, readTask, type TaskRead } from "./reads.ts";
import type { Shard } from "./shard.ts";

/** Rows of one window: some ms of work at the most, whatever their runs hold. */
const windowRows = 256;
/** A window is read anew when a checkpoint became durable meanwhile; once is usual. */
const windowTries = 20;

export interface TaskFilter {
  readonly tenant: string;
  /** null = every queue of the tenant. */
  readonly queue: string | null;
  /** Bit s is set for taskState s. */
  readonly states: number;
}

/** Where a task lies. */
export interface TaskRef {
  /** Its id, 16 bytes as a latin1 string: sorts as ids do. */
  readonly id: string;
  readonly runKey: string;
  readonly place: number;
}

export interface ScanBounds {
  /** Position to go on from; "" = the start. */
  readonly after: string;
  readonly limit: number;
  /** Rows to look at, at the most. */
  readonly rows: number;
}

export interface Scan {
  readonly refs: readonly TaskRef[];
  /** Position that was reached; null = the end of the shard. */
  readonly end: string | null;
}

/** The first tasks that pass the filter, in id order. */
export async function scanTasks(
  shard: Shard,
  filter: TaskFilter,
  bounds: ScanBounds,
): Promise<Scan> {
  const { state } = shard;
  const tenant = state.tenants.get(filter.tenant);
  const queue = filter.queue === null ? null : tenant?.queues.get(filter.queue);
  if (!tenant || queue === undefined) return { refs: [], end: null };
  const mayHold = (owner: Queue) => owner.tenant === tenant && (queue ?? owner) === owner;
  const refs: TaskRef[] = [];
  let after = bounds.after;
  let rows = bounds.rows;
  while (rows > 0) {
    const window = await readWindow(shard, after, Math.min(rows, windowRows));
    for (const key of window.keys) {
      const run = openRun(state, key, window.rows.get(key), mayHold);
      if (!run) continue;
      for (let place = firstPlace(key, after); place < run.count; place++) {
        if ((filter.states & (1 << run.get(col.STATE, place))) === 0) continue;
        refs.push({ id: idOf(shard, key, place), runKey: key, place });
        if (refs.length === bounds.limit) return { refs, end: refs[refs.length - 1]?.id ?? null };
      }
    }
    if (window.end === null) return { refs, end: null };
    after = window.end;
    rows -= window.keys.length;
  }
  return { refs, end: after };
}

interface Window {
  /** Run keys in order, of the store and of memory. */
  readonly keys: readonly string[];
  /** What the store has of them. */
  readonly rows: ReadonlyMap<string, Buffer>;
  /** Position behind the last key; null = there is nothing more. */
  readonly end: string | null;
}

async function readWindow(shard: Shard, after: string, limit: number): Promise<Window> {
  const from = firstKey(after);
  const range = {
    gte: keyBytes(prefixes.run + from),
    lt: keyBytes(endOfPrefix(prefixes.run)),
    limit,
  };
  for (let i = 0; i < windowTries; i++) {
    const { overlay } = shard.state;
    const moment = overlay.thaws;
    const found = await shard.kv.range(range);
    // What the store got meanwhile, this overlay no longer tells: they would not fit together.
    if (overlay.thaws === moment) return mergeWindow(shard.state, from, found, limit);
  }
  throw new QueueError("overloaded", "too much is being written to read along", {
    retryAfterSeconds: 1,
  });
}

function mergeWindow(
  state: State,
  from: string,
  found: readonly { readonly key: Buffer; readonly value: Buffer }[],
  limit: number,
): Window {
  const rows = new Map<string, Buffer>();
  for (const { key, value } of found) rows.set(key.toString("latin1", 1), value);
  let isAll = found.length < limit;
  const last = isAll ? null : ([...rows.keys()].at(-1) as string);
  // One more than fits tells that there is more.
  const unsaved = new SmallestKeys(limit + 1);
  for (const run of unsavedRuns(state)) {
    if (run.key >= from && (last === null || run.key <= last)) unsaved.add(run.key);
  }
  let keys = [...new Set([...rows.keys(), ...unsaved.sorted()])].sort();
  if (keys.length > limit) {
    keys = keys.slice(0, limit);
    isAll = false;
  }
  const end = keys.at(-1);
  return { keys, rows, end: isAll || end === undefined ? null : positionBehind(end) };
}

/** Runs that the store may not know yet: among all that are being saved, or those still to be. */
function unsavedRuns(state: State): Iterable<Run> {
  return state.overlay.isFrozen ? state.runs.values() : state.dirtyRuns;
}

/** Keeps the smallest of many keys, with a sort now and then instead of one of all. */
class SmallestKeys {
  private readonly limit: number;
  private keys: string[] = [];
  private bound: string | null = null;

  constructor(limit: number) {
    this.limit = limit;
  }

  add(key: string): void {
    if (this.bound !== null && key > this.bound) return;
    this.keys.push(key);
    if (this.keys.length >= 4 * this.limit) this.cut();
  }

  sorted(): readonly string[] {
    this.cut();
    return this.keys;
  }

  private cut(): void {
    this.keys = [...new Set(this.keys)].sort().slice(0, this.limit);
    if (this.keys.length === this.limit) this.bound = this.keys.at(-1) ?? null;
  }
}

/** The run of a key as it is now; undefined if it is gone, or of a queue that is not asked for. */
function openRun(
  state: State,
  key: string,
  row: Buffer | undefined,
  mayHold: (queue: Queue) => boolean,
): Run | undefined {
  const run = state.run(key);
  if (run) return run.live > 0 && mayHold(run.queue) ? run : undefined;
  if (row === undefined || state.overlay.get(prefixes.run + key) === null) return undefined;
  // The row begins with its queue's id: rows of others are not decoded.
  const queue = state.queues.get(row.readUInt32BE(0));
  return queue && mayHold(queue) ? decodeRun(key, row, (id) => state.queues.get(id)) : undefined;
}

/** Run keys of 14 bytes belong to ids of version 7, those of 16 to version 8. */
function isRunPosition(position: string): boolean {
  return position.charCodeAt(6) >> 4 !== 8;
}

function firstKey(after: string): string {
  if (after === "") return "";
  return isRunPosition(after) ? after.slice(0, runKeyBytes) : `${after}\0`;
}

function firstPlace(key: string, after: string): number {
  const isSame = key.length === runKeyBytes && after.startsWith(key);
  return isSame ? after.charCodeAt(runKeyBytes) + 1 : 0;
}

function positionBehind(key: string): string {
  return key.length === taskIdBytes ? key : `${key}\xff\xff`;
}

function idOf(shard: Shard, key: string, place: number): string {
  const id = Buffer.allocUnsafe(taskIdBytes);
  writeTaskId(Buffer.from(key, "latin1"), place, shard.id, shard.shardCount, id);
  return id.toString("latin1");
}

/** The text of a ref's id. */
export function formatRef(ref: TaskRef): string {
  return formatTaskId(Buffer.from(ref.id, "latin1"));
}

/**
 * The tasks at these places of one run as they are now; null where one is gone. Payloads are read
 * once for all of them.
 */
export async function readPlaces(
  shard: Shard,
  tenant: string,
  refs: readonly TaskRef[],
): Promise<(TaskRead | null)[]> {
  const runKey = refs[0]?.runKey ?? "";
  const run = findRun(shard, runKey);
  if (run?.queue.tenant.name !== tenant) return refs.map(() => null);
  const seen = refs.map(({ place }) => ({
    head: headOf(run, place),
    result: run.get(col.RESULT, place),
  }));
  const records = shard.records.inMemory(run) ?? (await shard.records.read(runKey));
  const views: (TaskRead | null)[] = [];
  for (const [i, { place }] of refs.entries()) {
    const { head, result } = seen[i] ?? { head: null, result: 0 };
    const outcome = head && records ? await readOutcome(shard, result) : null;
    if (head && records && outcome) views.push(completeRead(head, records, place, outcome));
    // A row that the columns named was replaced meanwhile: they tell anew.
    else views.push(head ? await readTask(shard, tenant, runKey, place) : null);
  }
  return views;
}

/** Rows that one page may look at in each of so many shards. */
export function rowsPerShard(shards: number): number {
  return Math.max(windowRows, Math.floor(limits.listRowsExamined / shards));
}
