/** R6, R7, R8 of the catalogue of process faults that take long: networks that are cut, lossy, or come and go. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Cluster } from "../cluster/cluster.ts";
import { Ledger } from "../cluster/ledger.ts";
import { chain, healAll, join, leadership, part, setLines } from "../cluster/network.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

async function begin(nodes = 3): Promise<Ledger> {
  cluster = await Cluster.start({ nodes, proxies: true });
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress();
  return ledger;
}

test("R6: of five in a row one in the middle leads, and stays", async () => {
  const ledger = await begin(5);
  const end = await cluster.leader();
  const row = [end, ...(await cluster.followers())];
  chain(cluster, row);
  await leadership(cluster, row.slice(1, 4));
  await ledger.progress(50);
  const term = await cluster.term();
  await ledger.progress(100);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.equal(await cluster.term(), term, "the row has settled");
  healAll(cluster);
  await ledger.verify();
});

test("R7: lost packets and jitter slow the cluster down, and elect nobody without need", async (t) => {
  cluster = await Cluster.start({ proxies: true });
  const ledger = new Ledger(cluster);
  ledger.start(32, 4);
  const rate = async (ms: number) => {
    const before = ledger.settled.size;
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ((ledger.settled.size - before) * 1_000) / ms;
  };
  await ledger.progress();
  const healthy = await rate(3_000);
  const term = await cluster.term();
  setLines(cluster, { delayMs: 50, jitterMs: 100, loss: 0.3 });
  const lossy = await rate(60_000);
  const changes = (await cluster.term()) - term;
  healAll(cluster);
  t.diagnostic(`${Math.round(healthy)} tasks/s, ${Math.round(lossy)}/s, ${changes} elections`);
  assert.ok(lossy >= healthy / 10, `${healthy}/s, then ${lossy}/s`);
  assert.ok(changes <= 2, `${changes} elections`);
  await ledger.verify();
});

test("R8: a link that comes and goes each half second elects nobody without need", async (t) => {
  const ledger = await begin();
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  assert.ok(follower);
  const term = await cluster.term();
  for (let i = 0; i < 60; i++) {
    part(cluster, leader, follower);
    await new Promise((resolve) => setTimeout(resolve, 500));
    join(cluster, leader, follower);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const changes = (await cluster.term()) - term;
  t.diagnostic(`${changes} elections`);
  assert.ok(changes <= 3, `${changes} elections`);
  await ledger.progress(100);
  await ledger.verify();
});
