import { toStoreId } from "../../../src/base/brand.ts";
import { runTransportSuite } from "../../contract/transport-suite.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../clock.ts";
import { Stream } from "../random.ts";
import { must } from "../violation.ts";
import { SimNet } from "./net.ts";

runTransportSuite("simulated", () => {
  const time = new VirtualTime();
  const profile = { minUs: 100, meanUs: 300, bytesPerUs: 100, silenceUs: 600_000 };
  const net = new SimNet(time, new Stream(1, "net"), { ...profile, datagrams: null });
  const silences: [string, string][] = [];
  const addressOf = (nodeId: string) => ({ nodeId, raft: nodeId, http: "", grpc: "" });
  return {
    create({ nodeId, storeId, clusterId }) {
      const life = new ProcessTime(new MachineClock(time, 1_800_000_000_000, 1));
      const address = { ...addressOf(nodeId), http: `http://${nodeId}`, grpc: nodeId };
      const identity = { ...address, storeId: toStoreId(storeId), clusterId, version: "test" };
      return net.transport(identity, life);
    },
    address: (to) => addressOf(to),
    async settle(until) {
      const endUs = time.nowUs + 60_000_000;
      await time.run(() => until() || time.nowUs > endUs);
      must(until(), "it comes within a minute");
    },
    silence(from, to) {
      silences.push([from, to]);
      net.cut(from, to);
    },
    heal() {
      for (const [from, to] of silences.splice(0)) net.heal(from, to);
    },
    end: async () => undefined,
  };
});
