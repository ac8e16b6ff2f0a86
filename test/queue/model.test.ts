/**
 * Goal: whatever happens in whatever order, the state machine gives the answers of the naive
 * model, keeps its rows and counters whole, and is the same after a crash. Runs and index windows
 * are evicted at once in half of the sequences, so that everything goes through the store.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { col } from "../../src/queue/run.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import { Model } from "./model.ts";
import type { ModelQueue } from "./model-task.ts";
import type { Op } from "./ops.ts";
import { type Event, type Step, steps, toOp } from "./sequences.ts";

const startMs = 1_700_000_000_000;

const tiny: EngineOptions = { readAhead: { readyRows: 1, dueRows: 2 }, evictBytes: 0 };
const some: EngineOptions = { readAhead: { readyRows: 3, dueRows: 3 }, evictBytes: 2_000 };
const plenty: EngineOptions = { readAhead: { readyRows: 512, dueRows: 2048 }, evictBytes: 1e9 };

/** Claims everything that is left, so that the order of all lines is compared. */
const drain: readonly Op[] = ["acme", "bolt"].map((tenant) => ({
  kind: "claim",
  tenant,
  queues: null,
  count: 1000,
  bytesMax: 1e8,
  leaseMs: 1000,
  worker: "w9",
}));

class Pair {
  readonly engine: Engine;
  readonly model = new Model();
  /** Last token of each task that was ever claimed. */
  private readonly tokens = new Map<string, number>();
  private now = startMs;

  constructor(options: EngineOptions) {
    this.engine = new Engine(options);
  }

  async play(all: readonly Step[]): Promise<void> {
    for (let i = 0; i < all.length; ) {
      // Steps of one entry are planned together: they see the model as it was before the entry.
      const first = all[i] as Step;
      const entry = [first];
      for (i++; i < all.length && entry.length < 4 && (all[i] as Step).joined; i++) {
        entry.push(all[i] as Step);
      }
      this.now += first.dt;
      await this.before(first.event);
      const ops: Op[] = [];
      for (const step of entry) ops.push(toOp(step, this.model, this.tokens, ops.length));
      await this.run(ops);
      await this.after(first.event);
    }
    await this.run(drain);
    this.engine.checkpoint();
    this.engine.check();
  }

  private async run(ops: readonly Op[]): Promise<void> {
    const outcomes = await this.engine.run(this.now, ops);
    const { index } = this.engine;
    const wanted = ops.map((op, place) => this.model.apply(op, this.now, index, place));
    assert.deepEqual(outcomes, wanted, JSON.stringify(ops));
    for (const outcome of wanted) {
      if (outcome.kind !== "claimed") continue;
      for (const { key, place, token } of outcome.grants) this.tokens.set(`${key} ${place}`, token);
    }
    this.compare();
  }

  private async before(event: Event): Promise<void> {
    const { engine } = this;
    engine.landDuringRead = event === "race";
    if (event === "begin" || event === "race") engine.beginCheckpoint();
    if (event === "land") engine.landCheckpoint();
  }

  private async after(event: Event): Promise<void> {
    const { engine } = this;
    if (event === "checkpoint") engine.checkpoint();
    if (event === "crash" || event === "crashLanded") await engine.crash(event === "crashLanded");
    if (event !== "none") engine.check();
  }

  /** Every task, every count, every cursor. */
  private compare(): void {
    const { engine, model } = this;
    const counts = new Map<ModelQueue, number[]>();
    for (const task of model.tasks()) {
      const run = engine.peek(task.run.key);
      assert.ok(run, "the run is there");
      const { place } = task;
      const got = [
        run.get(col.STATE, place),
        run.get(col.ATTEMPTS, place),
        run.get(col.MAX_ATTEMPTS, place),
        run.get(col.DUE, place),
        run.get(col.TOKEN, place),
        run.workerOf(place),
        run.get(col.LEASE, place),
        run.get(col.UPDATED, place),
        run.get(col.ABANDONS, place),
      ];
      const { state, attempts, max, due, token, worker, leaseMs, updated, abandons } = task;
      const want = [state, attempts, max, due, token, worker, leaseMs, updated, abandons];
      assert.deepEqual(got, want, `task ${place}`);
      assert.deepEqual(engine.trace(run, place), task.trace, "what its settling left");
      const { queue } = task.run;
      const row = counts.get(queue) ?? [0, 0, 0, 0, 0, 0, 0, 0];
      row[state] = (row[state] as number) + 1;
      counts.set(queue, row);
    }
    for (const queue of model.queues) {
      const [, delayed, ready, leased, completed, failed, dead, canceled] = counts.get(queue) ?? [
        0, 0, 0, 0, 0, 0, 0, 0,
      ];
      const ended = (completed as number) + (failed as number) + (canceled as number);
      const got = engine.counts(queue.tenant, queue.name);
      assert.deepEqual(got, { ready, delayed, leased, dead, ended }, queue.name);
    }
    for (const [tenant, cursor] of model.cursors) {
      assert.equal(engine.state.tenants.get(tenant)?.cursor, cursor, "the turn of the queues");
    }
  }
}

function property(name: string, options: EngineOptions, runs: number): void {
  it(name, async () => {
    const any = fc.asyncProperty(steps(50), (all) => new Pair(options).play(all));
    const numRuns = Number(process.env["QUEUE_RUNS"] ?? runs);
    await fc.assert(any, { numRuns, includeErrorInReport: true });
  });
}

property("agrees with the model when nothing stays in memory", tiny, 1000);
property("agrees with the model when some runs stay in memory", some, 700);
property("agrees with the model when all stays in memory", plenty, 500);
