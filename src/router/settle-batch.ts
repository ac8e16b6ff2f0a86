/** Settles of one frame, split by shard and into steps of at most 1,000 tasks. */
import { assert } from "../base/assert.ts";
import { errorCodes, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { shardOfTask } from "../base/task-id.ts";
import type { CommandResult } from "../queue/command.ts";
import { SettleGroupWriter } from "../queue/settle-groups.ts";
import type { CommandSink } from "../shard/proposer.ts";
import { Countdown, errorOfCode } from "./create-batch.ts";
import type { ShardTarget } from "./remote-shard.ts";
import type { SettleBatch, SettleResults } from "./router.ts";
import type { RouterMetrics } from "./router-metrics.ts";
import type { PassOn, ShardRoutes } from "./shard-routes.ts";

export interface SettleDeps {
  readonly shardCount: number;
  readonly routes: ShardRoutes;
  /** @throws QueueError insufficient_storage, overloaded */
  admitSettle(shard: ShardTarget, bytes: number): void;
  soon(callback: () => void): void;
  /** Monotonic. */
  nowMs(): number;
  readonly metrics: RouterMetrics;
}

/** Who settles. */
export interface SettleBy {
  readonly tenant: string;
  readonly workerId: string;
  readonly passOn: PassOn;
}

/** One command in the making. */
class Step {
  readonly shard: number;
  readonly writer = new SettleGroupWriter();
  readonly items: number[] = [];

  constructor(shard: number) {
    this.shard = shard;
  }
}

const noReason = Buffer.alloc(0);

export class SettleBatchBuilder implements SettleBatch {
  private readonly deps: SettleDeps;
  private readonly by: SettleBy;
  private readonly steps: Step[] = [];
  /** The step of each shard that takes more. */
  private readonly open: (Step | undefined)[] = [];
  private refused: Map<number, QueueError> | null = null;
  count = 0;

  constructor(deps: SettleDeps, by: SettleBy) {
    this.deps = deps;
    this.by = by;
  }

  complete(id: Uint8Array, at: number, leaseToken: number, result: Uint8Array | null): void {
    this.writerFor(id, at)?.complete(id, at, leaseToken, result);
  }

  fail(
    id: Uint8Array,
    at: number,
    leaseToken: number,
    error: Uint8Array,
    result: Uint8Array | null,
  ): void {
    this.writerFor(id, at)?.fail(id, at, leaseToken, error, result);
  }

  nack(id: Uint8Array, at: number, leaseToken: number, delayMs: number, reason: string): void {
    const bytes = reason === "" ? noReason : Buffer.from(reason);
    this.writerFor(id, at)?.nack(id, at, leaseToken, delayMs, bytes);
  }

  abandon(id: Uint8Array, at: number, leaseToken: number): void {
    this.writerFor(id, at)?.abandon(id, at, leaseToken);
  }

  release(id: Uint8Array, at: number, leaseToken: number): void {
    this.writerFor(id, at)?.release(id, at, leaseToken);
  }

  heartbeat(id: Uint8Array, at: number, leaseToken: number, extendMs: number): void {
    this.writerFor(id, at)?.heartbeat(id, at, leaseToken, extendMs);
  }

  addRefused(error: QueueError): void {
    this.refused ??= new Map();
    this.refused.set(this.count++, error);
  }

  private writerFor(id: Uint8Array, at: number): SettleGroupWriter | null {
    const { shardCount } = this.deps;
    const shard = shardOfTask(id, at, shardCount);
    if (shard < 0) {
      this.addRefused(new QueueError("not_found", "no such task"));
      return null;
    }
    let step = this.open[shard];
    if (!step || step.items.length >= limits.stepTasks || step.writer.bytes >= limits.draftBytes) {
      step = new Step(shard);
      this.open[shard] = step;
      this.steps.push(step);
    }
    step.items.push(this.count++);
    return step.writer;
  }

  send(done: (results: SettleResults) => void): void {
    const results = new SettleResultColumns(this.count, this.refused);
    const { metrics } = this.deps;
    const startedMs = this.deps.nowMs();
    const wait = new Countdown(() => {
      metrics.settle.tasks.add(results.accepted);
      metrics.settle.seconds.observe((this.deps.nowMs() - startedMs) / 1000);
      done(results);
    });
    const concerned = this.steps.map(({ shard }) => shard);
    const passesOn = this.deps.routes.passesOn(concerned, this.by.passOn);
    for (const step of this.steps) {
      wait.add();
      this.sendStep(step, new StepSink(step, results, wait), passesOn);
    }
    wait.start(this.deps);
  }

  private sendStep(step: Step, sink: StepSink, passesOn: boolean): void {
    const { deps } = this;
    const { tenant, workerId } = this.by;
    const { count } = step.writer;
    const groups = step.writer.finish();
    try {
      const shard = deps.routes.target(step.shard, passesOn);
      deps.admitSettle(shard, groups.length);
      shard.submit({ kind: "settle", tenant, workerId, count, groups }, groups.length, sink);
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      deps.soon(() => sink.failed(error));
    }
  }
}

class StepSink implements CommandSink {
  private readonly step: Step;
  private readonly results: SettleResultColumns;
  private readonly wait: Countdown;

  constructor(step: Step, results: SettleResultColumns, wait: Countdown) {
    this.step = step;
    this.results = results;
    this.wait = wait;
  }

  done(result: CommandResult): void {
    assert(result.kind === "settled", "result of a settle", result.kind);
    const { items } = this.step;
    const { codes, times, dead } = this.results;
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as number;
      codes[item] = result.codes[i] as number;
      if (result.codes[i] === 0) this.results.accepted++;
      times[item] = result.times[i] as number;
      dead[item] = result.dead[i] as number;
    }
    this.wait.answered();
  }

  failed(error: QueueError): void {
    for (const item of this.step.items) this.results.fail(item, error);
    this.wait.answered();
  }
}

const codeTexts = {
  not_found: "no such task",
  lease_lost: "the lease is over, was taken by another worker, or the task is settled",
};

class SettleResultColumns implements SettleResults {
  readonly count: number;
  readonly codes: Uint8Array;
  readonly times: Float64Array;
  readonly dead: Uint8Array;
  /** Items with code 0. */
  accepted = 0;
  private errors: Map<number, QueueError> | null;

  constructor(count: number, refused: Map<number, QueueError> | null) {
    this.count = count;
    this.codes = new Uint8Array(count);
    this.times = new Float64Array(count);
    this.dead = new Uint8Array(count);
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
