import assert from "node:assert/strict";
import { test } from "node:test";
import {
  hashClusterId,
  hashLayout,
  peerListener,
  recordedNodes,
  shardCountOf,
  shardPlaces,
} from "../../../src/node/hash-layout.ts";
import { parse } from "../config/sources.ts";

const nodes = ["b=127.0.0.1:7002", "B=127.0.0.1:7001", "a-1=[::1]:7003", "a=127.0.0.1:7004"];

function configOf(list: readonly string[], more: Record<string, string> = {}) {
  const env = { CLUSTER_ENABLED: "true", CLUSTER_SELF_ID: "a", CLUSTER_NODES: list.join() };
  return parse({ env: { ...env, ...more } }).config;
}

function layoutOf(list: readonly string[]) {
  const layout = hashLayout(configOf(list));
  assert.ok(layout);
  return layout;
}

test("shard k lies on the k-th node in byte order of the ids", () => {
  const layout = layoutOf(nodes);
  assert.deepEqual(
    layout.nodes.map(({ id }) => id),
    ["B", "a", "a-1", "b"],
  );
  assert.equal(layout.own, 1);
  assert.deepEqual(recordedNodes(layout), [
    "B=127.0.0.1:7001",
    "a=127.0.0.1:7004",
    "a-1=[::1]:7003",
    "b=127.0.0.1:7002",
  ]);
});

test("lists in another order are the same cluster, others are not", () => {
  const id = hashClusterId(layoutOf(nodes));
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.equal(hashClusterId(layoutOf([...nodes].reverse())), id);
  const moved = [...nodes.slice(0, 3), "a=127.0.0.1:7005"];
  for (const other of [nodes.slice(1), moved]) {
    assert.notEqual(hashClusterId(layoutOf(other)), id);
  }
});

test("a node listens where the list says, and has as many shards as it names nodes", () => {
  const config = configOf(nodes, { RAFT_PEER_HTTP_ADDRS: "b=http://127.0.0.1:81" });
  assert.deepEqual(
    [peerListener(config).port, shardCountOf(config), shardCountOf(parse({}).config)],
    [7004, 4, 1],
  );
  assert.equal(hashLayout(parse({}).config), null);
  const places = shardPlaces(layoutOf(nodes), config);
  assert.deepEqual(
    places.map(({ shard, nodeId, http }) => [shard, nodeId, http]),
    [
      [0, "B", ""],
      [1, "a", ""],
      [2, "a-1", ""],
      [3, "b", "http://127.0.0.1:81"],
    ],
  );
});
