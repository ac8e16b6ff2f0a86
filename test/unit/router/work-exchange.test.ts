/** Nodes without replicas of each other's shards tell each other of work. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { type StoreId, toStoreId } from "../../../src/base/brand.ts";
import { limits } from "../../../src/base/limits.ts";
import type { ClaimCommand } from "../../../src/queue/command.ts";
import { WorkExchange } from "../../../src/router/work-exchange.ts";
import { decodeWork, encodeWatch, workFrames } from "../../../src/router/work-frames.ts";
import { anyQueue, type WorkQueue, type WorkSource } from "../../../src/router/work-source.ts";
import { ManualEffects } from "../client/manual-effects.ts";
import { HandShard } from "./waiters-harness.ts";

const effects = new ManualEffects();

/** One of two nodes: its shard is real, its line to the other one is an array. */
class Side {
  readonly storeId: StoreId;
  readonly shard: HandShard;
  readonly woken: [number, string, number][] = [];
  sent: { readonly type: number; readonly body: Buffer }[] = [];
  /** Tasks that claims of this node ask for, by queue. */
  readonly asked = new Map<string, number>();
  lineIsFull = false;
  readonly exchange: WorkExchange;

  constructor(number: number) {
    this.storeId = toStoreId(100 + number);
    this.shard = new HandShard(number);
    this.exchange = new WorkExchange({
      ...{ clock: effects.clock, timers: effects.timers },
      link: {
        send: (_, type, parts) => {
          if (!this.lineIsFull) this.sent.push({ type, body: Buffer.concat(parts) });
          return !this.lineIsFull;
        },
      },
      shard: () => this.shard.asShard,
      room: (queue) => (queue.paused ? 0 : queue.readyTotal - (this.asked.get(queue.name) ?? 0)),
      wake: (source: WorkSource, queue: WorkQueue) => {
        this.woken.push([source.id, queue.name, queue.readyTotal]);
      },
    });
  }

  get told(): WorkSource | undefined {
    return this.exchange.sources[0];
  }
}

let a: Side;
let b: Side;

beforeEach(() => {
  a = new Side(0);
  b = new Side(1);
  a.exchange.found(1, b.storeId);
  b.exchange.found(0, a.storeId);
});

/** Lets everything arrive that is said, and what is said to that. */
async function talk(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    for (const frame of a.sent.splice(0)) b.exchange.frame(a.storeId, frame.type, frame.body);
    for (const frame of b.sent.splice(0)) a.exchange.frame(b.storeId, frame.type, frame.body);
  }
}

function spare(side: Side, name: string, count: number, priority = 0): void {
  side.exchange.spare(side.shard.create(name, count, priority));
}

function claimOf(queues: readonly string[] | null): ClaimCommand {
  const fixed = { kind: "claim", tenant: "t", count: 1, bytesMax: 1e6 } as const;
  return { ...fixed, queues, leaseMs: 60_000, workerId: "w" };
}

describe("what is told", () => {
  test("what there is when a claim begins to wait, and what comes later", async () => {
    b.shard.create("q", 2, 3);
    a.exchange.watch("t", ["q"]);
    await talk();
    assert.deepEqual(a.woken.splice(0), [[1, "q", 2]]);
    assert.deepEqual(a.told?.state.tenants.get("t")?.queues.get("q")?.ready[3], 2);
    spare(b, "q", 3);
    await talk();
    assert.deepEqual(a.woken, [[1, "q", 5]]);
  });

  test("nothing of queues, or of tenants, for which nobody waits", async () => {
    a.exchange.watch("t", ["other"]);
    a.exchange.watch("u", ["q"]);
    await talk();
    spare(b, "q", 1);
    await talk();
    assert.deepEqual(a.woken, []);
  });

  test("for any queue, the sum of all, by priority", async () => {
    b.shard.create("p", 1, 7);
    a.exchange.watch("t", null);
    await talk();
    assert.deepEqual(a.woken.splice(0), [[1, anyQueue, 1]]);
    spare(b, "q", 2);
    await talk();
    const tenant = a.told?.state.tenants.get("t");
    assert.deepEqual(
      [7, 0, 3].map((priority) => tenant?.claimable[priority]?.length),
      [1, 1, 0],
    );
    assert.deepEqual(a.woken, [[1, anyQueue, 3]]);
  });

  test("only tasks that no claim of their own node asks for, the highest priority first", async () => {
    b.shard.create("q", 2, 9);
    b.asked.set("q", 3);
    a.exchange.watch("t", ["q"]);
    await talk();
    assert.deepEqual(a.woken, []);
    spare(b, "q", 4, 1);
    await talk();
    const ready = a.told?.state.tenants.get("t")?.queues.get("q")?.ready;
    assert.deepEqual([ready?.[9], ready?.[1]], [0, 3]);
  });

  test("what a claim left, behind its answer, though nothing else has changed", async () => {
    b.shard.create("q", 1);
    a.exchange.watch("t", ["q"]);
    await talk();
    let seen = 0;
    const { told } = a;
    assert.ok(told && !("consensus" in told));
    told.whenTold(() => seen++);
    await talk();
    assert.equal(seen, 0);
    b.asked.set("q", 1);
    b.exchange.claimed(a.storeId, claimOf(["q"]));
    await talk();
    assert.equal(seen, 1);
    assert.equal(told.state.tenants.get("t")?.queues.get("q")?.readyTotal, 0);
    // One for a queue that is not watched any more is followed by a word, too.
    told.whenTold(() => seen++);
    b.exchange.claimed(a.storeId, claimOf(["else"]));
    await talk();
    assert.equal(seen, 2);
  });

  test("later, if the line is full, and all of it", async () => {
    const names = Array.from({ length: limits.watchFrameQueues + 5 }, (_, i) => `q${i}`);
    a.lineIsFull = true;
    a.exchange.watch("t", names);
    await talk();
    a.lineIsFull = false;
    effects.advance(20);
    await talk();
    assert.equal(a.told?.state.tenants.get("t")?.queues.size, names.length);
    b.lineIsFull = true;
    spare(b, "q0", 1);
    await talk();
    assert.deepEqual(a.woken, []);
    b.lineIsFull = false;
    effects.advance(20);
    await talk();
    assert.deepEqual(a.woken, [[1, "q0", 1]]);
  });
});

