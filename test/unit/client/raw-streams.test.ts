import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { loadWire } from "../../../src/api/proto.ts";
import {
  createProducerStream,
  createWorkerStream,
  type FrameOutcome,
  type ProducerStream,
  QuorumQError,
  type TaskFrame,
  type WorkerStream,
} from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";

const wire = loadWire();
const payloads = [Buffer.from("a"), Buffer.from("b")];
let server: FakeServer;
let endpoint: string;
let open: (ProducerStream | WorkerStream)[] = [];

beforeEach(async () => {
  server = new FakeServer();
  endpoint = await server.listen();
});

afterEach(async () => {
  await Promise.all(open.map((stream) => stream.close()));
  open = [];
  server.close();
});

function producer(window = 4): ProducerStream {
  const stream = createProducerStream({ endpoints: endpoint, window, wire });
  open.push(stream);
  return stream;
}

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

function sent(stream: ProducerStream): Promise<FrameOutcome> {
  const options = stream.encodeOptions("mail", {});
  return new Promise((resolve) => {
    stream.sendBatch(options, payloads, resolve);
  });
}

test("a frame's callback gets its acks, with the ids that its run id implies", async () => {
  const outcome = await sent(producer());
  assert.ok(outcome.kind === "acked" && outcome.acks.areAllOk && !outcome.isResent);
  assert.deepEqual(outcome.acks.decode().taskIds, [...server.created.keys()]);
  assert.equal(outcome.acks.count, 2);
});

test("frames in flight are answered each by its own ack", async () => {
  const stream = producer();
  const outcomes = await Promise.all([sent(stream), sent(stream), sent(stream)]);
  const ids = outcomes.flatMap((o) => (o.kind === "acked" ? o.acks.decode().taskIds : []));
  assert.equal(new Set(ids).size, 6);
  assert.equal(stream.inFlight, 0);
});

test("a full window refuses another frame until one is acknowledged", async () => {
  const stream = producer(2);
  const first = sent(stream);
  const second = sent(stream);
  assert.equal(stream.hasRoom, false);
  const options = stream.encodeOptions("mail", {});
  assert.throws(() => stream.sendBatch(options, payloads, () => undefined), codeIs("overloaded"));
  await Promise.all([first, second]);
  assert.equal(stream.hasRoom, true);
  assert.equal(server.frames.length, 2);
});

test("a frame of another form than SPEC allows is refused", () => {
  const stream = producer();
  const plain = stream.encodeOptions("mail", {});
  const part = (options: typeof plain, count: number) => ({
    options,
    fields: options.fields,
    payloads: new Array<Buffer>(count).fill(Buffer.of(1)),
    from: 0,
    count,
  });
  const wrong = [
    [],
    [part(plain, 257)],
    [part(plain, 1), part(stream.encodeOptions("mail", { priority: 1 }), 1)],
    [part(plain, 1), part(stream.encodeOptions("other", {}), 1)],
    [part(plain, 1), part(stream.encodeOptions("mail", { idempotencyKey: "k" }), 1)],
  ];
  for (const parts of wrong) {
    assert.throws(() => stream.send(parts, () => undefined), codeIs("invalid_argument"));
  }
  assert.equal(stream.inFlight, 0);
});

test("a forgotten frame is not sent again and frees its place", async () => {
  server.holdAcks = true;
  const stream = producer(2);
  const options = stream.encodeOptions("mail", {});
  let calls = 0;
  const frame = stream.sendBatch(options, payloads, () => calls++);
  await server.until(() => server.frames.length === 1);
  assert.equal(frame.mayHaveHappened, true);
  frame.forget();
  server.holdAcks = false;
  server.reset();
  await sent(stream);
  assert.equal(server.frames.length, 2);
  assert.notDeepEqual(server.frames[1]?.run_id, server.frames[0]?.run_id);
  assert.equal(calls, 0);
});

test("a worker stream claims, completes whole frames and is told of the acks", async () => {
  const frames: TaskFrame[] = [];
  await new Promise<void>((resolve) => {
    const stream = createWorkerStream(
      { endpoints: endpoint, queues: ["mail"], leaseSeconds: 60, wire },
      {
        opened: () => stream.ready(2),
        tasks: (tasks) => {
          frames.push(tasks);
          stream.complete(tasks);
        },
        resultAcks: (acks) => {
          assert.equal(acks.areAllOk, true);
          assert.equal(acks.count, frames.at(-1)?.count);
          if (frames.length === 2) resolve();
          else stream.ready(2);
        },
        ack: () => assert.fail("no nack, heartbeat or abandon was sent"),
        canceled: () => assert.fail("nothing was canceled"),
        lost: (error) => assert.fail(error),
        refused: (error) => assert.fail(error),
      },
    );
    open.push(stream);
    for (let i = 0; i < 3; i++) server.addTask("mail", String(i));
    stream.connect();
  });
  assert.deepEqual(
    frames.map(({ count }) => count),
    [2, 1],
  );
  const results = server.settlesOf("result_batch").flatMap((batch) => batch.results);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["COMPLETED", "COMPLETED", "COMPLETED"],
  );
  assert.equal(new Set(results.map(({ task_id }) => task_id)).size, 3);
});
