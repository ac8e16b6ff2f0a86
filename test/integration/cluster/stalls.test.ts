/** R21 of the catalogue of process faults: a leader that gets too little of the processor. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";

const all = process.env["QUORUMQ_ITEST"] === "all";
let cluster: Cluster;

afterEach(() => cluster.stop());

/** Stops a node for so many ms of each `everyMs`, so often. */
async function stall(
  node: ClusterNode,
  forMs: number,
  everyMs: number,
  count: number,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    node.server?.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, forMs));
    node.server?.signal("SIGCONT");
    await new Promise((resolve) => setTimeout(resolve, everyMs - forMs));
  }
}

test("R21: a leader that stands still for 200 ms of each second goes on to lead", async () => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster, 200);
  ledger.start();
  await ledger.progress();
  const term = await cluster.term();
  const leader = await cluster.leader();
  const before = ledger.settled.size;
  await stall(leader, 200, 1_000, all ? 60 : 8);
  assert.ok(ledger.settled.size > before + 200, "work goes on");
  assert.equal(await cluster.term(), term, "nobody is elected");
  await ledger.verify();
});

test("R21: a leader with a fifth of a processor serves slowly, or another one leads", async (t) => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster, 200);
  ledger.start();
  await ledger.progress();
  const leader = await cluster.leader();
  const before = ledger.settled.size;
  ledger.longestGapMs = 0;
  await stall(leader, 80, 100, all ? 300 : 60);
  const done = ledger.settled.size - before;
  t.diagnostic(`${done} tasks, no create for ${Math.round(ledger.longestGapMs)} ms at most`);
  assert.ok(done > 100, `${done} tasks`);
  assert.ok(ledger.longestGapMs < 3_000, `writes stood for ${ledger.longestGapMs} ms`);
  await ledger.verify();
});
