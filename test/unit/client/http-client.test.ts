import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, test } from "node:test";
import { createHttpClient, QuorumQError } from "../../../src/client/index.ts";
import { ManualEffects } from "./manual-effects.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const servers: Server[] = [];
const id = "01890a5d-ac96-774b-bcce-b302099a8057";
const task = {
  id,
  command: "mail",
  payload: { to: "a" },
  priority: 0,
  state: "ready",
  status: "PENDING",
  attempts: 0,
  maxAttempts: 5,
  tenantId: "default",
  createdAt: "2026-01-02T03:04:05.006Z",
  updatedAt: "2026-01-02T03:04:05.006Z",
};

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(answer: Answer) {
  const seen: { path: string; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const { url = "", headers } = request;
    seen.push({ path: url, authorization: headers.authorization });
    answer(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function json(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

test("a task is looked up with the token", async () => {
  const node = await listen((_, response) => json(response, 200, task));
  const found = await createHttpClient({ endpoints: node.url, token: "t" }).getTask(id);
  assert.deepEqual([found.id, found.queue, found.payload], [id, "mail", { to: "a" }]);
  assert.deepEqual(node.seen, [{ path: `/v1/tasks/${id}`, authorization: "Bearer t" }]);
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
  const gone = await listen(() => undefined);
  servers.pop()?.close();
  const waiting = await listen((_, response) =>
    json(response, 503, { error: "election", code: "no_leader" }),
  );
  const good = await listen((_, response) => json(response, 200, task));
  const endpoints = [gone.url, waiting.url, good.url];
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
