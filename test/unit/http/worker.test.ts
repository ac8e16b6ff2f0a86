import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import { QueueError } from "../../../src/base/errors.ts";
import { assertRefused, closeAll, type Harness, startHttp } from "./harness.ts";
import { granted, idText, nowMs, ScriptedRouter, taskView } from "./scripted-router.ts";

let http: Harness;
/** For tests that would hang if the server forgot somebody. */
const hasEnd = { timeout: 15_000 };
const id = idText(1);
const time = new Date(nowMs).toISOString();

before(async () => {
  http = await startHttp();
});
beforeEach(() => {
  const fresh = new ScriptedRouter();
  http.router.answerClaim = fresh.answerClaim;
  http.router.answerSettle = fresh.answerSettle;
  http.router.answerTask = fresh.answerTask;
  http.router.answerResult = fresh.answerResult;
  http.router.onClaim = fresh.onClaim;
});
after(closeAll);

test("a claim without a body asks for one task of any queue, with the defaults", async () => {
  const answer = await http.post("/v1/tasks/claim");
  assert.equal(answer.status, 204);
  assert.equal(answer.text, "");
  assert.deepEqual(http.router.claims.at(-1), {
    tenant: "default",
    queues: null,
    count: 1,
    bytesMax: 8 * 1024 * 1024,
    leaseMs: 300_000,
    workerId: "anonymous",
    waitMs: 0,
  });
});

test("a claimed task carries its lease", async () => {
  http.router.answerClaim = ({ workerId }) => granted(workerId, ['{"a":1}']);
  const body = { commands: ["mail"], leaseSeconds: 60, workerId: 'w "1"' };
  const answer = await http.post("/v1/tasks/claim", body);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, {
    id,
    command: "mail",
    payload: { a: 1 },
    priority: 3,
    state: "leased",
    status: "IN_PROGRESS",
    attempts: 1,
    maxAttempts: 5,
    workerId: 'w "1"',
    leaseUntil: new Date(nowMs + 300_000).toISOString(),
    leaseToken: "4096",
    tenantId: "default",
    createdAt: time,
    updatedAt: time,
  });
  assert.deepEqual(http.router.claims.at(-1)?.queues, ["mail"]);
  assert.equal(http.router.claims.at(-1)?.leaseMs, 60_000);
});

test("payloads that came over gRPC are shown as null, as base64, or for codeQ as text", async () => {
  const payloads = ["", Buffer.from([255, 0]), "no json"];
  http.router.answerClaim = ({ workerId }) => granted(workerId, payloads);
  const shown = async (path: string) => {
    const { body } = await http.post(path, { count: 3 });
    return (body["tasks"] as Record<string, unknown>[]).map((task) => [
      task["payload"],
      task["payloadBase64"],
    ]);
  };
  assert.deepEqual(await shown("/v1/tasks/claim/batch"), [
    [null, undefined],
    [undefined, "/wA="],
    [undefined, Buffer.from("no json").toString("base64")],
  ]);
  assert.deepEqual(await shown("/v1/codeq/tasks/claim/batch"), [
    ["null", undefined],
    [undefined, "/wA="],
    ["no json", undefined],
  ]);
});

test("a batch claim asks for ten tasks unless it says how many; codeQ's numbers are clamped", async () => {
  await http.post("/v1/tasks/claim/batch");
  assert.equal(http.router.claims.at(-1)?.count, 10);
  await http.post("/v1/codeq/tasks/claim/batch", {
    count: 5000,
    leaseSeconds: 1e9,
    waitSeconds: -1,
  });
  assert.equal(http.router.claims.at(-1)?.count, 1000);
  assert.equal(http.router.claims.at(-1)?.leaseMs, 86_400_000);
  assert.equal(http.router.claims.at(-1)?.waitMs, 0);
  await http.post("/v1/codeq/tasks/claim", { leaseSeconds: 0 });
  assert.equal(http.router.claims.at(-1)?.leaseMs, 300_000);
});

test("a wait is handed to the router 0 to 0.5 s short, and answered when work comes", async () => {
  http.router.answerClaim = () => undefined;
  http.router.onClaim = (done) => done(granted("w", ["1"]));
  const answer = await http.post("/v1/tasks/claim", { waitSeconds: 30 });
  assert.equal(answer.status, 200);
  const waitMs = http.router.claims.at(-1)?.waitMs ?? 0;
  assert.ok(waitMs >= 29_500 && waitMs <= 30_000, String(waitMs));
});

