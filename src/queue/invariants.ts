/**
 * What must hold between the rows of a shard, its runs in memory and its counters (FAULTS Q11).
 * For tests and the simulator: a full walk, far too slow for a node at work. Pure.
 */
import { assert } from "../base/assert.ts";
import { ByteWriter } from "../base/bytes.ts";
import {
  prefixes,
  readU32,
  readU48,
  readU64,
  readyPrefix,
  u32Text,
  u48Text,
  u64Text,
} from "./keys.ts";
import { ReadyList, ReadyWindows } from "./ready-list.ts";
import { col, isPending, type Run, taskState } from "./run.ts";
import { decodeRun, encodeRun } from "./run-codec.ts";
import { type Queue, resultKey, type State } from "./state.ts";

/** Rows by key, keys as latin1 strings. */
export type Rows = ReadonlyMap<string, Uint8Array>;

const ownPrefixes: ReadonlySet<string> = new Set([
  prefixes.run,
  prefixes.payload,
  prefixes.ready,
  prefixes.due,
  prefixes.retention,
  prefixes.result,
  prefixes.dead,
]);

/**
 * The rows of runs, payloads, indexes and results as the store will hold them after the next
 * checkpoint, by key. The same on every replica at the same log index, whatever lies in memory.
 * @param stored - all rows of the store
 */
