/** Bytes that are no message, or that another version of the protocol wrote. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageTypeDefinition } from "@grpc/proto-loader";
import fc from "fast-check";
import { encodeCreate, encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { loadWire } from "../../../src/api/proto.ts";
import type { ProducerClientEvent, WorkerClientEvent } from "../../../src/api/proto-events.ts";
import { encodeReady } from "../../../src/api/ready-coder.ts";
import { encodeResultBatch } from "../../../src/api/settle-coder.ts";
import { encodeTaskBatch } from "../../../src/api/task-coder.ts";
import { DecodeError } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/base/limits.ts";
import { exampleGrant } from "./examples.ts";

const wire = loadWire();

/** Reads an event to its end. */
function readAll(event: ProducerClientEvent | WorkerClientEvent): string {
  if ("next" in event) while (event.next());
  return event.kind;
}

const create = encodeCreateBatch(
  [
    { seq: 1, queue: "mail", payload: Buffer.from("{}"), idempotencyKey: "k", runAtMs: 1 },
    { seq: 2, queue: "mail", payload: Buffer.alloc(200), webhook: "http://h/" },
  ],
  Buffer.alloc(16, 7),
);
const results = encodeResultBatch([
  {
    taskId: "01890a5d-ac96-774b-bcce-b302099a8057",
    leaseToken: 2 ** 50,
    status: "FAILED",
    result: Buffer.from("1"),
    error: "no",
  },
]);

test("every cut of a frame is read, or malformed, and never anything else", () => {
  let malformed = 0;
  for (const frame of [create, results]) {
    const reader = frame === create ? wire.producer : wire.worker;
    for (let size = 0; size < frame.length; size++) {
      const cut = Buffer.from(frame.subarray(0, size));
      const event = reader.Stream.requestDeserialize(cut);
      if (event.kind === "malformed") malformed++;
      else if (size > 0) assert.fail(`a cut at ${size} was read as ${event.kind}`);
    }
  }
  assert.equal(malformed, create.length + results.length - 2);
});

