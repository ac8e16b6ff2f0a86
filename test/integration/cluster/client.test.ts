/** The SDK on a cluster of real nodes that are stopped, killed, frozen and cut off under it. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { directions } from "../fault-proxy.ts";
import { Cluster } from "./cluster.ts";
import { SdkLoad } from "./sdk-load.ts";

let cluster: Cluster;
const all = process.env["QUORUMQ_ITEST"] === "all";

afterEach(() => cluster.stop());

test("R5: a rolling restart of all three under load shows no error at the SDK", async (t) => {
  cluster = await Cluster.start({ shards: 2 });
  const load = new SdkLoad(cluster);
  await load.start();
  for (let round = 0; round < (all ? 5 : 1); round++) {
    for (const node of cluster.nodes) {
      await load.progress();
      assert.equal(await node.end("SIGTERM"), 0);
      await load.progress();
      await node.start();
    }
  }
  await load.verify();
  t.diagnostic(`${load.created.size} tasks, slowest call ${Math.round(load.slowestMs)} ms`);
  assert.ok(load.slowestMs < 3_000, `slowest call ${load.slowestMs} ms`);
});

test("R1: a leader that is killed costs its clients latency, and no error", async (t) => {
  cluster = await Cluster.start();
  const load = new SdkLoad(cluster);
  await load.start();
  for (let i = 0; i < (all ? 20 : 1); i++) {
    await load.progress();
    const leader = await cluster.leader();
    await leader.kill();
    await load.progress();
    await leader.start();
  }
  await load.verify();
  t.diagnostic(`${load.created.size} tasks, slowest call ${Math.round(load.slowestMs)} ms`);
  assert.ok(load.slowestMs < 3_000, `slowest call ${load.slowestMs} ms`);
});

test("a client that was told of one node learns the others, and goes on without the one", async () => {
  cluster = await Cluster.start();
  const load = new SdkLoad(cluster, 1);
  const nodes = new Set<string>();
  load.worker.on("cluster", (event) => {
    for (const { id } of event.nodes) nodes.add(id);
  });
  await load.start();
  await load.progress();
  const [first] = cluster.nodes;
  assert.ok(first);
  await first.kill();
  await load.progress();
  await first.start();
  await load.progress();
  await load.verify();
  assert.deepEqual([...nodes].sort(), ["n1", "n2", "n3"]);
});

test("R12: a leader that hangs, its connections open, is left for the next one", async (t) => {
  cluster = await Cluster.start();
  const load = new SdkLoad(cluster);
  await load.start();
  await load.progress();
  const leader = await cluster.leader();
  leader.server?.signal("SIGSTOP");
  await load.progress();
  leader.server?.signal("SIGCONT");
  await load.progress();
  await load.verify();
  t.diagnostic(`slowest call ${Math.round(load.slowestMs)} ms`);
  assert.ok(load.slowestMs < 10_000, `slowest call ${load.slowestMs} ms`);
});

test("R6: a leader that is cut off from the others, but not from its clients, is left", async (t) => {
  cluster = await Cluster.start({ proxies: true });
  const load = new SdkLoad(cluster);
  await load.start();
  await load.progress();
  const { id } = await cluster.leader();
  const links = [...cluster.proxies].filter(([name]) => name.split(">").includes(id));
  assert.equal(links.length, 4);
  for (const [, proxy] of links) proxy.silence(...directions);
  await load.progress();
  for (const [, proxy] of links) proxy.heal();
  await load.progress();
  await load.verify();
  t.diagnostic(`slowest call ${Math.round(load.slowestMs)} ms`);
  assert.ok(load.slowestMs < 5_000, `slowest call ${load.slowestMs} ms`);
});
