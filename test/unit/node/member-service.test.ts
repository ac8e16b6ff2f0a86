import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cluster } from "../../../src/node/cluster.ts";
import { MemberService } from "../../../src/node/member-service.ts";
import type { ClusterView } from "../../../src/router/shard-routes.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../../sim/clock.ts";

const address = { nodeId: "n2", raft: "n2", http: "", grpc: "" };

test("a node without replicas does not say of a member that there is none", async () => {
  const time = new ProcessTime(new MachineClock(new VirtualTime(), 0, 1));
  const service = new MemberService({
    cluster: {
      members: () => [],
      self: { ...address, nodeId: "n1", storeId: 1 },
    } as never as Cluster,
    view: {} as ClusterView,
    shards: [null, null],
    clock: time,
    timers: time,
  });
  const asked = [
    () => service.remove("n2"),
    () => service.add(address),
    () => service.transfer(null, "n2"),
    () => service.transfer(0, null),
  ];
  for (const ask of asked) await assert.rejects(ask, { code: "no_leader" });
});
