/**
 * Creates of one frame: tasks of one queue and priority become drafts of up to 256, written as task
 * records at once; tasks with a key and frames with a run id become commands of their own.
 */
import { assert } from "../base/assert.ts";
import { ByteWriter } from "../base/bytes.ts";
import { codeOfNumber, errorCodes, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import {
  runKeyBytes,
  shardOfTask,
  shardOfTaskId,
  taskIdVersion,
  writeTaskId,
} from "../base/task-id.ts";
import type { CommandResult, CreateResult } from "../queue/command.ts";
import { encodeTaskRecord, type RecordExtras } from "../queue/task-record.ts";
import type { CommandSink } from "../shard/proposer.ts";
import type { ShardTarget } from "./remote-shard.ts";
import { keyedTaskId, requestHash } from "./request-hash.ts";
import type { CreateBatch, CreateResults, NewTask, TaskExtras } from "./router.ts";
import type { RouterMetrics } from "./router-metrics.ts";
import type { PassOn, ShardRoutes } from "./shard-routes.ts";

/** What a batch needs of the router. */
export interface CreateDeps {
  readonly shardCount: number;
  readonly routes: ShardRoutes;
  /** Whether this shard takes a create of so many bytes. @throws QueueError */
  admitCreate(shard: ShardTarget, bytes: number): void;
  soon(callback: () => void): void;
  /** Monotonic. */
  nowMs(): number;
  readonly metrics: RouterMetrics;
}

class Group {
  readonly queue: string;
  readonly priority: number;
  readonly writer = new ByteWriter(512);
  readonly items: number[] = [];
  readonly key: string | null;

  constructor(queue: string, priority: number, key: string | null) {
    this.queue = queue;
    this.priority = priority;
    this.key = key;
  }
}

export class CreateBatchBuilder implements CreateBatch {
  private readonly deps: CreateDeps;
  private readonly tenant: string;
  private readonly passOn: PassOn;
  private readonly groups: Group[] = [];
  private last: Group | null = null;
  private open: Map<string, Group> | null = null;
  private refused: Map<number, QueueError> | null = null;
  count = 0;

  constructor(deps: CreateDeps, tenant: string, passOn: PassOn) {
    this.deps = deps;
    this.tenant = tenant;
    this.passOn = passOn;
  }

  add(task: NewTask, bytes: Uint8Array, from: number, to: number): void {
    const group = this.groupFor(task);
    const record = {
      maxAttempts: task.maxAttempts,
      delayMs: task.delayMs,
      runAtMs: task.runAtMs,
      extras: task.extras ? recordExtras(task.extras) : null,
    };
    encodeTaskRecord(group.writer, record, bytes, from, to);
    group.items.push(this.count++);
  }

  private groupFor(task: NewTask): Group {
    const { queue, priority, idempotencyKey } = task;
    if (idempotencyKey !== null) return this.newGroup(queue, priority, idempotencyKey);
    const { last } = this;
    if (last && last.queue === queue && last.priority === priority && hasRoom(last)) return last;
    const name = `${queue}\0${priority}`;
    this.open ??= new Map();
    let group = this.open.get(name);
    if (!group || !hasRoom(group)) {
      group = this.newGroup(queue, priority, null);
      this.open.set(name, group);
    }
    this.last = group;
    return group;
  }

  private newGroup(queue: string, priority: number, key: string | null): Group {
    const group = new Group(queue, priority, key);
    this.groups.push(group);
    return group;
  }

  addRefused(error: QueueError): void {
    this.refused ??= new Map();
    this.refused.set(this.count++, error);
  }

  send(runId: Uint8Array | null, done: (results: CreateResults) => void): void {
    const results = new CreateResultColumns(this.count, this.refused);
    const { metrics } = this.deps;
    const startedMs = this.deps.nowMs();
    const wait = new Countdown(() => {
      metrics.create.tasks.add(results.accepted);
      metrics.create.seconds.observe((this.deps.nowMs() - startedMs) / 1000);
      done(results);
    });
    const broken = runId && this.brokenRun(runId);
    const passesOn = !broken && this.passesOn(runId);
    for (const group of this.groups) {
      wait.add();
      const sink = new GroupSink(this.deps, group, results, wait);
      if (broken) this.deps.soon(() => sink.failed(broken));
      else this.sendGroup(group, runId, sink, passesOn);
    }
    wait.start(this.deps);
  }

  /** Why the frame cannot be one run with this id; null if it can. */
  private brokenRun(runId: Uint8Array): QueueError | null {
    const field = { field: "run_id" };
    const one = this.groups.length <= 1 && this.groups.every((group) => group.key === null);
    if (!one || this.count > limits.runTasks) {
      const text = "run_id: at most 256 tasks of one queue and priority, without keys";
      return new QueueError("invalid_argument", text, field);
    }
    const { shardCount } = this.deps;
    const isFirst =
      taskIdVersion(runId) === 7 && (runId[8] as number) >> 6 === 2 && runId[14] === 0;
    if (runId.length !== 16 || !isFirst || shardOfTask(runId, 0, shardCount) < 0) {
      const text = "run_id: must be the version 7 id of a run's first task";
      return new QueueError("invalid_argument", text, field);
    }
    return null;
  }

  /** Whether what belongs to shards that are led elsewhere is passed on. */
  private passesOn(runId: Uint8Array | null): boolean {
    const { routes } = this.deps;
    const concerned: number[] = [];
    for (const group of this.groups) {
      const id = this.idOf(group, runId);
      if (id) concerned.push(shardOfTaskId(id, 0, routes.shardCount));
      // Without an id it goes to a shard that is led here, if any is.
      else if (routes.leadsAny) return true;
    }
    return routes.passesOn(concerned, this.passOn);
  }

  /** The id that the first task of a group shall have; null: the shard chooses one. */
  private idOf(group: Group, runId: Uint8Array | null): Uint8Array | null {
    return group.key === null ? runId : keyedTaskId(this.tenant, group.key);
  }

  private sendGroup(
    group: Group,
    runId: Uint8Array | null,
    sink: GroupSink,
    passesOn: boolean,
  ): void {
    const { deps, tenant } = this;
    const records = group.writer.finish();
    const { queue, priority } = group;
    const count = group.items.length;
    try {
      const id = this.idOf(group, runId);
      if (id === null) {
        const shard = deps.routes.forNew();
        deps.admitCreate(shard, records.length);
        sink.shard = shard;
        const { drafted: done, failed } = sink;
        shard.create({ tenant, queue, priority, count, records, done, failed });
        return;
      }
      const key = Buffer.from(group.key === null ? id.subarray(0, runKeyBytes) : id);
      const shard = deps.routes.target(shardOfTaskId(id, 0, deps.shardCount), passesOn);
      deps.admitCreate(shard, records.length);
      sink.shard = shard;
      sink.key = key;
      const hash = requestHash(queue, priority, records, group.key !== null);
      shard.submit(
        { kind: "create", tenant, queue, priority, key, count, requestHash: hash, records },
        records.length,
        sink,
      );
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      deps.soon(() => sink.failed(error));
    }
  }
}

function hasRoom(group: Group): boolean {
  // Not by bytes: a frame with a run id is one run, and a frame is bounded anyway.
  return group.items.length < limits.runTasks;
}

function recordExtras(extras: TaskExtras): RecordExtras {
  const { webhook = "", traceParent = "", traceState = "" } = extras;
  return { webhook, traceParent, traceState };
}

/** Calls back when everything added has been answered, never inside the call that starts it. */
export class Countdown {
  private left = 0;
  private started = false;
  private readonly callback: () => void;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  add(): void {
    this.left++;
  }

  /** To be called when all are added. */
  start(deps: { soon(callback: () => void): void }): void {
    this.started = true;
    if (this.left === 0) deps.soon(this.callback);
  }

  answered(): void {
    this.left--;
    assert(this.left >= 0 && this.started, "one answer each", this.left);
    if (this.left === 0) this.callback();
  }
}

/** Brings the result of one group into the columns of its frame. */
class GroupSink implements CommandSink {
  private readonly deps: CreateDeps;
  private readonly group: Group;
  private readonly results: CreateResultColumns;
  private readonly wait: Countdown;
  shard: ShardTarget | null = null;
  key: Buffer | null = null;

  constructor(deps: CreateDeps, group: Group, results: CreateResultColumns, wait: Countdown) {
    this.deps = deps;
    this.group = group;
    this.results = results;
    this.wait = wait;
  }

  readonly drafted = (result: CreateResult, runKey: Buffer, firstPlace: number): void => {
    const { items } = this.group;
    const { shardCount } = this.deps;
    const shard = this.shard?.id ?? 0;
    const { results } = this;
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as number;
      results.codes[item] = result.code;
      if (result.code === 0) results.accepted++;
      results.createdAtMs[item] = result.createdAt;
      results.duplicates[item] = result.duplicate ? 1 : 0;
      if (result.runAt) results.runAtMs[item] = result.runAt[i] as number;
      if (result.code !== 0) continue;
      writeTaskId(runKey, firstPlace + i, shard, shardCount, results.ids, 16 * item);
    }
    this.wait.answered();
  };

  readonly failed = (error: QueueError): void => {
    for (const item of this.group.items) this.results.fail(item, error);
    this.wait.answered();
  };

  done(result: CommandResult): void {
    assert(result.kind === "created" && this.key !== null, "result of a create", result.kind);
    this.drafted(result, this.key, 0);
  }
}

