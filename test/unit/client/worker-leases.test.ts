import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { createWorker } from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";
import {
  code,
  effects,
  endpoint,
  errors,
  gate,
  results,
  server,
  start,
  turn,
  workers,
} from "./worker-harness.ts";

test("a lease is renewed at a third of its length, again and again", async () => {
  const work = gate();
  await start(work.handler, { leaseSeconds: 30, manual: true });
  const task = server.addTask("mail", "1");
  while (work.running < 1) await turn();
  effects.advance(9_999);
  effects.advance(1);
  await server.until(() => server.settlesOf("heartbeat").length === 1);
  effects.advance(10_000);
  await server.until(() => server.settlesOf("heartbeat").length === 2);
  const [beat] = server.settlesOf("heartbeat");
  assert.deepEqual([beat.task_id, beat.lease_token], [task.id, task.lease_token]);
  assert.deepEqual(work.aborted, []);
  work.open();
});

test("the signal fires when a heartbeat finds the lease lost, and nothing is settled", async () => {
  const work = gate();
  server.refuseSettles.set("heartbeat", "lease_lost");
  await start(work.handler, { leaseSeconds: 30, manual: true });
  server.addTask("mail", "1");
  while (work.running < 1) await turn();
  effects.advance(10_000);
  while (work.aborted.length < 1) await turn();
  assert.equal(code(work.aborted[0]), "lease_lost");
  work.open();
  const next = server.addTask("mail", "2");
  while (work.running < 1) await turn();
  work.open();
  await server.until(() => results().length > 0);
  assert.deepEqual(
    results().map((result) => result.task_id),
    [next.id],
  );
});

test("the signal fires when the lease ends without an answer to heartbeats", async () => {
  const work = gate();
  server.holdAcks = true;
  await start(work.handler, { leaseSeconds: 30, manual: true });
  server.addTask("mail", "1");
  while (work.running < 1) await turn();
  effects.advance(29_999);
  assert.equal(work.aborted.length, 0);
  effects.advance(1);
  assert.equal(code(work.aborted[0]), "lease_lost");
  work.open();
});

test("the handler's own heartbeat sends its length and resolves with the ack", async () => {
  let done = false;
  await start(async (_task, { heartbeat }) => {
    await heartbeat(900);
    done = true;
  });
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
  assert.equal(server.settlesOf("heartbeat")[0].extend_seconds, 900);
  assert.equal(done, true);
});

test("the signal fires when the task is canceled, and nothing is settled", async () => {
  const work = gate();
  await start(work.handler);
  const task = server.addTask("mail", "1");
  while (work.running < 1) await turn();
  server.cancel({ ...task, lease_token: task.lease_token - 1 });
  server.addTask("mail", "2");
  while (work.running < 2) await turn();
  assert.deepEqual(work.aborted, []);
  server.cancel(task);
  while (work.aborted.length < 1) await turn();
  assert.equal(code(work.aborted[0]), "canceled");
  work.open();
  await server.until(() => results().length > 0);
  assert.deepEqual(
    results().map((result) => result.task_id === task.id),
    [false],
  );
});

test("stop lets running handlers end, and their results are acknowledged before it resolves", async () => {
  const work = gate();
  const worker = await start(work.handler);
  server.addTask("mail", "1");
  while (work.running < 1) await turn();
  const stopped = worker.stop();
  work.open();
  await stopped;
  assert.equal(results().length, 1);
  assert.equal(server.workers.size, 0);
  assert.deepEqual(work.aborted, []);
});

test("stop abandons what no handler has begun, and at the end of the grace time the rest", async () => {
  const work = gate();
  const worker = await start(work.handler, { concurrency: 1, prefetch: 1, manual: true });
  await server.until(() => server.readys.length === 1);
  const [first, second] = [server.addTask("mail", "1"), server.addTask("mail", "2")];
  while (work.running < 1) await turn();
  await server.until(() => server.readys.length >= 2);
  const stopped = worker.stop({ graceSeconds: 5 });
  await server.until(() => server.settlesOf("abandon").length === 1);
  assert.equal(server.settlesOf("abandon")[0].task_id, second?.id);
  assert.deepEqual(work.aborted, []);
  effects.advance(5_000);
  await stopped;
  assert.equal(code(work.aborted[0]), "closed");
  assert.equal(server.settlesOf("abandon")[1].task_id, first?.id);
  work.open();
  await turn();
  assert.equal(results().length, 0);
});

test("a second stop may shorten the grace time, and never lengthens it", async () => {
  const work = gate();
  const worker = await start(work.handler, { manual: true });
  server.addTask("mail", "1");
  while (work.running < 1) await turn();
  const stopped = worker.stop({ graceSeconds: 60 });
  void worker.stop({ graceSeconds: 5 });
  void worker.stop({ graceSeconds: 90 });
  effects.advance(4_999);
  await turn();
  assert.deepEqual(work.aborted, []);
  effects.advance(1);
  await stopped;
  assert.equal(code(work.aborted[0]), "closed");
});

