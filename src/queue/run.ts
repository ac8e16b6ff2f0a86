/**
 * A run: tasks made together, 1..256 with consecutive ids, same queue and priority. It is the unit
 * of storage (one row) and of memory: its tasks are columns, not objects.
 *
 * Membership in the indexes is told by the columns alone; index rows only lead to the run:
 * - a ready task belongs to the ready row with its SEQ;
 * - a delayed or leased task belongs to the due row (DUE, run), an ended one to the retention row.
 * A row exists if and only if some task belongs to it.
 */
import type { Queue } from "./state.ts";

/** Values of the STATE column. Append-only: they are stored. */
export const taskState = {
  removed: 0,
  delayed: 1,
  ready: 2,
  leased: 3,
  completed: 4,
  failed: 5,
  dead: 6,
  canceled: 7,
} as const;

/** Columns; each task has one number in each. Append-only: they are stored in this order. */
export const col = {
  STATE: 0,
  /** Claims so far, abandoned ones taken back. */
  ATTEMPTS: 1,
  MAX_ATTEMPTS: 2,
  /** Ready: sequence of its ready row. */
  SEQ: 3,
  /** Delayed: when it is ready. Leased: when the lease ends. Ended: when its retention ends. */
  DUE: 4,
  /** Token of the last claim; 0 before the first. */
  TOKEN: 5,
  /** 1 + index in `workers`; 0 = none. */
  WORKER: 6,
  /** 0 = none, 1 = LEASE_EXPIRED, else result row × 256 + item. */
  RESULT: 7,
  /** Bytes of its record: payload and extras. */
  SIZE: 8,
  UPDATED: 9,
  /** Abandons in a row. */
  ABANDONS: 10,
  /** Length of the lease as claimed, ms. */
  LEASE: 11,
} as const;

export const columnCount = 12;

/** RESULT of a task whose lease ran out: no row is written for it. */
export const leaseExpiredResult = 1;

export class Run {
  /** Run key as a latin1 string, 14 or 16 characters. */
  readonly key: string;
  readonly count: number;
  readonly queue: Queue;
  readonly priority: number;
  readonly createdAt: number;
  /** Hash of the request that made it, for creates that may be repeated; else null. */
  readonly requestHash: Buffer | null;
  /** Column c of task i is columns[c × count + i]. */
  readonly columns: Float64Array;
  /** Worker ids that the WORKER column refers to. */
  workers: string[] = [];
  /** Task records, if they live in the run's own row; else null (payload row). */
  inlineRecords: Buffer | null;
  /** Bytes of the records. */
  readonly recordBytes: number;
  /** Tasks not yet removed. */
  live: number;
  /** Changed since it was last put into a checkpoint. */
  dirty = false;
  /** A checkpoint holds or will hold a row of it. */
  saved = false;
  /** Checkpoint generation that took it last: not evicted until that one is durable. */
  generation = 0;

  constructor(fields: RunFields) {
    this.key = fields.key;
    this.count = fields.count;
    this.queue = fields.queue;
    this.priority = fields.priority;
    this.createdAt = fields.createdAt;
    this.requestHash = fields.requestHash;
    this.columns = fields.columns;
    this.inlineRecords = fields.inlineRecords;
    this.recordBytes = fields.recordBytes;
    this.live = fields.count;
  }

  get(column: number, place: number): number {
    return this.columns[column * this.count + place] as number;
  }

  set(column: number, place: number, value: number): void {
    this.columns[column * this.count + place] = value;
  }

  workerOf(place: number): string {
    const index = this.get(col.WORKER, place);
    return index === 0 ? "" : (this.workers[index - 1] as string);
  }

  /** The WORKER value for a worker id, 0 for ""; adds the id to the table when it is new. */
  internWorker(workerId: string): number {
    if (workerId === "") return 0;
    const at = this.workers.indexOf(workerId);
    if (at >= 0) return at + 1;
    if (this.workers.length >= 2 * this.count) this.compactWorkers();
    this.workers.push(workerId);
    return this.workers.length;
  }

  /** Drops worker ids that no task refers to, in order of first use by place. */
  compactWorkers(): void {
    const kept: string[] = [];
    for (let i = 0; i < this.count; i++) {
      const worker = this.workerOf(i);
      if (worker === "") continue;
      let at = kept.indexOf(worker);
      if (at < 0) at = kept.push(worker) - 1;
      this.set(col.WORKER, i, at + 1);
    }
    this.workers = kept;
  }

  /** Tasks that belong to the due row of this time (delayed and leased). */
  countDue(due: number): number {
    const { columns, count } = this;
    const dueAt = col.DUE * count;
    let found = 0;
    for (let i = 0; i < count; i++) {
      if (columns[dueAt + i] === due && isPending(columns[i] as number)) found++;
    }
    return found;
  }

  /** Tasks that belong to the retention row of this time. */
  countRetained(due: number): number {
    const { columns, count } = this;
    const dueAt = col.DUE * count;
    let found = 0;
    for (let i = 0; i < count; i++) {
      if (columns[dueAt + i] === due && (columns[i] as number) >= taskState.completed) found++;
    }
    return found;
  }

  /** Tasks in this state. */
  countState(state: number): number {
    let found = 0;
    for (let i = 0; i < this.count; i++) if (this.columns[i] === state) found++;
    return found;
  }

  /** First place ≥ `from` of a task that belongs to this ready row; -1 if none. */
  findReady(seq: number, from: number): number {
    const { columns, count } = this;
    const seqAt = col.SEQ * count;
    for (let i = from; i < count; i++) {
      if (columns[i] === taskState.ready && columns[seqAt + i] === seq) return i;
    }
    return -1;
  }

  /** Approximate bytes of memory. */
  get memoryBytes(): number {
    return 320 + this.columns.byteLength + (this.inlineRecords?.length ?? 0);
  }
}

/** Columns of small runs are cut from blocks: one of its own would cost a malloc and GC work each. */
const blockTasks = 256;
const smallRun = 8;

/** Gives zeroed columns for runs. */
export class ColumnAllocator {
  private block = new Float64Array(0);
  private used = 0;

  allocate(count: number): Float64Array {
    const size = columnCount * count;
    if (count > smallRun) return new Float64Array(size);
    if (this.used + size > this.block.length) {
      this.block = new Float64Array(columnCount * blockTasks);
      this.used = 0;
    }
    const columns = this.block.subarray(this.used, this.used + size);
    this.used += size;
    return columns;
  }
}

export interface RunFields {
  readonly key: string;
  readonly count: number;
  readonly queue: Queue;
  readonly priority: number;
  readonly createdAt: number;
  readonly requestHash: Buffer | null;
  readonly columns: Float64Array;
  readonly inlineRecords: Buffer | null;
  readonly recordBytes: number;
}

/** Delayed or leased: it waits for a time. */
export function isPending(state: number): boolean {
  return state === taskState.delayed || state === taskState.leased;
}

/** Completed, failed, dead or canceled: kept for its retention only. */
export function isEnded(state: number): boolean {
  return state >= taskState.completed;
}
