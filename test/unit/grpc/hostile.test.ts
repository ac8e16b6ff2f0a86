/**
 * Clients that break the rules below the messages (FAULTS 5.2). After every case the server still
 * serves: a stream of another connection creates a task.
 */
import assert from "node:assert/strict";
import { connect as connectHttp2, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import * as grpc from "@grpc/grpc-js";
import { encodeCreate, encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { encodeReady } from "../../../src/api/ready-coder.ts";
import { limits, MiB } from "../../../src/base/limits.ts";
import { producer, startServer, type TestServer, TestStream, until, wire } from "./harness.ts";
import { callOn, framed, rawCall, readAll } from "./raw-http2.ts";

let on: TestServer;
beforeEach(async () => {
  on = await startServer();
});
afterEach(async () => {
  on.router.release();
  const stream = await producer(on);
  stream.send(encodeCreate({ seq: 1, queue: "alive", payload: Buffer.from("{}") }, null));
  const ack = await stream.next();
  stream.cancel();
  await on.stop();
  assert.equal(ack.kind, "create_ack");
});

const path = wire.producer.Stream.path;
const workerPath = wire.worker.Stream.path;
const hello = wire.encodeProducerHello({ token: "producer", followLeader: false });
const workerHello = wire.encodeWorkerHello({
  token: "worker",
  workerId: "w1",
  followLeader: false,
  releaseOnClose: false,
});

async function statusOf(bytes: Buffer, headers: Record<string, string> = {}) {
  const call = rawCall(on, path, headers);
  readAll(call);
  call.stream.write(bytes);
  const ended = await call.ended;
  call.close();
  return ended;
}

test("5.2-04 a message over 8 MiB: RESOURCE_EXHAUSTED", async () => {
  const head = Buffer.from([0, 0, 0, 0, 0]);
  head.writeUInt32BE(8 * MiB + 1, 1);
  assert.equal((await statusOf(head)).grpc, 8);
});

test("5.2-04 a gzip bomb: RESOURCE_EXHAUSTED; garbage for gzip: INTERNAL", async () => {
  const gzip = { "grpc-encoding": "gzip" };
  const bomb = gzipSync(Buffer.alloc(200 * MiB));
  const before = process.memoryUsage().rss;
  assert.equal((await statusOf(framed(bomb, true), gzip)).grpc, 8);
  assert.ok(process.memoryUsage().rss - before < 250 * MiB);
  assert.equal((await statusOf(framed(Buffer.from("no gzip at all"), true), gzip)).grpc, 13);
});

test("5.2-04 a good gzip message is taken, an unknown encoding is UNIMPLEMENTED", async () => {
  const call = rawCall(on, path, { "grpc-encoding": "gzip" });
  readAll(call);
  call.stream.write(framed(gzipSync(hello), true));
  await until(() => call.chunks.length > 0, "the HelloAck comes");
  call.close();
  const unknown = { "grpc-encoding": "brotli" };
  assert.equal((await statusOf(framed(hello, true), unknown)).grpc, 12);
});

test("5.2-08 a client that reads nothing stops getting tasks, and is cut after 30 s", async () => {
  const batch = on.router.createBatch("acme");
  const payload = Buffer.alloc(512 * 1024);
  const task = { queue: "mail", priority: 0, maxAttempts: 5, delayMs: 0, runAtMs: 0 };
  for (let i = 0; i < 100; i++) {
    batch.add({ ...task, extras: null, idempotencyKey: null }, payload, 0, payload.length);
  }
  const call = rawCall(on, workerPath);
  const ready = encodeReady({ queues: [], leaseSeconds: 60, count: 1 });
  call.stream.write(framed(workerHello));
  call.stream.write(Buffer.concat(Array.from({ length: 100 }, () => framed(ready))));
  await until(() => on.router.claims.size > 0, "claims wait");
  batch.send(null, () => undefined);
  await until(() => on.router.created.length === 100, "the tasks are there");
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  const left = on.router.readyCount;
  assert.ok(left > 75, `${100 - left} of 100 were claimed for a client that reads none`);
  assert.equal(on.router.claims.size, 0, "waiting claims are taken back");

  on.advance(29_000);
  assert.equal(call.session.destroyed, false);
  on.advance(2_000);
  await call.ended;
  const released = () => on.router.settled.filter((one) => one.kind === "release").length;
  await until(() => released() > 0, "what it never got is handed back");
  assert.ok(released() <= 100 - left);
  call.close();
});

test("5.2-08 a client that reads again gets everything that waited", async () => {
  const batch = on.router.createBatch("acme");
  const payload = Buffer.alloc(512 * 1024);
  const task = { queue: "mail", priority: 0, maxAttempts: 5, delayMs: 0, runAtMs: 0 };
  for (let i = 0; i < 40; i++) {
    batch.add({ ...task, extras: null, idempotencyKey: null }, payload, 0, payload.length);
  }
  const stream = new TestStream(on.address, wire.worker);
  stream.send(workerHello);
  await stream.next();
  stream.call.pause();
  const ready = encodeReady({ queues: [], leaseSeconds: 60, count: 1 });
  for (let i = 0; i < 40; i++) stream.send(ready);
  batch.send(null, () => undefined);
  await until(() => on.router.claimsCanceled > 0 || on.router.claims.size === 0, "it is crowded");
  stream.call.resume();
  for (let i = 0; i < 40; i++) assert.equal((await stream.next()).kind, "task");
  stream.cancel();
});

test("5.2-09 creates without end, acks unread: the server stops reading", async () => {
  on.router.hold = true;
  const call = rawCall(on, path);
  call.stream.write(framed(hello));
  const payload = Buffer.alloc(64 * 1024);
  const frame = framed(encodeCreate({ seq: 1, queue: "mail", payload }, null));
  // Node's client keeps what the server does not take: write on only while it is taken.
  let sent = 0;
  const pump = (): void => {
    while (sent < 2000 && call.stream.writableLength < MiB) {
      call.stream.write(frame);
      sent++;
    }
  };
  for (let turn = 0; turn < 3000; turn++) {
    pump();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const taken = on.router.createBatches.reduce((sum, one) => sum + one.count, 0);
  const bound = limits.grpcInboundBytes / payload.length;
  assert.ok(taken > bound / 2 && taken <= bound * 1.5, `${taken} creates were read`);
  readAll(call);
  on.router.release();
  pump();
  await until(() => on.router.created.length > taken, "reading goes on");
  call.close();
});

test("5.2-10 streams beyond the cap of a connection are refused", async () => {
  const session = connectHttp2(`http://127.0.0.1:${on.port}`);
  session.on("error", () => undefined);
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  assert.equal(session.remoteSettings.maxConcurrentStreams, limits.grpcStreamsPerConnection);
  session.destroy();
});

test("5.2-11 a rapid reset of 20,000 streams leaves the server standing", async () => {
  const before = process.memoryUsage().rss;
  const session = connectHttp2(`http://127.0.0.1:${on.port}`);
  session.on("error", () => undefined);
  await new Promise((resolve) => session.once("connect", resolve));
  for (let i = 0; i < 20_000 && !session.destroyed && !session.closed; i++) {
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.on("error", () => undefined);
    stream.close(constants.NGHTTP2_CANCEL);
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  session.destroy();
  assert.ok(process.memoryUsage().rss - before < 200 * MiB);
});

/** The connection's preface, and an HTTP/2 frame. */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
function h2Frame(type: number, flags: number, stream: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

async function flood(frame: Buffer, count: number): Promise<Socket> {
  const socket = connect(on.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(Buffer.concat([preface, h2Frame(4, 0, 0, Buffer.alloc(0))]));
  const many = Buffer.concat(Array.from({ length: 1000 }, () => frame));
  for (let i = 0; i < count / 1000 && !socket.destroyed; i++) {
    if (!socket.write(many)) {
      await new Promise((resolve) => {
        socket.once("drain", resolve);
        socket.once("close", resolve);
      });
    }
  }
  return socket;
}

test("5.2-11 floods of SETTINGS, PING, CONTINUATION and empty DATA leave it standing", async () => {
  const before = process.memoryUsage().rss;
  const headers = h2Frame(1, 0, 1, Buffer.from([0x82]));
  const floods = [
    h2Frame(4, 0, 0, Buffer.alloc(0)),
    h2Frame(6, 0, 0, Buffer.alloc(8)),
    Buffer.concat([headers, h2Frame(9, 0, 1, Buffer.from([0x82]))]),
    h2Frame(0, 0, 1, Buffer.alloc(0)),
    h2Frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])),
  ];
  for (const frame of floods) (await flood(frame, 20_000)).destroy();
  assert.ok(process.memoryUsage().rss - before < 200 * MiB);
});

test("5.2-12 a broken grpc-timeout is INTERNAL, a huge one a long deadline", async () => {
  assert.equal((await statusOf(framed(hello), { "grpc-timeout": "soon" })).grpc, 13);
  const call = rawCall(on, path, { "grpc-timeout": "99999999S" });
  readAll(call);
  call.stream.write(framed(hello));
  await until(() => call.chunks.length > 0, "the HelloAck comes");
  call.close();
});

test("5.2-13 another content type: 415; another path: UNIMPLEMENTED; HTTP/1.1: closed", async () => {
  assert.equal((await statusOf(framed(hello), { "content-type": "text/plain" })).http, 415);
  const call = rawCall(on, "/producerpb.ProducerStream/Nothing");
  readAll(call);
  assert.equal((await call.ended).grpc, 12);
  call.close();
  const socket = connect(on.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await new Promise((resolve) => socket.once("close", resolve));
});

test("5.2-15 a thousand keys, or a megabyte of them, close the call or the connection", async () => {
  const keys = Array.from({ length: 1000 }, (_, i) => [`x-${i}`, "y"] as const);
  const call = rawCall(on, path, Object.fromEntries(keys));
  readAll(call);
  call.stream.write(framed(hello));
  assert.equal((await call.ended).grpc, undefined);
  call.close();

  // A literal field "x" whose value does not end with the block, in frames of 16 KiB.
  const part = h2Frame(9, 0, 1, Buffer.alloc(16_384, "x"));
  const first = h2Frame(1, 0, 1, Buffer.from([0x82, 0, 1, 0x78, 0x7f, 0xff, 0xff, 0x7f]));
  const socket = connect(on.port, "127.0.0.1");
  const answers: Buffer[] = [];
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => answers.push(chunk));
  socket.write(Buffer.concat([preface, h2Frame(4, 0, 0, Buffer.alloc(0)), first]));
  const last = h2Frame(9, 4, 1, Buffer.alloc(0));
  socket.write(Buffer.concat([...Array.from({ length: 64 }, () => part), last]));
  const goaway = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0]);
  await until(() => socket.closed || Buffer.concat(answers).includes(goaway), "a GOAWAY comes");
  socket.destroy();
});

test("a session carries many streams at once, each with its own answers", async () => {
  const session = connectHttp2(`http://127.0.0.1:${on.port}`);
  const calls = Array.from({ length: 50 }, () => callOn(session, path));
  for (const [i, call] of calls.entries()) {
    readAll(call);
    const tasks = [{ seq: i + 1, queue: "mail", payload: Buffer.from("{}") }];
    call.stream.write(Buffer.concat([framed(hello), framed(encodeCreateBatch(tasks, null))]));
    call.stream.end();
  }
  for (const [i, call] of calls.entries()) {
    assert.equal((await call.ended).grpc, 0);
    const bytes = Buffer.concat(call.chunks);
    const acks = wire.producer.Stream.responseDeserialize(
      bytes.subarray(10 + bytes.readUInt32BE(1)),
    );
    assert.ok(acks.kind === "create_ack_batch");
    assert.equal(acks.seqs[0], i + 1);
  }
  session.destroy();
});

test("a client that only knows codeQ's fields completes a cycle", async () => {
  const { loadSync } = await import("@grpc/proto-loader");
  const folder = new URL("../../../proto/", import.meta.url).pathname;
  const definition = loadSync(["producerpb.proto", "workerpb.proto"], {
    includeDirs: [folder],
    keepCase: true,
    longs: Number,
    defaults: true,
    oneofs: true,
  });
  const producerMethod = methodOf(definition["producerpb.ProducerStream"]);
  const workerMethod = methodOf(definition["workerpb.WorkerStream"]);
  const create = await cycle(producerMethod, { hello: { token: "producer" } }, [
    { create: { seq: 7, command: "mail", payload: Buffer.from('{"a":1}') } },
  ]);
  assert.deepEqual(
    create.map((one) => one["event"]),
    ["hello_ack", "create_ack"],
  );
  const ack = create[1]?.["create_ack"] as Record<string, unknown>;
  assert.deepEqual([ack["seq"], ack["ok"]], [7, true]);
  const claim = await cycle(workerMethod, { hello: { token: "worker", worker_id: "w" } }, [
    { ready: { commands: ["mail"], count: 1 } },
    { result: { task_id: ack["task_id"], status: "COMPLETED" } },
    { heartbeat: { task_id: ack["task_id"], extend_seconds: 5 } },
    { nack: { task_id: ack["task_id"], delay_seconds: 2 } },
    { abandon: { task_id: ack["task_id"] } },
  ]);
  assert.deepEqual(
    claim.map((one) => one["event"]),
    ["hello_ack", "task", "result_ack", "heartbeat_ack", "nack_ack", "abandon_ack"],
  );
  const assignment = claim[1]?.["task"] as { readonly task: Record<string, unknown> } | undefined;
  const task = assignment?.task ?? {};
  assert.deepEqual(
    [task["id"], task["command"], String(task["payload"]), task["status"], task["attempts"]],
    [ack["task_id"], "mail", '{"a":1}', "IN_PROGRESS", 1],
  );
});

type Method = grpc.MethodDefinition<object, Record<string, unknown>>;

function methodOf(service: unknown): Method {
  return (service as { Stream: Method }).Stream;
}

/** Says hello, then sends one event after the other, each when the last was answered. */
async function cycle(method: Method, hello: object, events: readonly object[]) {
  const client = new grpc.Client(on.address, grpc.credentials.createInsecure());
  const call = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    new grpc.Metadata(),
  );
  const answers: Record<string, unknown>[] = [];
  call.on("data", (answer: Record<string, unknown>) => answers.push(answer));
  call.on("error", () => undefined);
  for (const [i, event] of [hello, ...events].entries()) {
    call.write(event);
    await until(() => answers.length === i + 1, "an answer to every event");
  }
  call.end();
  client.close();
  return answers;
}

test("the health service says what readyz says, and reflection lists both services", async () => {
  const health = new grpc.Client(on.address, grpc.credentials.createInsecure());
  const check = () =>
    new Promise<number>((resolve, reject) => {
      health.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        () => Buffer.alloc(0),
        (bytes) => bytes[1] ?? 0,
        {},
        (error, value) => (error === null ? resolve(value ?? 0) : reject(error)),
      );
    });
  assert.equal(await check(), 1);
  on.router.isReady = false;
  on.advance(0);
  assert.equal(await check(), 2);
  on.router.isReady = true;
  on.advance(0);
  assert.equal(await check(), 1);
  health.close();

  const call = rawCall(on, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  readAll(call);
  // list_services = 7
  call.stream.end(framed(Buffer.from([0x3a, 1, 0x2a])));
  assert.equal((await call.ended).grpc, 0);
  const listed = Buffer.concat(call.chunks).toString("latin1");
  assert.match(listed, /producerpb\.ProducerStream/);
  assert.match(listed, /workerpb\.WorkerStream/);
  call.close();
});
