/**
 * What the committed log of one shard means: its entries, applied to the naive model one after the
 * other, and the outcome of each command, by what an answer to it shows. Whatever anybody is told
 * must agree with it.
 */
import type { ShardId } from "../../../src/base/brand.ts";
import { writeTaskId } from "../../../src/base/task-id.ts";
import { EntryReader } from "../../../src/queue/command-codec.ts";
import { readU64 } from "../../../src/queue/keys.ts";
import { taskState } from "../../../src/queue/run.ts";
import { Model, type ModelTask } from "../../queue/model.ts";
import type { Grant, Op, Outcome, TaskName } from "../../queue/ops.ts";
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

export class Truth {
  readonly shard: ShardId;
  readonly model = new Model();
  /** Index 1 stands for the founding of the group. */
  lastIndex = 1;
  lastTerm = 0;
  lastTimeMs = 0;
  /** Outcomes by what the answer to them shows. */
  readonly creates = new Map<string, At<Created>[]>();
  readonly claims = new Map<number, readonly Grant[]>();
  readonly settles = new Map<string, At<Settled>>();
  readonly cancels = new Map<string, At<number>[]>();
  /** Payload of each task by nameText. */
  readonly payloads = new Map<string, string>();
  /** Worker ids of the claims that got tasks, and of the settles. */
  readonly workers = new Set<string>();
  /** Tasks that were purged, by nameText. */
  readonly purged = new Set<string>();
  /** Called before an expire command is applied. */
  beforeExpire: (timeMs: number) => void = () => undefined;
  private readonly shardCount: number;
  private readonly watches = new Set<Watch>();

  constructor(shard: ShardId, shardCount: number) {
    this.shard = shard;
    this.shardCount = shardCount;
  }

  /** The next entry. */
  append({ index, row }: LogRow): void {
    must(index === this.lastIndex + 1, "entries follow each other", index, this.lastIndex);
    const term = readU64(row.toString("latin1", 0, 8), 0);
    must(term >= this.lastTerm, "terms do not fall", term, this.lastTerm);
    this.lastIndex = index;
    this.lastTerm = term;
    // Changes of the membership are no commands.
    if (row.length === headBytes || row[8] !== 0) return;
    this.apply(index, row.subarray(headBytes));
    for (const watch of this.watches) watch.look();
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
    } else if (op.kind === "purge") {
      for (const id of op.ids) if (!this.model.task(id)) this.purged.add(nameText(id));
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

  /** The id of a task, 16 bytes. */
  idOf({ key, place }: TaskName): Buffer {
    const id = Buffer.alloc(16);
    writeTaskId(Buffer.from(key, "latin1"), place, this.shard, this.shardCount, id);
    return id;
  }

  /** Follows a task from now on, until it is let go. */
  watch(name: TaskName): Watch {
    const watch = new Watch(() => textOfTask(this.model.task(name)));
    this.watches.add(watch);
    return watch;
  }

  unwatch(watch: Watch): void {
    this.watches.delete(watch);
  }
}

/** What a task was while it was looked at, as texts; oldest first. */
export class Watch {
  readonly texts: string[];
  private readonly read: () => string;

  constructor(read: () => string) {
    this.read = read;
    this.texts = [read()];
  }

  look(): void {
    const text = this.read();
    if (text !== this.texts.at(-1)) this.texts.push(text);
  }
}

const stateNames = Object.keys(taskState);

/** A task as anybody may read it; "none" if there is none. */
export function textOfTask(task: ModelTask | undefined): string {
  if (!task || task.state === taskState.removed) return "none";
  const isLeased = task.state === taskState.leased;
  return [
    stateNames[task.state],
    task.attempts,
    task.max,
    task.worker,
    isLeased ? task.token : 0,
    isLeased ? task.due : 0,
    task.state === taskState.delayed ? task.due : 0,
    task.updated,
    task.run.queue.name,
    task.run.priority,
  ].join(" ");
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
