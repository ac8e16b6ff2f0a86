/**
 * The rows of a damaged store's tasks, made consistent again: what is whole of a run is kept, and all
 * rows that only lead to runs are written anew from their columns (queue/run.ts). For `recover`.
 */
import { ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import {
  keyBytes,
  prefixes,
  readU48,
  readyPrefix,
  u32Text,
  u48Text,
  u64Text,
} from "../queue/keys.ts";
import { col, isEnded, isPending, type Run, taskState } from "../queue/run.ts";
import { decodeRun, encodeRun } from "../queue/run-codec.ts";
import { readResultRow } from "../queue/settle-groups.ts";
import { type Queue, resultKey, State } from "../queue/state.ts";
import { RecordCursor } from "../queue/task-record.ts";
import type { Kv } from "../storage/kv.ts";
import { decodeQueue, encodeQueue, forEachRow } from "./checkpoint.ts";

/** Where rows go. */
export interface RebuildSink {
  put(key: Uint8Array, value: Uint8Array): void;
  /** Called now and then: what was put may be written. */
  turn(): Promise<void>;
}

/** A row that cannot be kept, for those who may know what to do with it. */
export type Aside = (why: string, key: Buffer, value: Buffer) => void;

export interface RunsReport {
  queues: number;
  /** Tasks kept, in any state. */
  tasks: number;
  /** Runs whose row cannot be read. */
  brokenRuns: number;
  /** Tasks whose payload, whose state, or whose queue's name is gone. */
  withoutPayload: number;
  withoutState: number;
  withoutQueue: number;
  /** Kept tasks whose result or error is gone. */
  withoutResult: number;
  /** Rows that lead to runs: those that were missing, and those that led nowhere. */
  missingRows: number;
  strayRows: number;
  /** The highest of what the rows know: sequence, time, queue id, and log index of a claim. */
  maxSeq: number;
  maxTimeMs: number;
  maxQueueId: number;
  maxClaimIndex: number;
}

/** Queue id, priority and count stand at the front of a run's row. */
const rowHeadBytes = 7;
const noValue = Buffer.alloc(0);
const indexPrefixes = [prefixes.ready, prefixes.due, prefixes.retention, prefixes.dead] as const;

export async function rebuildRuns(
  source: Kv,
  sink: RebuildSink,
  aside: Aside,
): Promise<RunsReport> {
  const work = new RunsRebuild(source, sink, aside);
  await work.readQueues();
  await work.keepRuns();
  await work.findOrphans();
  work.putQueues();
  await work.compareIndexes();
  return work.report;
}

class RunsRebuild {
  readonly report: RunsReport = {
    ...{ queues: 0, tasks: 0, brokenRuns: 0 },
    ...{ withoutPayload: 0, withoutState: 0, withoutQueue: 0, withoutResult: 0 },
    ...{ missingRows: 0, strayRows: 0, maxSeq: 0, maxTimeMs: 0, maxQueueId: 0, maxClaimIndex: 0 },
  };
  private readonly source: Kv;
  private readonly sink: RebuildSink;
  private readonly aside: Aside;
  private readonly state = new State(false);
  private readonly queues = new Map<number, Queue>();
  private readonly scratch = new ByteWriter(4096);
  private indexRows = 0;
  /** Runs whose row is there and cannot be read. */
  private readonly broken = new Set<string>();

  constructor(source: Kv, sink: RebuildSink, aside: Aside) {
    this.source = source;
    this.sink = sink;
    this.aside = aside;
  }

  async readQueues(): Promise<void> {
    await forEachRow(this.source, prefixes.queue, (key, value) => {
      const queue = orNull(() => decodeQueue(this.state, key.readUInt32BE(1), value));
      if (!queue) {
        this.aside("a queue that cannot be read", key, value);
        return;
      }
      this.queues.set(queue.id, emptied(queue));
      this.report.maxQueueId = Math.max(this.report.maxQueueId, queue.id);
    });
    await forEachRow(this.source, prefixes.tenant, (key, value) => {
      if (value.length === 4) this.sink.put(key, value);
    });
    this.report.queues = this.queues.size;
  }

  async keepRuns(): Promise<void> {
    for await (const { key, value } of rowsOf(this.source, prefixes.run)) {
      await this.keepRun(key, value);
      await this.sink.turn();
    }
  }

  private async keepRun(key: Buffer, row: Buffer): Promise<void> {
    const { report } = this;
    const runKey = key.toString("latin1", 1);
    const run = orNull(() => decodeRun(runKey, row, (id) => this.queues.get(id)));
    if (!run) {
      const isNameless = row.length >= rowHeadBytes && !this.queues.has(row.readUInt32BE(0));
      this.aside(isNameless ? "a run of an unknown queue" : "a run that cannot be read", key, row);
      if (isNameless) report.withoutQueue += countOfRow(row);
      else report.brokenRuns++;
      if (!isNameless) this.broken.add(runKey);
      return;
    }
    const records = run.inlineRecords ?? (await this.recordsOf(runKey));
    if (!records || !holdsRecords(records, run)) {
      this.aside("a run without its payloads", key, row);
      report.withoutPayload += run.live;
      return;
    }
    if (run.inlineRecords === null) this.sink.put(keyBytes(prefixes.payload + runKey), records);
    await this.keepResults(run);
    await this.putIndexes(run);
    this.count(run);
    this.scratch.reset();
    encodeRun(this.scratch, run);
    this.sink.put(key, this.scratch.copy());
  }

  private async recordsOf(runKey: string): Promise<Buffer | null> {
    return (await this.source.get(keyBytes(prefixes.payload + runKey))) ?? null;
  }

  /** A reference to a result that is gone is taken away. */
  private async keepResults(run: Run): Promise<void> {
    const kept = new Map<number, Buffer | null>();
    for (let i = 0; i < run.count; i++) {
      const reference = run.get(col.RESULT, i);
      if (reference < 256) continue;
      const number = Math.floor(reference / 256);
      this.report.maxSeq = Math.max(this.report.maxSeq, number);
      if (!kept.has(number)) {
        const key = keyBytes(resultKey(number));
        const row = (await this.source.get(key)) ?? null;
        kept.set(number, row);
      }
      const row = kept.get(number);
      if (row && orNull(() => readResultRow(row, reference % 256))) {
        this.sink.put(keyBytes(resultKey(number)), row);
        continue;
      }
      run.set(col.RESULT, i, 0);
      this.report.withoutResult++;
    }
  }

  private async putIndexes(run: Run): Promise<void> {
    const keys = new Set<string>();
    for (let i = 0; i < run.count; i++) {
      const state = run.get(col.STATE, i);
      const due = u48Text(run.get(col.DUE, i)) + run.key;
      if (isPending(state)) keys.add(prefixes.due + due);
      else if (isEnded(state)) keys.add(prefixes.retention + due);
      if (state === taskState.dead) keys.add(prefixes.dead + u32Text(run.queue.id) + run.key);
    }
    for (const key of keys) await this.putIndex(key, noValue);
    for (const [seq, updatedMs] of readySequences(run)) {
      const key = readyPrefix(run.queue.id, run.priority) + u64Text(seq);
      const since = (await this.readySince(key, run.key)) ?? updatedMs;
      await this.putIndex(key, keyBytes(u48Text(since) + run.key));
    }
  }

  private async putIndex(key: string, value: Buffer): Promise<void> {
    this.indexRows++;
    const before = await this.source.get(keyBytes(key));
    if (!before) this.report.missingRows++;
    this.sink.put(keyBytes(key), value);
  }

  /** Since when it is ready, as its row says; null if that is gone. */
  private async readySince(key: string, runKey: string): Promise<number | null> {
    const text = (await this.source.get(keyBytes(key)))?.toString("latin1");
    return text?.slice(6) === runKey ? readU48(text, 0) : null;
  }

  private count(run: Run): void {
    const { queue, priority } = run;
    const { report } = this;
    const ready = queue.ready[priority] as number;
    queue.setReady(priority, ready + run.countState(taskState.ready));
    queue.delayed += run.countState(taskState.delayed);
    queue.leased += run.countState(taskState.leased);
    queue.dead += run.countState(taskState.dead);
    for (const ended of [taskState.completed, taskState.failed, taskState.canceled]) {
      queue.ended += run.countState(ended);
    }
    report.tasks += run.live;
    for (let i = 0; i < run.count; i++) {
      report.maxSeq = Math.max(report.maxSeq, run.get(col.SEQ, i));
      report.maxTimeMs = Math.max(report.maxTimeMs, run.get(col.UPDATED, i), run.createdAt);
      const claim = Math.floor(run.get(col.TOKEN, i) / limits.entryCommands);
      report.maxClaimIndex = Math.max(report.maxClaimIndex, claim);
    }
  }

  /** Payloads whose run is gone: nobody knows any more whether their tasks were done. */
  async findOrphans(): Promise<void> {
    for await (const { key, value } of rowsOf(this.source, prefixes.payload)) {
      const runKey = key.toString("latin1", 1);
      const hasRow = (await this.source.get(keyBytes(prefixes.run + runKey))) !== undefined;
      if (hasRow && !this.broken.has(runKey)) continue;
      this.aside("payloads of a run that is gone", key, value);
      this.report.withoutState += countOfRecords(value);
    }
  }

  putQueues(): void {
    for (const queue of this.queues.values()) {
      this.sink.put(keyBytes(prefixes.queue + u32Text(queue.id)), encodeQueue(queue));
    }
  }

  async compareIndexes(): Promise<void> {
    let found = 0;
    for (const prefix of indexPrefixes) {
      await forEachRow(this.source, prefix, () => {
        found++;
      });
    }
    this.report.strayRows = found - (this.indexRows - this.report.missingRows);
  }
}

function emptied(queue: Queue): Queue {
  for (let p = 0; p < 10; p++) queue.setReady(p, 0);
  queue.delayed = 0;
  queue.leased = 0;
  queue.dead = 0;
  queue.ended = 0;
  return queue;
}

/** Sequences of the ready rows that tasks belong to, and when the newest of them changed. */
function readySequences(run: Run): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (let i = 0; i < run.count; i++) {
    if (run.get(col.STATE, i) !== taskState.ready) continue;
    const seq = run.get(col.SEQ, i);
    found.set(seq, Math.max(found.get(seq) ?? 0, run.get(col.UPDATED, i)));
  }
  return found;
}

