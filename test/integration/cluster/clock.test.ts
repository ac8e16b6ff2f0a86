/** R13 of the catalogue of process faults: wall clocks that jump; leases and delays do not follow. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { firstFile } from "../storage-probes/machine.ts";
import { Cluster, type ClusterNode } from "./cluster.ts";

const all = process.env["QUORUMQ_ITEST"] === "all";
const library = firstFile("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
const day = 86_400;
const jumps = all ? [1, -1, 60, -60, 3_600, -3_600, 30 * day, -30 * day] : [-3_600, 30 * day];
/** Fractions of a second that leader time may run ahead of the monotonic clock, and what a test's turn takes. */
const earlyMs = 60;
/** What a busy machine may be late. */
const lateMs = 3_000;
let cluster: Cluster | null = null;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorumq-clock-"));
});

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
  rmSync(folder, { recursive: true, force: true });
});

function setClock(nodeId: string, seconds: number): void {
  writeFileSync(join(folder, nodeId), `${seconds >= 0 ? "+" : ""}${seconds}\n`);
}

function clockOf(preload: string, nodeId: string): Record<string, string> {
  setClock(nodeId, 0);
  return {
    LD_PRELOAD: preload,
    FAKETIME_TIMESTAMP_FILE: join(folder, nodeId),
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

async function post(node: ClusterNode, path: string, body: unknown): Promise<Answer> {
  const answer = await fetch(`${node.url}/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? {} : JSON.parse(text) };
}

async function claim(leader: ClusterNode, queue: string, leaseSeconds: number): Promise<number> {
  for (;;) {
    const claimed = await post(leader, "/tasks/claim", {
      commands: [queue],
      waitSeconds: 20,
      leaseSeconds,
    });
    if (claimed.status === 200) return performance.now();
    assert.equal(claimed.status, 204, JSON.stringify(claimed.body));
  }
}

/** A delay and a lease of two seconds over which the clocks of these nodes jump. */
async function overJump(
  leader: ClusterNode,
  nodes: readonly ClusterNode[],
  seconds: number,
): Promise<void> {
  const queue = `q${seconds}.${nodes.map(({ id }) => id).join("")}`;
  const lent = `${queue}.lent`;
  await post(leader, "/tasks", { command: lent, payload: 1 });
  const leasedMs = await claim(leader, lent, 2);
  const madeMs = performance.now();
  const made = await post(leader, "/tasks", { command: queue, payload: 1, delaySeconds: 2 });
  assert.equal(made.status, 202, JSON.stringify(made.body));
  for (const { id } of nodes) setClock(id, seconds);
  const [readyMs, againMs] = await Promise.all([claim(leader, queue, 60), claim(leader, lent, 60)]);
  for (const { id } of nodes) setClock(id, 0);
  for (const [what, tookMs] of [
    ["delay", readyMs - madeMs],
    ["lease", againMs - leasedMs],
  ] as const) {
    const text = `${what} of 2 s over a jump of ${seconds} s took ${Math.round(tookMs)} ms`;
    assert.ok(tookMs >= 2_000 - earlyMs && tookMs < 2_000 + lateMs, text);
  }
}

for (const whose of all ? ["the leader", "a follower", "all nodes"] : ["all nodes"]) {
  test(`R13: the wall clock of ${whose} jumps, and nothing is early or late`, async (t) => {
    if (library === undefined) return t.skip("libfaketime is not installed");
    cluster = await Cluster.start({
      envOf: (id) => clockOf(library, id),
      // an expiry is ready at once
      env: { BACKOFF_POLICY: "fixed", BACKOFF_BASE_SECONDS: "0" },
    });
    const leader = await cluster.leader();
    const [follower] = await cluster.followers();
    assert.ok(follower);
    const nodes = { "the leader": [leader], "a follower": [follower], "all nodes": cluster.nodes };
    const term = await cluster.term();
    for (const seconds of jumps) {
      await overJump(leader, nodes[whose as keyof typeof nodes], seconds);
    }
    assert.equal(await cluster.term(), term, "nobody is elected for it");
    for (const node of cluster.nodes) assert.ok(await node.groups());
  });
}

test("R13: who comes to lead with a wrong wall clock goes on with the time of the one before", async (t) => {
  if (library === undefined) return t.skip("libfaketime is not installed");
  cluster = await Cluster.start({ envOf: (id) => clockOf(library, id) });
  const first = await cluster.leader();
  for (const { id } of await cluster.followers()) setClock(id, 30 * day);
  await post(first, "/tasks", { command: "held", payload: 1 });
  await claim(first, "held", 60);
  const made = await post(first, "/tasks", { command: "later", payload: 1, delaySeconds: 60 });
  await first.kill();
  const leader = await cluster.leader();
  assert.notEqual(leader, first);
  for (const queue of ["held", "later"]) {
    const early: Answer = await cluster.until("an answer", async () => {
      const answer = await post(leader, "/tasks/claim", { commands: [queue], waitSeconds: 1 });
      return answer.status === 503 ? null : answer;
    });
    assert.equal(early.status, 204, JSON.stringify(early.body));
  }
  const read = await fetch(`${leader.url}/v1/tasks/${String(made.body["id"])}`);
  assert.equal(((await read.json()) as { readonly state: string }).state, "delayed");
});
