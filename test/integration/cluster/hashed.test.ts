/** The hash-routed cluster: one shard per node, no copies, the same router. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createProducer, createWorker } from "../../../src/client/index.ts";
import { runQuorumq } from "../process.ts";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

interface TaskJson {
  readonly id: string;
  readonly leaseToken: string;
  readonly payload: unknown;
  readonly state: string;
}

function call(
  node: ClusterNode,
  path: string,
  body?: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(`${node.url}/v1${path}`, {
    ...(body !== undefined && {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
    redirect: "manual",
    ...init,
  });
}

async function json<T>(answer: Response, status: number): Promise<T> {
  const text = await answer.text();
  assert.equal(answer.status, status, text);
  return JSON.parse(text) as T;
}

async function create(node: ClusterNode, command: string, payload: unknown): Promise<TaskJson> {
  return json(await call(node, "/tasks", { command, payload }), 202);
}

/** All nodes know each other. */
async function connected(nodes: readonly ClusterNode[]): Promise<void> {
  for (const node of nodes) {
    await cluster.until("connections", async () => {
      const answer = await call(node, "/cluster/nodes");
      const { nodes: seen } = (await answer.json()) as { nodes: { reachable: boolean }[] };
      return seen.filter(({ reachable }) => reachable).length === nodes.length ? true : null;
    });
  }
}

test("a task is found by its id through any node: reads pass, writes are sent to its owner", async () => {
  cluster = await Cluster.start({ hashed: true });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  await connected(cluster.nodes);
  for (const [i, node] of cluster.nodes.entries()) {
    const { id } = await create(node, `q${i}`, { made: node.id });
    for (const other of cluster.nodes) {
      const read = await json<TaskJson>(await call(other, `/tasks/${id}`), 200);
      assert.deepEqual(read.payload, { made: node.id });
      const canceled = await call(other, `/tasks/${id}/cancel`, {});
      if (other === node) continue;
      assert.equal(canceled.status, 307);
      assert.equal(canceled.headers.get("location"), `${node.url}/v1/tasks/${id}/cancel`);
      const strict = await call(other, `/tasks/${id}?consistency=leader`);
      assert.equal(strict.status, 307);
    }
    assert.equal((await json<TaskJson>(await call(node, `/tasks/${id}`), 200)).state, "canceled");
    const unknown = `${id.slice(0, 20)}${id[20] === "0" ? 1 : 0}${id.slice(21)}`;
    assert.equal((await call(n1, `/tasks/${unknown}`)).status, 404);
  }
  const status = await json<{ numGroups: number; enabled: boolean }>(
    await call(n2, "/raft/status"),
    200,
  );
  assert.deepEqual([status.numGroups, status.enabled], [3, false]);
  const { nodes, leader } = await json<{
    nodes: { id: string; shards_led: number[]; http: string; is_leader: boolean }[];
    leader: string;
  }>(await call(n3, "/cluster/nodes"), 200);
  assert.deepEqual(
    nodes.map((node) => [node.id, node.shards_led, node.is_leader, node.http]),
    cluster.nodes.map((node, i) => [node.id, [i], true, node.url]),
  );
  assert.equal(leader, "n1");
});

test("work is found wherever it is: by claims that wait, by claims that do not, of any queue", async () => {
  cluster = await Cluster.start({ hashed: true });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  await connected(cluster.nodes);
  const made = await create(n1, "now", 1);
  const claimed = await json<TaskJson>(await call(n2, "/tasks/claim", { commands: ["now"] }), 200);
  assert.equal(claimed.id, made.id);
  const result = { status: "COMPLETED", result: 7, leaseToken: claimed.leaseToken };
  const away = await call(n2, `/tasks/${made.id}/result`, result);
  assert.equal(away.headers.get("location"), `${n1.url}/v1/tasks/${made.id}/result`);
  const waited = call(n3, `/tasks/${made.id}/result?waitSeconds=20`);
  await json(await call(n1, `/tasks/${made.id}/result`, result), 200);
  const told = await json<{ result: { result: number } }>(await waited, 200);
  assert.equal(told.result.result, 7);
  assert.equal((await call(n2, "/tasks/claim", { commands: ["now"] })).status, 204);
  for (const body of [{ commands: ["later"], waitSeconds: 20 }, { waitSeconds: 20 }]) {
    const waiting = call(n3, "/tasks/claim", body);
    const { id } = await create(n2, "later", 2);
    assert.equal((await json<TaskJson>(await waiting, 200)).id, id);
  }
});

test("a stream to one node produces, works and settles over all of them", async () => {
  cluster = await Cluster.start({ hashed: true });
  const [n1, n2] = cluster.nodes as [ClusterNode, ClusterNode];
  await connected(cluster.nodes);
  const ids = new Set<string>();
  for (const node of cluster.nodes) ids.add((await create(node, "streamed", node.id)).id);
  const producer = createProducer({ endpoints: `127.0.0.1:${n1.ports.grpc}` });
  ids.add((await producer.enqueue("streamed", "by stream")).id);
  const keyed = ["k1", "k2", "k3", "k4"];
  for (const idempotencyKey of keyed) {
    ids.add((await producer.enqueue("streamed", 1, { idempotencyKey })).id);
  }
  const seen = new Set<string>();
  const worker = createWorker(
    { endpoints: `127.0.0.1:${n2.ports.grpc}` },
    { queues: ["streamed"], handler: (task) => void seen.add(task.id) },
  );
  await worker.start();
  try {
    for (const id of ids) {
      await cluster.until(`${id} is done`, async () => {
        const read = await json<TaskJson>(await call(n2, `/tasks/${id}`), 200);
        return read.state === "completed" ? true : null;
      });
    }
  } finally {
    await producer.close();
    await worker.stop({ graceSeconds: 0 });
  }
  assert.deepEqual([...seen].sort(), [...ids].sort());
});

