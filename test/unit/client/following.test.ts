/** Which node of a cluster a client talks to, and when it goes to another one. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import { parseTaskId, shardOfTaskId } from "../../../src/base/task-id.ts";
import {
  createProducer,
  createWorker,
  type Producer,
  type Worker,
} from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";
import { ManualEffects } from "./manual-effects.ts";

let first: FakeServer;
let second: FakeServer;
let endpoints: string[];
const open: { close(): Promise<void> }[] = [];

/** Two nodes that list each other; a client tries the first one first. */
beforeEach(async () => {
  first = new FakeServer();
  second = new FakeServer();
  endpoints = [await first.listen(), await second.listen()];
  const nodes = endpoints.map((grpc_addr, i) => ({ id: `n${i + 1}`, grpc_addr, shards_led: [] }));
  first.nodes = nodes;
  second.nodes = nodes;
});

afterEach(async () => {
  for (const server of [first, second]) server.holdAcks = false;
  await Promise.all(open.splice(0).map((client) => client.close()));
  first.close();
  second.close();
});

function produce(effects?: ManualEffects): Producer {
  const producer = createProducer({ endpoints: endpoints.slice(0, 1), ...withEffects(effects) });
  open.push(producer);
  return producer;
}

async function work(effects?: ManualEffects): Promise<Worker & { readonly errors: string[] }> {
  const errors: string[] = [];
  const worker = createWorker(
    { endpoints: endpoints.slice(0, 1), ...withEffects(effects) },
    { handler: () => 1, leaseSeconds: 30, onError: ({ code }) => errors.push(code) },
  );
  open.push({ close: () => worker.stop({ graceSeconds: 0 }) });
  await worker.start();
  return Object.assign(worker, { errors });
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function withEffects(effects: ManualEffects | undefined) {
  return effects === undefined ? {} : { effects };
}

/** Whether it comes to be before much else could happen. */
async function comesSoon(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 2_000 && !condition(); i++) await turn();
  return condition();
}

/** How many of `times` lost streams in a row are followed by another within the first wait. */
async function losses(
  times: number,
  effects: ManualEffects,
  isOpen: () => boolean,
  use: () => Promise<unknown>,
): Promise<number> {
  for (let lost = 0; lost < times; lost++) {
    if (!(await comesSoon(isOpen))) return lost;
    await use();
    first.reset();
    second.reset();
    for (let waitedMs = 0; waitedMs < limits.clientBackoffMs; waitedMs++) {
      effects.advance(1);
      await turn();
    }
  }
  return times;
}

const isProducerOpen = () => first.producers.size + second.producers.size > 0;

describe("a stream that is lost over and over", () => {
  test("comes back as soon as the first time while it makes tasks in between", async () => {
    const effects = new ManualEffects();
    const producer = produce(effects);
    await producer.enqueue("mail", 0);
    const use = () => producer.enqueue("mail", 1);
    assert.equal(await losses(20, effects, isProducerOpen, use), 20);
  });

  test("waits longer and longer while it does nothing", async () => {
    const effects = new ManualEffects();
    const producer = produce(effects);
    await producer.enqueue("mail", 0);
    const few = await losses(20, effects, isProducerOpen, () => Promise.resolve());
    assert.ok(few < 10, `${few} at once`);
  });

  test("waits longer and longer between two nodes that each take the other for the leader", async () => {
    const effects = new ManualEffects();
    const servers = [first, second];
    servers.forEach((server, i) => {
      server.refuseCreates = "not_leader";
      const other = { leader_id: `n${2 - i}`, leader_grpc_addr: endpoints[1 - i] };
      server.leaderHint = { shard: 0, ...other };
    });
    const enqueued = produce(effects).enqueue("mail", 1);
    for (let waitedMs = 0; waitedMs < 3_000; waitedMs++) {
      effects.advance(1);
      await turn();
    }
    const hellos = first.hellos.length + second.hellos.length;
    for (const server of servers) server.refuseCreates = null;
    while (first.created.size + second.created.size === 0) {
      effects.advance(10);
      await turn();
    }
    await enqueued;
    assert.ok(hellos > 3 && hellos < 20, `${hellos} tries in 3 s`);
  });

  test("comes back as soon as the first time while it gets work in between", async () => {
    const effects = new ManualEffects();
    await work(effects);
    const isOpen = () => first.workers.size + second.workers.size > 0;
    let given = 0;
    const use = async () => {
      const server = first.workers.size > 0 ? first : second;
      server.addTask("mail", "1");
      given++;
      const settled = () =>
        first.settlesOf("result_batch").length + second.settlesOf("result_batch").length === given;
      assert.ok(await comesSoon(settled));
    };
    assert.equal(await losses(20, effects, isOpen, use), 20);
  });
});

