/** The SDK's own coders against proto-loader, which knows nothing of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import fc from "fast-check";
import { CreateAckFrame, ResultAckFrame } from "../../../src/api/client-ack-frame.ts";
import { encodeCreateParts, encodeTaskFields } from "../../../src/api/client-create-frame.ts";
import { producerEventReader, workerEventReader } from "../../../src/api/client-events.ts";
import { encodeCompletions, TaskFrame } from "../../../src/api/client-task-frame.ts";
import { loadWire } from "../../../src/api/proto.ts";
import { DecodeError } from "../../../src/base/bytes.ts";

// biome-ignore lint/suspicious/noExplicitAny: messages as proto-loader makes them
type Message = any;

const wire = loadWire();
const definition = loadSync(["producerpb.proto", "workerpb.proto"], {
  keepCase: true,
  longs: Number,
  defaults: true,
  arrays: true,
  oneofs: true,
  includeDirs: [fileURLToPath(new URL("../../../proto/", import.meta.url))],
});
const producerClient = type("producerpb.ProducerClientEvent");
const producerServer = type("producerpb.ProducerServerEvent");
const workerClient = type("workerpb.WorkerClientEvent");
const workerServer = type("workerpb.WorkerServerEvent");

function type(name: string): MessageTypeDefinition<object, object> {
  return definition[name] as MessageTypeDefinition<object, object>;
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const token = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const taskId = fc.uuid();

test("a create frame reads as its tasks, in order, with consecutive seqs", () => {
  const part = fc.record({
    queue: fc.stringMatching(/^[a-z]{1,40}$/u),
    priority: fc.integer({ min: 0, max: 9 }),
    maxAttempts: fc.integer({ min: 1, max: 1000 }),
    idempotencyKey: fc.string({ minLength: 1, maxLength: 80 }),
    payloads: fc.array(bytes, { minLength: 1, maxLength: 20 }),
  });
  const runId = fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }));
  const parts = fc.array(part, { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(parts, fc.integer({ min: 1, max: 2 ** 40 }), runId, (drawn, firstSeq, id) => {
      const frame = encodeCreateParts(
        drawn.map(({ payloads, ...task }) => ({
          fields: encodeTaskFields(task),
          payloads: [Buffer.alloc(3), ...payloads],
          from: 1,
          count: payloads.length,
        })),
        firstSeq,
        id,
      );
      const { create_batch }: Message = producerClient.deserialize(frame);
      assert.deepEqual(create_batch.run_id, Buffer.from(id ?? []));
      const expected = drawn.flatMap(({ payloads, ...task }) =>
        payloads.map((payload) => ({ ...task, payload })),
      );
      const read = create_batch.tasks.map((task: Message, i: number) => {
        assert.equal(task.seq, firstSeq + i);
        const { command: queue, priority, max_attempts: maxAttempts, payload } = task;
        return { queue, priority, maxAttempts, idempotencyKey: task.idempotency_key, payload };
      });
      assert.deepEqual(read, expected);
    }),
    { numRuns: 200 },
  );
});

test("delay, time, webhook and trace context travel with a task", () => {
  const options = { queue: "q", delaySeconds: 7, runAtMs: 1_700_000_000_123, webhook: "w" };
  const fields = encodeTaskFields({ ...options, traceParent: "p", traceState: "s" });
  const frame = encodeCreateParts(
    [{ fields, payloads: [Buffer.of(1)], from: 0, count: 1 }],
    1,
    null,
  );
  const { create_batch }: Message = producerClient.deserialize(frame);
  const [task] = create_batch.tasks;
  assert.deepEqual(
    [task.delay_seconds, task.run_at, task.webhook, task.trace_parent, task.trace_state],
    [7, { seconds: 1_700_000_000, nanos: 123_000_000 }, "w", "p", "s"],
  );
});

test("a task frame's columns and tasks are what was sent, and completes as a whole", () => {
  const task = fc.record({
    id: taskId,
    command: fc.string({ maxLength: 40 }),
    payload: bytes,
    attempts: fc.integer({ min: 1, max: 1000 }),
    lease_token: token,
    trace_state: fc.string({ maxLength: 20 }),
  });
  const arm = fc.constantFrom("task", "task_batch");
  fc.assert(
    fc.property(fc.array(task, { minLength: 1, maxLength: 20 }), arm, (drawn, kind) => {
      const tasks = kind === "task" ? drawn.slice(0, 1) : drawn;
      const event = kind === "task" ? { task: { task: tasks[0] } } : { task_batch: { tasks } };
      const frame = workerEventReader(wire)(workerServer.serialize(event));
      assert.ok(frame instanceof TaskFrame);
      assert.equal(frame.count, tasks.length);
      tasks.forEach((sent, i) => {
        const read = frame.task(i);
        const payload = frame.buffer.subarray(frame.payloadFrom[i], frame.payloadTo[i]);
        assert.deepEqual(
          [read.id, read.queue, read.attempts],
          [sent.id, sent.command, sent.attempts],
        );
        assert.deepEqual([read.payload, payload], [sent.payload, sent.payload]);
        assert.deepEqual(
          [read.leaseToken, frame.leaseTokens[i]],
          [sent.lease_token, sent.lease_token],
        );
        assert.equal(read.traceState, sent.trace_state);
      });
      const { result_batch }: Message = workerClient.deserialize(encodeCompletions(frame));
      assert.deepEqual(
        result_batch.results.map((result: Message) => [
          result.task_id,
          result.lease_token,
          result.status,
          result.result_json.length,
        ]),
        tasks.map((sent) => [sent.id, sent.lease_token, "COMPLETED", 0]),
      );
    }),
    { numRuns: 200 },
  );
});

test("an ack frame tells whether all are ok, and decodes to each", () => {
  const ack = fc.record({
    seq: fc.integer({ min: 1, max: 2 ** 40 }),
    ok: fc.boolean(),
    task_id: taskId,
    code: fc.constantFrom("", "no_leader"),
    duplicate: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(ack, { maxLength: 20 }), (acks) => {
      const creates = producerServer.serialize({ create_ack_batch: { acks } });
      const created = producerEventReader(wire)(creates);
      assert.ok(created instanceof CreateAckFrame);
      assert.equal(created.count, acks.length);
      assert.equal(created.firstSeq, acks[0]?.seq ?? 0);
      assert.equal(
        created.areAllOk,
        acks.every(({ ok }) => ok),
      );
      assert.deepEqual(
        created.decode().taskIds,
        acks.map(({ task_id }) => task_id),
      );
      const results = workerEventReader(wire)(
        workerServer.serialize({ result_ack_batch: { acks } }),
      );
      assert.ok(results instanceof ResultAckFrame);
      assert.equal(results.areAllOk, created.areAllOk);
      const failed = results.decode().failures.map((failure) => failure === undefined);
      assert.deepEqual(
        failed,
        acks.map(({ ok }) => ok),
      );
    }),
    { numRuns: 200 },
  );
});

test("the other events are read as the wire's own coders read them", () => {
  const error = { error: { code: "ErrNotLeader", message: "ErrNotLeader: n2" } };
  assert.equal(producerEventReader(wire)(producerServer.serialize(error)).kind, "error");
  const cancel = { cancel: { task_id: "t", lease_token: 9 } };
  assert.deepEqual(workerEventReader(wire)(workerServer.serialize(cancel)), {
    kind: "cancel",
    taskId: "t",
    leaseToken: 9,
  });
});

test("a frame that is cut anywhere is a DecodeError", () => {
  const id = "01890a5d-ac96-774b-bcce-b302099a8057";
  const tasks = [1, 2].map((lease_token) => ({ id, payload: Buffer.from("xyz"), lease_token }));
  const acks = [{ task_id: id, ok: true, seq: 300 }];
  const frames = [
    { bytes: workerServer.serialize({ task_batch: { tasks } }), read: workerEventReader(wire) },
    {
      bytes: workerServer.serialize({ result_ack_batch: { acks } }),
      read: workerEventReader(wire),
    },
    {
      bytes: producerServer.serialize({ create_ack_batch: { acks } }),
      read: producerEventReader(wire),
    },
  ];
  for (const { bytes: whole, read } of frames) {
    for (let size = 1; size < whole.length; size++) {
      assert.throws(() => read(whole.subarray(0, size)), DecodeError);
    }
  }
});

test("a task without an id is refused", () => {
  const event = workerServer.serialize({ task_batch: { tasks: [{ lease_token: 1 }] } });
  assert.throws(() => workerEventReader(wire)(event), DecodeError);
});
