/** R25, R26 of the catalogue of process faults: what clients do wrong, or have done to them. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createProducer } from "../../../src/client/index.ts";
import { type Child, Cleanup, lineOf, startChild } from "../storage-probes/machine.ts";
import { Cluster } from "./cluster.ts";

const leaseSeconds = 3;
/** What a task may be late after its lease. */
const slackMs = 2_000;
/** A task whose lease ran out would wait for up to 5 s, drawn at random. */
const env = { BACKOFF_POLICY: "fixed", BACKOFF_BASE_SECONDS: "0" };
let cluster: Cluster;
const cleanup = new Cleanup();

afterEach(async () => {
  cleanup.run();
  await cluster.stop();
});

/** A worker in a process of its own; its tasks end when it is told. */
function startWorker(name: string): Child {
  const endpoints = cluster.nodes.map(({ ports }) => `127.0.0.1:${ports.grpc}`).join();
  const child = startChild("../cluster/worker-child.ts", [endpoints, name, String(leaseSeconds)]);
  cleanup.add(() => void child.process.kill("SIGKILL"));
  return child;
}

async function enqueue(payload: string): Promise<string> {
  const producer = createProducer({
    endpoints: cluster.nodes.map(({ ports }) => `127.0.0.1:${ports.grpc}`),
  });
  const { id } = await producer.enqueue("r25", payload);
  await producer.close();
  return id;
}

/** The token with which a worker got a task, and when its line was read. */
async function claimed(worker: Child, id: string): Promise<{ token: bigint; atMs: number }> {
  const line = await lineOf(worker, new RegExp(`^got ${id} `));
  return { token: BigInt(line.split(" ")[2] ?? ""), atMs: performance.now() };
}

test("R25: the tasks of a worker that is killed go to another one", async () => {
  cluster = await Cluster.start({ env });
  const first = startWorker("first");
  const id = await enqueue("killed");
  const before = await claimed(first, id);
  first.process.kill("SIGKILL");
  const killedMs = performance.now();
  const second = startWorker("second");
  const after = await claimed(second, id);
  assert.ok(after.token > before.token);
  const lateMs = after.atMs - killedMs - leaseSeconds * 1_000;
  assert.ok(lateMs < slackMs, `${lateMs} ms after the lease`);
  second.process.stdin?.write("end\n");
  await lineOf(second, new RegExp(`^completed ${id}$`));
});

test("R25: a worker that was paused over its lease settles nothing, whoever leads then", async () => {
  cluster = await Cluster.start({ env });
  const first = startWorker("first");
  const id = await enqueue("paused");
  const before = await claimed(first, id);
  first.process.kill("SIGSTOP");
  const pausedMs = performance.now();
  const second = startWorker("second");
  const leader = await cluster.leader();
  await leader.kill();
  const after = await claimed(second, id);
  assert.ok(after.token > before.token);
  const lateMs = after.atMs - pausedMs - leaseSeconds * 1_000;
  assert.ok(lateMs < slackMs, `${lateMs} ms after the lease`);
  // it holds the old token, and means to settle with it
  first.process.kill("SIGCONT");
  first.process.stdin?.write("end\n");
  await lineOf(first, new RegExp(`^lost ${id} `));
  const url = cluster.up[0]?.url;
  const task = (await (await fetch(`${url}/v1/tasks/${id}`)).json()) as Record<string, unknown>;
  assert.deepEqual([task["state"], task["workerId"]], ["leased", "second"]);
  const late = await fetch(`${url}/v1/tasks/${id}/result`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ status: "COMPLETED", leaseToken: String(before.token) }),
  });
  assert.deepEqual(
    [late.status, ((await late.json()) as { code: string }).code],
    [409, "lease_lost"],
  );
  second.process.stdin?.write("end\n");
  await lineOf(second, new RegExp(`^completed ${id}$`));
  assert.ok(!first.output.includes(`completed ${id}`));
});

test("R26: a storm of retries with one key, through all nodes while the leader dies, makes one task", async () => {
  cluster = await Cluster.start({ shards: 2 });
  const ids = new Set<string>();
  let acknowledged = 0;
  let isOver = false;
  const client = async (n: number) => {
    for (let i = n; !isOver; i++) {
      const node = cluster.nodes[i % cluster.nodes.length];
      const answer = await fetch(`${node?.url}/v1/tasks`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": "storm" },
        body: JSON.stringify({ command: "r26", payload: { the: "same" } }),
        signal: AbortSignal.timeout(2_000),
      }).catch(() => null);
      if (answer?.status !== 202) {
        // a node that is down must not be asked in a loop without a turn of the others
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      ids.add(((await answer.json()) as { id: string }).id);
      acknowledged++;
    }
  };
  const clients = Array.from({ length: 32 }, (_, n) => client(n));
  const more = (count: number) => {
    const target = acknowledged + count;
    return cluster.until("more answers", async () => (acknowledged >= target ? true : null));
  };
  for (const shard of [0, 1]) {
    await more(50);
    const leader = await cluster.leader(shard);
    await leader.kill();
    await more(50);
    await leader.start();
  }
  await more(50);
  isOver = true;
  await Promise.all(clients);
  assert.equal(ids.size, 1);
  const list = await fetch(`${cluster.nodes[0]?.url}/v1/tasks?command=r26&limit=1000`);
  const { tasks } = (await list.json()) as { readonly tasks: readonly { id: string }[] };
  assert.deepEqual(
    tasks.map(({ id }) => id),
    [...ids],
  );
});
