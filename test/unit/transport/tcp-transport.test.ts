import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterNode, clusterIds } from "../../contract/transport-node.ts";
import { runTransportSuite } from "../../contract/transport-suite.ts";
import { createTcpHarness, listenHost, settle, type TcpHarness } from "./tcp-world.ts";

runTransportSuite("tcp", createTcpHarness);

function createNode(harness: TcpHarness, nodeId: string): ClusterNode {
  const names = { nodeId, storeId: nodeId.charCodeAt(0), clusterId: clusterIds.one };
  return new ClusterNode(names, harness.create(names));
}

test("an address that is taken fails the start, and closing is fine after that", async () => {
  const [first, second] = [await createTcpHarness(), await createTcpHarness()];
  // both begin with the same port
  const [a, b] = [createNode(first, "a"), createNode(second, "b")];
  await a.start();
  await assert.rejects(b.start(), /EADDRINUSE/);
  await b.close();
  await a.close();
  for (const harness of [first, second]) await harness.end();
});

test("peers whose addresses are nonsense keep nobody else from connecting", async () => {
  const harness = await createTcpHarness();
  const [a, b] = [createNode(harness, "a"), createNode(harness, "b")];
  const strange = ["", "nonsense", "a:b:c", ":7000", `${listenHost}:0`, `${listenHost}:65536`];
  a.transport.setPeers([
    ...strange.map((raft, i) => ({ nodeId: `strange${i}`, raft, http: "", grpc: "" })),
    harness.address("b", "a"),
  ]);
  b.transport.setPeers([harness.address("a", "b")]);
  await a.start();
  await b.start();
  await settle(() => a.sees(b) && b.sees(a));
  await a.close();
  await b.close();
  await harness.end();
});
