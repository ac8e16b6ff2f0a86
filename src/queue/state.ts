/**
 * The queue state of one shard: what lies in memory of it, and the changes that no checkpoint has
 * yet. Pure and synchronous. What is missing here is in the store; `needs` (apply.ts) names it, the
 * shard loads it, and what happens to be loaded never changes a result.
 *
 * Life of a task: create → delayed or ready → claim → leased → complete | fail | nack | abandon |
 * expiry. A nack or an expiry with attempts left goes back to delayed or ready, without to dead.
 * Ended tasks (completed, failed, dead, canceled) stay for their retention, then they are removed.
 */
import { assert } from "../base/assert.ts";
import { DecodeError } from "../base/bytes.ts";
import { KeptBytes } from "../base/kept-bytes.ts";
import type { Settings } from "./command.ts";
import { DueIndex } from "./due-index.ts";
import { prefixes, u32Text } from "./keys.ts";
import { Overlay } from "./overlay.ts";
import { Paces } from "./paces.ts";
import { packedOldest, ReadyList, ReadyWindows } from "./ready-list.ts";
import { ColumnAllocator, col, isEnded, type Run, taskState } from "./run.ts";
import { decodeRun } from "./run-codec.ts";

export class Tenant {
  readonly name: string;
  readonly queues = new Map<string, Queue>();
  /** Per priority the queues that have ready tasks and are not paused, by id. */
  readonly claimable: Queue[][] = Array.from({ length: 10 }, () => []);
  /** Id of the queue that a claim of several queues took from last: ties go on behind it. */
  cursor = 0;
  dirty = false;

  constructor(name: string) {
    this.name = name;
  }
}

/** Shared by all queues without ready tasks: there may be a million of them. */
const noReady: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

export class Queue {
  readonly id: number;
  readonly tenant: Tenant;
  readonly name: string;
  paused = false;
  /** Ready tasks per priority; `noReady` while there is none. To be changed by `setReady` only. */
  ready: readonly number[] = noReady;
  delayed = 0;
  leased = 0;
  dead = 0;
  /** Completed, failed and canceled tasks whose record is still kept. */
  ended = 0;
  /** Lists of its priorities that are in memory, chained by `next`. */
  lists: ReadyList | null = null;
  /** A short list that was not used lately (ReadyList.pack); "" = none. */
  packed = "";
  dirty = false;

  constructor(id: number, tenant: Tenant, name: string) {
    this.id = id;
    this.tenant = tenant;
    this.name = name;
  }

  /** @returns how many tasks of this priority were ready before */
  setReady(priority: number, count: number): number {
    const before = this.ready[priority] as number;
    if (count === before) return before;
    const ready = this.ready === noReady ? [...noReady] : (this.ready as number[]);
    ready[priority] = count;
    this.ready = count === 0 && ready.every((of) => of === 0) ? noReady : ready;
    return before;
  }

  /** Since when the first ready task of this priority is ready; undefined if only the store can tell. */
  oldestReady(priority: number): number | undefined {
    if (this.packedPriority === priority) return packedOldest(this.packed);
    return this.listOf(priority)?.at(0)?.readyAt;
  }

  private get packedPriority(): number {
    return this.packed === "" ? -1 : this.packed.charCodeAt(0);
  }

  /** Takes the packed list of this priority, if there is one. */
  takePacked(priority: number): string {
    if (this.packedPriority !== priority) return "";
    const { packed } = this;
    this.packed = "";
    return packed;
  }

  /** The list of this priority, if it is in memory. */
  listOf(priority: number): ReadyList | null {
    let list = this.lists;
    while (list !== null && list.priority !== priority) list = list.next;
    return list;
  }

  addList(list: ReadyList): void {
    list.next = this.lists;
    this.lists = list;
  }

  forgetList(list: ReadyList): void {
    if (this.lists === list) this.lists = list.next;
    for (let at = this.lists; at !== null; at = at.next) if (at.next === list) at.next = list.next;
  }

  get readyTotal(): number {
    let sum = 0;
    for (const count of this.ready) sum += count;
    return sum;
  }
}

/** What apply tells the node it runs on; not part of the state. */
export interface ApplyEvents {
  /** Tasks of this queue became ready. */
  readyAdded(queue: Queue): void;
  /** Tasks of this run ended. */
  ended(run: Run): void;
  /** A claimed task was canceled. */
  leaseCanceled(run: Run, place: number, leaseToken: number, workerId: string): void;
}

export const silentEvents: ApplyEvents = {
  readyAdded: () => undefined,
  ended: () => undefined,
  leaseCanceled: () => undefined,
};

/** Numbers of the state that are stored together. */
export interface StateCounters {
  /** Queue time: leader time, never going back. */
  timeMs: number;
  nextSeq: number;
  nextQueueId: number;
  /** Added to the log index in lease tokens. */
  tokenOffset: number;
}

