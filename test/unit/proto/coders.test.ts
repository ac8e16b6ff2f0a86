/**
 * The hand-written coders against protobufjs (through proto-loader): what one writes, the other
 * reads, in both directions, for random messages.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageTypeDefinition } from "@grpc/proto-loader";
import fc from "fast-check";
import { encodeCreateAcks, encodeSettleAcks } from "../../../src/api/ack-coder.ts";
import { CreateFrame, encodeCreate, encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { loadWire } from "../../../src/api/proto.ts";
import type { ProducerClientEvent, WorkerClientEvent } from "../../../src/api/proto-events.ts";
import { encodeReady } from "../../../src/api/ready-coder.ts";
import {
  encodeAbandon,
  encodeHeartbeat,
  encodeNack,
  encodeResult,
  encodeResultBatch,
  SettleFrame,
} from "../../../src/api/settle-coder.ts";
import { encodeTask, encodeTaskBatch } from "../../../src/api/task-coder.ts";
import { QueueError } from "../../../src/base/errors.ts";
import { formatTaskId, parseTaskId } from "../../../src/base/task-id.ts";
import { exampleGrant } from "./examples.ts";

const wire = loadWire();
type Fields = Record<string, unknown>;

function type(name: string): MessageTypeDefinition<object, object> {
  return wire.definition[name] as MessageTypeDefinition<object, object>;
}

function theirs(name: string, bytes: Buffer, arm: string): Fields {
  return (type(name).deserialize(bytes) as Record<string, Fields>)[arm] as Fields;
}

function createFrame(event: ProducerClientEvent): CreateFrame {
  assert.ok(event instanceof CreateFrame, `a create frame, not ${event.kind}`);
  return event;
}

function settleFrame(event: WorkerClientEvent): SettleFrame {
  assert.ok(event instanceof SettleFrame, `a settle frame, not ${event.kind}`);
  return event;
}

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value));
const seq = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
/** ms; ten years are the longest delay. */
const delay = fc.integer({ min: 0, max: 3.2e11 });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const positive = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const taskId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((value) => {
  value[6] = 0x70 | ((value[6] as number) & 15);
  value[8] = 0x80 | ((value[8] as number) & 63);
  return formatTaskId(value);
});

const wireTask = fc.record({
  seq,
  command: text,
  payload: bytes,
  priority: int32,
  webhook: text,
  max_attempts: int32,
  idempotency_key: text,
  run_at: fc.option(fc.record({ seconds: positive, nanos: fc.constantFrom(0, 5_000_000, 1) })),
  delay_seconds: int32,
  trace_parent: text,
  trace_state: text,
});
type WireTask = typeof wireTask extends fc.Arbitrary<infer T> ? T : never;

function checkTask(frame: CreateFrame, task: WireTask): void {
  assert.equal(frame.queue, task.command);
  assert.deepEqual(frame.buffer.subarray(frame.payloadFrom, frame.payloadTo), task.payload);
  assert.equal(frame.priority, task.priority);
  assert.equal(frame.webhook, task.webhook);
  assert.equal(frame.maxAttempts, task.max_attempts);
  assert.equal(frame.idempotencyKey, task.idempotency_key);
  assert.equal(frame.delaySeconds, task.delay_seconds);
  assert.equal(frame.traceParent, task.trace_parent);
  assert.equal(frame.traceState, task.trace_state);
  const runAt = task.run_at;
  const ms = runAt === null ? -1 : runAt.seconds * 1000 + Math.ceil(runAt.nanos / 1e6);
  assert.equal(frame.runAtMs, ms);
}

test("reads every create that protobufjs writes", () => {
  fc.assert(
    fc.property(fc.array(wireTask, { maxLength: 20 }), bytes, (tasks, runId) => {
      const event = { create_batch: { tasks, run_id: runId } };
      const sent = type("producerpb.ProducerClientEvent").serialize(event);
      const frame = createFrame(wire.producer.Stream.requestDeserialize(sent));
      assert.equal(frame.kind, "create_batch");
      assert.equal(frame.count, tasks.length);
      for (const task of tasks) {
        assert.equal(frame.next(), true);
        checkTask(frame, task);
      }
      assert.equal(frame.next(), false);
      assert.deepEqual(frame.runId ?? Buffer.alloc(0), runId);
    }),
  );
});