describe("a worker", () => {
  test("goes to the leader when its Ready is answered with where that is, at once", async () => {
    first.refuseReadys = "ErrNotLeader";
    first.leaderHint = { shard: 0, leader_id: "n2", leader_grpc_addr: endpoints[1] };
    const effects = new ManualEffects();
    const worker = await work(effects);
    await first.until(() => first.workers.size === 0);
    effects.advance(0);
    await second.until(() => second.readys.length === 1);
    assert.deepEqual(worker.errors, [], "that another node leads is no error");
  });

  test("takes a result elsewhere that is refused again and again without a leader", async () => {
    await work();
    first.refuseSettles.set("result_batch", "no_leader");
    first.addTask("mail", "1");
    await second.until(() => second.settlesOf("result_batch").length === 1);
    assert.equal(first.settlesOf("result_batch").length, limits.clientNoLeaderTries);
  });
});

describe("a worker with several tasks", () => {
  test("stays while a burst of heartbeats finds no leader, and leaves when it lasts", async () => {
    const effects = new ManualEffects();
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const worker = createWorker(
      { endpoints: endpoints.slice(0, 1), effects },
      { handler: () => finished, leaseSeconds: 30, concurrency: 5 },
    );
    open.push({
      close: () => {
        finish();
        const stopped = worker.stop({ graceSeconds: 0 });
        effects.advance(60_000);
        return stopped;
      },
    });
    await worker.start();
    const allStarted = new Promise<void>((resolve) => {
      let started = 0;
      worker.on("started", () => {
        started++;
        if (started === 5) resolve();
      });
    });
    for (let i = 0; i < 5; i++) first.addTask("mail", "1");
    await allStarted;
    first.refuseSettles.set("heartbeat", "no_leader");
    const before = first.settlesOf("heartbeat").length;
    effects.advance(10_000);
    const isTold = () => first.settlesOf("heartbeat").length >= before + 5;
    while (!isTold() && first.workers.size > 0) await turn();
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(first.workers.size, 1);
    // the next round is the first that comes long after the first refusal
    while (first.workers.size > 0) {
      effects.advance(100);
      await turn();
    }
    first.refuseSettles.clear();
    finish();
    while (second.settlesOf("result_batch").length === 0) {
      effects.advance(10);
      await turn();
    }
  });
});

describe("a producer", () => {
  test("leaves a node that knows no leader again and again, under the same run id", async () => {
    first.refuseCreates = "no_leader";
    await produce().enqueue("mail", 1);
    assert.equal(first.frames.length, limits.clientNoLeaderTries);
    assert.deepEqual(second.frames[0]?.run_id, first.frames[0]?.run_id);
  });

  test("does not leave a node whose election ends in time", async () => {
    first.refuseCreates = "no_leader";
    const call = produce().enqueue("mail", 1);
    await first.until(() => first.frames.length === limits.clientNoLeaderTries - 1);
    first.refuseCreates = null;
    await call;
    assert.equal(second.hellos.length, 0);
  });

  test("does not wait long for a node that takes the connection and says nothing", async () => {
    first.isDeaf = true;
    const effects = new ManualEffects();
    const producer = createProducer({ endpoints, effects });
    open.push(producer);
    const call = producer.enqueue("mail", 1);
    await first.until(() => first.hellos.length === 1);
    effects.advance(limits.clientHelloMs - 1);
    assert.equal(second.hellos.length, 0);
    effects.advance(1);
    effects.advance(limits.clientBackoffMs);
    await call;
    assert.equal(second.created.size, 1);
  });

  test("knows what its node leads as it is told", async () => {
    first.shards = 4;
    const producer = produce();
    await producer.enqueue("mail", 1);
    first.tellNodes([{ id: "n1", grpc_addr: endpoints[0], shards_led: [2] }]);
    await new Promise<void>((resolve) => {
      producer.once("cluster", () => resolve());
    });
    const ids = [await producer.enqueue("mail", 2), await producer.enqueue("mail", 3)];
    assert.deepEqual(
      ids.map(({ id }) => shardOf(id, 4)),
      [2, 2],
    );
  });
});

function shardOf(id: string, shards: number): number {
  const bytes = new Uint8Array(16);
  assert.ok(parseTaskId(id, bytes));
  return shardOfTaskId(bytes, 0, shards);
}
