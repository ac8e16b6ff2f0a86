/** What a worker tells of its tasks and its connection. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ClientLogger,
  FailTask,
  type TaskContext,
  type Worker,
  type WorkerEvents,
} from "../../../src/client/index.ts";
import { code, effects, gate, server, start, turn } from "./worker-harness.ts";

type Told = [event: keyof WorkerEvents, about: unknown];

const taskEvents = [
  "claimed",
  "started",
  "completed",
  "failed",
  "retried",
  "dead",
  "abandoned",
  "lost",
  "canceled",
] as const;

/** Every event of tasks, in order, with the task's payload. */
function listenTo(worker: Worker): Told[] {
  const told: Told[] = [];
  for (const name of taskEvents) {
    worker.on(name, ({ task }) => told.push([name, task.json()]));
  }
  worker.on("stopped", () => told.push(["stopped", null]));
  return told;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

test("a task is told of when it comes, begins and is acknowledged", async () => {
  server.holdAcks = true;
  const worker = await start(() => ({ ok: true }));
  const told = listenTo(worker);
  const results: unknown[] = [];
  worker.on("completed", ({ result, durationMs }) => results.push(result, durationMs >= 0));
  server.addTask("mail", "1");
  await server.until(() => server.settlesOf("result_batch").length === 1);
  assert.deepEqual(told, [
    ["claimed", 1],
    ["started", 1],
  ]);
  server.holdAcks = false;
  server.reset();
  await until(() => told.length === 3);
  assert.deepEqual(told[2], ["completed", 1]);
  assert.deepEqual(results, [{ ok: true }, true]);
});

test("each end has its event, with what the handler threw", async () => {
  const worker = await start(
    (task) => {
      const error = task.json() === 1 ? new FailTask("for good") : new Error("for now");
      throw error;
    },
    { concurrency: 1 },
  );
  const told = listenTo(worker);
  const ends: unknown[] = [];
  worker.on("failed", ({ error }) => ends.push(String(error)));
  worker.on("retried", ({ error, delayMs }) => ends.push(String(error), delayMs));
  worker.on("dead", ({ error }) => ends.push(String(error)));
  server.addTask("mail", "1");
  await until(() => told.some(([name]) => name === "failed"));
  server.nackAck = { applied_delay_ms: 2500 };
  server.addTask("mail", "2");
  await until(() => told.some(([name]) => name === "retried"));
  server.nackAck = { dlq: true };
  server.addTask("mail", "3");
  await until(() => told.some(([name]) => name === "dead"));
  assert.deepEqual(ends, ["FailTask: for good", "Error: for now", 2500, "Error: for now"]);
});

test("what is lost, canceled or handed back is told as that, and nothing else", async () => {
  const work = gate();
  const worker = await start(work.handler, { concurrency: 3 });
  server.refuseSettles.set("result_batch", "lease_lost");
  const told = listenTo(worker);
  server.addTask("mail", "1");
  await until(() => work.running === 1);
  const canceled = server.addTask("mail", "2");
  await until(() => work.running === 2);
  server.cancel(canceled);
  await until(() => told.some(([name]) => name === "canceled"));
  work.open();
  await until(() => told.some(([name]) => name === "lost"));
  server.addTask("mail", "3");
  await until(() => work.running === 1);
  await worker.stop({ graceSeconds: 0 });
  const ends = told.filter(([name]) => name !== "claimed" && name !== "started");
  assert.deepEqual(ends, [
    ["canceled", 2],
    ["lost", 1],
    ["abandoned", 3],
    ["stopped", null],
  ]);
});

test("drained is told once when nothing is held and nothing came for a while", async () => {
  const work = gate();
  const worker = await start(work.handler, { manual: true, concurrency: 2 });
  let drained = 0;
  worker.on("drained", () => drained++);
  await server.until(() => server.readys.length === 1);
  effects.advance(99);
  assert.equal(drained, 0);
  server.addTask("mail", "1");
  await until(() => work.running === 1);
  await server.until(() => server.readys.length === 2);
  effects.advance(1_000);
  assert.equal(drained, 0, "a task is held");
  work.open();
  await server.until(() => server.settlesOf("result_batch").length === 1);
  await turn();
  await until(() => {
    effects.advance(100);
    return drained > 0;
  });
  effects.advance(10_000);
  assert.equal(drained, 1);
});

test("connections and nodes are told of", async () => {
  const worker = await start(() => 1);
  const told: unknown[] = [];
  worker.on("connected", ({ nodeId }) => told.push(nodeId));
  worker.on("disconnected", ({ error }) => told.push(error.code));
  worker.on("error", ({ error, taskId }) => told.push(`error ${error.code} ${taskId}`));
  worker.on("cluster", ({ nodes }) => told.push(nodes.map(({ id }) => id).join()));
  server.tellNodes([{ id: "n1" }, { id: "n2" }]);
  await until(() => told.length === 1);
  server.reset();
  await until(() => told.length === 5);
  assert.deepEqual(told, ["n1,n2", "draining", "error draining undefined", "n1", ""]);
});

test("a listener can be taken away, and one that throws disturbs nobody", async () => {
  const worker = await start(() => 1);
  const seen: string[] = [];
  const uncaught: unknown[] = [];
  const handlers = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", (error) => uncaught.push(error));
  const gone = (): void => void seen.push("gone");
  worker.on("claimed", gone).off("claimed", gone);
  worker.once("claimed", () => {
    seen.push("once");
    throw new Error("a listener's own");
  });
  worker.on("completed", ({ task }) => seen.push(String(task.json())));
  server.addTask("mail", "1");
  await until(() => seen.length === 2);
  server.addTask("mail", "2");
  await until(() => seen.length === 3);
  for (const handler of handlers) process.on("uncaughtException", handler);
  assert.deepEqual(seen, ["once", "1", "2"]);
  assert.equal(String(uncaught[0]), "Error: a listener's own");
});

test("stop in a listener is as good as anywhere", async () => {
  const worker = await start(() => 1);
  const stopped = new Promise<void>((resolve) => {
    worker.once("completed", () => resolve(worker.stop()));
  });
  server.addTask("mail", "1");
  await stopped;
  await assert.rejects(worker.start(), (error) => code(error) === "closed");
});

test("a handler has its task's logger and trace", async () => {
  const lines: object[] = [];
  const logger = (bound: object): ClientLogger => {
    const line = (fields: object, text: string) => void lines.push({ ...bound, ...fields, text });
    const child = (more: object) => logger({ ...bound, ...more });
    return { debug: line, info: line, warn: line, error: line, child };
  };
  const traces: TaskContext["trace"][] = [];
  await start(
    (_task, context) => {
      context.logger.info({ step: 1 }, "at work");
      traces.push(context.trace);
    },
    { logger: logger({ app: "a" }) },
  );
  const task = server.addTask("mail", "1", { trace_parent: "00-1-2-01", trace_state: "a=b" });
  await until(() => traces.length === 1);
  server.addTask("mail", "2");
  await until(() => traces.length === 2);
  assert.deepEqual(traces, [{ traceParent: "00-1-2-01", traceState: "a=b" }, {}]);
  assert.deepEqual(
    lines.find((line) => "step" in line),
    { app: "a", taskId: task.id, queue: "mail", attempt: 1, step: 1, text: "at work" },
  );
  assert.ok(
    lines.some((line) => "nodeId" in line),
    "the SDK's own lines go there, too",
  );
});
