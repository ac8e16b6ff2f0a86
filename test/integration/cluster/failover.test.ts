/** R1, R2, R3, R11, R12, R28 of the catalogue of process faults. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createHttpClient, createProducer, createWorker } from "../../../src/client/index.ts";
import { Cluster } from "./cluster.ts";
import { Ledger } from "./ledger.ts";

let cluster: Cluster;
const all = process.env["QUORUMQ_ITEST"] === "all";

afterEach(() => cluster.stop());

test("R1: the leader is killed again and again; nothing acknowledged is lost", async () => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster);
  ledger.start();
  const gaps: number[] = [];
  for (let i = 0; i < (all ? 20 : 3); i++) {
    await ledger.progress();
    const leader = await cluster.leader();
    await leader.kill();
    const killedMs = performance.now();
    await cluster.until("a create", async () => (ledger.lastCreateMs > killedMs ? true : null));
    gaps.push(ledger.lastCreateMs - killedMs);
    await leader.start();
  }
  await ledger.verify();
  gaps.sort((a, b) => a - b);
  assert.ok((gaps[gaps.length - 1] as number) < 3_000, `write gaps ${gaps.map(Math.round).join()}`);
});

test("R2: followers are killed again and again; clients see nothing of it", async () => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster);
  ledger.start();
  for (let i = 0; i < (all ? 20 : 2); i++) {
    await ledger.progress(100);
    const followers = await cluster.followers();
    const follower = followers[i % followers.length];
    assert.ok(follower);
    await follower.kill();
    await ledger.progress(100);
    await follower.start();
    const { commitIndex } = (await (await cluster.leader()).groups())[0] ?? { commitIndex: 0 };
    await cluster.until(
      "it catches up",
      async () => {
        const group = (await follower.groups())[0];
        return group && group.appliedIndex >= commitIndex ? true : null;
      },
      5_000,
    );
  }
  await ledger.verify();
});

test("R3: all nodes are killed at once; everything acknowledged is there again", async () => {
  cluster = await Cluster.start({ shards: 3 });
  const ledger = new Ledger(cluster);
  ledger.start();
  for (let i = 0; i < (all ? 20 : 2); i++) {
    await ledger.progress();
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    await Promise.all(cluster.nodes.map((node) => node.start()));
  }
  await ledger.verify();
});

test("R11, R12: a leader that stands still for 0.2 s stays; after 3 s another one leads, and reads are not stale", async () => {
  cluster = await Cluster.start();
  const ledger = new Ledger(cluster);
  ledger.start();
  await ledger.progress();
  const term = await cluster.term();
  const first = await cluster.leader();
  first.server?.signal("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 200));
  first.server?.signal("SIGCONT");
  await ledger.progress();
  assert.equal(await cluster.term(), term, "no election for a stall of 200 ms");
  first.server?.signal("SIGSTOP");
  const stoppedMs = performance.now();
  await cluster.until("a create", async () =>
    ledger.lastCreateMs > stoppedMs + 300 ? true : null,
  );
  assert.ok(ledger.lastCreateMs - stoppedMs < 3_000);
  const others = cluster.nodes.filter((node) => node !== first);
  const body = JSON.stringify({ command: "r12", payload: 1, idempotencyKey: "r12" });
  const made = await cluster.until("a task", async () => {
    const answer = await fetch(`${others[0]?.url}/v1/tasks`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(2_000),
    }).catch(() => null);
    return answer?.status === 202 ? ((await answer.json()) as { id: string }) : null;
  });
  first.server?.signal("SIGCONT");
  // It must not answer from what it had before it stood still.
  const read = await fetch(`${first.url}/v1/tasks/${made.id}`, {
    signal: AbortSignal.timeout(10_000),
  });
  assert.notEqual(read.status, 404);
  await ledger.verify();
});

test("R28: a node that is stopped under load hands over, ends with 0, and nothing is lost", async () => {
  cluster = await Cluster.start({ shards: 2 });
  const ledger = new Ledger(cluster);
  ledger.start();
  for (const node of cluster.nodes) {
    await ledger.progress();
    assert.equal(await node.end("SIGTERM"), 0);
    await ledger.progress(50);
    await node.start();
  }
  await ledger.verify();
});

test("R28: a leader whose worker is busy for long hands over at once, and the worker's task goes on", async () => {
  cluster = await Cluster.start();
  const leader = await cluster.leader();
  const endpoints = cluster.nodes.map(({ ports }) => `127.0.0.1:${ports.grpc}`);
  const producer = createProducer({ endpoints });
  cluster.onStop(() => void producer.close());
  let finish = (_result: string): void => undefined;
  const started = new Promise<void>((resolve) => {
    const worker = createWorker(
      { endpoints: `127.0.0.1:${leader.ports.grpc}` },
      {
        queues: ["long"],
        handler: () =>
          new Promise((done) => {
            finish = done;
            resolve();
          }),
      },
    );
    cluster.onStop(() => void worker.stop({ graceSeconds: 0 }));
    void worker.start();
  });
  const { id } = await producer.enqueue("long", 1);
  await started;
  const fromMs = performance.now();
  const ended = leader.end("SIGTERM");
  await producer.enqueue("other", 1);
  assert.equal(await ended, 0);
  // far below the 30 s that a lone node gives its workers
  const tookMs = performance.now() - fromMs;
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
  finish("done");
  const http = createHttpClient({ endpoints: cluster.up.map(({ url }) => url) });
  const { task, result } = await http.getResult(id, { waitSeconds: 20 });
  assert.deepEqual([result?.result, task.attempts], ["done", 1]);
});