/** Whether a block holds the records of all tasks of a run, and nothing else. */
function holdsRecords(records: Buffer, run: Run): boolean {
  if (records.length !== run.recordBytes) return false;
  const count = orNull(() => {
    const cursor = new RecordCursor(records);
    for (let i = 0; i < run.count; i++) cursor.next();
    return cursor.at;
  });
  return count === records.length;
}

function countOfRecords(records: Buffer): number {
  const cursor = new RecordCursor(records);
  let count = 0;
  while (cursor.at < records.length && orNull(() => cursor.next()) !== null) count++;
  return count;
}

/** Tasks of a run whose row is whole but for its queue. */
function countOfRow(row: Buffer): number {
  return row.readUInt16BE(5);
}

async function* rowsOf(
  kv: Kv,
  prefix: string,
): AsyncIterable<{ readonly key: Buffer; readonly value: Buffer }> {
  let gte = keyBytes(prefix);
  const lt = keyBytes(String.fromCharCode(prefix.charCodeAt(0) + 1));
  for (;;) {
    const rows = await kv.range({ gte, lt, limit: rowsAtOnce, limitBytes: bytesAtOnce });
    yield* rows;
    const last = rows[rows.length - 1];
    if (!last) return;
    gte = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

const rowsAtOnce = 1000;
const bytesAtOnce = 16 * 1024 * 1024;

function orNull<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof RangeError) return null;
    throw error;
  }
}
