/** What the HTTP client sends again, what it must not, and what it says then. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { createHttpClient, QuorumQError } from "../../../src/client/index.ts";
import {
  closeServers,
  codeIs,
  deadUrl,
  inTurn,
  json,
  listen,
  refusal,
  taskBody,
  taskId,
} from "./http-server.ts";

afterEach(closeServers);

const created = { status: 202, body: taskBody };
const result = { taskId, status: "COMPLETED", completedAt: taskBody.createdAt };

describe("a create without a key", () => {
  test("is not sent again after an unknown outcome", async () => {
    const node = await listen(inTurn(refusal(504, "unknown_outcome"), created));
    const call = createHttpClient({ endpoints: node.url }).create("mail", 1);
    await assert.rejects(call, codeIs("unknown_outcome"));
    assert.equal(node.seen.length, 1);
  });

  test("is not sent again when the connection breaks", async () => {
    const node = await listen((request) => void request.socket.destroy());
    const other = await listen(inTurn(created));
    const endpoints = [node.url, other.url];
    const call = createHttpClient({ endpoints }).create("mail", 1);
    await assert.rejects(call, codeIs("unknown_outcome"));
    assert.equal(node.seen.length, 1);
    assert.equal(other.seen.length, 0);
  });

  test("is not sent again when a proxy lost its node", async () => {
    const node = await listen((_, response) => void response.writeHead(502).end("<html>"));
    const call = createHttpClient({ endpoints: node.url }).create("mail", 1);
    await assert.rejects(call, codeIs("unknown_outcome"));
    assert.equal(node.seen.length, 1);
  });

  test("goes on where nobody listens, and while there is no leader", async () => {
    const node = await listen(inTurn(refusal(503, "no_leader"), created));
    const endpoints = [await deadUrl(), node.url];
    const task = await createHttpClient({ endpoints }).create("mail", 1);
    assert.deepEqual([task.id, task.duplicate], [taskId, false]);
    assert.equal(node.seen.length, 2);
  });

  test("that is out of time is unknown once it was sent, else not done", async () => {
    const silent = await listen(() => undefined);
    const options = { timeoutMs: 50 };
    const sent = createHttpClient({ endpoints: silent.url, ...options }).create("mail", 1);
    await assert.rejects(sent, codeIs("unknown_outcome"));
    const unsent = createHttpClient({ endpoints: await deadUrl(), ...options }).create("mail", 1);
    await assert.rejects(unsent, codeIs("timeout"));
  });

  test("is refused for a full disk at once", async () => {
    const node = await listen(inTurn(refusal(507, "insufficient_storage"), created));
    const call = createHttpClient({ endpoints: node.url }).create("mail", 1);
    await assert.rejects(call, codeIs("insufficient_storage"));
  });
});

describe("what may be repeated is sent again after an unknown outcome", () => {
  test("a create with a key", async () => {
    const node = await listen(
      inTurn(refusal(504, "unknown_outcome"), {
        status: 202,
        body: { ...taskBody, duplicate: true },
      }),
    );
    const client = createHttpClient({ endpoints: node.url });
    const task = await client.create("mail", { n: 1 }, { idempotencyKey: "k", priority: 3 });
    assert.equal(task.duplicate, true);
    const body = { command: "mail", priority: 3, idempotencyKey: "k", payload: { n: 1 } };
    assert.deepEqual(
      node.seen.map((seen) => seen.body),
      [body, body],
    );
  });

  test("a result with a lease token", async () => {
    const node = await listen(
      inTurn(refusal(504, "unknown_outcome"), { status: 200, body: result }),
    );
    const client = createHttpClient({ endpoints: node.url });
    const record = await client.complete(taskId, { leaseToken: 7, result: [1] });
    assert.equal(record.status, "COMPLETED");
    assert.deepEqual(node.seen[1]?.body, { status: "COMPLETED", leaseToken: "7", result: [1] });
  });

  test("but not a result without one", async () => {
    const node = await listen(
      inTurn(refusal(504, "unknown_outcome"), { status: 200, body: result }),
    );
    const call = createHttpClient({ endpoints: node.url }).complete(taskId, { workerId: "w" });
    await assert.rejects(call, codeIs("unknown_outcome"));
  });

  test("a lookup, once, after an internal error", async () => {
    const node = await listen(inTurn(refusal(500, "internal")));
    const call = createHttpClient({ endpoints: node.url }).getTask(taskId);
    await assert.rejects(call, codeIs("internal"));
    assert.equal(node.seen.length, 2);
  });
});

describe("a batch", () => {
  const item = (n: number) => ({ task: { ...taskBody, payload: n } });
  const refused = (code: string) => ({ error: code, code });

  test("sends items again that were refused for now, and keeps the others' answers", async () => {
    const node = await listen(
      inTurn(
        {
          status: 200,
          body: { results: [item(0), refused("no_leader"), refused("invalid_argument")] },
        },
        { status: 200, body: { results: [item(1)] } },
      ),
    );
    const client = createHttpClient({ endpoints: node.url });
    const items = [0, 1, 2].map((payload) => ({ queue: "mail", payload }));
    const outcomes = await client.createBatch(items);
    assert.deepEqual(node.seen[1]?.body, { tasks: [{ command: "mail", payload: 1 }] });
    assert.deepEqual(
      outcomes.map((one) => (one.kind === "created" ? one.task.payload : one.error.code)),
      [0, 1, "invalid_argument"],
    );
  });

  test("is sent again as a whole after an unknown outcome only if all its items may be", async () => {
    for (const isKeyed of [false, true]) {
      const done = { status: 200, body: { results: [{ task: taskBody }, { task: taskBody }] } };
      const node = await listen(inTurn(refusal(504, "unknown_outcome"), done));
      const items = [0, 1].map((i) => ({
        queue: "mail",
        payload: 1,
        ...((isKeyed || i === 0) && { idempotencyKey: `k${i}` }),
      }));
      const call = createHttpClient({ endpoints: node.url }).createBatch(items);
      if (isKeyed) assert.equal((await call).length, 2);
      else await assert.rejects(call, codeIs("unknown_outcome"));
      assert.equal(node.seen.length, isKeyed ? 2 : 1);
    }
  });

  test("does not send an item again that may exist", async () => {
    const node = await listen(
      inTurn({ status: 200, body: { results: [refused("unknown_outcome")] } }),
    );
    const client = createHttpClient({ endpoints: node.url });
    const [outcome] = await client.createBatch([{ queue: "mail", payload: 1 }]);
    assert.equal(outcome?.kind === "refused" && outcome.error.code, "unknown_outcome");
    assert.equal(node.seen.length, 1);
  });

  test("that fails while items are repeated fails these items only", async () => {
    const node = await listen(
      inTurn(
        { status: 200, body: { results: [item(0), refused("unknown_outcome")] } },
        refusal(403, "permission_denied"),
      ),
    );
    const client = createHttpClient({ endpoints: node.url });
    const items = [0, 1].map((n) => ({ queue: "mail", payload: n, idempotencyKey: `k${n}` }));
    const [first, second] = await client.createBatch(items);
    assert.equal(first?.kind, "created");
    // The refusal says nothing of the first try, which may have made it.
    assert.equal(second?.kind === "refused" && second.error.code, "unknown_outcome");
  });
});

test("a signal gives a call up, also between two tries", async () => {
  const reason = new Error("enough");
  const silent = await listen(() => undefined);
  const stop = new AbortController();
  const call = createHttpClient({ endpoints: silent.url }).getTask(taskId, { signal: stop.signal });
  stop.abort(reason);
  await assert.rejects(call, reason);

  const later = new AbortController();
  const endless = await listen((_, response) => {
    json(response, 429, refusal(429, "rate_limited").body, { "retry-after": "1000" });
    setImmediate(() => later.abort(reason));
  });
  const waiting = createHttpClient({ endpoints: endless.url, timeoutMs: 10_000_000 });
  await assert.rejects(waiting.getTask(taskId, { signal: later.signal }), reason);
});

test("the node that answered last is asked first", async () => {
  const good = await listen(inTurn({ status: 200, body: taskBody }));
  const moved = await listen((request, response) =>
    json(response, 307, {}, { location: `${good.url}${request.url}` }),
  );
  const client = createHttpClient({ endpoints: [moved.url, good.url] });
  await client.cancel(taskId);
  await client.cancel(taskId);
  assert.deepEqual([moved.seen.length, good.seen.length], [1, 2]);
});

test("bytes are sent as the JSON that they are, and refused when they are none", async () => {
  const node = await listen(inTurn(created));
  const client = createHttpClient({ endpoints: node.url });
  await client.create("mail", Buffer.from('{"n": 1}'));
  assert.deepEqual(node.seen[0]?.body, { command: "mail", payload: { n: 1 } });
  for (const text of ['1,"priority":9', "{", "", "\ufeff1"]) {
    await assert.rejects(client.create("mail", Buffer.from(text)), codeIs("invalid_argument"));
  }
  await assert.rejects(client.create("mail", Buffer.of(34, 255, 34)), codeIs("invalid_argument"));
  await assert.rejects(client.create("mail", null), codeIs("invalid_argument"));
  await assert.rejects(
    client.create("mail", () => 1),
    codeIs("invalid_argument"),
  );
});

test("an error names the field and the request", async () => {
  const body = { error: "priority must be <= 9", code: "invalid_argument", field: "priority" };
  const node = await listen(inTurn({ status: 400, body: { ...body, requestId: "r-7" } }));
  const call = createHttpClient({ endpoints: node.url }).create("mail", 1, { priority: 10 });
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof QuorumQError);
    assert.deepEqual([error.field, error.requestId], ["priority", "r-7"]);
    return true;
  });
});

test("a node's health is told, well or not, and a silent one times out", async () => {
  const unwell = await listen((_, response) =>
    json(response, 503, { status: "not ready", reason: "no leader" }),
  );
  const client = createHttpClient({ endpoints: await deadUrl(), token: "t" });
  const told = await client.ready({ endpoint: unwell.url });
  assert.deepEqual(told, { isReady: false, reason: "no leader" });
  await assert.rejects(client.ready(), codeIs("draining"));
  const silent = await listen(() => undefined);
  const late = client.ready({ endpoint: silent.url, timeoutMs: 30 });
  await assert.rejects(late, codeIs("timeout"));
});
