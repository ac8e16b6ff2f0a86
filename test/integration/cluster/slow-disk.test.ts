/** R20 of the catalogue of process faults: a disk that syncs, but slowly. */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";
import { SlowDisks } from "./slow-disk.ts";

const slowMs = 2_000;
const disks = SlowDisks.build();
const reason = "no C compiler here";
let cluster: Cluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

after(() => disks?.remove());

async function start(of: SlowDisks): Promise<Cluster> {
  cluster = await Cluster.start({ envOf: (id) => of.env(id) });
  return cluster;
}

test("R20: a leader whose disk is slow hands over, and is left in peace", async (t) => {
  if (!disks) return t.skip(reason);
  const world = await start(disks);
  const ledger = new Ledger(world, 200);
  ledger.start();
  await ledger.progress();
  const leader = await world.leader();
  const others = await world.followers();
  ledger.longestGapMs = 0;
  const fromMs = performance.now();
  disks.slow(leader, slowMs);
  await world.until(
    "another one leads",
    async () => {
      for (const node of others) if ((await node.groups())[0]?.isLeader) return true;
      return null;
    },
    10_000,
  );
  const tookMs = performance.now() - fromMs;
  const term = await world.term();
  await ledger.progress(300);
  t.diagnostic(
    `handed over after ${Math.round(tookMs)} ms, no create for ${Math.round(ledger.longestGapMs)} ms`,
  );
  assert.match(leader.log, /hands over: a write to its own disk does not end/);
  assert.equal(await world.term(), term, "nobody is elected beside");
  assert.ok(ledger.longestGapMs < 5_000, `writes stood for ${ledger.longestGapMs} ms`);
  disks.slow(leader, 0);
  await ledger.verify();
});

test("R20: a follower whose disk is slow slows nobody down", async (t) => {
  if (!disks) return t.skip(reason);
  const world = await start(disks);
  const leader = await world.leader();
  const [follower] = await world.followers();
  assert.ok(follower);
  const term = await world.term();
  await slowest(leader);
  const before = await slowest(leader);
  disks.slow(follower, slowMs);
  const during = await slowest(leader);
  t.diagnostic(`99 % of the creates took ${before} ms at most, then ${during} ms`);
  // a fifth, and what two busy cores add by chance; far from what the disk takes
  assert.ok(during < 1.2 * before + 200, `${before} ms, then ${during} ms`);
  assert.equal(await world.term(), term);
});

/** 99th percentile of the ms that a create takes. */
async function slowest(leader: ClusterNode): Promise<number> {
  const took: number[] = [];
  const lane = async () => {
    for (let i = 0; i < 100; i++) {
      const sinceMs = performance.now();
      const answer = await fetch(`${leader.url}/v1/tasks`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ command: "slow", payload: i }),
      });
      assert.equal(answer.status, 202, await answer.text());
      took.push(performance.now() - sinceMs);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  took.sort((a, b) => a - b);
  return Math.round(took[Math.floor(took.length * 0.99)] as number);
}