const codeTexts: Partial<Record<string, string>> = {
  idempotency_conflict: "the key or run id was used for another request",
  overloaded: "too many queues in this shard",
};

/** The text that goes with a code that apply gave. */
export function errorOfCode(number: number, texts: Partial<Record<string, string>>): QueueError {
  const code = codeOfNumber(number) ?? "internal";
  return new QueueError(code, texts[code] ?? code.replaceAll("_", " "));
}

class CreateResultColumns implements CreateResults {
  readonly count: number;
  readonly codes: Uint8Array;
  readonly ids: Buffer;
  readonly duplicates: Uint8Array;
  readonly createdAtMs: Float64Array;
  readonly runAtMs: Float64Array;
  /** Tasks with code 0. */
  accepted = 0;
  private errors: Map<number, QueueError> | null;

  constructor(count: number, refused: Map<number, QueueError> | null) {
    this.count = count;
    this.codes = new Uint8Array(count);
    this.ids = Buffer.alloc(16 * count);
    this.duplicates = new Uint8Array(count);
    this.createdAtMs = new Float64Array(count);
    this.runAtMs = new Float64Array(count);
    this.errors = refused;
    for (const [item, error] of refused ?? []) this.codes[item] = errorCodes[error.code].number;
  }

  fail(item: number, error: QueueError): void {
    this.errors ??= new Map();
    this.errors.set(item, error);
    this.codes[item] = errorCodes[error.code].number;
  }

  error(i: number): QueueError | undefined {
    const code = this.codes[i] as number;
    if (code === 0) return undefined;
    return this.errors?.get(i) ?? errorOfCode(code, codeTexts);
  }
}