test("reads a lone create with its run id", () => {
  fc.assert(
    fc.property(wireTask, bytes, (task, runId) => {
      const event = { create: { ...task, run_id: runId } };
      const sent = type("producerpb.ProducerClientEvent").serialize(event);
      const frame = createFrame(wire.producer.Stream.requestDeserialize(sent));
      assert.equal(frame.next(), true);
      checkTask(frame, task);
      assert.equal(frame.next(), false);
      assert.deepEqual(frame.runId ?? Buffer.alloc(0), runId);
    }),
  );
});

test("writes creates that protobufjs reads", () => {
  const input = fc.record({
    seq,
    queue: text,
    payload: bytes,
    priority: positive,
    maxAttempts: positive,
    runAtMs: positive,
    delaySeconds: positive,
    idempotencyKey: text,
    webhook: text,
    traceParent: text,
    traceState: text,
  });
  fc.assert(
    fc.property(fc.array(input, { minLength: 1, maxLength: 20 }), bytes, (inputs, runId) => {
      const batch = theirs(
        "producerpb.ProducerClientEvent",
        encodeCreateBatch(inputs, runId),
        "create_batch",
      );
      assert.deepEqual(batch["run_id"], runId);
      const expected = inputs.map((one) => ({
        seq: one.seq,
        command: one.queue,
        payload: one.payload,
        priority: one.priority,
        webhook: one.webhook,
        max_attempts: one.maxAttempts,
        idempotency_key: one.idempotencyKey,
        run_at: { seconds: Math.floor(one.runAtMs / 1000), nanos: (one.runAtMs % 1000) * 1e6 },
        delay_seconds: one.delaySeconds,
        trace_parent: one.traceParent,
        trace_state: one.traceState,
        run_id: Buffer.alloc(0),
      }));
      assert.deepEqual(plain(batch["tasks"]), plain(expected));
      const first = inputs[0] as (typeof inputs)[0];
      const lone = theirs("producerpb.ProducerClientEvent", encodeCreate(first, runId), "create");
      assert.deepEqual(plain(lone), plain({ ...expected[0], run_id: runId }));
    }),
  );
});