test("a stopped worker hands back what still comes for its last Ready", async () => {
  const work = gate();
  const worker = await start(work.handler, { concurrency: 2 });
  await server.until(() => server.readys.length === 1);
  server.addTask("mail", "1");
  await server.until(() => server.readys.length === 2);
  const stopped = worker.stop();
  const late = server.addTask("mail", "2");
  await server.until(() => server.settlesOf("abandon").length === 1);
  assert.equal(server.settlesOf("abandon")[0].task_id, late.id);
  work.open();
  await stopped;
});

test("a result that was not acknowledged goes again on the next stream", async () => {
  server.holdAcks = true;
  await start(() => "done");
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
  server.holdAcks = false;
  server.reset();
  await server.until(() => results().length === 2);
  assert.deepEqual(results()[1], results()[0]);
});

test("after a lost stream running tasks ask whether their lease still holds, and a Ready goes out", async () => {
  const work = gate();
  await start(work.handler, { concurrency: 2 });
  const task = server.addTask("mail", "1");
  while (work.running < 1) await turn();
  await server.until(() => server.readys.length === 2);
  server.reset();
  await server.until(() => server.settlesOf("heartbeat").length === 1);
  assert.equal(server.settlesOf("heartbeat")[0].task_id, task.id);
  await server.until(() => server.readys.length === 3);
  work.open();
});

test("a settlement that is lost is reported, and the worker goes on", async () => {
  server.refuseSettles.set("result_batch", "lease_lost");
  await start(() => 1, { concurrency: 1 });
  const task = server.addTask("mail", "1");
  await server.until(() => server.readys.length === 2);
  while (errors.length < 1) await turn();
  assert.deepEqual(errors, [{ code: "lease_lost", taskId: task.id }]);
});

test("a result that the server will never take becomes a nack", async () => {
  server.refuseSettles.set("result_batch", "payload_too_large");
  await start(() => "big");
  server.addTask("mail", "1");
  await server.until(() => server.settlesOf("nack").length === 1);
  assert.match(server.settlesOf("nack")[0].reason, /payload_too_large/u);
});

test("a passing refusal of a result is tried again", async () => {
  server.refuseSettles.set("result_batch", "no_leader");
  await start(() => "x");
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
  server.refuseSettles.clear();
  await server.until(() => results().length === 2);
  assert.deepEqual(results()[1], results()[0]);
});

test("start rejects when the server refuses the token, and may be called again", async () => {
  server.refuseHello = { code: status.UNAUTHENTICATED, details: "unknown token" };
  const worker = createWorker({ endpoints: endpoint }, { handler: () => undefined });
  workers.push(worker);
  await assert.rejects(worker.start(), (error) => code(error) === "unauthenticated");
  server.refuseHello = null;
  await worker.start();
  assert.equal(server.workers.size, 1);
});

test("options out of range are refused", () => {
  const handler = () => undefined;
  for (const wrong of [{ concurrency: 0 }, { batch: 1001 }, { leaseSeconds: 0.5 }]) {
    assert.throws(
      () => createWorker({ endpoints: endpoint }, { handler, ...wrong }),
      (error) => code(error) === "invalid_argument",
    );
  }
});

test("a node that leads nothing is left for the leader, with the tasks that run", async () => {
  const leader = new FakeServer();
  const leaderEndpoint = await leader.listen();
  server.nodes = [
    { id: "n1", grpc_addr: endpoint, http_addr: "", shards_led: [] },
    { id: "n2", grpc_addr: leaderEndpoint, http_addr: "", shards_led: [0] },
  ];
  leader.nodes = server.nodes;
  const work = gate();
  await start(work.handler, { concurrency: 2 });
  const task = server.addTask("mail", "1");
  await server.until(() => server.readys.length === 2);
  while (work.running < 1) await turn();
  server.refuseReadys = "ErrNotLeader";
  server.leaderHint = { shard: 0, leader_id: "n2", leader_grpc_addr: leaderEndpoint };
  server.voidReadys();
  await leader.until(() => leader.readys.length === 1 && leader.settlesOf("heartbeat").length > 0);
  assert.equal(leader.settlesOf("heartbeat")[0].task_id, task.id);
  assert.deepEqual(work.aborted, []);
  work.open();
  await leader.until(() => leader.settlesOf("result_batch").length === 1);
  await workers.splice(0)[0]?.stop();
  leader.close();
});

test("a Ready that is answered with no leader goes out again elsewhere", async () => {
  server.refuseReadys = "NoLeader";
  await start(() => undefined);
  await server.until(() => server.readys.length === 1);
  server.refuseReadys = null;
  await server.until(() => server.readys.length === 2 && server.hellos.length === 2);
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
});
