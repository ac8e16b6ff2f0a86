import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { shardOfTaskId } from "../../../src/base/task-id.ts";
import { createProducer, type Producer, QuorumQError } from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";
import { ManualEffects } from "./manual-effects.ts";

let server: FakeServer;
let endpoint: string;
let effects: ManualEffects;
const producers: Producer[] = [];

beforeEach(async () => {
  server = new FakeServer();
  endpoint = await server.listen();
  effects = new ManualEffects();
});

afterEach(async () => {
  server.holdAcks = false;
  await Promise.all(producers.splice(0).map((producer) => producer.close()));
  server.close();
});

function connect(
  options: Parameters<typeof createProducer>[1] = {},
  endpoints: string | string[] = endpoint,
  manual?: ManualEffects,
): Producer {
  const world = manual === undefined ? {} : { effects: manual };
  const producer = createProducer({ endpoints, token: "secret", ...world }, options);
  producers.push(producer);
  return producer;
}

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

function bodies(): string[][] {
  return server.frames.map((frame) => frame.tasks.map((task) => task.payload.toString()));
}

test("a task's payload arrives as JSON, bytes as they are", async () => {
  const producer = connect();
  const { id, duplicate } = await producer.enqueue("mail", { to: "a" }, { priority: 3 });
  await producer.enqueue("mail", Buffer.from([0, 255]));
  assert.equal(server.created.get(id), 'mail {"to":"a"}');
  assert.equal(duplicate, false);
  assert.equal(server.frames[0]?.tasks[0]?.priority, 3);
  assert.deepEqual(server.frames[1]?.tasks[0]?.payload, Buffer.from([0, 255]));
});

test("hello carries the token and asks to follow the leader", async () => {
  await connect().enqueue("mail", 1);
  assert.equal(server.hellos[0].token, "secret");
  assert.equal(server.hellos[0].follow_leader, true);
});

test("calls of one turn share one frame with a run id, in order", async () => {
  const producer = connect();
  const calls = Array.from({ length: 100 }, (_, i) => producer.enqueue("mail", i));
  const ids = (await Promise.all(calls)).map((task) => task.id);
  assert.deepEqual(bodies(), [Array.from({ length: 100 }, (_, i) => String(i))]);
  assert.equal(server.frames[0]?.run_id.length, 16);
  assert.equal(new Set(ids).size, 100);
});

test("a frame has at most 256 tasks, of one queue and priority, each with its own run id", async () => {
  const producer = connect();
  await Promise.all([
    producer.enqueueMany(
      "a",
      Array.from({ length: 300 }, (_, i) => i),
    ),
    producer.enqueueMany("b", [1, 2]),
    producer.enqueue("a", "high", { priority: 9 }),
  ]);
  const sizes = server.frames.map((frame) => frame.tasks.length).sort((x, y) => x - y);
  assert.deepEqual(sizes, [1, 2, 44, 256]);
  for (const frame of server.frames) {
    const [first] = frame.tasks;
    assert.ok(frame.tasks.every((task) => task.command === first?.command));
    assert.ok(frame.tasks.every((task) => task.priority === first?.priority));
  }
  const runs = new Set(server.frames.map((frame) => frame.run_id.subarray(0, 14).toString("hex")));
  assert.equal(runs.size, 4);
});

test("tasks with keys travel without a run id, the others of the batch with one", async () => {
  const producer = connect();
  const outcomes = await producer.enqueueBatch([
    { queue: "a", payload: 1, idempotencyKey: "k1" },
    { queue: "a", payload: 2 },
    { queue: "b", payload: 3, idempotencyKey: "k2" },
    { queue: "a", payload: 4 },
  ]);
  assert.deepEqual(bodies(), [
    ["1", "3"],
    ["2", "4"],
  ]);
  assert.deepEqual(
    server.frames.map((frame) => frame.run_id.length),
    [0, 16],
  );
  const contents = outcomes.map((o) => o.kind === "created" && server.created.get(o.id));
  assert.deepEqual(contents, ["a 1", "a 2", "b 3", "a 4"]);
});

test("a repeated key answers with the first task as a duplicate", async () => {
  const producer = connect();
  const first = await producer.enqueue("a", 1, { idempotencyKey: "k" });
  const second = await producer.enqueue("a", 1, { idempotencyKey: "k" });
  assert.deepEqual(second, { id: first.id, duplicate: true });
  await assert.rejects(
    producer.enqueue("a", 2, { idempotencyKey: "k" }),
    codeIs("idempotency_conflict"),
  );
});