export const defaultSettings: Settings = {
  backoffPolicy: "exp_full_jitter",
  backoffBaseMs: 5_000,
  backoffMaxMs: 900_000,
  doneRetentionMs: 86_400_000,
  deadRetentionMs: 14 * 86_400_000,
};

export class State {
  settings: Settings = defaultSettings;
  readonly counters: StateCounters = { timeMs: 0, nextSeq: 1, nextQueueId: 1, tokenOffset: 0 };
  readonly tenants = new Map<string, Tenant>();
  readonly queues = new Map<number, Queue>();
  readonly runs = new Map<string, Run>();
  /** Run keys known to be in no store; cleared after each command. */
  readonly absent = new Set<string>();
  /** Result rows loaded for the running command. */
  readonly loadedRows = new Map<string, Buffer | undefined>();
  /** Keys of ranges loaded for the running command, by the range's start. */
  readonly loadedRanges = new Map<string, readonly string[]>();
  readonly overlay = new Overlay();
  readonly columns = new ColumnAllocator();
  readonly kept = new KeptBytes();
  readonly due: DueIndex;
  readonly retention: DueIndex;
  dirtyRuns: Run[] = [];
  readonly dirtyQueues = new Set<Queue>();
  readonly dirtyTenants = new Set<Tenant>();
  readonly windows = new ReadyWindows();
  /** Of this replica, since its process started; not part of the state. */
  readonly paces = new Paces();
  runBytes = 0;
  /**
   * Weight of the dirty runs, about the bytes of their rows; runs of many tasks count more than
   * their short rows, because their columns stay in memory until they are saved.
   */
  dirtyBytes = 0;
  events: ApplyEvents = silentEvents;

  /** @param empty - true for a new shard: nothing is in the store */
  constructor(empty: boolean) {
    this.due = new DueIndex(prefixes.due, empty);
    this.retention = new DueIndex(prefixes.retention, empty);
  }

  /** The run, if it is in memory. */
  run(key: string): Run | undefined {
    return this.runs.get(key);
  }

  /** Whether it is settled without the store that no such run exists. */
  isKnownAbsent(key: string): boolean {
    return this.absent.has(key) || this.overlay.get(prefixes.run + key) === null;
  }

  /** Takes a run's row from the store, or the news that there is none. */
  provideRun(key: string, row: Buffer | undefined): void {
    if (this.runs.has(key)) return;
    if (row === undefined) this.absent.add(key);
    else this.addRun(decodeRun(key, row, (id) => this.queues.get(id)));
  }

  addRun(run: Run): void {
    assert(!this.runs.has(run.key), "one run per key", run.count);
    this.runs.set(run.key, run);
    this.runBytes += run.memoryBytes;
  }

  touch(run: Run): void {
    if (run.dirty) return;
    run.dirty = true;
    this.dirtyRuns.push(run);
    this.dirtyBytes += 96 + (run.inlineRecords?.length ?? 0) + run.columns.byteLength / 16;
  }

  touchQueue(queue: Queue): void {
    if (queue.dirty) return;
    queue.dirty = true;
    this.dirtyQueues.add(queue);
  }

  touchTenant(tenant: Tenant): void {
    if (tenant.dirty) return;
    tenant.dirty = true;
    this.dirtyTenants.add(tenant);
  }

  /** Forgets a run whose last task was removed, with all its rows. */
  dropRun(run: Run): void {
    this.runs.delete(run.key);
    this.runBytes -= run.memoryBytes;
    // One that no checkpoint has yet is skipped by the next, because nothing of it is live.
    if (run.saved) this.overlay.remove(prefixes.run + run.key);
    if (run.inlineRecords === null) this.overlay.remove(prefixes.payload + run.key);
  }

  findQueue(tenant: string, name: string): Queue | undefined {
    return this.tenants.get(tenant)?.queues.get(name);
  }

  tenant(name: string): Tenant {
    let tenant = this.tenants.get(name);
    if (!tenant) {
      tenant = new Tenant(name);
      this.tenants.set(name, tenant);
    }
    return tenant;
  }

  addQueue(tenant: string, name: string): Queue {
    const queue = new Queue(this.counters.nextQueueId++, this.tenant(tenant), name);
    this.queues.set(queue.id, queue);
    queue.tenant.queues.set(name, queue);
    this.touchQueue(queue);
    return queue;
  }

  /** Takes a queue's row at start. */
  provideQueue(queue: Queue): void {
    if (this.queues.has(queue.id)) throw new DecodeError(`queue ${queue.id} twice`);
    this.queues.set(queue.id, queue);
    queue.tenant.queues.set(queue.name, queue);
    for (let p = 0; p < 10; p++) {
      if (!queue.paused && (queue.ready[p] as number) > 0) setClaimable(queue, p);
    }
  }

