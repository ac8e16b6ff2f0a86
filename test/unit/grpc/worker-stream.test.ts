/** A worker's stream on loopback, over a scripted router. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeAbandon,
  encodeHeartbeat,
  encodeNack,
  encodeResultBatch,
} from "../../../src/api/settle-coder.ts";
import { QueueError } from "../../../src/base/errors.ts";
import { limits } from "../../../src/base/limits.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import { openWorker, until, wire, worker } from "./harness.ts";
import { complete, leader, make, on, ready, take, takeOne } from "./worker-harness.ts";

test("5.2-01 a first message that is no Hello ends the stream with FAILED_PRECONDITION", async () => {
  const stream = openWorker(on).send(ready());
  assert.equal((await stream.ended).code, 9);
});

test("5.2-01 a second Hello is told off and the stream goes on", async () => {
  const stream = await worker(on);
  const hello = { token: "worker", workerId: "w", followLeader: false, releaseOnClose: false };
  stream.send(wire.encodeWorkerHello(hello));
  const error = await stream.next();
  assert.ok(error.kind === "error");
  assert.equal(error.code, "FailedPrecondition");
  make(1);
  assert.equal((await takeOne(stream)).queue, "mail");
  stream.cancel();
});

test("5.2-02 an unknown token, and one of a producer", async () => {
  for (const [token, code] of [
    ["nobody", 16],
    ["producer", 7],
  ] as const) {
    const stream = openWorker(on);
    const hello = { token, workerId: "", followLeader: false, releaseOnClose: false };
    assert.equal((await stream.send(wire.encodeWorkerHello(hello)).ended).code, code);
  }
});

test("without a worker id the token's subject is it; a broken one is refused", async () => {
  const stream = openWorker(on);
  const hello = { token: "worker", workerId: "", followLeader: false, releaseOnClose: false };
  const ack = await stream.send(wire.encodeWorkerHello(hello)).next();
  assert.ok(ack.kind === "hello_ack");
  assert.deepEqual([ack.workerId, ack.tenant, ack.nodeId], ["worker-subject", "acme", "n1"]);
  stream.cancel();
  for (const workerId of ["x".repeat(129), "a\nb"]) {
    const refused = openWorker(on);
    assert.equal(
      (await refused.send(wire.encodeWorkerHello({ ...hello, workerId })).ended).code,
      3,
    );
  }
});

test("a Ready of one is answered by one task, whenever work comes", async () => {
  const stream = await worker(on);
  stream.send(ready());
  await until(() => on.router.claims.size === 1, "the claim waits");
  const [claim] = on.router.claims;
  assert.deepEqual(claim?.request, {
    tenant: "acme",
    queues: ["mail"],
    count: 1,
    bytesMax: limits.claimGrpcBytes,
    leaseMs: 60_000,
    workerId: "w1",
    waitMs: Number.POSITIVE_INFINITY,
  });
  make(2);
  const event = await stream.next();
  assert.ok(event.kind === "task");
  assert.equal(event.tasks.length, 1);
  const got = event.tasks[0];
  assert.equal(got?.id, formatTaskId(on.router.created[0]?.id as Buffer));
  assert.deepEqual(
    [got?.queue, got?.priority, got?.workerId, got?.tenant, got?.traceParent, got?.leaseToken],
    ["mail", 3, "w1", "acme", "00-1", 1],
  );
  stream.cancel();
});

test("5.2-07 Ready.count 0, -1 and 10^9 are 1, 1 and 1000", async () => {
  const stream = await worker(on);
  const client = wire.definition["workerpb.WorkerClientEvent"] as unknown as {
    serialize(event: object): Buffer;
  };
  for (const count of [0, -1, 1_000_000_000]) stream.send(client.serialize({ ready: { count } }));
  await until(() => on.router.claims.size === 3, "all claims wait");
  assert.deepEqual(
    [...on.router.claims].map(({ request }) => [request.count, request.leaseMs, request.queues]),
    [
      [1, 300_000, null],
      [1, 300_000, null],
      [1000, 300_000, null],
    ],
  );
  make(3);
  const events = [await stream.next(), await stream.next(), await stream.next()];
  assert.deepEqual(events.map((event) => event.kind).sort(), ["task", "task", "task_batch"]);
  stream.cancel();
});

test("5.2-02 queues and scopes of the token bound what a Ready may ask for", async () => {
  const mail = await worker(on, { token: "mail-worker" });
  mail.send(ready(1, []));
  await until(() => on.router.claims.size === 1, "the claim waits");
  assert.deepEqual([...on.router.claims][0]?.request.queues, ["mail"]);
  mail.send(ready(1, ["mail", "other"]));
  const error = await mail.next();
  assert.ok(error.kind === "error");
  assert.equal(error.code, "PermissionDenied");
  assert.equal((await mail.ended).code, 7);
  await until(() => on.router.claims.size === 0, "the other Ready's claim is taken back");

  const settler = await worker(on, { token: "settler", followLeader: true });
  settler.send(ready());
  assert.equal((await settler.next()).kind, "error");
  assert.equal((await settler.ended).code, 7);
});

test("5.2-02 a settle without its scope is refused in its ack, and the stream goes on", async () => {
  const stream = await worker(on, { token: "claimer" });
  make(1);
  const { id, leaseToken } = await takeOne(stream);
  stream.send(complete(id, leaseToken));
  const ack = await stream.next();
  assert.ok(ack.kind === "result_ack");
  assert.equal(ack.failures[0]?.code, "permission_denied");
  stream.cancel();
});

test("every way to settle has its ack, and reaches the router as it was sent", async () => {
  const stream = await worker(on);
  make(6);
  const tasks = await take(stream, 6);
  const ids = tasks.map((one) => one.id) as [string, string, string, string, string, string];
  stream.send(complete(ids[0], 11));
  stream.send(encodeHeartbeat(ids[1], 12, { extendSeconds: 30 }));
  stream.send(encodeNack(ids[2], 13, { delaySeconds: 0, reason: "later" }));
  stream.send(encodeNack(ids[3], 14, { delaySeconds: -1, reason: "" }));
  stream.send(encodeAbandon(ids[4], 0));
  const result = { leaseToken: 15, status: "FAILED", result: Buffer.from("1") } as const;
  stream.send(
    encodeResultBatch([
      { ...result, taskId: ids[5], error: "no" },
      { ...result, taskId: "nonsense", error: "" },
    ]),
  );
  const acks = [];
  for (let i = 0; i < 6; i++) acks.push(await stream.next());
  assert.deepEqual(
    acks.map((ack) => ("taskIds" in ack ? [ack.kind, ...ack.taskIds] : ack.kind)),
    [
      ["result_ack", ids[0]],
      ["heartbeat_ack", ids[1]],
      ["nack_ack", ids[2]],
      ["nack_ack", ids[3]],
      ["abandon_ack", ids[4]],
      ["result_ack_batch", ids[5], "nonsense"],
    ],
  );
  const last = acks[5];
  assert.ok(last?.kind === "result_ack_batch");
  assert.deepEqual(
    last.failures.map((failure) => failure?.code),
    [undefined, "not_found"],
  );
  assert.deepEqual(
    on.router.settled.map((one) => [one.kind, one.id, one.leaseToken, one.detail]),
    [
      ["complete", ids[0], 11, ""],
      ["heartbeat", ids[1], 12, "30000"],
      ["nack", ids[2], 13, "-1 later"],
      ["nack", ids[3], 14, "0 "],
      ["abandon", ids[4], 0, ""],
      ["fail", ids[5], 15, "no"],
      ["refused", "", 0, "not_found"],
    ],
  );
  stream.cancel();
});

test("5.2-06 a stale token, an unknown task and a broken item get their acks", async () => {
  const stream = await worker(on);
  const id = "01890a5d-ac96-774b-8cce-b302099a8057";
  const client = wire.definition["workerpb.WorkerClientEvent"] as unknown as {
    serialize(event: object): Buffer;
  };
  on.router.failWith = new QueueError("lease_lost", "the lease is over");
  for (const [result, code] of [
    [{ task_id: id, status: "COMPLETED", lease_token: 1 }, "lease_lost"],
    [{ task_id: id, status: "COMPLETED", lease_token: "18446744073709551615" }, "lease_lost"],
    [{ task_id: "", status: "COMPLETED" }, "not_found"],
    [{ task_id: id, status: "DONE" }, "invalid_argument"],
    [
      { task_id: id, status: "COMPLETED", result_json: Buffer.alloc(2 ** 20 + 1) },
      "payload_too_large",
    ],
  ] as const) {
    stream.send(client.serialize({ result }));
    const ack = await stream.next();
    assert.ok(ack.kind === "result_ack");
    assert.equal(ack.failures[0]?.code, code);
    assert.equal(ack.taskIds[0], result.task_id);
  }
  stream.cancel();
});

test("an empty result batch is answered by an empty ack batch", async () => {
  const stream = await worker(on);
  stream.send(encodeResultBatch([]));
  const ack = await stream.next();
  assert.ok(ack.kind === "result_ack_batch");
  assert.equal(ack.count, 0);
  stream.cancel();
});

test("a nack's reason is cut between two characters", async () => {
  const stream = await worker(on);
  const reason = `${"x".repeat(limits.reasonBytes - 1)}é`;
  stream.send(encodeNack("01890a5d-ac96-774b-8cce-b302099a8057", 1, { delaySeconds: 5, reason }));
  await stream.next();
  assert.equal(on.router.settled[0]?.detail, `5000 ${"x".repeat(limits.reasonBytes - 1)}`);
  stream.cancel();
});

test("5.2-03 a claim that no leader here can serve ends the stream, and voids its Readys", async () => {
  const stream = await worker(on);
  on.router.failClaims = new QueueError("not_leader", "n2 leads", { leader });
  stream.send(ready());
  const error = await stream.next();
  assert.ok(error.kind === "error");
  assert.deepEqual([error.code, error.message], ["ErrNotLeader", "ErrNotLeader: n2 leads"]);
  assert.deepEqual(error.leader, leader);
  const end = await stream.ended;
  assert.deepEqual([end.code, end.details], [9, error.message]);
});

test("5.2-03 a node without a leader ends the stream with FAILED_PRECONDITION", async () => {
  const stream = await worker(on);
  on.router.failClaims = new QueueError("no_leader", "election under way");
  const error = await stream.send(ready()).next();
  assert.ok(error.kind === "error");
  assert.equal(error.code, "NoLeader");
  assert.equal((await stream.ended).code, 9);
});

test("5.2-03 a client that follows keeps the stream; its Ready is void", async () => {
  const stream = await worker(on, { followLeader: true });
  on.router.failClaims = new QueueError("not_leader", "n2 leads", { leader });
  assert.equal((await stream.send(ready()).next()).kind, "error");
  on.router.failClaims = null;
  make(1);
  assert.equal((await takeOne(stream)).queue, "mail");
  stream.cancel();
});

test("5.2-05 bytes that are no message, and too many queues: INVALID_ARGUMENT", async () => {
  const queues = Array.from({ length: 300 }, (_, i) => `q${i}`);
  for (const bytes of [Buffer.from([0x1a, 200]), Buffer.from([0x42, 0]), ready(1, queues)]) {
    const stream = await worker(on);
    assert.equal((await stream.send(bytes).ended).code, 3);
  }
  const stream = await worker(on);
  assert.equal((await stream.send(ready(1, ["no spaces"])).next()).kind, "error");
  assert.equal((await stream.ended).code, 3);
});