test("frames that were not acknowledged go again with the same run id after a reset", async () => {
  server.shards = 8;
  const producer = connect();
  await producer.enqueue("mail", "warm");
  server.holdAcks = true;
  const call = producer.enqueueMany("mail", ["x", "y"]);
  await server.until(() => server.frames.length === 2);
  server.holdAcks = false;
  server.reset();
  const outcomes = await call;
  assert.equal(server.frames.length, 3);
  assert.deepEqual(server.frames[2], server.frames[1]);
  assert.equal(server.created.size, 3);
  assert.deepEqual(
    outcomes.map((o) => o.kind === "created" && o.duplicate),
    [false, false],
  );
});

test("run ids hash to a shard that the node leads", async () => {
  server.shards = 8;
  server.nodes = [{ id: "n1", grpc_addr: endpoint, http_addr: "", shards_led: [2, 5] }];
  const producer = connect();
  for (let i = 0; i < 4; i++) await producer.enqueue("mail", i);
  const shards = server.frames.map((frame) => shardOfTaskId(frame.run_id, 0, 8));
  assert.deepEqual(shards, [2, 5, 2, 5]);
});

test("while the window is full, calls wait and then share a frame", async () => {
  server.holdAcks = true;
  const producer = connect({ window: 1, timeoutMs: 60_000 });
  const first = producer.enqueue("mail", 0);
  await server.until(() => server.frames.length === 1);
  const rest: Promise<unknown>[] = [];
  for (let i = 1; i <= 5; i++) {
    rest.push(producer.enqueue("mail", i));
    await new Promise(setImmediate);
  }
  assert.equal(server.frames.length, 1);
  server.holdAcks = false;
  server.reset();
  await Promise.all([first, ...rest]);
  assert.deepEqual(bodies().slice(1), [["0"], ["1", "2", "3", "4", "5"]]);
});

test("a call beyond what may wait fails with overloaded, the earlier ones do not", async () => {
  server.isDeaf = true;
  const producer = connect({ timeoutMs: 300 });
  const payloads = new Array<Buffer>(100).fill(Buffer.alloc(1024 * 1024));
  const first = producer.enqueueMany("mail", payloads);
  const second = producer.enqueue("mail", 1);
  await assert.rejects(second, codeIs("overloaded"));
  await assert.rejects(first, codeIs("timeout"));
});

test("a refused task of a batch does not touch the others of its call", async () => {
  const producer = connect();
  const big = Buffer.alloc(9 * 1024 * 1024);
  const [small, large] = await producer.enqueueMany("mail", ["a", big]);
  assert.equal(small?.kind, "created");
  assert.ok(large?.kind === "refused" && large.error.code === "payload_too_large");
});

test("a final refusal rejects with its code", async () => {
  server.refuseCreates = "permission_denied";
  await assert.rejects(connect().enqueue("mail", 1), codeIs("permission_denied"));
  assert.equal(server.frames.length, 1);
});

test("a passing refusal is tried again with the same frame", async () => {
  server.refuseCreates = "no_leader";
  const call = connect().enqueue("mail", 1);
  await server.until(() => server.frames.length === 2);
  server.refuseCreates = null;
  await call;
  assert.deepEqual(server.frames[2], server.frames[1]);
  assert.deepEqual(server.frames[1], server.frames[0]);
});

test("a call that was refused until its time was up has not happened: timeout", async () => {
  server.refuseCreates = "no_leader";
  const call = connect({ timeoutMs: 50 }, endpoint, effects).enqueue("mail", 1);
  await server.until(() => server.frames.length === 1);
  // The deadline, and once the refusal has come the wait for the next try.
  while (effects.pending < 2) await new Promise(setImmediate);
  effects.advance(50);
  await assert.rejects(call, (error) => {
    assert.ok(codeIs("timeout")(error));
    return error instanceof QuorumQError && codeIs("no_leader")(error.cause);
  });
});

test("a call that was sent and never answered ends with unknown_outcome", async () => {
  server.holdAcks = true;
  const call = connect({}, endpoint, effects).enqueue("mail", 1);
  await server.until(() => server.frames.length === 1);
  effects.advance(29_999);
  assert.equal(server.producers.size, 1);
  effects.advance(1);
  await assert.rejects(call, codeIs("unknown_outcome"));
});

