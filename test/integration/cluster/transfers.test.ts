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

/**
 * Hands over to a node that cannot take it: the answer says so, and that the leader leads on.
 * @returns for how long no create was acknowledged, and after how long the answer came
 */
async function inVain(ledger: Ledger, via: ClusterNode, to: ClusterNode, says: RegExp) {
  const leader = await cluster.leader();
  const term = await cluster.term();
  ledger.longestGapMs = 0;
  const startMs = performance.now();
  const answer = transfer(via, to.id).then(async (response) => {
    const { error, code } = (await response.json()) as { error: string; code: string };
    return { status: response.status, error, code, ms: Math.round(performance.now() - startMs) };
  });
  await ledger.progress(100);
  const told = await answer;
  assert.match(told.error, says);
  assert.ok(told.error.includes(`${leader.id} leads shard 0`), told.error);
  assert.equal((await cluster.leader()).id, leader.id);
  assert.equal(await cluster.term(), term);
  return { ...told, gapMs: Math.round(ledger.longestGapMs) };
}

test("R17: to a node that is dead: refused at once by whoever is asked, and no write stands", async (t) => {
  const ledger = await begin();
  const [follower, other] = await cluster.followers();
  assert.ok(follower && other);
  await follower.kill();
  await ledger.progress(50);
  for (const via of [await cluster.leader(), other]) {
    const { status, code, ms, gapMs } = await inVain(ledger, via, follower, /cannot be reached/);
    t.diagnostic(`answered after ${ms} ms, no create for ${gapMs} ms`);
    assert.deepEqual([status, code], [400, "invalid_argument"]);
    assert.ok(ms < 500, `answered after ${ms} ms`);
    assert.ok(gapMs < 500, `writes stood for ${gapMs} ms`);
  }
  await follower.start();
  await ledger.verify();
});

test("R17: to a node that was just cut off: the leader goes on after an election timeout, and says so", async (t) => {
  const ledger = await begin(true);
  const leader = await cluster.leader();
  const [follower, other] = await cluster.followers();
  assert.ok(follower && other);
  part(cluster, leader, follower);
  const { status, ms, gapMs } = await inVain(ledger, other, follower, /did not take over/);
  t.diagnostic(`answered after ${ms} ms, no create for ${gapMs} ms`);
  assert.equal(status, 408);
  assert.ok(ms < 5_000, `answered after ${ms} ms`);
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
