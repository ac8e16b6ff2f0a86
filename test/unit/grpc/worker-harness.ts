/** What the tests of workers' streams share: a server for each test, and its frames. */
import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { encodeReady } from "../../../src/api/ready-coder.ts";
import { encodeResult } from "../../../src/api/settle-coder.ts";
import type { NewTask } from "../../../src/router/router.ts";
import { startServer, type TestServer, type worker } from "./harness.ts";

export let on: TestServer;
beforeEach(async () => {
  on = await startServer();
});
afterEach(() => on.stop());

export const task: NewTask = {
  queue: "mail",
  priority: 3,
  maxAttempts: 5,
  delayMs: 0,
  runAtMs: 0,
  extras: { traceParent: "00-1" },
  idempotencyKey: null,
};
export const leader = {
  shard: 0,
  term: 7,
  leaderId: "n2",
  leaderHttp: "http://n2:8080",
  leaderGrpc: "n2:9092",
};
export const ready = (count = 1, queues: string[] = ["mail"]): Buffer => {
  return encodeReady({ queues, leaseSeconds: 60, count });
};

/** Puts tasks into the router. */
export function make(count: number, payload = Buffer.from("{}")): void {
  const batch = on.router.createBatch("acme");
  for (let i = 0; i < count; i++) batch.add(task, payload, 0, payload.length);
  batch.send(null, () => undefined);
}

type Stream = Awaited<ReturnType<typeof worker>>;

export async function take(stream: Stream, count = 1) {
  stream.send(ready(count));
  const event = await stream.next();
  assert.ok(event.kind === "task" || event.kind === "task_batch", event.kind);
  return event.tasks;
}

export async function takeOne(stream: Stream) {
  const [one] = await take(stream);
  assert.ok(one !== undefined);
  return one;
}

export function complete(taskId: string, leaseToken = 0): Buffer {
  return encodeResult({ taskId, leaseToken, status: "COMPLETED", result: null, error: "" });
}