export function exportRows(
  state: State,
  stored: Iterable<readonly [string, Uint8Array]>,
): Map<string, Uint8Array> {
  const rows = new Map<string, Uint8Array>();
  for (const [key, value] of stored) {
    if (ownPrefixes.has(key.charAt(0))) rows.set(key, value);
  }
  state.overlay.forRange("", "\xff", (key, value) => {
    if (value === null) rows.delete(key);
    else rows.set(key, value);
  });
  for (const run of state.runs.values()) {
    const row = encodedRun(run);
    const key = prefixes.run + run.key;
    if (run.saved && !run.dirty && !state.overlay.isFrozen) {
      const before = rows.get(key);
      assert(before !== undefined && row.equals(before), "a clean run is as stored", run.count);
    }
    rows.set(key, row);
  }
  return new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function encodedRun(run: Run): Buffer {
  const out = new ByteWriter(256);
  encodeRun(out, run);
  return out.finish();
}

/** @throws InvariantError naming the first rule that does not hold */
export function checkInvariants(state: State, rows: Rows): void {
  const wanted = new Set<string>();
  const counts = new Map<number, Counts>();
  for (const queue of state.queues.values()) counts.set(queue.id, new Counts());
  for (const [key, value] of rows) {
    if (!key.startsWith(prefixes.run)) continue;
    const row = Buffer.from(value.buffer, value.byteOffset, value.length);
    const run = decodeRun(key.slice(1), row, (id) => state.queues.get(id));
    assert(run.live > 0, "a stored run has live tasks", key.length);
    wanted.add(key);
    wantRows(run, wanted);
    (counts.get(run.queue.id) as Counts).add(run);
  }
  for (const key of wanted) assert(rows.has(key), "a row that tasks belong to", nameOf(key));
  for (const key of rows.keys()) assert(wanted.has(key), "a row without a task", nameOf(key));
  for (const queue of state.queues.values()) {
    checkQueue(queue, counts.get(queue.id) as Counts);
    checkWindows(queue, rows);
  }
  checkDue(state, rows);
}

/** Tasks of a queue by state, counted from the runs. */
class Counts {
  readonly ready = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  delayed = 0;
  leased = 0;
  dead = 0;
  ended = 0;

  add(run: Run): void {
    const ready = this.ready[run.priority] as number;
    this.ready[run.priority] = ready + run.countState(taskState.ready);
    this.delayed += run.countState(taskState.delayed);
    this.leased += run.countState(taskState.leased);
    this.dead += run.countState(taskState.dead);
    for (const ended of [taskState.completed, taskState.failed, taskState.canceled]) {
      this.ended += run.countState(ended);
    }
  }
}

/** Adds the keys of all rows that the run's tasks belong to. */
function wantRows(run: Run, wanted: Set<string>): void {
  if (run.inlineRecords === null) wanted.add(prefixes.payload + run.key);
  for (let i = 0; i < run.count; i++) {
    const state = run.get(col.STATE, i);
    if (state === taskState.removed) {
      assertEmpty(run, i);
      continue;
    }
    checkTask(run, i, state);
    const due = u48Text(run.get(col.DUE, i)) + run.key;
    if (state === taskState.ready) {
      wanted.add(readyPrefix(run.queue.id, run.priority) + u64Text(run.get(col.SEQ, i)));
    } else {
      wanted.add((isPending(state) ? prefixes.due : prefixes.retention) + due);
    }
    if (state === taskState.dead) wanted.add(prefixes.dead + u32Text(run.queue.id) + run.key);
    const result = run.get(col.RESULT, i);
    if (result >= 256) wanted.add(resultKey(Math.floor(result / 256)));
  }
}

function assertEmpty(run: Run, place: number): void {
  for (let c = 0; c < run.columns.length / run.count; c++) {
    assert(run.get(c, place) === 0, "a removed task leaves nothing", c, run.get(c, place));
  }
}

function checkTask(run: Run, place: number, state: number): void {
  const attempts = run.get(col.ATTEMPTS, place);
  assert(attempts >= 0 && attempts <= run.get(col.MAX_ATTEMPTS, place), "attempts", attempts);
  const seq = run.get(col.SEQ, place);
  const due = run.get(col.DUE, place);
  assert(seq > 0 === (state === taskState.ready), "ready tasks alone have a sequence", state, seq);
  assert(due > 0 === (state !== taskState.ready), "ready tasks alone have no time", state, due);
  if (state === taskState.leased) {
    assert(attempts > 0 && run.get(col.TOKEN, place) > 0, "a lease has a token", attempts);
  } else if (isPending(state) || state === taskState.ready) {
    assert(run.get(col.WORKER, place) === 0, "only claimed tasks have a worker", state);
  }
  const worker = run.get(col.WORKER, place);
  assert(worker <= run.workers.length, "worker", worker, run.workers.length);
}

function checkQueue(queue: Queue, counts: Counts): void {
  for (let p = 0; p < 10; p++) {
    assert(
      queue.ready[p] === counts.ready[p],
      "ready",
      queue.name,
      queue.ready[p],
      counts.ready[p],
    );
    const claimable = (queue.tenant.claimable[p] as Queue[]).includes(queue);
    const wanted = !queue.paused && counts.ready[p] !== 0;
    assert(claimable === wanted, "claimable", queue.name, p, wanted);
  }
  assert(queue.delayed === counts.delayed, "delayed", queue.name, queue.delayed, counts.delayed);
  assert(queue.leased === counts.leased, "leased", queue.name, queue.leased, counts.leased);
  assert(queue.dead === counts.dead, "dead", queue.name, queue.dead, counts.dead);
  assert(queue.ended === counts.ended, "ended", queue.name, queue.ended, counts.ended);
}

/** A packed list as it will come back; the queue keeps it packed. */
function unpacked(queue: Queue, priority: number): ReadyList | null {
  const { packed } = queue;
  if (queue.takePacked(priority) === "") return null;
  queue.packed = packed;
  const list = new ReadyList(queue, priority, new ReadyWindows(), true);
  list.unpack(packed);
  return list;
}

/** A ready list's window is the front of its rows, and all of them if it says it is complete. */
function checkWindows(queue: Queue, rows: Rows): void {
  for (let p = 0; p < 10; p++) {
    const list = queue.listOf(p) ?? unpacked(queue, p);
    if (!list) continue;
    const prefix = readyPrefix(queue.id, p);
    const keys = [...rows.keys()].filter((key) => key.startsWith(prefix));
    let found = 0;
    for (let i = 0; ; i++) {
      const segment = list.at(i);
      if (!segment) break;
      if (segment.gone) continue;
      const key = keys[found++];
      assert(key === prefix + u64Text(segment.seq), "ready window", queue.name, p, segment.seq);
      const value = Buffer.from(rows.get(key) as Uint8Array).toString("latin1");
      assert(value.slice(6) === segment.runKey, "ready row's run", queue.name, p);
      assert(readU48(value, 0) === segment.readyAt, "ready row's time", segment.readyAt);
    }
    if (list.complete) assert(found === keys.length, "complete list", found, keys.length);
  }
}

function checkDue(state: State, rows: Rows): void {
  const indexes = [
    [prefixes.due, state.due],
    [prefixes.retention, state.retention],
  ] as const;
  for (const [prefix, index] of indexes) {
    const window = index.windowKeys();
    const keys = [...rows.keys()].filter((key) => key.startsWith(prefix));
    window.forEach((key, i) => {
      assert(keys[i] === key, "due window", prefix, i, nameOf(key));
    });
    if (index.complete) assert(window.length === keys.length, "complete index", window.length);
  }
}

/** A key as text, for messages. */
function nameOf(key: string): string {
  const prefix = key.charAt(0);
  if (prefix === prefixes.ready)
    return `I ${readU32(key, 1)} ${key.charCodeAt(5)} ${readU64(key, 6)}`;
  if (prefix === prefixes.due || prefix === prefixes.retention)
    return `${prefix} ${readU48(key, 1)}`;
  return `${prefix} ${Buffer.from(key.slice(1), "latin1").toString("hex")}`;
}
