/**
 * Lists and admin actions over real shards: pages are complete and in order whatever lies in memory
 * or in the store, and while others write.
 */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import type { ListQuery } from "../../../src/router/admin.ts";
import type { TaskState, TaskView } from "../../../src/router/router.ts";
import { openShards, type Shards } from "./shards.ts";

let node: Shards;
afterEach(() => node.close());

const { signal } = new AbortController();
const all = { state: null, queue: null, limit: 1000, after: null };

async function pages(
  query: Partial<ListQuery>,
  tenant = "t",
): Promise<{ readonly tasks: TaskView[]; readonly count: number }> {
  const tasks: TaskView[] = [];
  let after: Buffer | null = null;
  for (let count = 1; ; count++) {
    const page = await node.admin.list(tenant, { ...all, ...query, after });
    tasks.push(...page.tasks);
    if (page.next === null) return { tasks, count };
    assert.ok(after === null || Buffer.compare(after, page.next) < 0, "pages go on");
    after = page.next;
  }
}

function texts(ids: readonly Buffer[]): string[] {
  return ids.map((id) => formatTaskId(id)).sort();
}

/** So many dead tasks of a queue. */
async function makeDead(queue: string, count: number): Promise<void> {
  await node.create("t", Array(count).fill({ queue, maxAttempts: 1 }));
  for (let left = count; left > 0; ) {
    for (const grant of await node.claim("t", queue, 1000)) {
      left -= grant.count;
      await node.settle("t", (batch) => {
        for (let i = 0; i < grant.count; i++) {
          batch.nack(grant.ids, 16 * i, grant.leaseToken, -1, "no");
        }
      });
    }
  }
}

/** Moves everything to the store, and out of memory. */
async function forget(): Promise<void> {
  while (node.shards.some((shard) => shard.stats().overlayOps > 0)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const { state } of node.shards) state.runs.clear();
}

