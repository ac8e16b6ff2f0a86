/** R17 of the catalogue of process faults: leadership is handed over, or cannot be. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { Ledger } from "./ledger.ts";
import { healAll, part } from "./network.ts";

let cluster: Cluster;
const all = process.env["QUORUMQ_ITEST"] === "all";

afterEach(() => cluster.stop());

function transfer(via: ClusterNode, to: string): Promise<Response> {
  return fetch(`${via.url}/v1/admin/leader/transfer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ to }),
  });
}

async function begin(proxies = false): Promise<Ledger> {
  cluster = await Cluster.start({ proxies });
  const ledger = new Ledger(cluster, 200);
  ledger.start();
  await ledger.progress();
  return ledger;
}

test("R17: leadership is handed over under load, to each in turn, and writes hardly stand", async (t) => {
  const ledger = await begin();
  const gaps: number[] = [];
  for (let i = 0; i < (all ? 100 : 6); i++) {
    const to = cluster.nodes[i % 3]?.id ?? "";
    ledger.longestGapMs = 0;
    const answer = await transfer(cluster.nodes[(i + 1) % 3] as ClusterNode, to);
    assert.equal(answer.status, 200, await answer.text());
    assert.equal((await cluster.leader()).id, to);
    await ledger.progress(50);
    gaps.push(ledger.longestGapMs);
  }
  gaps.sort((a, b) => a - b);
  const at = (share: number) => Math.round(gaps[Math.floor((gaps.length - 1) * share)] as number);
  t.diagnostic(`no create for ${at(0.5)} ms (median), ${at(0.99)} ms (99 %), ${at(1)} ms (worst)`);
  // the bar is 250 ms for 99 % on a machine of its own; an election in its place takes 300 and more
  assert.ok(at(0.5) < 250, `median ${at(0.5)} ms`);
  assert.ok(at(0.99) < 1_000, `99 % ${at(0.99)} ms`);
  await ledger.verify();
});

/** Hands over to a node that cannot take it. @returns for how long no create was acknowledged */
async function inVain(ledger: Ledger, to: ClusterNode): Promise<number> {
  const leader = await cluster.leader();
  const term = await cluster.term();
  ledger.longestGapMs = 0;
  const answer = transfer(leader, to.id);
  await ledger.progress(100);
  const told = await answer;
  assert.equal(told.status, 408, await told.text());
  assert.equal((await cluster.leader()).id, leader.id);
  assert.equal(await cluster.term(), term);
  return Math.round(ledger.longestGapMs);
}

test("R17: to a node that is dead: the leader goes on after an election timeout", async (t) => {
  const ledger = await begin();
  const [follower] = await cluster.followers();
  assert.ok(follower);
  await follower.kill();
  await ledger.progress(50);
  const gapMs = await inVain(ledger, follower);
  t.diagnostic(`no create for ${gapMs} ms`);
  assert.ok(gapMs < 1_500, `writes stood for ${gapMs} ms`);
  await follower.start();
  await ledger.verify();
});

test("R17: to a node that lags behind, cut off: the leader goes on after an election timeout", async (t) => {
  if (!all) return t.skip("takes 15 s: npm run itest:all");
  const ledger = await begin(true);
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  assert.ok(follower);
  part(cluster, leader, follower);
  await ledger.progress(50);
  const gapMs = await inVain(ledger, follower);
  t.diagnostic(`no create for ${gapMs} ms`);
  assert.ok(gapMs < 1_500, `writes stood for ${gapMs} ms`);
  healAll(cluster);
  await ledger.verify();
});

test("R17: to a node that was removed: refused at once", async () => {
  const ledger = await begin();
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  assert.ok(follower);
  const gone = await fetch(`${leader.url}/v1/admin/members/${follower.id}`, { method: "DELETE" });
  assert.equal(gone.status, 200, await gone.text());
  await follower.kill();
  const answer = await transfer(leader, follower.id);
  assert.equal(answer.status, 404, await answer.text());
  assert.equal((await cluster.leader()).id, leader.id);
  await ledger.progress(50);
  await ledger.verify();
});
