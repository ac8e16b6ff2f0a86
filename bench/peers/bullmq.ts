/** BullMQ on Debian's redis-server, with its append-only file synced each second or before every reply. */
import { readFileSync } from "node:fs";
import type { BullmqPlan } from "../load/protocol.ts";
import { runLoad } from "../load-process.ts";
import type { Measurement } from "../measurement.ts";
import { packageFolder } from "../paths.ts";
import { measurementOf, type Peer, type PeerRun, peerShape } from "./peer.ts";
import { RedisServer, type RedisSync, redisVersion } from "./redis-server.ts";

const durability: Readonly<Record<RedisSync, string>> = {
  everysec: "fsync every second (AOF)",
  always: "fsync before every reply (AOF always)",
};

export const bullmq: Peer = {
  name: "BullMQ",
  debian: "redis-server",
  version: () => `BullMQ ${clientVersion()} on ${redisVersion()}`,
  // Redis has no form in which a majority has a write before its reply
  rivals: (run) => (run.nodes > 1 ? [] : [rival(run, "everysec"), rival(run, "always")]),
};

function rival(run: PeerRun, sync: RedisSync) {
  return {
    name: `bullmq ${sync}`,
    title: `BullMQ on Redis, AOF ${sync}`,
    durability: durability[sync],
    measure: () => measureBullmq(run, sync),
  };
}

async function measureBullmq({ folder, period }: PeerRun, sync: RedisSync): Promise<Measurement> {
  const server = await RedisServer.start(folder, sync);
  try {
    const plan: BullmqPlan = {
      kind: "bullmq",
      port: server.port,
      batch: 128,
      window: 2,
      workers: 4,
      concurrency: 100,
      ...peerShape,
      ...period,
    };
    const outcome = await runLoad(plan, { serverPid: server.pid, execArgv: [] });
    return measurementOf(outcome, {
      scenario: "bullmq",
      label: `14 B × 128, addBulk, ${plan.workers} workers × ${plan.concurrency}`,
      durability: durability[sync],
      configuration: { ...plan, appendfsync: sync },
    });
  } finally {
    await server.stop();
  }
}

function clientVersion(): string {
  const file = new URL("node_modules/bullmq/package.json", packageFolder);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
