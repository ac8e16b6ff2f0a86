/**
 * The truth about a run: the entries that reached the disk, taken from the batches on their way to
 * it, and the naive model to which they were applied. What the node says to anybody must agree.
 */

import { EntryReader } from "../../../src/queue/command-codec.ts";
import { keyBytes, prefixes, readU64 } from "../../../src/queue/keys.ts";
import { taskState } from "../../../src/queue/run.ts";
import { readRecord } from "../../../src/storage/record.ts";
import { Model, type ModelTask } from "../../queue/model.ts";
import type { Grant, Op, Outcome, TaskName } from "../../queue/ops.ts";
import type { SortedRows } from "../sorted-rows.ts";
import { must } from "../violation.ts";
import { toOp } from "./log-ops.ts";

/** A row of the log as it is stored: term u64, type u8, entry. */
export interface LogRow {
  readonly index: number;
  readonly row: Buffer;
}

type Created = Extract<Outcome, { kind: "created" }>;
type Settled = Extract<Outcome, { kind: "settled" }>;

/** An outcome and the log index at which it was decided. */
export interface At<T> {
  readonly index: number;
  readonly outcome: T;
}

const headBytes = 9;
const cutKey = `${prefixes.meta}log`;

export class Oracle {
  readonly model = new Model();
  /** Last entry that is known to be on disk. Index 1 stands for the founding of the group. */
  lastIndex = 1;
  lastTerm = 0;
  lastTimeMs = 0;
  /** Entries in the batch on its way. */
  private inFlight: readonly LogRow[] = [];
  private readonly rows = new Map<number, Buffer>();
  /** Outcomes by what the answer to them shows. */
  readonly creates = new Map<string, At<Created>[]>();
  readonly claims = new Map<number, readonly Grant[]>();
  readonly settles = new Map<string, At<Settled>>();
  readonly cancels = new Map<string, At<number>[]>();
  /** Payload of each task by nameText. */
  readonly payloads = new Map<string, string>();
  /** Worker ids of the claims that got tasks, and of the settles. */
  readonly workers = new Set<string>();
  /** Called before an expire command is applied. */
  beforeExpire: (timeMs: number) => void = () => undefined;

  /** A batch with these entries is on its way to the disk. */
  writing(rows: readonly LogRow[]): void {
    this.inFlight = rows;
  }

  /** It has arrived. */
  written(): void {
    const rows = this.inFlight;
    this.inFlight = [];
    for (const row of rows) this.append(row);
  }

  /**
   * The node has opened its store after a crash: all that was durable is there, and of the batch
   * that was on its way all or nothing.
   */
  recovered(stored: SortedRows): void {
    const read = (key: string) => {
      const record = stored.get(key);
      return record && readRecord(keyBytes(key), record);
    };
    const cut = read(cutKey);
    let index = cut ? readU64(cut.toString("latin1", 0, 8), 0) : 1;
    must(index <= this.lastIndex + this.inFlight.length, "the log is cut", index, this.lastIndex);
    const from = stored.lowerBound(prefixes.log);
    const to = stored.lowerBound(`${prefixes.log}\xff\xff`);
    const extra: LogRow[] = [];
    for (let i = from; i < to; i++) {
      const key = stored.keyAt(i);
      must(readU64(key, 1) === ++index, "no gap in the log", readU64(key, 1), index);
      const row = read(key) as Buffer;
      if (index > this.lastIndex) extra.push({ index, row });
      else must(this.rows.get(index)?.equals(row) === true, "an entry as it was written", index);
    }
    must(index >= this.lastIndex, "durable entries are kept", index, this.lastIndex);
    this.adopt(index, extra);
  }

  private adopt(last: number, extra: readonly LogRow[]): void {
    const { inFlight } = this;
    this.inFlight = [];
    if (last === this.lastIndex) return;
    must(last === this.lastIndex + inFlight.length, "a batch is whole or absent", last);
    for (const { index, row } of extra) {
      const sent = inFlight.find((entry) => entry.index === index);
      must(sent?.row.equals(row) === true, "an entry as it was sent", index);
    }
    for (const row of inFlight) this.append(row);
  }

  private append({ index, row }: LogRow): void {
    must(index === this.lastIndex + 1, "entries follow each other", index, this.lastIndex);
    const term = readU64(row.toString("latin1", 0, 8), 0);
    must(term >= this.lastTerm, "terms do not fall", term, this.lastTerm);
    this.lastIndex = index;
    this.lastTerm = term;
    this.rows.set(index, row);
    if (row.length > headBytes) this.apply(index, row.subarray(headBytes));
  }

  private apply(index: number, data: Buffer): void {
    const entry = new EntryReader(data);
    must(entry.timeMs >= this.lastTimeMs, "leader time", entry.timeMs, this.lastTimeMs);
    this.lastTimeMs = entry.timeMs;
    for (;;) {
      const { place } = entry;
      const command = entry.next();
      if (!command) return;
      const op = toOp(command);
      if (op.kind === "expire") this.beforeExpire(entry.timeMs);
      const outcome = this.model.apply(op, entry.timeMs, index, place);
      this.note(index, op, outcome);
    }
  }

  private note(index: number, op: Op, outcome: Outcome): void {
    if (op.kind === "create" && outcome.kind === "created") {
      listOf(this.creates, op.key).push({ index, outcome });
      if (outcome.code !== 0 || outcome.duplicate) return;
      op.tasks.forEach(({ payload }, place) => {
        this.payloads.set(nameText({ key: op.key, place }), payload);
      });
    } else if (op.kind === "claim" && outcome.kind === "claimed") {
      const [first] = outcome.grants;
      if (!first) return;
      this.workers.add(op.worker);
      must(!this.claims.has(first.token), "a lease token is given once", first.token);
      this.claims.set(first.token, outcome.grants);
    } else if (op.kind === "settle" && outcome.kind === "settled") {
      this.workers.add(op.worker);
      this.settles.set(op.worker, { index, outcome });
    } else if (op.kind === "cancel" && outcome.kind === "canceled") {
      listOf(this.cancels, nameText(op)).push({ index, outcome: outcome.code });
    }
  }

  /** Tasks that are not at their end, in no order: far cheaper than the model's sorted list. */
  pending(): ModelTask[] {
    const pending: ModelTask[] = [];
    for (const { tasks } of this.model.runs.values()) {
      for (const task of tasks) if (isPending(task.state)) pending.push(task);
    }
    return pending;
  }

  task(name: TaskName): ModelTask | undefined {
    return this.model.task(name);
  }
}

function isPending(state: number): boolean {
  return state === taskState.delayed || state === taskState.ready || state === taskState.leased;
}

export function nameText(name: TaskName): string {
  return `${Buffer.from(name.key, "latin1").toString("hex")}.${name.place}`;
}

function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  let list = lists.get(key);
  if (!list) {
    list = [];
    lists.set(key, list);
  }
  return list;
}
