/** A producer's stream on loopback, over a scripted router. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { encodeCreate, encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { QueueError } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import { openProducer, producer, startServer, type TestServer, until, wire } from "./harness.ts";
import { framed, rawCall } from "./raw-http2.ts";

let on: TestServer;
const payload = Buffer.from("{}");
const leader = {
  shard: 0,
  term: 7,
  leaderId: "n2",
  leaderHttp: "http://n2:8080",
  leaderGrpc: "n2:9092",
};

beforeEach(async () => {
  on = await startServer();
});

afterEach(() => on.stop());

function create(seq: number, queue = "mail"): Buffer {
  return encodeCreate({ seq, queue, payload }, null);
}

test("5.2-01 a first message that is no Hello ends the stream with FAILED_PRECONDITION", async () => {
  const stream = openProducer(on).send(create(1));
  assert.equal((await stream.ended).code, 9);
  assert.equal(stream.events.length, 0);
});

test("5.2-01 a second Hello is told off and the stream goes on", async () => {
  const stream = await producer(on);
  stream.send(wire.encodeProducerHello({ token: "producer", followLeader: false }));
  const error = await stream.next();
  assert.ok(error.kind === "error");
  assert.equal(error.code, "FailedPrecondition");
  stream.send(create(5));
  const ack = await stream.next();
  assert.ok(ack.kind === "create_ack");
  assert.equal(ack.seqs[0], 5);
  stream.call.end();
  assert.equal((await stream.ended).code, 0);
});

test("5.2-01 a stream without a Hello ends after five seconds, and not before", async () => {
  const silent = openProducer(on);
  // Another call on a connection of its own, opened later: when it is served, so is the first.
  (await producer(on)).cancel();
  on.advance(4_000);
  (await producer(on)).cancel();
  assert.equal(silent.isEnded, false);
  on.advance(2_000);
  assert.equal((await silent.ended).code, 4);
});

test("5.2-02 no token, an unknown one and a worker's one are told apart", async () => {
  for (const [token, code] of [
    ["", 16],
    ["nobody", 16],
    ["worker", 7],
  ] as const) {
    const stream = openProducer(on);
    stream.send(wire.encodeProducerHello({ token, followLeader: false }));
    assert.equal((await stream.ended).code, code, `token "${token}"`);
    assert.equal(stream.events.length, 0, "nothing precedes HelloAck");
  }
});

test("5.2-02 a token that is taken back ends its streams within 30 s", async () => {
  const stream = await producer(on);
  on.authenticator.replace([]);
  on.advance(29_000);
  assert.equal((await stream.ended).code, 16);
});

test("HelloAck tells tenant, subject, node, shards and nodes", async () => {
  const stream = openProducer(on);
  stream.send(wire.encodeProducerHello({ token: "producer", followLeader: false }));
  assert.deepEqual(JSON.parse(JSON.stringify(await stream.next())), {
    kind: "hello_ack",
    tenant: "acme",
    subject: "producer-subject",
    nodeId: "n1",
    shards: 1,
    nodes: [{ id: "n1", grpcAddr: "127.0.0.1:1", httpAddr: "http://127.0.0.1:2", shardsLed: [0] }],
  });
  stream.cancel();
});

test("a create is acknowledged with its seq and id, in the order of the creates", async () => {
  const stream = await producer(on);
  for (const seq of [9, 3, 9]) stream.send(create(seq));
  for (const [i, seq] of [9, 3, 9].entries()) {
    const ack = await stream.next();
    assert.ok(ack.kind === "create_ack");
    assert.equal(ack.seqs[0], seq);
    assert.equal(ack.failures[0], undefined);
    assert.equal(ack.taskIds[0], formatTaskId(on.router.created[i]?.id as Buffer));
  }
  stream.cancel();
});

test("lone creates of one turn go to the router together, in order with batches", async () => {
  const batch = encodeCreateBatch([{ seq: 90, queue: "mail", payload }], null);
  const hello = wire.encodeProducerHello({ token: "producer", followLeader: false });
  const lone = Array.from({ length: 20 }, (_, i) => create(i + 1));
  const call = rawCall(on, wire.producer.Stream.path);
  // One write: the server finds all messages in one chunk.
  call.stream.write(Buffer.concat([hello, ...lone, batch].map((message) => framed(message))));
  await until(() => on.router.created.length === 21, "all are created");
  assert.deepEqual(
    on.router.createBatches.map((one) => one.count),
    [20, 1],
  );
  assert.equal(on.router.created.length, 21);
  call.close();
});

test("a batch is answered by one ack batch in its order", async () => {
  const stream = await producer(on);
  const tasks = [4, 2, 2].map((seq) => ({ seq, queue: "mail", payload }));
  stream.send(encodeCreateBatch(tasks, null));
  const acks = await stream.next();
  assert.ok(acks.kind === "create_ack_batch");
  assert.deepEqual([...acks.seqs], [4, 2, 2]);
  assert.equal(on.router.createBatches.length, 1);
  stream.cancel();
});

test("an empty batch is answered by an empty ack batch", async () => {
  const stream = await producer(on);
  stream.send(encodeCreateBatch([], null));
  const acks = await stream.next();
  assert.ok(acks.kind === "create_ack_batch");
  assert.equal(acks.count, 0);
  stream.cancel();
});

test("fields reach the router as they are, out of range they are clamped", async () => {
  const stream = await producer(on);
  const runAtMs = Date.now() + 60_000;
  stream.send(
    encodeCreateBatch(
      [
        { seq: 1, queue: "a.b:c_d-E", payload: Buffer.from([0, 255]), priority: 7, maxAttempts: 3 },
        { seq: 2, queue: "mail", payload, priority: 99, maxAttempts: 5000, delaySeconds: 4 },
        {
          seq: 3,
          queue: "mail",
          payload: Buffer.alloc(0),
          runAtMs,
          delaySeconds: 4,
          idempotencyKey: "k",
          webhook: "https://h/x",
          traceParent: "00-1",
          traceState: "a=b",
        },
      ],
      null,
    ),
  );
  await stream.next();
  const plain = { delayMs: 0, runAtMs: 0, extras: null, idempotencyKey: null };
  assert.deepEqual(
    on.router.created.map((one) => one.task),
    [
      { ...plain, queue: "a.b:c_d-E", priority: 7, maxAttempts: 3 },
      { ...plain, queue: "mail", priority: 9, maxAttempts: 1000, delayMs: 4000 },
      {
        queue: "mail",
        priority: 0,
        maxAttempts: 5,
        delayMs: 0,
        runAtMs,
        extras: { webhook: "https://h/x", traceParent: "00-1", traceState: "a=b" },
        idempotencyKey: "k",
      },
    ],
  );
  assert.deepEqual(on.router.created[0]?.payload, Buffer.from([0, 255]));
  assert.equal(on.router.created[0]?.tenant, "acme");
  stream.cancel();
});

test("5.2-06 every create that is refused gets its ack and the stream goes on", async () => {
  const stream = await producer(on);
  const refused = [
    { queue: "no spaces", code: "invalid_argument", text: /^command: / },
    { queue: "", code: "invalid_argument", text: /^command: / },
    { queue: "x".repeat(129), code: "invalid_argument", text: /^command: / },
    { payload: Buffer.alloc(1024 * 1024 + 1), code: "payload_too_large", text: /^payload: / },
    { delaySeconds: 2_000_000_000, code: "invalid_argument", text: /^delay_seconds: / },
    { runAtMs: 9e12, code: "invalid_argument", text: /^run_at: / },
    { idempotencyKey: "é".repeat(129), code: "invalid_argument", text: /^idempotency_key: / },
    { webhook: "ftp://h", code: "invalid_argument", text: /^webhook: / },
    { traceParent: "a\nb", code: "invalid_argument", text: /^trace_parent: / },
    { traceState: "x".repeat(600), code: "invalid_argument", text: /^trace_state: / },
  ];
  for (const [i, { code, text, ...fields }] of refused.entries()) {
    stream.send(encodeCreate({ seq: i + 1, queue: "mail", payload, ...fields }, null));
    const ack = await stream.next();
    assert.ok(ack.kind === "create_ack");
    assert.equal(ack.seqs[0], i + 1);
    assert.equal(ack.failures[0]?.code, code, JSON.stringify(fields).slice(0, 80));
    assert.match(String(ack.failures[0]?.message), text);
  }
  stream.send(create(99));
  const ack = await stream.next();
  assert.ok(ack.kind === "create_ack" && ack.failures[0] === undefined);
  assert.equal(on.router.created.length, 1);
  stream.cancel();
});

test("a run id goes to the router with its batch; one of another length refuses all", async () => {
  const stream = await producer(on);
  const runId = Buffer.from("01890a5dac96774b8cceb302099a0001", "hex");
  const tasks = [1, 2].map((seq) => ({ seq, queue: "mail", payload }));
  stream.send(encodeCreateBatch(tasks, runId));
  await stream.next();
  stream.send(encodeCreate({ seq: 3, queue: "mail", payload }, runId));
  await stream.next();
  const id = runId.toString("hex");
  assert.deepEqual(on.router.createBatches, [
    { count: 2, runId: id },
    { count: 1, runId: id },
  ]);
  stream.send(encodeCreateBatch(tasks, runId.subarray(1)));
  const acks = await stream.next();
  assert.ok(acks.kind === "create_ack_batch");
  assert.deepEqual(
    acks.failures.map((failure) => failure?.code),
    ["invalid_argument", "invalid_argument"],
  );
  assert.equal(on.router.created.length, 3);
  stream.cancel();
});

test("5.2-03 a shard led elsewhere: the ack has the leader and the stream goes on", async () => {
  const stream = await producer(on);
  on.router.failWith = new QueueError("not_leader", "n2 leads shard 0", { leader });
  stream.send(create(1));
  const ack = await stream.next();
  assert.ok(ack.kind === "create_ack");
  assert.deepEqual(ack.failures[0], {
    code: "not_leader",
    message: "ErrNotLeader: n2 leads shard 0",
    leader,
  });
  on.router.failWith = null;
  stream.send(create(2));
  assert.equal((await stream.next()).kind, "create_ack");
  stream.cancel();
});

test("5.2-03 a node that leads nothing ends the stream after its acks", async () => {
  const stream = await producer(on);
  on.router.isLeader = false;
  on.router.failWith = new QueueError("not_leader", "n2 leads shard 0", { leader });
  stream.send(create(1));
  assert.equal((await stream.next()).kind, "create_ack");
  const error = await stream.next();
  assert.ok(error.kind === "error");
  assert.deepEqual([error.code, error.leader], ["ErrNotLeader", leader]);
  const end = await stream.ended;
  assert.equal(end.code, 9);
  assert.match(end.details, /^ErrNotLeader/);
  assert.equal(end.details, error.message);
});

test("5.2-03 a client that follows the leader keeps its stream and hears of changes", async () => {
  const stream = await producer(on, { followLeader: true });
  on.router.isLeader = false;
  on.router.failWith = new QueueError("not_leader", "n2 leads shard 0", { leader });
  stream.send(create(1));
  assert.equal((await stream.next()).kind, "create_ack");
  assert.equal((await stream.next()).kind, "error");
  const nodes = [{ id: "n2", grpcAddr: "n2:1", httpAddr: "http://n2", shardsLed: [0] }];
  on.setNodes(nodes);
  assert.deepEqual(JSON.parse(JSON.stringify(await stream.next())), { kind: "cluster", nodes });
  stream.cancel();
});

test("a client that does not follow sees no arm from 20 up", async () => {
  const stream = await producer(on);
  on.setNodes([]);
  stream.send(create(1));
  assert.equal((await stream.next()).kind, "create_ack");
  stream.cancel();
});

test("5.2-05 bytes that are no message, and events without an arm: INVALID_ARGUMENT", async () => {
  const broken = [
    Buffer.from([0x12, 200]),
    Buffer.from([0x9a, 6, 0]),
    Buffer.alloc(0),
    // A batch whose second task breaks off.
    Buffer.from([0x1a, 8, 0x0a, 3, 0x12, 1, 0x71, 0x0a, 1, 0x12]),
    // A queue's name that is no UTF-8.
    Buffer.from([0x12, 3, 0x12, 1, 0xff]),
  ];
  for (const bytes of broken) {
    const stream = await producer(on);
    stream.send(bytes);
    assert.equal((await stream.ended).code, 3, bytes.toString("hex"));
  }
  assert.equal(on.router.created.length, 0);
});

test("5.2-05 creates that came before broken bytes are acknowledged first", async () => {
  const stream = await producer(on);
  stream.send(create(1)).send(Buffer.from([0x12, 200]));
  assert.equal((await stream.next()).kind, "create_ack");
  assert.equal((await stream.ended).code, 3);
});

test("5.2-07 a batch of a million tasks is refused", async () => {
  const stream = await producer(on);
  const tasks = Buffer.alloc(5 * 1_000_000);
  for (let at = 0; at < tasks.length; at += 5) tasks.set([0x0a, 3, 0x12, 1, 0x71], at);
  stream.send(Buffer.concat([Buffer.from([0x1a, 0xc0, 0x96, 0xb1, 0x02]), tasks]));
  assert.equal((await stream.ended).code, 8);
});

test("5.2-14 a bug ends the stream with INTERNAL, and nothing but the request's id", async () => {
  const stream = await producer(on);
  on.router.bug = new TypeError("secret detail");
  stream.send(create(1));
  const end = await stream.ended;
  assert.equal(end.code, 13);
  assert.doesNotMatch(end.details, /secret/);
  assert.ok(on.logged.includes("stream failed"));
});

test("half-closing waits for outstanding acks, then ends well", async () => {
  const stream = await producer(on);
  on.router.hold = true;
  stream.send(create(1));
  stream.call.end();
  await until(() => on.router.heldAnswers === 1, "the create is under way");
  on.router.release();
  assert.equal((await stream.next()).kind, "create_ack");
  assert.equal((await stream.ended).code, 0);
});

test("drain: outstanding creates are answered, then the stream ends with UNAVAILABLE", async () => {
  const stream = await producer(on);
  on.router.hold = true;
  stream.send(create(1));
  await until(() => on.router.heldAnswers === 1, "the create is under way");
  const drained = on.server.drain();
  on.router.release();
  const events = [await stream.next(), await stream.next()];
  assert.deepEqual(events.map((event) => event.kind).sort(), ["create_ack", "error"]);
  assert.equal((await stream.ended).code, 14);
  await drained;
  const late = openProducer(on);
  late.send(wire.encodeProducerHello({ token: "producer", followLeader: false }));
  assert.equal((await late.ended).code, 14);
});
