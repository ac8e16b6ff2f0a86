import assert from "node:assert/strict";
import { test } from "node:test";
import { FailTask, RetryTask } from "../../../src/client/index.ts";
import { gate, results, server, start, turn } from "./worker-harness.ts";

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
