/** `recover --force-new-cluster`: two of three disks are gone, and the third goes on. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "../cluster/cluster.ts";
import { type Ended, runQuorumq } from "../process.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

const shards = 2;

interface TaskJson {
  readonly id: string;
  readonly leaseToken: string;
  readonly state: string;
  readonly payload: unknown;
}

async function post<T>(node: ClusterNode, path: string, body: unknown): Promise<T> {
  return cluster.until(`${path} of ${node.id}`, async () => {
    const answer = await fetch(`${node.url}/v1${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }).catch(() => null);
    return answer?.ok ? ((await answer.json()) as T) : null;
  });
}

/** Acknowledged tasks through a node, some of them claimed. */
async function make(node: ClusterNode, name: string, count: number): Promise<readonly TaskJson[]> {
  const made: TaskJson[] = [];
  for (let i = 0; i < count; i++) {
    const idempotencyKey = `${name}-${i}`;
    made.push(await post(node, "/tasks", { command: name, payload: i, idempotencyKey }));
  }
  return made;
}

/** All that is ready, from one shard after the other. */
async function claimAll(node: ClusterNode): Promise<readonly TaskJson[]> {
  const claimed: TaskJson[] = [];
  for (;;) {
    const answer = await fetch(`${node.url}/v1/tasks/claim/batch`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ count: 100 }),
    });
    if (answer.status === 204) return claimed;
    assert.equal(answer.status, 200);
    claimed.push(...((await answer.json()) as { tasks: TaskJson[] }).tasks);
  }
}

/** Every replica of the node has applied all that is committed. */
async function caughtUp(node: ClusterNode): Promise<void> {
  for (let shard = 0; shard < shards; shard++) {
    const leader = await cluster.leader(shard);
    const wanted = (await leader.groups())[shard]?.commitIndex ?? 0;
    await cluster.until("it has all", async () =>
      ((await node.groups())[shard]?.appliedIndex ?? 0) >= wanted ? true : null,
    );
  }
}

function recover(node: ClusterNode, ...flags: readonly string[]): Promise<Ended> {
  return runQuorumq(["recover", ...flags], {
    ...{ QUORUMQ_STORAGE_PATH: node.path, QUORUMQ_DEV: "true" },
    ...{ QUORUMQ_STORAGE_NUM_SHARDS: String(shards), RAFT_ENABLED: "true" },
    ...{ RAFT_SELF_ID: node.id, RAFT_PEERS: `${node.id}=127.0.0.1:${node.raftPort}` },
  });
}

async function state(node: ClusterNode, id: string): Promise<string> {
  const answer = await fetch(`${node.url}/v1/tasks/${id}`);
  return answer.status === 404 ? "gone" : ((await answer.json()) as TaskJson).state;
}

test("the one that is left becomes a cluster of its own, and grows again", async () => {
  cluster = await Cluster.start({ shards });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  const made = await make(n1, "kept", 20);
  const claimed = await post<{ tasks: TaskJson[] }>(n1, "/tasks/claim/batch", {
    count: 5,
    leaseSeconds: 3600,
  });
  await caughtUp(n1);
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  n2.wipe();
  n3.wipe();

  await n1.launch();
  await cluster.until("it is up", async () => {
    const answer = await fetch(`${n1.url}/livez`).catch(() => null);
    return answer?.ok ? true : null;
  });
  assert.equal((await fetch(`${n1.url}/readyz`)).status, 503, "alone it is no majority");
  await n1.kill();
  const planned = await recover(n1, "--force-new-cluster");
  assert.equal(planned.code, 3, planned.stderr);
  assert.match(planned.stdout, /shard 1: whole, its log ends at entry \d+ of term \d+, of 2/);
  assert.match(planned.stdout, /shard 0: its voters were n1, n2, n3/);
  assert.match(planned.stdout, /never start them again with their data/);
  const done = await recover(n1, "--force-new-cluster", "--yes");
  assert.equal(done.code, 0, done.stderr);

  await n1.start();
  for (const { id } of made) assert.match(await state(n1, id), /ready|leased/);
  for (const task of claimed.tasks) {
    const { leaseToken } = task;
    await post(n1, `/tasks/${task.id}/result`, { status: "COMPLETED", leaseToken });
  }
  const again = await claimAll(n1);
  assert.equal(again.length, made.length - claimed.tasks.length);
  const highest = Math.max(...claimed.tasks.map(({ leaseToken }) => Number(leaseToken)));
  for (const { leaseToken } of again) {
    assert.ok(Number(leaseToken) > highest + 2 ** 24 * 4096 - 1, `${leaseToken} after ${highest}`);
  }
  for (const node of [n2, n3]) {
    await node.launch({ RAFT_BOOTSTRAP: "false" });
    await post(n1, "/admin/members", { id: node.id, raft: `127.0.0.1:${node.raftPort}` });
  }
  await cluster.until("three voters", async () =>
    (await n1.groups()).every(({ voters }) => [...voters].sort().join() === "n1,n2,n3")
      ? true
      : null,
  );
  await Promise.all(cluster.nodes.map((node) => node.ready()));
  await n1.kill();
  await cluster.until("another one serves it", async () =>
    /completed|leased/.test(await state(n2, made[0]?.id ?? "")) ? true : null,
  );
});

test("what it had not been told is lost, what it had is there; the others are strangers to it", async () => {
  cluster = await Cluster.start({ shards });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  const before = await make(n1, "before", 10);
  await caughtUp(n1);
  await n1.kill();
  const after = await make(n2, "after", 10);
  await n2.kill();
  await n3.kill();
  const done = await recover(n1, "--force-new-cluster", "--yes");
  assert.equal(done.code, 0, done.stderr);
  await n1.start();
  for (const { id } of before) assert.equal(await state(n1, id), "ready");
  for (const { id } of after) assert.equal(await state(n1, id), "gone");
  // They come back with what they had: a cluster of their own, which the new one does not join.
  await n2.launch();
  await n3.launch();
  await n2.ready();
  assert.equal(await state(n2, after[0]?.id ?? ""), "ready");
  const groups = await n1.groups();
  assert.ok(groups.every(({ isLeader, voters }) => isLeader && voters.join() === "n1"));
  await cluster.until("n1 says why", async () =>
    /belongs to another cluster/.test(n1.log) ? true : null,
  );
  assert.equal(await state(n1, after[0]?.id ?? ""), "gone");
});

test("accepting losses is refused where others have copies, and with a node that belongs to none", async () => {
  cluster = await Cluster.start({ shards });
  const [n1] = cluster.nodes as [ClusterNode];
  await make(n1, "q", 3);
  await n1.kill();
  const whole = await recover(n1, "--accept-loss", "--yes");
  assert.equal(whole.code, 0);
  assert.match(whole.stdout, /nothing is damaged/);
  n1.damage();
  const refused = await recover(n1, "--accept-loss", "--yes");
  assert.equal(refused.code, 78, refused.stdout);
  assert.match(
    refused.stderr,
    /2 other nodes have copies of this store: start this node with --rejoin/,
  );
  const forced = await recover(n1, "--force-new-cluster", "--yes");
  assert.equal(forced.code, 74);
  assert.match(forced.stderr, /add --accept-loss/);
  const both = await recover(n1, "--force-new-cluster", "--accept-loss", "--yes");
  assert.equal(both.code, 0, both.stderr);
  await n1.start();
  assert.equal((await n1.groups()).length, shards);
});
