/** The HTTP client of the SDK, every call of it, against the built server as a process. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createHttpClient, type HttpClient, QuorumQError } from "../../src/client/index.ts";
import { makeDirectory, type Server, startServer } from "./process.ts";

const directory = makeDirectory();
let server: Server;
let http: HttpClient;

before(async () => {
  server = await startServer(directory.path);
  http = createHttpClient({ endpoints: server.url });
});

after(async () => {
  server.signal("SIGKILL");
  await server.ended;
  directory.remove();
});

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

async function claimed(queue: string) {
  const task = await http.claim({ queues: [queue], leaseSeconds: 30 });
  assert.ok(task !== null);
  return task;
}

describe("tasks", () => {
  test("are created with every option, and again by their key", async () => {
    const options = {
      priority: 7,
      maxAttempts: 2,
      runAt: new Date(Date.now() + 60_000),
      idempotencyKey: "all-options",
      webhook: "https://example.org/hook",
      traceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      traceState: "a=b",
    };
    const task = await http.create("options", { n: 1 }, options);
    assert.deepEqual(
      [task.state, task.priority, task.maxAttempts, task.runAt, task.duplicate],
      ["delayed", 7, 2, options.runAt.toISOString(), false],
    );
    const again = await http.create("options", { n: 1 }, options);
    assert.deepEqual([again.id, again.duplicate], [task.id, true]);
    const { webhook, traceParent, traceState, payload } = await http.getTask(task.id);
    const { webhook: w, traceParent: p, traceState: s } = options;
    assert.deepEqual([webhook, traceParent, traceState, payload], [w, p, s, { n: 1 }]);
    const other = http.create("options", { n: 2 }, options);
    await assert.rejects(other, codeIs("idempotency_conflict"));
  });

  test("are created as a batch, each with its answer", async () => {
    const outcomes = await http.createBatch([
      { queue: "batch", payload: 1 },
      { queue: "no name!", payload: 2 },
      { queue: "batch", payload: 3, priority: 9 },
    ]);
    assert.deepEqual(
      outcomes.map((one) => (one.kind === "created" ? one.task.payload : one.error.code)),
      [1, "invalid_argument", 3],
    );
  });

  test("are listed page by page, by state and queue", async () => {
    const items = Array.from({ length: 25 }, (_, payload) => ({ queue: "listed", payload }));
    await http.createBatch(items);
    const page = await http.listTasks({ queue: "listed", limit: 10 });
    assert.equal(page.tasks.length, 10);
    assert.ok(page.cursor !== undefined);
    const seen = new Set<unknown>();
    for await (const task of http.allTasks({ queue: "listed", state: "ready", limit: 10 })) {
      seen.add(task.payload);
    }
    assert.equal(seen.size, 25);
    for await (const task of http.allTasks({ queue: "listed", state: "dead" }))
      assert.fail(task.id);
  });

  test("are canceled once, and read with each consistency", async () => {
    const { id } = await http.create("cancel", 1);
    assert.equal((await http.cancel(id)).state, "canceled");
    for (const consistency of ["linearizable", "stale", "leader"] as const) {
      assert.equal((await http.getTask(id, { consistency })).state, "canceled");
    }
    const { result } = await http.getResult(id, { waitSeconds: 1 });
    assert.equal(result?.status, "FAILED");
    await assert.rejects(http.getTask("0"), codeIs("not_found"));
  });
});

describe("work", () => {
  test("is claimed, kept and completed", async () => {
    await http.create("work", { n: 1 });
    const task = await claimed("work");
    assert.deepEqual([task.state, task.attempts, task.payload], ["leased", 1, { n: 1 }]);
    const { leaseToken } = task;
    const beat = await http.heartbeat(task.id, { leaseToken, extendSeconds: 600 });
    assert.ok(beat.leaseUntil > task.leaseUntil);
    const result = await http.complete(task.id, { leaseToken, result: { ok: true } });
    assert.deepEqual([result.status, result.result], ["COMPLETED", { ok: true }]);
    assert.deepEqual(await http.complete(task.id, { leaseToken, result: { ok: true } }), result);
    const late = http.fail(task.id, { leaseToken, error: "no" });
    await assert.rejects(late, codeIs("lease_lost"));
    assert.equal(await http.claim({ queues: ["work"], waitSeconds: 1 }), null);
  });

  test("is handed back, tried again, and dead after its last attempt", async () => {
    await http.create("back", 1, { maxAttempts: 2 });
    const first = await claimed("back");
    await http.abandon(first.id, first);
    const second = await claimed("back");
    assert.equal(second.attempts, 1);
    const retried = await http.nack(second.id, { ...second, delaySeconds: 0, reason: "soon" });
    assert.deepEqual(retried, { status: "requeued", delaySeconds: 0 });
    const third = await claimed("back");
    assert.equal((await http.getTask(third.id)).attempts, 2);
    const dead = await http.nack(third.id, { leaseToken: third.leaseToken, reason: "over" });
    assert.equal(dead.status, "dlq");
    assert.equal((await http.getTask(third.id)).state, "dead");
    assert.deepEqual(await http.redrive("back"), { count: 1, more: false });
    assert.equal((await http.getTask(third.id)).state, "ready");
  });

  test("is settled as a batch, each with its answer", async () => {
    await http.createBatch([1, 2, 3].map((payload) => ({ queue: "settle", payload })));
    const tasks = await http.claimBatch({ queues: ["settle"], count: 10 });
    assert.equal(tasks.length, 3);
    const [a, b, c] = tasks.map(({ id, leaseToken }) => ({ taskId: id, leaseToken }));
    assert.ok(a && b && c);
    const outcomes = await http.resultBatch([
      { ...a, status: "COMPLETED", result: "done" },
      { ...b, status: "FAILED", error: "broken" },
      { ...c, leaseToken: "1", status: "COMPLETED" },
    ]);
    assert.deepEqual(
      outcomes.map((one) => (one.kind === "settled" ? one.result.status : one.error.code)),
      ["COMPLETED", "FAILED", "lease_lost"],
    );
    const failed = await http.getResult(b.taskId);
    assert.equal(failed.result?.error, "broken");
    assert.deepEqual(await http.claimBatch({ queues: ["settle"] }), []);
  });
});

describe("admin", () => {
  test("queues are counted, paused, purged and cleaned up", async () => {
    await http.createBatch([1, 2].map((payload) => ({ queue: "admin", payload })));
    assert.deepEqual(await http.pause("admin"), { paused: true });
    assert.equal(await http.claim({ queues: ["admin"] }), null);
    const queue = await http.queue("admin");
    assert.deepEqual([queue.queue, queue.ready, queue.paused], ["admin", 2, true]);
    assert.deepEqual(await http.resume("admin"), { paused: false });
    const purged = await http.purge("admin", { states: ["ready"] });
    assert.deepEqual(purged, { count: 2, more: false });
    const names = new Set<string>();
    for await (const { queue: name } of http.allQueues({ limit: 2 })) names.add(name);
    assert.ok(names.has("admin") && names.size > 3);
    const cleaned = await http.cleanup({ before: 0, limit: 5 });
    assert.deepEqual(cleaned, {
      count: 0,
      more: false,
      before: "1970-01-01T00:00:00.000Z",
      limit: 5,
    });
  });

  test("the node tells of itself", async () => {
    const { enabled, groups } = await http.raftStatus();
    assert.deepEqual([enabled, groups.length, groups[0]?.isLeader], [false, 1, true]);
    const { nodes, leader } = await http.clusterNodes();
    assert.deepEqual([nodes.length, nodes[0]?.isLeader, leader], [1, true, nodes[0]?.id]);
    const health = await http.health();
    assert.deepEqual([health.isReady, health.shards[0]?.role], [true, "leader"]);
    assert.deepEqual(await http.ready(), { isReady: true, reason: undefined });
  });

  test("a node alone has no members to change", async () => {
    const member = { id: "n2", raft: "127.0.0.1:7000" };
    for (const call of [http.addMember(member), http.removeMember("n2"), http.transferLeader()]) {
      await assert.rejects(call, codeIs("invalid_argument"));
    }
  });
});