describe("a queue", () => {
  test("is watched a while after the last claim that waited for it, and then no more", async () => {
    a.exchange.watch("t", ["q"]);
    a.exchange.unwatch("t", ["q"]);
    await talk();
    spare(b, "q", 1);
    await talk();
    assert.equal(a.woken.splice(0).length, 1);
    effects.advance(2 * limits.watchIdleMs);
    await talk();
    spare(b, "q", 1);
    await talk();
    assert.deepEqual(a.woken, []);
    assert.equal(a.told?.state.tenants.size, 0);
    assert.equal(effects.pending, 0);
  });

  test("stays watched while a claim waits for it", async () => {
    a.exchange.watch("t", ["q"]);
    a.exchange.watch("t", ["q"]);
    a.exchange.unwatch("t", ["q"]);
    effects.advance(3 * limits.watchIdleMs);
    await talk();
    spare(b, "q", 1);
    await talk();
    assert.deepEqual(a.woken, [[1, "q", 1]]);
  });
});

describe("a claim that does not wait", () => {
  test("is told what there is now before it is answered", async () => {
    b.shard.create("q", 1);
    let done = 0;
    a.exchange.ask("t", ["q"], () => {
      done++;
      assert.equal(a.told?.state.tenants.get("t")?.queues.get("q")?.readyTotal, 1);
    });
    a.exchange.ask("t", null, () => done++);
    assert.equal(done, 0);
    await talk();
    assert.equal(done, 2);
  });

  test("does not wait for a node that is silent for long, or gone, or not there", async () => {
    let done = 0;
    a.exchange.ask("t", ["q"], () => done++);
    await new Promise((resolve) => setImmediate(resolve));
    effects.advance(limits.workAskMs);
    assert.equal(done, 1);
    a.exchange.ask("t", ["q"], () => done++);
    await new Promise((resolve) => setImmediate(resolve));
    a.exchange.gone(b.storeId);
    assert.equal(done, 2);
    a.exchange.ask("t", ["q"], () => done++);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(done, 3);
  });
});

describe("a node that comes back", () => {
  test("is told again for what claims wait, and forgotten in between", async () => {
    b.shard.create("q", 1);
    a.exchange.watch("t", ["q"]);
    await talk();
    let seen = 0;
    const { told } = a;
    assert.ok(told && !("consensus" in told));
    told.whenTold(() => seen++);
    a.exchange.gone(b.storeId);
    b.exchange.gone(a.storeId);
    assert.equal(seen, 1);
    assert.deepEqual([a.told, told.state.tenants.size], [undefined, 0]);
    a.woken.length = 0;
    a.exchange.found(1, b.storeId);
    await talk();
    assert.deepEqual(a.woken, [[1, "q", 1]]);
  });

  test("leaves no list behind: a node that is gone is told nothing", async () => {
    a.exchange.watch("t", ["q"]);
    await talk();
    b.exchange.gone(a.storeId);
    spare(b, "q", 1);
    await talk();
    assert.deepEqual(a.woken, []);
  });
});

test("a node can make another one watch so many queues, and no more", async () => {
  const queues = (from: number) =>
    Array.from({ length: 1000 }, (_, i) => ({ tenant: "t", queue: `q${from + i}` }));
  for (let from = 0; from <= limits.watchedQueues; from += 1000) {
    const body = encodeWatch({ ask: 0, added: queues(from), dropped: [] });
    b.exchange.frame(a.storeId, workFrames.watch, body);
  }
  await new Promise((resolve) => setImmediate(resolve));
  b.sent = [];
  spare(b, `q${limits.watchedQueues - 1}`, 1);
  spare(b, `q${limits.watchedQueues}`, 1);
  await new Promise((resolve) => setImmediate(resolve));
  const told = b.sent.flatMap(({ body }) => decodeWork(body).works.map(({ queue }) => queue));
  assert.deepEqual(told, [`q${limits.watchedQueues - 1}`]);
});
