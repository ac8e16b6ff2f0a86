/** `serve --rejoin`: a member with an emptied or damaged disk comes back as a new one, by itself. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "../cluster/cluster.ts";
import { Ledger } from "../cluster/ledger.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

const rejoin = { QUORUMQ_REJOIN: "true" };
const shards = 2;

/** Every shard has three voters, and no store of a name twice. */
async function isWhole(via: ClusterNode): Promise<void> {
  await cluster.until("three voters", async () => {
    const groups = await via.groups().catch(() => []);
    const isSo = ({ voters, learners }: (typeof groups)[0]) =>
      [...voters].sort().join() === "n1,n2,n3" && learners.length === 0;
    return groups.length === shards && groups.every(isSo) ? true : null;
  });
}

test("an emptied node is no voter until it is told to rejoin; then it is one again, under load", async () => {
  cluster = await Cluster.start({ shards });
  const [n1, n2, n3] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress(100);
  await n3.kill();
  n3.wipe();
  await n3.launch();
  await cluster.until("it says what to do", async () =>
    /add it as a member, or start it with --rejoin/.test(n3.log) ? true : null,
  );
  assert.equal((await fetch(`${n3.url}/readyz`)).status, 503);
  assert.deepEqual(await n3.groups(), [], "it has no part in any group");
  await ledger.progress(50);
  // With another node away there is no majority: the empty store counts for nothing.
  await n2.kill();
  const answer = await cluster.until("no leader", async () => {
    const got = await fetch(`${n1.url}/v1/tasks`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ command: "other", payload: 1 }),
    });
    return got.status === 503 ? got : null;
  });
  assert.match(await answer.text(), /no_leader/);
  await n2.start();
  await n3.end("SIGTERM");
  await n3.start(rejoin);
  await isWhole(n1);
  await n1.kill();
  await ledger.progress(50);
  await n1.start();
  await ledger.verify();
});

test("a node with a damaged store puts it away and takes the state from the others", async () => {
  cluster = await Cluster.start({ shards });
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress(100);
  const leader = await cluster.leader();
  await leader.kill();
  leader.damage();
  await leader.launch();
  assert.equal((await leader.server?.ended)?.code, 74);
  leader.server = null;
  await leader.start(rejoin);
  const [other] = cluster.nodes.filter((node) => node !== leader) as [ClusterNode];
  await isWhole(other);
  assert.match(leader.log, /the store is damaged: it is put away/);
  const aside = join(leader.path, "aside-1");
  assert.deepEqual(readdirSync(aside).sort(), ["cluster", "shard-0", "shard-1"]);
  await leader.end("SIGTERM");
  // One that is whole is not touched, though it may.
  await leader.start(rejoin);
  assert.ok(!existsSync(join(leader.path, "aside-2")));
  await ledger.verify();
});

test("an emptied founder that may rejoin founds nothing, and is a member again", async () => {
  cluster = await Cluster.start({ shards });
  const [n1, n2] = cluster.nodes as [ClusterNode, ClusterNode];
  await n1.kill();
  n1.wipe();
  await n1.start({ ...rejoin, RAFT_BOOTSTRAP: "true" });
  await isWhole(n2);
  assert.ok(!n1.log.includes("founds the cluster"));
});

test("nodes that may rejoin found a cluster when all of them are new", async () => {
  cluster = await Cluster.start({ shards, env: rejoin });
  await isWhole(cluster.nodes[0] as ClusterNode);
});
