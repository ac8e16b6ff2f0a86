import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createHttpClient, QuorumQError } from "../../../src/client/index.ts";
import { closeServers, codeIs, deadUrl, json, listen, taskBody, taskId } from "./http-server.ts";
import { ManualEffects } from "./manual-effects.ts";

const id = taskId;
const task = taskBody;

afterEach(closeServers);

test("a task is looked up with the token", async () => {
  const node = await listen((_, response) => json(response, 200, task));
  const found = await createHttpClient({ endpoints: node.url, token: "t" }).getTask(id);
  assert.deepEqual([found.id, found.queue, found.payload], [id, "mail", { to: "a" }]);
  const [{ path, authorization } = {}] = node.seen;
  assert.deepEqual([path, authorization], [`/v1/tasks/${id}`, "Bearer t"]);
});

test("a result is null until the task has ended", async () => {
  const result = { taskId: id, status: "COMPLETED", result: 7, completedAt: task.createdAt };
  const bodies = [
    { task, result: null },
    { task, result },
  ];
  const node = await listen((_, response) => json(response, 200, bodies.shift()));
  const client = createHttpClient({ endpoints: node.url });
  assert.equal((await client.getResult(id)).result, null);
  assert.equal((await client.getResult(id, { waitSeconds: 5 })).result?.result, 7);
  assert.equal(node.seen[1]?.path, `/v1/tasks/${id}/result?waitSeconds=5`);
});

test("a wait that a stopping node ends early goes on", async () => {
  const result = { taskId: id, status: "COMPLETED", completedAt: task.createdAt };
  const bodies = [
    { task, result: null },
    { task, result },
  ];
  const node = await listen((_, response) => json(response, 200, bodies.shift()));
  const client = createHttpClient({ endpoints: node.url });
  const told = await client.getResult(id, { waitSeconds: 60 });
  assert.equal(told.result?.status, "COMPLETED");
  assert.match(node.seen[1]?.path ?? "", /waitSeconds=5[0-9]$/u);
});

test("an error body's code is the error's code, and is not tried again", async () => {
  const node = await listen((_, response) =>
    json(response, 409, { error: "it has ended", code: "already_settled" }),
  );
  const call = createHttpClient({ endpoints: node.url }).cancel(id);
  await assert.rejects(call, codeIs("already_settled"));
  assert.equal(node.seen.length, 1);
});

test("a redirect to a member keeps the token, one to a stranger loses it", async () => {
  const other = await listen((_, response) => json(response, 200, task));
  const nodes: unknown[] = [];
  const first = await listen((request, response) => {
    if (request.url === "/cluster/nodes") json(response, 200, { nodes, leader: null });
    else json(response, 307, {}, { location: `${other.url}${request.url}` });
  });
  const client = createHttpClient({ endpoints: first.url, token: "t" });
  await client.cancel(id);
  nodes.push({ id: "n2", http: other.url });
  await client.cancel(id);
  assert.deepEqual(
    other.seen.map((seen) => seen.authorization),
    [undefined, "Bearer t"],
  );
});

test("redirects end after three hops", async () => {
  const node = await listen((request, response) =>
    json(response, 307, { error: "not leader", code: "not_leader" }, { location: request.url }),
  );
  // The first wait between tries is also the last: it moves the clock past the deadline.
  const effects = new ManualEffects();
  const { after } = effects.timers;
  effects.timers.after = (delayMs, callback) => {
    const timer = after(delayMs, callback);
    if (delayMs < 1_000) setImmediate(() => effects.advance(30_000));
    return timer;
  };
  const call = createHttpClient({ endpoints: node.url, effects }).cancel(id);
  await assert.rejects(call, (error) => {
    assert.ok(codeIs("timeout")(error));
    return error instanceof QuorumQError && codeIs("not_leader")(error.cause);
  });
  assert.equal(node.seen.length, 4);
});

test("a node without a leader, and a dead one, are passed over", async () => {
  const gone = await deadUrl();
  const waiting = await listen((_, response) =>
    json(response, 503, { error: "election", code: "no_leader" }),
  );
  const good = await listen((_, response) => json(response, 200, task));
  const endpoints = [gone, waiting.url, good.url];
  assert.equal((await createHttpClient({ endpoints }).getTask(id)).id, id);
});

test("a node that never answers ends with timeout", async () => {
  const node = await listen(() => undefined);
  const call = createHttpClient({ endpoints: node.url, timeoutMs: 50 }).getTask(id);
  await assert.rejects(call, codeIs("timeout"));
});

test("what is no URL is refused", () => {
  assert.throws(
    () => createHttpClient({ endpoints: "127.0.0.1:8080" }),
    codeIs("invalid_argument"),
  );
});

test("a hand-over that fails is told, not tried again: writes stand while it is tried", async () => {
  const node = await listen((_, response) =>
    json(response, 408, { error: "n2 did not take over; n1 leads on", code: "timeout" }),
  );
  const call = createHttpClient({ endpoints: node.url }).transferLeader({ to: "n2" });
  await assert.rejects(call, codeIs("timeout"));
  assert.equal(node.seen.length, 1);
});