test("random and flipped bytes end in an event or a DecodeError", () => {
  const flipped = fc
    .tuple(fc.constantFrom(create, results), fc.nat(), fc.integer({ min: 1, max: 255 }))
    .map(([frame, at, mask]) => {
      const copy = Buffer.from(frame);
      const place = at % copy.length;
      copy[place] = (copy[place] as number) ^ mask;
      return copy;
    });
  const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(flipped, random), (bytes) => {
      for (const service of [wire.producer, wire.worker]) {
        const event = service.Stream.requestDeserialize(bytes);
        try {
          readAll(event);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
        try {
          service.Stream.responseDeserialize(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }
    }),
    { numRuns: 3000 },
  );
});

test("skips fields that it does not know, of every wire type", () => {
  const unknown = Buffer.from([
    ...[0xf8, 0x07, 0x80, 0x01], // field 127, varint
    ...[0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8], // 64 bits
    ...[0xfa, 0x07, 2, 9, 9], // bytes
    ...[0xfb, 0x07, 0xf8, 0x07, 1, 0xfc, 0x07], // a group
    ...[0xfd, 0x07, 1, 2, 3, 4], // 32 bits
  ]);
  const task = Buffer.concat([unknown, Buffer.from([0x12, 1, 0x71]), unknown]);
  const event = Buffer.concat([unknown, Buffer.from([0x12, task.length]), task, unknown]);
  const frame = wire.producer.Stream.requestDeserialize(event);
  assert.ok(frame.kind === "create");
  assert.equal(frame.next(), true);
  assert.equal(frame.queue, "q");
});

test("a known field of another wire type is an unknown field", () => {
  // CreateTask.command (2) as a varint.
  const frame = wire.producer.Stream.requestDeserialize(Buffer.from([0x12, 2, 0x10, 5]));
  assert.ok(frame.kind === "create");
  assert.equal(frame.next(), true);
  assert.equal(frame.queue, "");
});

test("an arm from a later version is unset", () => {
  assert.equal(wire.producer.Stream.requestDeserialize(Buffer.from([0x9a, 6, 0])).kind, "unset");
  assert.equal(wire.worker.Stream.requestDeserialize(Buffer.from([0x42, 0])).kind, "unset");
  assert.equal(wire.worker.Stream.requestDeserialize(Buffer.alloc(0)).kind, "unset");
});

test("the last arm of an event wins", () => {
  const both = Buffer.concat([
    encodeReady({ queues: ["a"], leaseSeconds: 1, count: 1 }),
    encodeReady({ queues: ["b"], leaseSeconds: 1, count: 1 }),
  ]);
  const event = wire.worker.Stream.requestDeserialize(both);
  assert.ok(event.kind === "ready");
  assert.deepEqual(event.queues, ["b"]);
});

test("text that is not UTF-8 is malformed, a payload may be anything", () => {
  const good = encodeCreate({ seq: 1, queue: "qq", payload: Buffer.from([255, 254]) }, null);
  assert.equal(readAll(wire.producer.Stream.requestDeserialize(good)), "create");
  const bad = Buffer.from(good);
  bad[bad.indexOf("qq")] = 255;
  assert.throws(() => readAll(wire.producer.Stream.requestDeserialize(bad)), DecodeError);
});

test("groups that nest without end are malformed", () => {
  const deep = Buffer.alloc(4000, 0x1b);
  assert.equal(wire.producer.Stream.requestDeserialize(deep).kind, "malformed");
});

test("a Ready that names too many queues is malformed", () => {
  const queues = Array.from({ length: limits.claimQueues + 1 }, (_, i) => `q${i}`);
  const ready = encodeReady({ queues, leaseSeconds: 1, count: 1 });
  assert.equal(wire.worker.Stream.requestDeserialize(ready).kind, "malformed");
  const most = encodeReady({ queues: queues.slice(1), leaseSeconds: 1, count: 1 });
  assert.equal(wire.worker.Stream.requestDeserialize(most).kind, "ready");
});

test("a client of old fields only reads tasks with the new ones", () => {
  const shape = { queue: "q", workerId: "w", priority: 0, leaseToken: 5, texts: null };
  const batch = encodeTaskBatch([exampleGrant([Buffer.from("x")], shape)]);
  const type = wire.definition["workerpb.WorkerServerEvent"] as MessageTypeDefinition<
    object,
    { task_batch: { tasks: { id: string }[] } }
  >;
  assert.equal(type.deserialize(batch).task_batch.tasks.length, 1);
});

test("the rare events come back as they were written", () => {
  const nodes = [{ id: "n1", grpcAddr: "h:1", httpAddr: "http://h", shardsLed: [0, 3] }];
  const cluster = { nodeId: "n1", shards: 4, nodes };
  const leader = { shard: 3, term: 9, leaderId: "n2", leaderHttp: "http://h", leaderGrpc: "h:1" };
  const { producer, worker } = wire;
  const read = (bytes: Buffer, service: typeof producer | typeof worker): unknown => {
    return JSON.parse(JSON.stringify(service.Stream.responseDeserialize(bytes)));
  };
  assert.deepEqual(
    read(wire.encodeProducerHelloAck({ tenant: "t", subject: "s", ...cluster }), producer),
    { kind: "hello_ack", tenant: "t", subject: "s", ...cluster },
  );
  assert.deepEqual(
    read(wire.encodeWorkerHelloAck({ tenant: "t", workerId: "w", ...cluster }), worker),
    { kind: "hello_ack", tenant: "t", workerId: "w", ...cluster },
  );
  const error = { code: "ErrNotLeader", message: "ErrNotLeader: there", leader };
  assert.deepEqual(read(wire.encodeServerError("producer", error), producer), {
    kind: "error",
    ...error,
  });
  assert.deepEqual(read(wire.encodeServerError("worker", error), worker), {
    kind: "error",
    ...error,
  });
  assert.deepEqual(read(wire.encodeCluster("worker", nodes), worker), { kind: "cluster", nodes });
  assert.deepEqual(read(wire.encodeCancel("id", 2 ** 52), worker), {
    kind: "cancel",
    taskId: "id",
    leaseToken: 2 ** 52,
  });
  const hello = { token: "t", workerId: "w", followLeader: true, releaseOnClose: true };
  assert.deepEqual(worker.Stream.requestDeserialize(wire.encodeWorkerHello(hello)), {
    kind: "hello",
    ...hello,
  });
  assert.deepEqual(
    producer.Stream.requestDeserialize(
      wire.encodeProducerHello({ token: "t", followLeader: true }),
    ),
    { kind: "hello", token: "t", followLeader: true },
  );
});