describe("list", () => {
  for (const shards of [1, 3]) {
    test(`gives every task once, by id, over ${shards} shards and pages of any size`, async () => {
      node = await openShards(shards);
      const ids: Buffer[] = [];
      for (let i = 0; i < 30; i++) {
        ids.push(...(await node.create("t", Array(i).fill({}))));
        ids.push(...(await node.create("t", [{ idempotencyKey: `k${i}` }])));
        if (i === 15) await forget();
      }
      await node.create("other", [{}, {}]);
      for (const limit of [1, 7, 1000]) {
        const { tasks } = await pages({ limit });
        assert.deepEqual(
          tasks.map((task) => task.id),
          texts(ids),
        );
      }
      assert.equal((await pages({}, "nobody")).tasks.length, 0);
    });
  }

  test("filters by state and queue", async () => {
    node = await openShards(2);
    await node.create("t", Array(50).fill({ queue: "a" }));
    await node.create("t", [{ queue: "b", delayMs: 60_000 }, { queue: "b" }]);
    const grants = await node.claim("t", "a", 20);
    for (const grant of grants) {
      await node.settle("t", (batch) => batch.complete(grant.ids, 0, grant.leaseToken, null));
    }
    const count = async (state: TaskState | null, queue: string | null) => {
      const { tasks } = await pages({ state, queue, limit: 9 });
      assert.ok(tasks.every((task) => state === null || task.state === state));
      assert.ok(tasks.every((task) => queue === null || task.queue === queue));
      return tasks.length;
    };
    assert.equal(await count("leased", null), 20 - grants.length);
    assert.equal(await count("completed", "a"), grants.length);
    assert.equal(await count("delayed", null), 1);
    assert.equal(await count("ready", "b"), 1);
    assert.equal(await count(null, "a"), 50);
    assert.equal(await count(null, "none"), 0);
    await forget();
    assert.equal(await count("leased", null), 20 - grants.length);
    assert.equal(await count(null, "b"), 2);
  });

  test("misses nothing and repeats nothing while checkpoints are written", async () => {
    node = await openShards(2);
    const ids: Buffer[] = [];
    let isOver = false;
    const writing = (async () => {
      for (let i = 0; i < 400; i++) ids.push(...(await node.create("t", Array(20).fill({}))));
      isOver = true;
    })();
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    while (!isOver) {
      const before = texts(ids);
      const seen = (await pages({ limit: 200 })).tasks.map((task) => task.id);
      assert.equal(new Set(seen).size, seen.length);
      const has = new Set(seen);
      assert.deepEqual(
        before.filter((id) => !has.has(id)),
        [],
      );
      await turn();
    }
    await writing;
  });

  test("a page looks at 20,000 rows: it may be empty and still not the last", async () => {
    node = await openShards(1);
    for (let i = 0; i < 41; i++) {
      const keys = Array.from({ length: 500 }, (_, j) => ({ idempotencyKey: `${i}-${j}` }));
      await node.create("t", keys);
    }
    const page = await node.admin.list("t", { ...all, state: "dead" });
    assert.deepEqual(page.tasks, []);
    assert.ok(page.next !== null);
    const last = await node.admin.list("t", { ...all, state: "dead", after: page.next });
    assert.equal(last.next, null);
  });

  test("a page ends when its payloads have their bytes", async () => {
    node = await openShards(1);
    const payload = JSON.stringify("x".repeat(1 << 20));
    for (let i = 0; i < 6; i++) await node.create("t", [{}], payload);
    const page = await node.admin.list("t", all);
    assert.ok(page.tasks.length < 6 && page.tasks.length * payload.length > limits.listBytes);
    assert.equal((await pages({})).tasks.length, 6);
  });

  test("never holds the loop up", async () => {
    node = await openShards(1);
    for (let i = 0; i < 30; i++) {
      const keys = Array.from({ length: 500 }, (_, j) => ({ idempotencyKey: `${i}-${j}` }));
      await node.create("t", keys);
    }
    let turns = 0;
    const count = () => {
      turns++;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    await node.admin.list("t", { ...all, state: "dead" });
    clearImmediate(next);
    assert.ok(turns >= 15, `${turns} turns of the loop for 15,000 rows`);
  });
});

describe("queues", () => {
  test("are listed by name in pages, with counts over all shards", async () => {
    node = await openShards(3);
    for (let i = 0; i < 25; i++) {
      await node.create("t", [{ queue: `q${String(i).padStart(2, "0")}` }]);
    }
    await node.create("other", [{ queue: "foreign" }]);
    const names: string[] = [];
    let after = "";
    for (;;) {
      const page = await node.admin.queues("t", { after, limit: 10 });
      names.push(...page.queues.map((queue) => queue.queue));
      assert.ok(page.queues.every((queue) => queue.ready === 1));
      if (page.next === null) break;
      after = page.next;
    }
    assert.equal(names.length, 25);
    assert.deepEqual(names, [...names].sort());
  });

  test("tell how old the oldest ready task is, and their pace, also from the store", async () => {
    node = await openShards(1);
    await node.create("t", Array(100).fill({ queue: "a" }));
    await new Promise((resolve) => setTimeout(resolve, 30));
    await node.create("t", [{ queue: "a", priority: 9 }]);
    const seen = await node.admin.queue("t", "a");
    assert.equal(seen.ready, 101);
    assert.ok(
      seen.oldestReadyAgeMs >= 25 && seen.oldestReadyAgeMs < 5000,
      `${seen.oldestReadyAgeMs}`,
    );
    assert.ok(seen.createdPerSecond > 5, `${seen.createdPerSecond}`);
    assert.equal(seen.settledPerSecond, 0);
    await forget();
    for (const queue of node.shards[0]?.state.queues.values() ?? []) queue.lists = null;
    const read = await node.admin.queue("t", "a");
    assert.ok(read.oldestReadyAgeMs >= seen.oldestReadyAgeMs);
  });

  test("one that nobody used shows zeros", async () => {
    node = await openShards(1);
    assert.deepEqual(await node.admin.queue("t", "none"), {
      queue: "none",
      ready: 0,
      delayed: 0,
      leased: 0,
      dead: 0,
      paused: false,
      oldestReadyAgeMs: 0,
      createdPerSecond: 0,
      settledPerSecond: 0,
    });
  });

  test("pause and resume them on every shard", async () => {
    node = await openShards(3);
    await node.create("t", Array(10).fill({}));
    assert.equal(await node.admin.pause("t", "q", true), true);
    assert.equal((await node.admin.queue("t", "q")).paused, true);
    assert.equal((await node.claim("t", "q", 10)).length, 0);
    assert.equal(await node.admin.pause("t", "q", false), false);
    assert.ok((await node.claim("t", "q", 10)).length > 0);
  });
});

describe("redrive", () => {
  test("brings dead tasks of every shard back, in steps, up to the limit", async () => {
    node = await openShards(2);
    await makeDead("q", 2500);
    assert.equal(await node.admin.redrive("t", "q", { ids: null, limit: 300, signal }), 300);
    assert.equal(await node.admin.redrive("t", "q", { ids: null, limit: 1e9, signal }), 2200);
    assert.equal(await node.admin.redrive("t", "q", { ids: null, limit: 1e9, signal }), 0);
    const { ready, dead } = await node.admin.queue("t", "q");
    assert.deepEqual([ready, dead], [2500, 0]);
  });

  test("takes named tasks of that queue and tenant only, and only dead ones", async () => {
    node = await openShards(2);
    await makeDead("q", 4);
    await makeDead("p", 1);
    const live = await node.create("t", [{}]);
    const dead = (await pages({ state: "dead" })).tasks;
    const bytes = dead.map((task) => Buffer.from(task.id.replaceAll("-", ""), "hex"));
    const choice = { ids: [...bytes, ...live, Buffer.alloc(16)], limit: 1e9, signal };
    assert.equal(await node.admin.redrive("other", "q", choice), 0);
    assert.equal(await node.admin.redrive("t", "q", choice), 4);
    assert.equal((await node.admin.queue("t", "p")).dead, 1);
  });

  test("stops between two steps when nobody waits any more", async () => {
    node = await openShards(1);
    await makeDead("q", 3000);
    const gone = new AbortController();
    const running = node.admin.redrive("t", "q", { ids: null, limit: 1e9, signal: gone.signal });
    gone.abort();
    assert.ok((await running) <= 1000);
  });
});

describe("purge", () => {
  test("removes what is in one of the states, on every shard and in steps", async () => {
    node = await openShards(2);
    const keys = Array.from({ length: 1500 }, (_, j) => ({ idempotencyKey: `k${j}` }));
    await node.create("t", keys);
    await node.create("t", Array(1000).fill({ delayMs: 60_000 }));
    await node.create("t", [{ queue: "p" }]);
    const choice = { ids: null, states: ["ready"] as const, limit: 1e9, signal };
    assert.equal(await node.admin.purge("t", "q", { ...choice, limit: 100 }), 100);
    assert.equal(await node.admin.purge("t", "q", choice), 1400);
    assert.equal((await node.admin.queue("t", "q")).delayed, 1000);
    assert.equal((await pages({})).tasks.length, 1001);
  });

  test("removes named tasks, whatever their state", async () => {
    node = await openShards(2);
    const ids = await node.create("t", Array(5).fill({}));
    await node.claim("t", "q", 2);
    const choice = { ids, states: null, limit: 1e9, signal };
    assert.equal(await node.admin.purge("other", "q", choice), 0);
    assert.equal(await node.admin.purge("t", "q", choice), 5);
    assert.equal((await pages({})).tasks.length, 0);
    await assert.rejects(node.router.task("t", ids[0] as Buffer, "linearizable"), {
      code: "not_found",
    });
  });
});

describe("cleanup", () => {
  test("removes ended tasks whose retention ends before the time, of its tenant only", async () => {
    node = await openShards(2);
    const end = async (tenant: string, count: number) => {
      await node.create(tenant, Array(count).fill({}));
      for (let left = count; left > 0; ) {
        for (const grant of await node.claim(tenant, "q", count)) {
          left -= grant.count;
          await node.settle(tenant, (batch) => {
            for (let i = 0; i < grant.count; i++) {
              batch.complete(grant.ids, 16 * i, grant.leaseToken, null);
            }
          });
        }
      }
    };
    await end("t", 900);
    await end("other", 10);
    await makeDead("q", 700);
    await node.create("t", [{}]);
    const now = Date.now();
    const clean = (beforeMs: number, limit: number) =>
      node.admin.cleanup("t", { beforeMs, limit, signal });
    assert.equal(await clean(now, 1e9), 0);
    assert.equal(await clean(now + 2 * 86_400_000, 500), 500);
    assert.equal(await clean(now + 2 * 86_400_000, 1e9), 400);
    await forget();
    assert.equal(await clean(now + 15 * 86_400_000, 1e9), 700);
    assert.equal((await pages({})).tasks.length, 1);
    assert.equal((await pages({}, "other")).tasks.length, 10);
  });
});

describe("the cluster", () => {
  test("is this node, leader of every shard", async () => {
    node = await openShards(2);
    const { enabled, groups } = node.admin.raftStatus();
    assert.equal(enabled, false);
    assert.deepEqual(
      groups.map((group) => [group.shard, group.isLeader, group.leaderId, group.voters]),
      [
        [0, true, "n1", ["n1"]],
        [1, true, "n1", ["n1"]],
      ],
    );
    assert.ok(groups.every((group) => group.lastIndex >= group.commitIndex));
    const { nodes, leader } = node.admin.clusterNodes();
    assert.equal(leader, "n1");
    assert.deepEqual(nodes[0]?.shardsLed, [0, 1]);
  });
});
