/** The command line and a cluster: what it shows, members, leaders, and a node that is gone. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, type ClusterNode } from "../cluster/cluster.ts";
import { type CliEnd, runCli } from "./run.ts";

let cluster: Cluster;

before(async () => {
  cluster = await Cluster.start({ shards: 2 });
});

after(() => cluster.stop());

/** Runs a command that knows all nodes, or these. */
function run(
  args: readonly string[],
  nodes: readonly ClusterNode[] = cluster.nodes,
): Promise<CliEnd> {
  const env = {
    QUORUMQ_HTTP: nodes.map(({ url }) => url).join(),
    QUORUMQ_GRPC: nodes.map(({ ports }) => `127.0.0.1:${ports.grpc}`).join(),
  };
  return runCli(args, { env });
}

async function ask<T>(args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await run(["--json", ...args]);
  assert.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

interface Status {
  readonly ok: boolean;
  readonly nodes: readonly { readonly id: string; readonly shardsLed: readonly number[] }[];
  readonly groups: readonly { readonly leaderId: string }[];
}

test("status shows all nodes and shards with their leaders, through any node", async () => {
  for (const node of cluster.nodes) {
    const { code, stdout, stderr } = await run(["status"], [node]);
    assert.equal(code, 0, `${stdout}${stderr}`);
    for (const { id } of cluster.nodes) assert.match(stdout, new RegExp(`^${id} +yes`, "m"));
  }
  const { nodes, groups } = await ask<Status>(["status"]);
  assert.deepEqual(nodes.flatMap(({ shardsLed }) => shardsLed).sort(), [0, 1]);
  assert.ok(groups.every(({ leaderId }) => leaderId !== ""));
});

test("top shows every node's load", async () => {
  const view = await ask<{ nodes: { id: string; residentBytes: number | null }[] }>([
    "top",
    "-n",
    "1",
    "-i",
    "0.3",
  ]);
  assert.deepEqual(
    view.nodes.map(({ id, residentBytes }) => [id, residentBytes !== null]),
    [
      ["n1", true],
      ["n2", true],
      ["n3", true],
    ],
  );
});

test("work that was created through one node is done through another", async () => {
  const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
  const created = await run(["enqueue", "across", "5"], [first]);
  assert.equal(created.code, 0, created.stderr);
  const worked = await run(["work", "across", "-n", "1", "--exec", "cat"], [second]);
  assert.equal(worked.code, 0, worked.stderr);
  const { code, stdout } = await run(["task", "result", created.stdout.trim()]);
  assert.deepEqual([code, stdout], [0, "5\n"]);
});

test("leader transfer moves every shard to the node that is named", async () => {
  const members = await ask<{ voters: string[] }>(["leader", "transfer", "--to", "n3"]);
  assert.deepEqual(members.voters, ["n1", "n2", "n3"]);
  const unknown = await run(["leader", "transfer", "--to", "n9"]);
  assert.notEqual(unknown.code, 0);
});

test("members are listed, added and removed", async () => {
  assert.deepEqual(await ask(["member", "list"]), { voters: ["n1", "n2", "n3"], learners: [] });
  const fourth = await cluster.prepare("n4", { QUORUMQ_STORAGE_NUM_SHARDS: "2" });
  await fourth.launch();
  const added = await ask<{ voters: string[]; learners: string[] }>([
    "member",
    "add",
    "n4",
    "--raft",
    `127.0.0.1:${fourth.raftPort}`,
  ]);
  assert.ok([...added.voters, ...added.learners].includes("n4"));
  const removed = await ask<{ voters: string[]; learners: string[] }>([
    "member",
    "remove",
    "n4",
    "--yes",
  ]);
  assert.ok(![...removed.voters, ...removed.learners].includes("n4"));
  assert.equal((await run(["member", "remove", "n9", "--yes"])).code, 4);
  await fourth.kill();
});

test("with a node gone commands go on, and status names it with exit code 1", async () => {
  const gone = cluster.nodes[0] as ClusterNode;
  await gone.kill();
  const created = await run(["--timeout", "20", "enqueue", "gone", "1"]);
  assert.equal(created.code, 0, created.stderr);
  const worked = await run(["--timeout", "20", "work", "gone", "-n", "1", "--exec", "cat"]);
  assert.equal(worked.code, 0, worked.stderr);
  const told = await cluster.until("the node is missed", async () => {
    const status = await run(["status"]);
    return status.code === 1 ? status : null;
  });
  assert.match(told.stdout, new RegExp(`node ${gone.id} is not reachable`));
  await gone.start();
});