test("queues, lists and admin actions span the nodes", async () => {
  cluster = await Cluster.start({ hashed: true });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  await connected(cluster.nodes);
  const ids: string[] = [];
  for (let i = 0; i < 30; i++) {
    ids.push((await create(cluster.nodes[i % 3] as ClusterNode, "many", i)).id);
  }
  const found: string[] = [];
  let cursor = "";
  do {
    const query = `limit=7${cursor && `&cursor=${cursor}`}`;
    const page = await json<{ tasks: TaskJson[]; cursor?: string }>(
      await call(n2, `/tasks?command=many&${query}`),
      200,
    );
    found.push(...page.tasks.map(({ id }) => id));
    cursor = page.cursor ?? "";
  } while (cursor !== "");
  assert.deepEqual(found, [...ids].sort());
  const queue = await json<{ ready: number }>(await call(n3, "/admin/queues/many"), 200);
  assert.equal(queue.ready, 30);
  await json(await call(n1, "/admin/queues/many/pause", {}), 200);
  assert.equal((await call(n2, "/tasks/claim", { commands: ["many"] })).status, 204);
  await json(await call(n2, "/admin/queues/many/resume", {}), 200);
  const purge = await call(n3, "/admin/queues/many/purge", { states: ["ready"] });
  assert.deepEqual(await json(purge, 200), { purged: 30 });
  const members = await call(n1, "/admin/members", { id: "n4", raft: "127.0.0.1:1" });
  assert.equal(members.status, 400);
});

test("with routing: forward clients see no redirect, and every task is done", async () => {
  cluster = await Cluster.start({ hashed: true, env: { QUORUMQ_ROUTING: "forward" } });
  await connected(cluster.nodes);
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress(150);
  await ledger.verify();
});

test("a node that is down takes its own tasks along, and brings them back; the others go on", async () => {
  cluster = await Cluster.start({ hashed: true });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  await connected(cluster.nodes);
  const kept = await create(n3, "kept", "here");
  await n3.kill();
  await cluster.until("n1 sees it", async () =>
    (await call(n1, `/tasks/${kept.id}`)).status === 503 ? true : null,
  );
  const away = await call(n1, `/tasks/${kept.id}/cancel`, {});
  assert.equal(away.status, 503);
  assert.notEqual(away.headers.get("retry-after"), null);
  assert.equal((await json<{ code: string }>(away, 503)).code, "no_leader");
  assert.equal((await fetch(`${n1.url}/readyz`)).status, 200);
  const other = await create(n1, "other", 1);
  const claimed = await json<TaskJson>(await call(n2, "/tasks/claim", {}), 200);
  assert.equal(claimed.id, other.id);
  await n3.start();
  const again = await cluster.until("n2 finds it", async () => {
    const answer = await call(n2, "/tasks/claim", { commands: ["kept"] });
    return answer.status === 200 ? ((await answer.json()) as TaskJson) : null;
  });
  assert.equal(again.id, kept.id);
});

test("5.4-11 another list of nodes, or another shard count, is refused with 78", async () => {
  cluster = await Cluster.start({ hashed: true, nodes: 2 });
  const [node, other] = cluster.nodes as [ClusterNode, ClusterNode];
  await node.end("SIGTERM");
  const list = `n1=127.0.0.1:${node.raftPort},n2=127.0.0.1:${other.raftPort}`;
  const env = {
    CLUSTER_ENABLED: "true",
    CLUSTER_SELF_ID: "n1",
    QUORUMQ_STORAGE_PATH: node.path,
    QUORUMQ_DEV: "true",
    PORT: String(node.ports.http),
    PRODUCER_STREAM_ADDR: `127.0.0.1:${node.ports.grpc}`,
    METRICS_ADDR: "off",
  };
  const more = await runQuorumq(["serve"], { ...env, CLUSTER_NODES: `${list},n3=127.0.0.1:9` });
  assert.equal(more.code, 78);
  assert.match(more.stderr, /shard count: 2, not 3/);
  const moved = await runQuorumq(["serve"], {
    ...env,
    CLUSTER_NODES: list.replace(/n2=.*/, "n2=127.0.0.1:9"),
  });
  assert.equal(moved.code, 78);
  assert.match(moved.stderr, /cluster\.nodes/);
  const alone = await runQuorumq(["serve"], { ...env, CLUSTER_ENABLED: "false" });
  assert.equal(alone.code, 78);
  // The order of the list says nothing.
  await node.start({ CLUSTER_NODES: list.split(",").reverse().join() });
});