test("a stream that owes an ack for a call's whole time is given up", async () => {
  server.holdAcks = true;
  const producer = connect({}, endpoint, effects);
  const lost = producer.enqueue("mail", "lost");
  await server.until(() => server.frames.length === 1);
  const patient = producer.enqueue("mail", "patient", { timeoutMs: 60_000 });
  await server.until(() => server.frames.length === 2);
  effects.advance(30_000);
  await assert.rejects(lost, codeIs("unknown_outcome"));
  server.holdAcks = false;
  effects.advance(1_000);
  await patient;
  assert.deepEqual(bodies(), [['"lost"'], ['"patient"'], ['"patient"']]);
});

test("a call that reached no server ends with timeout", async () => {
  server.close();
  await assert.rejects(connect({ timeoutMs: 200 }).enqueue("mail", 1), codeIs("timeout"));
});

test("a refused token fails every call at once", async () => {
  server.refuseHello = { code: status.UNAUTHENTICATED, details: "unknown token" };
  const producer = connect();
  const calls = [producer.enqueue("a", 1), producer.enqueue("b", 1)];
  for (const call of calls) await assert.rejects(call, codeIs("unauthenticated"));
  server.refuseHello = null;
  await producer.enqueue("a", 1);
});

test("the next endpoint is tried when one is dead", async () => {
  const dead = new FakeServer();
  const deadEndpoint = await dead.listen();
  dead.close();
  await connect({}, [deadEndpoint, endpoint, deadEndpoint]).enqueue("mail", 1);
  assert.equal(server.created.size, 1);
});

test("not_leader moves the frame to the leader, under the same run id", async () => {
  const leader = new FakeServer();
  const leaderEndpoint = await leader.listen();
  const nodes = [
    { id: "n1", grpc_addr: endpoint, http_addr: "", shards_led: [] },
    { id: "n2", grpc_addr: leaderEndpoint, http_addr: "", shards_led: [0] },
  ];
  server.nodes = nodes;
  server.refuseCreates = "not_leader";
  server.leaderHint = { shard: 0, leader_id: "n2", leader_grpc_addr: leaderEndpoint };
  await connect().enqueue("mail", 1);
  assert.equal(server.created.size, 0);
  assert.deepEqual(leader.frames[0]?.run_id, server.frames[0]?.run_id);
  await producers.splice(0)[0]?.close();
  leader.close();
});

test("a leader that no member list names does not get the token", async () => {
  const stranger = new FakeServer();
  const strangerEndpoint = await stranger.listen();
  server.refuseCreates = "not_leader";
  server.leaderHint = { shard: 0, leader_id: "x", leader_grpc_addr: strangerEndpoint };
  const call = connect().enqueue("mail", 1);
  await server.until(() => server.hellos.length === 2);
  server.refuseCreates = null;
  await call;
  assert.equal(stranger.hellos.length, 0);
  stranger.close();
});

test("close waits for the calls under way and refuses new ones", async () => {
  const producer = connect();
  const call = producer.enqueue("mail", 1);
  const closed = producer.close();
  await assert.rejects(producer.enqueue("mail", 2), codeIs("closed"));
  await call;
  await closed;
  assert.equal(server.producers.size, 0);
});

test("what gRPC would clamp is refused before it is sent", async () => {
  const producer = connect();
  const wrong = [
    producer.enqueue("no spaces", 1),
    producer.enqueue("a", undefined),
    producer.enqueue("a", 1n),
    producer.enqueue("a", 1, { priority: 10 }),
    producer.enqueue("a", 1, { maxAttempts: 0 }),
    producer.enqueue("a", 1, { delaySeconds: -1 }),
    producer.enqueue("a", 1, { idempotencyKey: "" }),
  ];
  for (const call of wrong) await assert.rejects(call, codeIs("invalid_argument"));
  assert.equal(server.frames.length, 0);
});

test("whole seconds of delay count at the server, parts of one become a time", async () => {
  const producer = connect();
  const before = Date.now();
  await producer.enqueue("a", 1, { delaySeconds: 5 });
  await producer.enqueue("a", 1, { delaySeconds: 0.5 });
  assert.equal(server.frames[0]?.tasks[0]?.delay_seconds, 5);
  const runAt = server.frames[1]?.tasks[0]?.run_at;
  const ms = (runAt?.seconds ?? 0) * 1000 + (runAt?.nanos ?? 0) / 1e6;
  assert.ok(ms >= before + 500 && ms <= Date.now() + 501);
});
