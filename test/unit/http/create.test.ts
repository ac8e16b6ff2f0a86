import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { QueueError } from "../../../src/base/errors.ts";
import { assertRefused, closeAll, type Harness, startHttp } from "./harness.ts";
import { idText, nowMs, taskView } from "./scripted-router.ts";

let http: Harness;
const time = new Date(nowMs).toISOString();

before(async () => {
  http = await startHttp();
});
after(closeAll);

const lastCreated = () => http.router.created.at(-1);

test("a create answers 202 with the task, its payload byte for byte", async () => {
  const text =
    '{"command":"mail","payload":{"n": 1.0,"big":9007199254740993,"é":"ü"},"priority":3}';
  const answer = await http.post("/v1/tasks", text);
  assert.equal(answer.status, 202);
  const id = String(answer.body["id"]);
  assert.deepEqual(answer.body, {
    id,
    command: "mail",
    payload: { n: 1, big: Number("9007199254740993"), é: "ü" },
    priority: 3,
    state: "ready",
    status: "PENDING",
    attempts: 0,
    maxAttempts: 5,
    tenantId: "default",
    createdAt: time,
    updatedAt: time,
  });
  assert.ok(answer.text.includes('"payload":{"n": 1.0,"big":9007199254740993,"é":"ü"}'));
  assert.equal(lastCreated()?.payload, '{"n": 1.0,"big":9007199254740993,"é":"ü"}');
});

test("all fields reach the router, in its units", async () => {
  await http.post("/v1/tasks", {
    command: "q",
    payload: "x",
    priority: 9,
    maxAttempts: 1000,
    delaySeconds: 1.5,
    idempotencyKey: "ключ",
    webhook: "https://example.org/hook",
    traceParent: "00-a-b-01",
    traceState: "k=v",
  });
  assert.deepEqual(lastCreated()?.task, {
    queue: "q",
    priority: 9,
    maxAttempts: 1000,
    delayMs: 1500,
    runAtMs: 0,
    extras: { webhook: "https://example.org/hook", traceParent: "00-a-b-01", traceState: "k=v" },
    idempotencyKey: "ключ",
  });
});

test("a delayed task is answered as delayed, with its time", async () => {
  http.router.answerCreate = () => ({ runAtMs: nowMs + 5000 });
  const runAt = new Date(Date.now() + 60_000).toISOString();
  const answer = await http.post("/v1/tasks", { command: "q", payload: 1, runAt });
  http.router.answerCreate = () => ({});
  assert.equal(lastCreated()?.task.runAtMs, Date.parse(runAt));
  assert.equal(answer.body["state"], "delayed");
  assert.equal(answer.body["runAt"], new Date(nowMs + 5000).toISOString());
});

test("a repeated create answers 202 with the task as it is now", async () => {
  http.router.answerCreate = () => ({ duplicate: true });
  http.router.answerTask = (tenant, id) =>
    Promise.resolve(taskView({ tenant, id, state: "completed", attempts: 2 }));
  const answer = await http.post(
    "/v1/tasks",
    { command: "q", payload: 1 },
    { "idempotency-key": "k" },
  );
  http.router.answerCreate = () => ({});
  assert.equal(answer.status, 202);
  assert.equal(lastCreated()?.task.idempotencyKey, "k");
  assert.equal(answer.body["duplicate"], true);
  assert.equal(answer.body["state"], "completed");
  assert.equal(answer.body["status"], "COMPLETED");
});

test("the same key in header and field is one key; differing ones are refused", async () => {
  const body = { command: "q", payload: 1, idempotencyKey: "k" };
  assert.equal((await http.post("/v1/tasks", body, { "idempotency-key": "k" })).status, 202);
  const differing = await http.post("/v1/tasks", body, { "idempotency-key": "l" });
  assertRefused(differing, 400, "invalid_argument", "idempotencyKey");
});

test("under /v1/codeq payloads are texts that hold JSON", async () => {
  const answer = await http.post("/v1/codeq/tasks", '{"command":"q","payload":{"a": 1}}');
  assert.equal(answer.status, 202);
  assert.equal(answer.body["payload"], '{"a": 1}');
});

test("under /v1/codeq unknown fields are ignored and values clamped", async () => {
  const answer = await http.post("/v1/codeq/tasks?x=1", {
    command: "q",
    payload: 1,
    priority: 99,
    maxAttempts: 1_000_000,
    delaySeconds: -5,
    webhook: "",
    runAt: null,
    unknown: { deep: [1] },
  });
  assert.equal(answer.status, 202, answer.text);
  assert.deepEqual(lastCreated()?.task, {
    queue: "q",
    priority: 9,
    maxAttempts: 1000,
    delayMs: 0,
    runAtMs: 0,
    extras: null,
    idempotencyKey: null,
  });
  await http.post("/v1/codeq/tasks", { command: "q", payload: 1, priority: -1, maxAttempts: 0 });
  assert.equal(lastCreated()?.task.priority, 0);
  assert.equal(lastCreated()?.task.maxAttempts, 5);
});

test("a batch answers each item in order: created, repeated, refused here, refused there", async () => {
  http.router.answerCreate = ({ payload }) => {
    if (payload === "2") return { duplicate: true };
    if (payload === "4") return { error: new QueueError("insufficient_storage", "disk is full") };
    return {};
  };
  http.router.answerTask = (tenant, id) =>
    Promise.resolve(taskView({ tenant, id, state: "leased" }));
  const answer = await http.post("/v1/tasks/batch", {
    tasks: [
      { command: "q", payload: 1 },
      { command: "q", payload: 2, idempotencyKey: "k" },
      { command: "q", payload: 3, priority: 10 },
      { command: "q", payload: 4 },
      "no object",
    ],
  });
  http.router.answerCreate = () => ({});
  assert.equal(answer.status, 200);
  const results = answer.body["results"] as Record<string, Record<string, unknown>>[];
  assert.equal(results[0]?.["task"]?.["payload"], 1);
  assert.equal(results[1]?.["task"]?.["duplicate"], true);
  assert.equal(results[1]?.["task"]?.["state"], "leased");
  assert.deepEqual(results[2], {
    error: "tasks[2].priority must be <= 9",
    code: "invalid_argument",
    field: "tasks[2].priority",
  });
  assert.deepEqual(results[3], { error: "disk is full", code: "insufficient_storage" });
  assert.equal(results[4]?.["code"] as unknown, "invalid_argument");
  assert.equal(results.length, 5);
});

test("one item over the payload limit does not spoil a batch", async () => {
  const small = await startHttp({ payloadBytes: 100 });
  const tasks = [
    { command: "q", payload: "x".repeat(200) },
    { command: "q", payload: "y" },
  ];
  const answer = await small.post("/v1/tasks/batch", { tasks });
  const results = answer.body["results"] as Record<string, unknown>[];
  assert.equal(results[0]?.["code"], "payload_too_large");
  assert.ok(results[1]?.["task"]);
  await small.server.close(0);
});

test("ids are given as UUIDs in lower case", async () => {
  const answer = await http.post("/v1/tasks", { command: "q", payload: 1 });
  assert.match(String(answer.body["id"]), /^018f0000-0000-7000-8000-[0-9a-f]{12}$/u);
  assert.equal(idText(1).length, 36);
});