/** Buffers as hex, objects without prototypes: what deepEqual can compare. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

const wireResult = fc.record({
  task_id: fc.oneof(taskId, text),
  status: fc.constantFrom("COMPLETED", "FAILED", "DONE", ""),
  result_json: bytes,
  error: text,
  lease_token: seq,
});

test("reads every result that protobufjs writes", () => {
  fc.assert(
    fc.property(fc.array(wireResult, { maxLength: 20 }), (results) => {
      const event = { result_batch: { results } };
      const sent = type("workerpb.WorkerClientEvent").serialize(event);
      const frame = settleFrame(wire.worker.Stream.requestDeserialize(sent));
      assert.equal(frame.count, results.length);
      for (const [i, result] of results.entries()) {
        assert.equal(frame.next(), true);
        const known = result.status === "COMPLETED" || result.status === "FAILED";
        assert.equal(frame.status, known ? result.status : "other");
        assert.equal(frame.leaseToken, result.lease_token);
        assert.deepEqual(sent.subarray(frame.resultFrom, frame.resultTo), result.result_json);
        assert.equal(sent.toString("utf8", frame.textFrom, frame.textTo), result.error);
        const echoed = sent.toString("utf8", frame.idFrom[i], frame.idTo[i]);
        assert.equal(echoed, result.task_id);
        const out = new Uint8Array(16);
        assert.equal(frame.hasId, parseTaskId(result.task_id, out));
        if (frame.hasId) assert.deepEqual(frame.id, out);
      }
      assert.equal(frame.next(), false);
    }),
  );
});

test("reads nacks, heartbeats, abandons and readys that protobufjs writes", () => {
  const fields = fc.record({ task_id: taskId, lease_token: seq, seconds: int32, reason: text });
  const client = type("workerpb.WorkerClientEvent");
  fc.assert(
    fc.property(fields, fc.boolean(), fc.array(text), (item, immediate, commands) => {
      const { task_id, lease_token, seconds, reason } = item;
      const nack = { task_id, lease_token, delay_seconds: seconds, reason, immediate };
      const nackBytes = client.serialize({ nack });
      const nackFrame = settleFrame(wire.worker.Stream.requestDeserialize(nackBytes));
      assert.equal(nackFrame.kind, "nack");
      assert.equal(nackFrame.next(), true);
      assert.equal(nackFrame.seconds, seconds);
      assert.equal(nackFrame.immediate, immediate);
      assert.equal(nackBytes.toString("utf8", nackFrame.textFrom, nackFrame.textTo), reason);

      const heartbeat = { task_id, lease_token, extend_seconds: seconds };
      const beat = settleFrame(
        wire.worker.Stream.requestDeserialize(client.serialize({ heartbeat })),
      );
      assert.equal(beat.kind, "heartbeat");
      assert.equal(beat.next(), true);
      assert.deepEqual([beat.seconds, beat.leaseToken, beat.hasId], [seconds, lease_token, true]);

      const abandon = settleFrame(
        wire.worker.Stream.requestDeserialize(client.serialize({ abandon: { task_id } })),
      );
      assert.equal(abandon.kind, "abandon");
      assert.equal(abandon.next(), true);
      assert.equal(formatTaskId(abandon.id), task_id);

      const ready = { commands, lease_seconds: seconds, count: -seconds };
      const got = wire.worker.Stream.requestDeserialize(client.serialize({ ready }));
      assert.deepEqual(got, {
        kind: "ready",
        queues: commands,
        leaseSeconds: seconds,
        count: -seconds | 0,
      });
    }),
  );
});

test("writes settles that protobufjs reads", () => {
  const input = fc.record({
    taskId,
    leaseToken: seq,
    status: fc.constantFrom("COMPLETED" as const, "FAILED" as const),
    result: fc.option(bytes),
    error: text,
  });
  fc.assert(
    fc.property(fc.array(input, { minLength: 1, maxLength: 20 }), positive, (inputs, seconds) => {
      const name = "workerpb.WorkerClientEvent";
      const expected = inputs.map((one) => ({
        task_id: one.taskId,
        status: one.status,
        result_json: one.result ?? Buffer.alloc(0),
        error: one.error,
        lease_token: one.leaseToken,
      }));
      const batch = theirs(name, encodeResultBatch(inputs), "result_batch");
      assert.deepEqual(plain(batch["results"]), plain(expected));
      const first = inputs[0] as (typeof inputs)[0];
      const { taskId: id, leaseToken, error } = first;
      assert.deepEqual(plain(theirs(name, encodeResult(first), "result")), plain(expected[0]));
      const options = { delaySeconds: seconds, reason: error };
      assert.deepEqual(plain(theirs(name, encodeNack(id, leaseToken, options), "nack")), {
        task_id: id,
        delay_seconds: seconds,
        reason: error,
        lease_token: leaseToken,
        immediate: false,
      });
      const atOnce = encodeNack(id, leaseToken, { delaySeconds: -1, reason: "" });
      assert.equal(theirs(name, atOnce, "nack")["immediate"], true);
      const beat = encodeHeartbeat(id, leaseToken, { extendSeconds: seconds });
      assert.deepEqual(plain(theirs(name, beat, "heartbeat")), {
        task_id: id,
        extend_seconds: seconds,
        lease_token: leaseToken,
      });
      const abandon = theirs(name, encodeAbandon(id, leaseToken), "abandon");
      assert.deepEqual(plain(abandon), { task_id: id, lease_token: leaseToken });
      const ready = encodeReady({ queues: [id, error], leaseSeconds: seconds, count: 7 });
      assert.deepEqual(plain(theirs(name, ready, "ready")), {
        commands: [id, error],
        lease_seconds: seconds,
        count: 7,
      });
    }),
  );
});

test("echoes a seq above 2^53 exactly", () => {
  // 2^64 - 1 as a varint, in the lone create's field 1.
  const seqBytes = Buffer.from("08ffffffffffffffffff01", "hex");
  const sent = Buffer.concat([Buffer.from([0x12, seqBytes.length]), seqBytes]);
  const frame = createFrame(wire.producer.Stream.requestDeserialize(sent));
  assert.equal(frame.next(), true);
  const acks = encodeCreateAcks(frame, createColumns([undefined], [0]));
  assert.ok(acks.includes(seqBytes), acks.toString("hex"));
});

const leader = { shard: 3, term: 9, leaderId: "n2", leaderHttp: "http://h", leaderGrpc: "h:1" };

function createColumns(errors: (QueueError | undefined)[], duplicates: number[]) {
  const ids = Buffer.alloc(16 * errors.length);
  for (let i = 0; i < errors.length; i++) ids.writeUInt32BE(i + 1, i * 16);
  return {
    codes: Uint8Array.from(errors, (error) => (error === undefined ? 0 : 1)),
    ids,
    duplicates: Uint8Array.from(duplicates),
    error: (i: number) => errors[i],
  };
}

const failure = fc.option(
  fc.oneof(
    text.map((message) => new QueueError("invalid_argument", message)),
    text.map((message) => new QueueError("not_leader", message, { leader })),
  ),
  { nil: undefined },
);

test("writes create acks that protobufjs and the client read", () => {
  const item = fc.record({ seq, failure, duplicate: fc.integer({ min: 0, max: 1 }) });
  fc.assert(
    fc.property(fc.array(item, { maxLength: 20 }), (items) => {
      const tasks = items.map((one) => ({ seq: one.seq, command: "q" }));
      const sent = type("producerpb.ProducerClientEvent").serialize({ create_batch: { tasks } });
      const frame = createFrame(wire.producer.Stream.requestDeserialize(sent));
      while (frame.next());
      const columns = createColumns(
        items.map((one) => one.failure),
        items.map((one) => one.duplicate),
      );
      const answer = encodeCreateAcks(frame, columns);
      const acks = theirs("producerpb.ProducerServerEvent", answer, "create_ack_batch")["acks"];
      const mine = wire.producer.Stream.responseDeserialize(answer);
      assert.ok(mine.kind === "create_ack_batch");
      for (const [i, ack] of (acks as Fields[]).entries()) {
        const one = items[i] as (typeof items)[0];
        const error = one.failure;
        const shown =
          error?.code === "not_leader" ? `ErrNotLeader: ${error.message}` : error?.message;
        assert.equal(ack["seq"], one.seq);
        assert.equal(ack["ok"], error === undefined);
        assert.equal(ack["code"], error?.code ?? "");
        assert.equal(ack["error_message"], shown ?? "");
        assert.equal(ack["duplicate"], error === undefined && one.duplicate === 1);
        assert.equal(ack["task_id"], error === undefined ? formatTaskId(columns.ids, i * 16) : "");
        assert.equal(mine.seqs[i], one.seq);
        assert.equal(mine.taskIds[i], ack["task_id"]);
        assert.equal(mine.duplicates[i] === 1, ack["duplicate"]);
        const failed = { code: error?.code, message: shown, leader: error?.leader };
        assert.deepEqual(mine.failures[i], error === undefined ? undefined : failed);
        assert.equal((acks as Fields[]).length, items.length);
      }
    }),
  );
});

test("writes settle acks that protobufjs and the client read", () => {
  const kinds = ["result", "nack", "heartbeat", "abandon"] as const;
  const name = "workerpb.WorkerServerEvent";
  fc.assert(
    fc.property(fc.constantFrom(...kinds), taskId, failure, delay, (kind, id, error, time) => {
      const sent = type("workerpb.WorkerClientEvent").serialize({ [kind]: { task_id: id } });
      const frame = settleFrame(wire.worker.Stream.requestDeserialize(sent));
      while (frame.next());
      const isDead = time % 2 === 1;
      const answer = encodeSettleAcks(frame, {
        codes: Uint8Array.of(error === undefined ? 0 : 1),
        times: Float64Array.of(time),
        dead: Uint8Array.of(isDead ? 1 : 0),
        error: () => error,
      });
      const ack = theirs(name, answer, `${kind}_ack`);
      assert.equal(ack["task_id"], id);
      assert.equal(ack["ok"], error === undefined);
      assert.equal(ack["code"], error?.code ?? "");
      const mine = wire.worker.Stream.responseDeserialize(answer);
      assert.equal(mine.kind, `${kind}_ack`);
      assert.ok("failures" in mine && "timeMs" in mine);
      assert.deepEqual(mine.taskIds, [id]);
      assert.equal(mine.failures[0]?.code, error?.code);
      if (error !== undefined) return;
      if (kind === "nack") {
        assert.equal(ack["applied_delay_ms"], time);
        assert.equal(ack["dlq"], isDead);
        assert.deepEqual([mine.timeMs, mine.isDead], [time, isDead]);
      }
      if (kind === "heartbeat") assert.equal(mine.timeMs, time);
    }),
  );
});

test("rounds a nack's applied delay up to seconds", () => {
  const event = { nack: { task_id: "x" } };
  const sent = type("workerpb.WorkerClientEvent").serialize(event);
  const frame = settleFrame(wire.worker.Stream.requestDeserialize(sent));
  while (frame.next());
  const answer = encodeSettleAcks(frame, {
    codes: Uint8Array.of(0),
    times: Float64Array.of(1001),
    dead: Uint8Array.of(0),
    error: () => undefined,
  });
  const ack = theirs("workerpb.WorkerServerEvent", answer, "nack_ack");
  assert.equal(ack["applied_delay_seconds"], 2);
});

test("writes tasks that protobufjs and the client read", () => {
  const shape = fc.record({
    payloads: fc.array(bytes, { minLength: 1, maxLength: 5 }),
    queue: text,
    workerId: text,
    priority: fc.integer({ min: 0, max: 9 }),
    leaseToken: seq,
    texts: fc.option(fc.record({ webhook: text, traceParent: text, traceState: text })),
  });
  fc.assert(
    fc.property(fc.array(shape, { minLength: 1, maxLength: 4 }), (shapes) => {
      const grants = shapes.map((one) => exampleGrant(one.payloads, one));
      const answer = encodeTaskBatch(grants);
      const batch = theirs("workerpb.WorkerServerEvent", answer, "task_batch");
      const tasks = batch["tasks"] as Fields[];
      const mine = wire.worker.Stream.responseDeserialize(answer);
      assert.ok(mine.kind === "task_batch");
      let at = 0;
      for (const [g, one] of shapes.entries()) {
        for (const [i, payload] of one.payloads.entries()) {
          const task = tasks[at] as Fields;
          const id = formatTaskId(grants[g]?.ids as Buffer, i * 16);
          assert.deepEqual(plain(task), {
            id,
            command: one.queue,
            payload: plain(payload),
            priority: one.priority,
            webhook: one.texts?.webhook ?? "",
            max_attempts: 5 + i,
            status: "IN_PROGRESS",
            worker_id: one.workerId,
            lease_until: "2026-01-02T03:04:05.006Z",
            attempts: 1 + i,
            tenant_id: "acme",
            created_at: { seconds: 1_767_000_000, nanos: 1_000_000 },
            updated_at: { seconds: 1_767_000_001, nanos: 0 },
            lease_token: one.leaseToken,
            trace_parent: one.texts?.traceParent ?? "",
            trace_state: one.texts?.traceState ?? "",
          });
          assert.deepEqual(plain(mine.tasks[at]), {
            id,
            queue: one.queue,
            payload: plain(payload),
            priority: one.priority,
            webhook: one.texts?.webhook ?? "",
            maxAttempts: 5 + i,
            workerId: one.workerId,
            leaseUntil: "2026-01-02T03:04:05.006Z",
            attempts: 1 + i,
            tenant: "acme",
            createdAtMs: 1_767_000_000_001,
            updatedAtMs: 1_767_000_001_000,
            leaseToken: one.leaseToken,
            traceParent: one.texts?.traceParent ?? "",
            traceState: one.texts?.traceState ?? "",
          });
          at++;
        }
      }
      assert.equal(tasks.length, at);
      const lone = encodeTask(grants[0] as (typeof grants)[0]);
      const alone = theirs("workerpb.WorkerServerEvent", lone, "task")["task"];
      assert.deepEqual(plain(alone), plain(tasks[0]));
    }),
  );
});
