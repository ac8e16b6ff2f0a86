/** FAULTS 5.2-08 and 5.2-09 for many streams of one client. */
import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { afterEach, beforeEach, test } from "node:test";
import { encodeCreate } from "../../../src/api/create-coder.ts";
import { encodeReady } from "../../../src/api/ready-coder.ts";
import { KiB, limits, MiB } from "../../../src/base/limits.ts";
import { ConnectionFlow, NodeFlow } from "../../../src/edge/grpc/connection-flow.ts";
import { producer, startServer, type TestServer, TestStream, until, wire } from "./harness.ts";
import { callOn, framed, type RawCall, readAll } from "./raw-http2.ts";

let on: TestServer;
beforeEach(async () => {
  on = await startServer();
});
afterEach(async () => {
  on.router.release();
  await on.stop();
});

const hello = framed(wire.encodeProducerHello({ token: "producer", followLeader: false }));

async function calls(count: number): Promise<RawCall[]> {
  const session = connectHttp2(`http://127.0.0.1:${on.port}`, { maxSessionMemory: 1000 });
  session.on("error", () => undefined);
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  return Array.from({ length: count }, () => callOn(session, wire.producer.Stream.path));
}

function turns(count: number): Promise<void> {
  return new Promise((resolve) => {
    const next = (left: number): void => {
      if (left === 0) resolve();
      else setImmediate(() => next(left - 1));
    };
    next(count);
  });
}

test("a call may go on with little while its connection is full", () => {
  const connection = new ConnectionFlow(new NodeFlow(), null);
  const [greedy, modest] = [connection.call(), connection.call()];
  for (let i = 0; i < 5; i++) {
    greedy.work(1, 4 * MiB);
    modest.work(1, 4 * KiB);
  }
  assert.deepEqual([greedy.isFull, modest.isFull], [true, true]);
  modest.work(-4, -16 * KiB);
  assert.deepEqual([greedy.isFull, modest.isFull], [true, false]);
  const other = new ConnectionFlow(new NodeFlow(), null).call();
  other.work(1, MiB);
  assert.equal(other.isFull, false);
  greedy.end();
  modest.work(1, MiB);
  assert.equal(modest.isFull, false);
  greedy.work(-5, -20 * MiB);
  modest.end();
  assert.deepEqual([connection.inWork.bytes, connection.inWork.frames], [0, 0]);
});

test("a call is crowded by what its connection does not take, if it has a part in it", () => {
  const node = new NodeFlow();
  const connection = new ConnectionFlow(node, null);
  const [greedy, modest] = [connection.call(), connection.call()];
  for (let i = 0; i < 5; i++) greedy.wait(1, MiB);
  assert.deepEqual([greedy.isCrowded, modest.isCrowded], [true, false]);
  modest.wait(20, 20 * KiB);
  assert.equal(modest.isCrowded, true);
  greedy.wait(-5, -5 * MiB);
  assert.equal(modest.isCrowded, false);
  // The answers to what is in work will wait as well.
  greedy.work(500, 0);
  assert.equal(greedy.isCrowded, false);
  greedy.work(700, 0);
  assert.equal(greedy.isCrowded, true);
});

test("5.2-09 sixty streams of one client, acks unread: what is taken is bounded", async () => {
  const flood = await calls(60);
  const frame = framed(encodeCreate({ seq: 1, queue: "mail", payload: Buffer.from("{}") }, null));
  const burst = Buffer.concat(Array.from({ length: 1000 }, () => frame));
  for (const { stream } of flood) {
    stream.write(hello);
    for (let i = 0; i < 5; i++) stream.write(burst);
  }
  const taken = () => on.router.createBatches.reduce((sum, one) => sum + one.count, 0);
  let before = -1;
  while (taken() > before) {
    before = taken();
    await turns(500);
  }
  // What a stream's window lets through was acknowledged and left; the rest is ours.
  const each = 64 * KiB + 2 * limits.grpcOutboundShare;
  const ackBytes = 40;
  const most = (60 * each) / ackBytes + limits.grpcOutboundBytesConnection / KiB;
  assert.ok(before < most, `${before} creates were taken`);
  assert.ok(before > 60);
  const other = await producer(on);
  other.send(encodeCreate({ seq: 1, queue: "alive", payload: Buffer.from("{}") }, null));
  assert.equal((await other.next()).kind, "create_ack");
  other.cancel();
  for (const call of flood) readAll(call);
  await until(() => taken() > before, "reading goes on");
  flood[0]?.close();
});

test("a connection with many streams is given small windows, and its own again", async () => {
  const many = await calls(limits.grpcCrowdStreams + 10);
  const [{ session }] = many as [RawCall];
  for (const { stream } of many) stream.write(hello);
  await until(
    () => session.remoteSettings.initialWindowSize === limits.grpcWindowBytesCrowd,
    "the windows shrink",
  );
  for (const { stream } of many.slice(0, -5)) stream.close();
  await until(
    () => session.remoteSettings.initialWindowSize === limits.grpcWindowBytes,
    "the windows grow",
  );
  session.destroy();
});

test("waiting Readys that name too many different queues end their stream", async () => {
  const stream = new TestStream(on.address, wire.worker);
  stream.send(
    wire.encodeWorkerHello({
      token: "worker",
      workerId: "w1",
      followLeader: false,
      releaseOnClose: false,
    }),
  );
  await stream.next();
  const ready = (i: number) => {
    const queues = Array.from({ length: 256 }, (_, j) => `q-${i}-${j}-`.padEnd(128, "x"));
    return encodeReady({ queues, leaseSeconds: 60, count: 1 });
  };
  const same = ready(0);
  for (let i = 0; i < 500; i++) stream.send(same);
  await until(() => on.router.claims.size === 500, "the same names count once");
  const room = Math.floor(limits.grpcNameBytesConnection / (256 * (128 + 32))) - 1;
  for (let i = 1; i <= room; i++) stream.send(ready(i));
  await until(() => on.router.claims.size === 500 + room, "as many as there is room for");
  stream.send(ready(room + 1));
  const { code } = await stream.ended;
  assert.equal(code, 8);
});
