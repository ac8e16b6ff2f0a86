import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import {
  createWorker,
  FailTask,
  QuorumQError,
  RetryTask,
  type TaskHandler,
  type Worker,
  type WorkerOptions,
} from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";
import { ManualEffects } from "./manual-effects.ts";

let server: FakeServer;
let endpoint: string;
let effects: ManualEffects;
const workers: Worker[] = [];
const errors: { code: string; taskId: string | undefined }[] = [];

beforeEach(async () => {
  server = new FakeServer();
  endpoint = await server.listen();
  effects = new ManualEffects();
  errors.length = 0;
});

afterEach(async () => {
  server.holdAcks = false;
  server.refuseSettles.clear();
  await Promise.all(workers.splice(0).map((worker) => worker.stop({ graceSeconds: 0 })));
  server.close();
});

/** Real timers, since no test waits for one; `manual` for those that move the clock. */
async function start(
  handler: TaskHandler,
  options: Partial<WorkerOptions> & { readonly manual?: boolean } = {},
): Promise<Worker> {
  const { manual, ...rest } = options;
  const worker = createWorker(
    { endpoints: endpoint, ...(manual === true ? { effects } : {}) },
    {
      queues: ["mail"],
      handler,
      onError: ({ code }, taskId) => errors.push({ code, taskId }),
      ...rest,
    },
  );
  workers.push(worker);
  await worker.start();
  return worker;
}

/** A handler that ends when the test says so. */
function gate() {
  const waiting: (() => void)[] = [];
  const aborted: unknown[] = [];
  return {
    aborted,
    get running() {
      return waiting.length;
    },
    open: () => {
      for (const resolve of waiting.splice(0)) resolve();
    },
    handler: (_task: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => aborted.push(signal.reason));
        waiting.push(resolve);
      }),
  };
}

function results() {
  return server.settlesOf("result_batch").flatMap((frame) => frame.results);
}

function code(error: unknown): unknown {
  return error instanceof QuorumQError ? error.code : error;
}

/** What a client sent before has arrived once a Ready or settle sent after it has. */
async function turn(): Promise<void> {
  await new Promise(setImmediate);
}

test("hello asks for leases to be handed back on close, and to follow the leader", async () => {
  await start(() => undefined, { workerId: "w1" });
  const { worker_id, release_on_close, follow_leader } = server.hellos[0];
  assert.deepEqual([worker_id, release_on_close, follow_leader], ["w1", true, true]);
});

test("a handler's value is the result, with the lease token of its claim", async () => {
  await start((task) => ({ got: task.json(), attempt: task.attempt }));
  const task = server.addTask("mail", '{"a":1}');
  await server.until(() => results().length === 1);
  const [result] = results();
  assert.equal(result.task_id, task.id);
  assert.equal(result.lease_token, task.lease_token);
  assert.equal(result.status, "COMPLETED");
  assert.equal(result.result_json.toString(), '{"got":{"a":1},"attempt":1}');
});

test("a handler without a value completes without a result", async () => {
  await start(() => undefined);
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
  assert.equal(results()[0].result_json.length, 0);
});

test("one Ready asks for all free places, and the next one for those that came free", async () => {
  const work = gate();
  await start(work.handler, { concurrency: 5, leaseSeconds: 60 });
  await server.until(() => server.readys.length === 1);
  const [first] = server.readys;
  assert.deepEqual([first.commands, first.lease_seconds, first.count], [["mail"], 60, 5]);
  server.addTask("mail", "1");
  await server.until(() => server.readys.length === 2);
  assert.equal(server.readys[1].count, 4);
});

test("a full worker asks for nothing until a place comes free", async () => {
  const work = gate();
  await start(work.handler, { concurrency: 2 });
  server.addTask("mail", "1");
  await server.until(() => server.readys.length === 2);
  server.addTask("mail", "2");
  while (work.running < 2) await turn();
  work.open();
  await server.until(() => server.readys.length === 3);
  assert.equal(server.readys[2].count, 2);
});

test("prefetched tasks wait for a handler, in order", async () => {
  const seen: string[] = [];
  const work = gate();
  await start(
    (task, context) => {
      seen.push(task.payload.toString());
      return work.handler(task, context);
    },
    { concurrency: 1, prefetch: 2 },
  );
  await server.until(() => server.readys.length === 1);
  for (const payload of ["1", "2", "3"]) server.addTask("mail", payload);
  await server.until(() => server.readys.length >= 2);
  while (seen.length < 3) {
    assert.ok(work.running <= 1);
    work.open();
    await turn();
  }
  assert.deepEqual(seen, ["1", "2", "3"]);
  work.open();
});

test("no Ready goes out while one is unanswered, though places come free", async () => {
  const work = gate();
  await start(work.handler, { concurrency: 3 });
  for (let i = 1; i <= 3; i++) {
    await server.until(() => server.readys.length >= i);
    server.addTask("mail", "1");
    while (work.running < 1) await turn();
    await server.until(() => server.readys.length >= i + 1);
    work.open();
    await server.until(() => results().length === i);
  }
  assert.equal(server.readysAtOnce, 1);
});

test("results that come in one turn share a frame", async () => {
  const work = gate();
  await start(work.handler, { concurrency: 3 });
  await server.until(() => server.readys.length === 1);
  for (let i = 0; i < 3; i++) server.addTask("mail", String(i));
  while (work.running < 3) await turn();
  work.open();
  await server.until(() => results().length === 3);
  assert.equal(server.settlesOf("result_batch").length, 1);
});

test("a thrown error is a nack with its text, by the backoff policy", async () => {
  await start(() => {
    throw new Error("smtp down");
  });
  const task = server.addTask("mail", "1");
  await server.until(() => server.settlesOf("nack").length === 1);
  const [nack] = server.settlesOf("nack");
  assert.deepEqual(
    [nack.task_id, nack.reason, nack.delay_seconds, nack.immediate, nack.lease_token],
    [task.id, "smtp down", 0, false, task.lease_token],
  );
});

test("RetryTask chooses the delay; 0 is at once", async () => {
  await start((task) => {
    throw new RetryTask("later", { delaySeconds: Number(task.json()) });
  });
  server.addTask("mail", "2.5");
  await server.until(() => server.settlesOf("nack").length === 1);
  server.addTask("mail", "0");
  await server.until(() => server.settlesOf("nack").length === 2);
  const [parts, now] = server.settlesOf("nack");
  assert.deepEqual([parts.delay_seconds, parts.immediate], [3, false]);
  assert.deepEqual([now.delay_seconds, now.immediate], [0, true]);
});

test("FailTask fails the task for good, with a result if it has one", async () => {
  await start(() => {
    throw new FailTask("no such account", { result: { account: 7 } });
  });
  server.addTask("mail", "1");
  await server.until(() => results().length === 1);
  const [result] = results();
  assert.deepEqual([result.status, result.error], ["FAILED", "no such account"]);
  assert.equal(result.result_json.toString(), '{"account":7}');
});

test("a value that JSON has no form of is a nack", async () => {
  await start(() => 1n);
  server.addTask("mail", "1");
  await server.until(() => server.settlesOf("nack").length === 1);
  assert.match(server.settlesOf("nack")[0].reason, /JSON/u);
});

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