test("a claim whose client goes away while it waits is canceled", hasEnd, async () => {
  http.router.answerClaim = () => undefined;
  const waiting = new Promise<void>((resolve) => {
    http.router.onClaim = () => resolve();
  });
  const before_ = http.router.canceledClaims;
  const socket = await http.connect();
  const body = '{"waitSeconds":20}';
  socket.write(
    `POST /v1/tasks/claim HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await waiting;
  socket.destroy();
  await until(() => http.router.canceledClaims === before_ + 1);
});

test("tasks granted to a connection that is gone are handed back at once", hasEnd, async () => {
  const settledBefore = http.router.settled.length;
  const claimed = new Promise<(outcome: ReturnType<typeof granted>) => void>((resolve) => {
    http.router.onClaim = resolve;
  });
  http.router.answerClaim = () => undefined;
  const socket = await http.connect();
  socket.write("POST /v1/tasks/claim HTTP/1.1\r\nHost: a\r\n\r\n");
  const done = await claimed;
  socket.resetAndDestroy();
  await once(socket, "close");
  // The server must have seen it too: the next request comes over another connection, later.
  await http.get("/livez");
  done(granted("w1", ["1", "2"]));
  await until(() => http.router.settled.length === settledBefore + 2);
  const [first, second] = http.router.settled.slice(settledBefore);
  assert.deepEqual([first?.kind, first?.id, first?.workerId], ["release", idText(1), "w1"]);
  assert.equal(second?.id, idText(2));
});

test("heartbeat, abandon and nack answer as the contract says", async () => {
  http.router.answerSettle = ({ kind }) => {
    if (kind === "nack") return { timeMs: 1250 };
    return { timeMs: nowMs };
  };
  const settle = (what: string, body?: unknown) => http.post(`/v1/tasks/${id}/${what}`, body);
  const beat = await settle("heartbeat", { extendSeconds: 60, leaseToken: "4096" });
  assert.deepEqual(beat.body, { ok: true, leaseUntil: time });
  assert.deepEqual(http.router.settled.at(-1), {
    tenant: "default",
    workerId: "anonymous",
    kind: "heartbeat",
    id,
    leaseToken: 4096,
    detail: 60_000,
  });
  assert.equal((await settle("heartbeat")).status, 200);
  assert.equal(http.router.settled.at(-1)?.detail, 0);
  assert.deepEqual((await settle("abandon")).body, { status: "requeued" });
  assert.deepEqual((await settle("nack", { reason: "later" })).body, {
    status: "requeued",
    delaySeconds: 1.25,
  });
  assert.deepEqual(
    [http.router.settled.at(-1)?.detail, http.router.settled.at(-1)?.error],
    [-1, "later"],
  );
  await settle("nack", { delaySeconds: 0 });
  assert.equal(http.router.settled.at(-1)?.detail, 0);
  http.router.answerSettle = () => ({ dead: true });
  assert.deepEqual((await settle("nack")).body, { status: "dlq", delaySeconds: 0 });
});

test("a result answers with its record; the token stands for the worker", async () => {
  const completed = await http.post(
    `/v1/tasks/${id}/result`,
    '{"status":"COMPLETED","result":{"n": 1},"leaseToken":"4096","workerId":"w9"}',
  );
  assert.equal(completed.status, 200);
  assert.ok(completed.text.includes('"result":{"n": 1}'));
  assert.deepEqual(completed.body, {
    taskId: id,
    status: "COMPLETED",
    result: { n: 1 },
    completedAt: time,
  });
  assert.deepEqual(http.router.settled.at(-1), {
    tenant: "default",
    workerId: "w9",
    kind: "complete",
    id,
    leaseToken: 4096,
    detail: '{"n": 1}',
  });
  const failed = await http.post(`/v1/tasks/${id}/result`, { status: "FAILED", error: "no é" });
  assert.deepEqual(failed.body, { taskId: id, status: "FAILED", error: "no é", completedAt: time });
  assert.equal(http.router.settled.at(-1)?.error, "no é");
});

test("a batch of results answers each item, whatever its worker", async () => {
  http.router.answerSettle = ({ id: taskId }) => {
    if (taskId === idText(2)) return { error: new QueueError("lease_lost", "lease is over") };
    return { timeMs: nowMs };
  };
  const answer = await http.post("/v1/tasks/batch/results", {
    workerId: "w1",
    results: [
      { taskId: id, status: "COMPLETED" },
      { taskId: idText(2), status: "COMPLETED", workerId: "w2" },
      { taskId: "nonsense", status: "COMPLETED" },
      { taskId: idText(3), status: "FAILED" },
      { taskId: id, status: "FAILED", error: "x" },
    ],
  });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body["results"], [
    { taskId: id, result: { taskId: id, status: "COMPLETED", completedAt: time } },
    { taskId: idText(2), error: "lease is over", code: "lease_lost" },
    { taskId: "nonsense", error: "no such task", code: "not_found" },
    {
      taskId: idText(3),
      error: "results[3].error is required where status is FAILED",
      code: "invalid_argument",
      field: "results[3].error",
    },
    { taskId: id, result: { taskId: id, status: "FAILED", error: "x", completedAt: time } },
  ]);
  const workers = http.router.settled.slice(-3).map((item) => item.workerId);
  assert.deepEqual(workers, ["w1", "w1", "w2"]);
});

test("a task and its result are read, with the consistency that was asked for", async () => {
  const task = await http.get(`/v1/tasks/${id}`);
  assert.equal(task.status, 200);
  assert.equal(task.body["id"], id);
  assert.equal(http.router.reads.at(-1)?.consistency, "linearizable");
  await http.get(`/v1/tasks/${id}?consistency=stale`);
  assert.equal(http.router.reads.at(-1)?.consistency, "stale");

  const open = await http.get(`/v1/tasks/${id}/result`);
  assert.equal(open.body["result"], null);
  http.router.answerResult = () =>
    Promise.resolve({
      status: "COMPLETED",
      result: Buffer.from("[1]"),
      error: "",
      completedAtMs: nowMs,
    });
  const done = await http.get(`/v1/tasks/${id}/result?waitSeconds=60&consistency=leader`);
  assert.deepEqual(done.body["result"], {
    taskId: id,
    status: "COMPLETED",
    result: [1],
    completedAt: time,
  });
  const read = http.router.reads.at(-1);
  assert.equal(read?.consistency, "leader");
  assert.ok((read?.waitMs ?? 0) >= 59_500 && (read?.waitMs ?? 0) <= 60_000);
});

test("a read that waits ends when its client goes away", hasEnd, async () => {
  const aborted = new Promise<void>((resolve) => {
    http.router.answerResult = (_task, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => {
          resolve();
          reject(new Error("aborted"));
        });
        socket.destroy();
      });
  });
  const socket = await http.connect();
  socket.write(`GET /v1/tasks/${id}/result?waitSeconds=50 HTTP/1.1\r\nHost: a\r\n\r\n`);
  await aborted;
});

test("cancel answers with the task", async () => {
  http.router.answerTask = () => Promise.resolve(taskView({ state: "canceled" }));
  const answer = await http.post(`/v1/tasks/${id}/cancel`);
  assert.equal(answer.status, 200);
  assert.deepEqual([answer.body["state"], answer.body["status"]], ["canceled", "FAILED"]);
  http.router.answerTask = () => Promise.reject(new QueueError("already_settled", "it is over"));
  assertRefused(await http.post(`/v1/tasks/${id}/cancel`, {}), 409, "already_settled");
});

test("health tells what the router says, without a token", async () => {
  assert.deepEqual((await http.get("/healthz")).body, { status: "ok" });
  assert.deepEqual((await http.get("/livez")).body, { status: "ok" });
  assert.equal((await http.get("/readyz?now")).status, 200);
  http.router.answerHealth = {
    ready: false,
    reason: "shard 0 has no leader",
    isLeader: false,
    shards: [{ shard: 0, role: "follower", term: 3, leaderId: "", commit: 9, applied: 8, lag: 1 }],
  };
  const readyz = await http.get("/readyz");
  assert.equal(readyz.status, 503);
  assert.equal(readyz.headers.get("retry-after"), "1");
  assert.equal(readyz.body["reason"], "shard 0 has no leader");
  assert.equal((await http.get("/healthz")).status, 503);
  assert.equal((await http.get("/livez")).status, 200);
  const { body } = await http.get("/health");
  assert.deepEqual(body, {
    status: "unavailable",
    node_id: "n1",
    is_leader: false,
    uptime_seconds: body["uptime_seconds"],
    shards: [{ shard: 0, role: "follower", term: 3, leader_id: "", commit: 9, applied: 8, lag: 1 }],
  });
  http.router.answerHealth = { ready: true, reason: "", isLeader: true, shards: [] };
});

test("metrics count the requests by class", async () => {
  const answer = await http.get("/metrics");
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/u);
  assert.match(answer.text, /^quorumq_http_requests_total\{class="2xx"\} [1-9]/mu);
  assert.match(answer.text, /^quorumq_http_request_seconds_count [1-9]/mu);
});

async function until(isDone: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 5000;
  while (!isDone()) {
    assert.ok(performance.now() < giveUpAt, "did not happen within 5 s");
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