  list(queue: Queue, priority: number): ReadyList {
    let list = queue.listOf(priority);
    if (!list) {
      // One with tasks may have been in memory before: it is read from the store and the overlay.
      const empty = queue.ready[priority] === 0;
      const packed = queue.takePacked(priority);
      list = new ReadyList(queue, priority, this.windows, empty);
      queue.addList(list);
      if (packed !== "") list.unpack(packed);
    }
    list.isUsed = true;
    return list;
  }

  /** A sequence number: grows for ever, orders ready rows and names result rows. */
  nextSeq(): number {
    return this.counters.nextSeq++;
  }

  /**
   * Adds `count` tasks of a run, whose columns say ready with `seq`, to the end of their queue.
   */
  addReady(run: Run, seq: number, count: number): void {
    const { queue, priority } = run;
    this.list(queue, priority).append(this.overlay, seq, run.key, this.counters.timeMs);
    const before = queue.setReady(priority, (queue.ready[priority] as number) + count);
    if (before === 0 && !queue.paused) setClaimable(queue, priority);
    this.touchQueue(queue);
    this.events.readyAdded(queue);
  }

  /** `count` tasks of the ready row `seq` have left it; their columns are changed already. */
  leaveReady(run: Run, seq: number, count: number): void {
    const { queue, priority } = run;
    const left = (queue.ready[priority] as number) - count;
    assert(left >= 0, "ready count", queue.name, left);
    queue.setReady(priority, left);
    if (left === 0 && !queue.paused) clearClaimable(queue, priority);
    if (run.findReady(seq, 0) < 0) this.list(queue, priority).remove(this.overlay, seq);
    this.touchQueue(queue);
  }

  /** `count` delayed or leased tasks of the run, whose columns are changed already, now wait for `due`. */
  enterDue(run: Run, due: number, count: number): void {
    if (run.countDue(due) === count) this.due.add(this.overlay, due, run.key);
  }

  leaveDue(run: Run, due: number): void {
    if (run.countDue(due) === 0) this.due.remove(this.overlay, due, run.key);
  }

  enterRetention(run: Run, due: number, count: number): void {
    if (run.countRetained(due) === count) this.retention.add(this.overlay, due, run.key);
  }

  leaveRetention(run: Run, due: number): void {
    if (run.countRetained(due) === 0) this.retention.remove(this.overlay, due, run.key);
  }

  /** Dead tasks entered the run; `count` of them just now. */
  enterDead(run: Run, count: number): void {
    if (run.countState(taskState.dead) === count) {
      this.overlay.put(prefixes.dead + u32Text(run.queue.id) + run.key, noValue);
    }
  }

  leaveDead(run: Run): void {
    if (run.countState(taskState.dead) === 0) {
      this.overlay.remove(prefixes.dead + u32Text(run.queue.id) + run.key);
    }
  }

  /**
   * Removes the result row of the RESULT value that `place` had, if no other task refers to it.
   * Those behind it are looked at first: usually the next one shares the row.
   */
  releaseResult(run: Run, reference: number, place: number): void {
    if (reference < 256) return;
    const row = Math.floor(reference / 256);
    for (let i = 1; i <= run.count; i++) {
      if (Math.floor(run.get(col.RESULT, (place + i) % run.count) / 256) === row) return;
    }
    this.overlay.remove(resultKey(row));
  }

  /** When the retention of a task that ended now in this way is over: rounded up, so that rows are shared. */
  retentionEnd(state: number): number {
    assert(isEnded(state), "retention of an ended task", state);
    const { deadRetentionMs, doneRetentionMs } = this.settings;
    const length = state === taskState.dead ? deadRetentionMs : doneRetentionMs;
    const step = length >= 3_600_000 ? 60_000 : 1_000;
    return Math.ceil((this.counters.timeMs + length) / step) * step;
  }
}

const noValue = Buffer.alloc(0);

export function resultKey(row: number): string {
  return prefixes.result + u32Text(Math.floor(row / 0x1_0000_0000)) + u32Text(row >>> 0);
}

export function setClaimable(queue: Queue, priority: number): void {
  const queues = queue.tenant.claimable[priority] as Queue[];
  const at = positionOf(queues, queue.id);
  if (queues[at] !== queue) queues.splice(at, 0, queue);
}

export function clearClaimable(queue: Queue, priority: number): void {
  const queues = queue.tenant.claimable[priority] as Queue[];
  const at = positionOf(queues, queue.id);
  if (queues[at] === queue) queues.splice(at, 1);
}

/** Index of the first queue with this id or a higher one. */
export function positionOf(queues: readonly Queue[], id: number): number {
  let low = 0;
  let high = queues.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((queues[middle] as Queue).id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
