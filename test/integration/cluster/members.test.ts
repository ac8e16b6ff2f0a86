/** Members come and go while the cluster works (R18), and one node grows to three. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { addMember, removeMember, votersAre } from "./admin.ts";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

async function post(node: ClusterNode, path: string, body: unknown): Promise<Response> {
  return fetch(`${node.url}/v1/admin${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

test("one node with data grows to three without a stop, and then loses one", async () => {
  cluster = await Cluster.start({ nodes: 1, shards: 2 });
  const [first] = cluster.nodes as [ClusterNode];
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress();
  for (const id of ["n2", "n3"]) {
    const node = await cluster.prepare(id, { QUORUMQ_STORAGE_NUM_SHARDS: "2" });
    await node.launch();
    await addMember(first, node);
  }
  await votersAre(cluster, first, ["n1", "n2", "n3"]);
  await Promise.all(cluster.nodes.map((node) => node.ready()));
  await ledger.progress();
  await first.kill();
  await ledger.progress();
  await first.start();
  await ledger.verify();
});

test("a node that ran without Raft grows after one restart with it", async () => {
  const off = {
    RAFT_ENABLED: "false",
    RAFT_PEERS: "",
    RAFT_PEER_HTTP_ADDRS: "",
    RAFT_PEER_GRPC_ADDRS: "",
  };
  cluster = await Cluster.start({ nodes: 1, env: off });
  const [alone] = cluster.nodes as [ClusterNode];
  const made = await fetch(`${alone.url}/v1/tasks`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ command: "q", payload: "kept" }),
  });
  const { id } = (await made.json()) as { readonly id: string };
  await alone.end("SIGTERM");
  const raftEnv = { RAFT_ENABLED: "true", RAFT_PEERS: `n1=127.0.0.1:${alone.raftPort}` };
  await alone.start(raftEnv);
  for (const name of ["n2", "n3"]) {
    const node = await cluster.prepare(name);
    await node.launch();
    await addMember(alone, node);
  }
  await votersAre(cluster, alone, ["n1", "n2", "n3"]);
  await alone.kill();
  const other = cluster.node("n2");
  const read = await cluster.until("a read", async () => {
    const answer = await fetch(`${other.url}/v1/tasks/${id}`);
    return answer.ok ? ((await answer.json()) as { readonly payload: string }) : null;
  });
  assert.equal(read.payload, "kept");
});

test("R18: the leader is removed under load, and comes back with an empty disk as a new member", async () => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster);
  ledger.start();
  for (let i = 0; i < 2; i++) {
    await ledger.progress(100);
    const leader = await cluster.leader();
    const [via] = await cluster.followers();
    assert.ok(via);
    await removeMember(via, leader.id);
    await ledger.progress(50);
    await leader.kill();
    leader.wipe();
    await leader.launch({ RAFT_BOOTSTRAP: "false" });
    await addMember(via, leader);
    await votersAre(cluster, via, ["n1", "n2", "n3"]);
    await leader.ready();
  }
  await ledger.verify();
});

async function growToFive(): Promise<void> {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster);
  ledger.start(2, 2);
  await ledger.progress(20);
  const newcomers: ClusterNode[] = [];
  for (const id of ["n4", "n5"]) {
    const node = await cluster.prepare(id);
    newcomers.push(node);
    await node.launch();
  }
  const [n4, n5] = newcomers as [ClusterNode, ClusterNode];
  const via = async () => (await cluster.followers()).find((node) => !newcomers.includes(node));
  // killed while it learns
  const first = addMember((await via()) as ClusterNode, n4).catch(() => undefined);
  await n4.kill();
  await n4.launch();
  await first;
  // the leader is killed in the middle of the change
  const leader = await cluster.leader();
  const other = (await via()) as ClusterNode;
  const second = addMember(other, n5).catch(() => undefined);
  await leader.kill();
  await second;
  await ledger.progress(50);
  await leader.start();
  // what was cut short may be asked for again
  for (const node of newcomers) await addMember(other, node);
  await votersAre(cluster, other, ["n1", "n2", "n3", "n4", "n5"]);
  await Promise.all(cluster.nodes.map((node) => node.ready()));
  await ledger.progress(50);
  const followers = await cluster.followers();
  for (const node of followers.slice(0, 2)) await node.kill();
  await ledger.progress(100);
  for (const node of followers.slice(0, 2)) await node.start();
  await ledger.verify();
}

if (process.env["QUORUMQ_ITEST"] === "all") {
  test(
    "R18: five grow out of three while the newcomers and the leader are killed, and lose two at once",
    growToFive,
  );
}

test("5.4-13 an emptied founder does not found a second cluster: it ends with 78 and says why", async () => {
  cluster = await Cluster.start();
  const founder = cluster.node("n1");
  await founder.kill();
  founder.wipe();
  await founder.launch({ RAFT_BOOTSTRAP: "true" });
  const ended = await founder.server?.ended;
  assert.equal(ended?.code, 78);
  assert.match(`${ended?.stderr}${ended?.stdout}`, /belongs to a cluster already/);
  founder.server = null;
});

test("5.4-14 a member that reaches no other serves no write, and waits for them", async () => {
  cluster = await Cluster.start();
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  const [alone, ...others] = cluster.nodes as [ClusterNode, ...ClusterNode[]];
  await alone.launch();
  const answer = await cluster.until("an answer", () =>
    fetch(`${alone.url}/v1/tasks`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"command":"q","payload":1}',
    }).catch(() => null),
  );
  assert.equal(answer.status, 503);
  assert.equal(((await answer.json()) as { code: string }).code, "no_leader");
  assert.equal((await fetch(`${alone.url}/readyz`)).status, 503);
  for (const node of others) await node.launch();
  await alone.ready();
});

test("a change for an unknown node or of an unknown one is refused with a reason", async () => {
  cluster = await Cluster.start();
  const [node] = cluster.nodes as [ClusterNode];
  const gone = await fetch(`${node.url}/v1/admin/members/n9`, { method: "DELETE" });
  assert.equal(gone.status, 404);
  const other = await post(node, "/leader/transfer", { to: "n9" });
  assert.equal(other.status, 404);
  assert.deepEqual(
    await (await post(node, "/leader/transfer", { shard: 7 }))
      .json()
      .then((body) => (body as { code: string }).code),
    "invalid_argument",
  );
});

test("a cluster in which nothing has happened yet takes a member in", async () => {
  cluster = await Cluster.start({ nodes: 1 });
  const [first] = cluster.nodes as [ClusterNode];
  for (const id of ["n2", "n3"]) {
    const node = await cluster.prepare(id);
    await node.launch();
    await addMember(first, node);
  }
  await votersAre(cluster, first, ["n1", "n2", "n3"]);
  await Promise.all(cluster.nodes.map((node) => node.ready()));
});
