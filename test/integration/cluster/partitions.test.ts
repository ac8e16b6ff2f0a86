/** R6 of the catalogue of process faults: networks that are cut. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";
import { healAll, leadership, part, silence } from "./network.ts";

let cluster: Cluster;
const all = process.env["QUORUMQ_ITEST"] === "all";
/** Writes stand at most so many ms. */
const leaderlessMs = 3_000;

afterEach(() => cluster.stop());

async function begin(nodes = 3): Promise<Ledger> {
  cluster = await Cluster.start({ nodes, proxies: true });
  const ledger = new Ledger(cluster, 200);
  ledger.start();
  await ledger.progress();
  return ledger;
}

/** What this node itself says to a create. */
async function create(node: ClusterNode): Promise<number> {
  const answer = await fetch(`${node.url}/v1/tasks`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ command: "cut-off", payload: 1 }),
    redirect: "manual",
    signal: AbortSignal.timeout(10_000),
  });
  return answer.status;
}

const ways = {
  "in both directions": (one: ClusterNode, other: ClusterNode) => part(cluster, one, other),
  "so that nobody hears it": (one: ClusterNode, other: ClusterNode) => silence(cluster, one, other),
  "so that it hears nobody": (one: ClusterNode, other: ClusterNode) => silence(cluster, other, one),
};

for (const [way, cut] of Object.entries(ways).slice(0, all ? 3 : 2)) {
  test(`R6: a leader that is cut off ${way} acknowledges nothing, and another one leads`, async (t) => {
    const ledger = await begin();
    for (let i = 0; i < (all ? 5 : 1); i++) {
      const leader = await cluster.leader();
      const others = await cluster.followers();
      ledger.longestGapMs = 0;
      for (const other of others) cut(leader, other);
      await leadership(cluster, others);
      for (let n = 0; n < 3; n++) assert.notEqual(await create(leader), 202);
      await ledger.progress(100);
      healAll(cluster);
      await ledger.progress(100);
      t.diagnostic(`no create was acknowledged for ${Math.round(ledger.longestGapMs)} ms`);
      assert.ok(ledger.longestGapMs < leaderlessMs, `writes stood for ${ledger.longestGapMs} ms`);
    }
    await ledger.verify();
  });
}

test("R6: when the leader loses one of two followers nobody else is elected", async () => {
  const ledger = await begin();
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  assert.ok(follower);
  const term = await cluster.term();
  part(cluster, leader, follower);
  await ledger.progress(300);
  // it has asked the other one for its vote several times meanwhile
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.equal(await cluster.term(), term);
  healAll(cluster);
  await ledger.progress(100);
  assert.equal(await cluster.term(), term, "who comes back deposes nobody");
  await ledger.verify();
});

async function hubOfFive(): Promise<void> {
  const ledger = await begin(5);
  const leader = await cluster.leader();
  const [hub, ...rest] = await cluster.followers();
  assert.ok(hub && rest.length === 3);
  const leaves = [leader, ...rest];
  for (const [i, a] of leaves.entries()) for (const b of leaves.slice(i + 1)) part(cluster, a, b);
  assert.equal((await leadership(cluster, [hub])).id, hub.id);
  await ledger.progress(100);
  healAll(cluster);
  await ledger.verify();
}

if (all) {
  test("R6: of five the only one that still has links to a majority comes to lead", hubOfFive);
}

test("R6: what nodes say to each other goes through the proxies for good, whoever leads", async () => {
  cluster = await Cluster.start({ proxies: true });
  for (const { id } of cluster.nodes) {
    const leader = await cluster.leader();
    if (leader.id === id) continue;
    await fetch(`${leader.url}/v1/admin/leader/transfer`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ to: id }),
    });
    const passed = () => [...cluster.proxies.values()].map((proxy) => proxy.passed("target"));
    const before = passed();
    const have = () => passed().every((bytes, i) => bytes > (before[i] ?? 0));
    await cluster.until("bytes between all of them", async () => have() || null);
  }
  assert.equal(cluster.proxies.size, 6);
});
