/** Whom a node keeps connections with when those it knows of have no leader among them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import { limits } from "../../../src/base/limits.ts";
import { Cluster, type ClusterDeps } from "../../../src/node/cluster.ts";
import { encodeMembers, type Member } from "../../../src/shard/members.ts";
import { nodeFrames } from "../../../src/shard/replica-frames.ts";

const member = (name: string, storeId: number): Member => ({
  ...{ storeId: toStoreId(storeId), nodeId: name, raft: `${name}:9000` },
  ...{ http: `http://${name}`, grpc: `${name}:9092` },
});
const [n1, n2, n3, n4] = [
  member("n1", 1),
  member("n2", 2),
  member("n3", 3),
  member("n4", 4),
] as const;
const clusterId = "0".repeat(32);

/** n1 of a cluster of n1 and n2, as it knows it; n2 is connected. */
function start() {
  const said: { readonly to: number; readonly type: number }[] = [];
  let listed: readonly string[] = [];
  let leaderId = 0;
  const timers: (() => void)[] = [];
  const consensus = { members: [n1, n2], leaderId: toStoreId(0) };
  Object.defineProperty(consensus, "leaderId", { get: () => toStoreId(leaderId) });
  const deps = {
    transport: {
      setPeers: (peers: readonly { readonly nodeId: string }[]) => {
        listed = peers.map(({ nodeId }) => nodeId);
      },
      send: (to: number, _channel: string, _group: number, type: number) => {
        said.push({ to, type });
        return true;
      },
      peers: () => [],
    },
    link: { setNode: () => undefined },
    timers: { after: (_ms: number, callback: () => void) => timers.push(callback) },
    logger: { info: () => undefined, warn: () => undefined },
    shards: [{ consensus, leads: false }],
  } as unknown as ClusterDeps;
  const cluster = new Cluster(deps, {
    ...{ self: n1, peers: [n2], bootstrap: false, rejoin: false },
    stored: { clusterId, founders: [n1, n2] },
  });
  cluster.run();
  cluster.peerFound({ ...n2, clusterId, version: "test" });
  const looks = (count: number) => {
    for (let i = 0; i < count; i++) timers.shift()?.();
  };
  const tell = (from: Member, members: readonly Member[]) =>
    cluster.frame(from.storeId, nodeFrames.members, Buffer.from(encodeMembers(members)));
  return {
    cluster,
    looks,
    tell,
    lead: (id: number) => {
      leaderId = id;
    },
    asked: () => said.filter(({ type }) => type === nodeFrames.membersAsked).map(({ to }) => to),
    answered: () => said.filter(({ type }) => type === nodeFrames.members).map(({ to }) => to),
    listed: () => [...listed].sort(),
  };
}

describe("a node that finds no leader among the members it knows of", () => {
  test("asks those it is connected with, and connects with whom they name", () => {
    const { looks, tell, asked, listed } = start();
    looks(limits.looksUntilLost - 1);
    assert.deepEqual(asked(), []);
    looks(1);
    assert.deepEqual(asked(), [2]);
    tell(n2, [n1, n2, n3]);
    assert.deepEqual(listed(), ["n2", "n3"]);
  });

  test("forgets them once a member that it knows of leads", () => {
    const { looks, tell, lead, listed } = start();
    looks(limits.looksUntilLost);
    tell(n2, [n1, n2, n3]);
    lead(2);
    looks(1);
    assert.deepEqual(listed(), ["n2"]);
  });

  test("believes nobody who is not of its cluster, and nothing that it did not want to know", () => {
    const { cluster, looks, tell, listed } = start();
    tell(n2, [n1, n2, n3]);
    assert.deepEqual(listed(), ["n2"]);
    looks(limits.looksUntilLost);
    cluster.peerFound({ ...n4, clusterId: "1".repeat(32), version: "test" });
    tell(n4, [n3]);
    assert.deepEqual(listed(), ["n2"]);
  });
});

test("a member tells who the members are, itself among them", () => {
  const { cluster, answered } = start();
  cluster.frame(n2.storeId, nodeFrames.membersAsked, Buffer.alloc(0));
  assert.deepEqual(answered(), [2]);
});
