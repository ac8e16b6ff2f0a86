/** NATS JetStream, in the three ways that NatsMode names; with several nodes, as many replicas. */
import { AckPolicy, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { NatsMode, NatsPlan } from "../load/protocol.ts";
import { runLoad } from "../load-process.ts";
import type { Measurement } from "../measurement.ts";
import { NatsServer, natsVersion } from "./nats-server.ts";
import { measurementOf, type Peer, type PeerRun, peerShape, type Rival } from "./peer.ts";

/**
 * Cycles/s that one node of NATS 2.9 reached on a 2-core machine like those the bars are meant for,
 * low end of several runs; a run below `validShare` of it says more about the moment than about NATS.
 * `counted` was never measured there.
 */
const expected: Readonly<Record<NatsMode, number | null>> = {
  api: 22_700,
  awaited: 14_900,
  counted: null,
};
const validShare = 0.85;

const labels: Readonly<Record<NatsMode, string>> = {
  api: "js.publish, acks only sent",
  awaited: "js.publish, every ack awaited",
  counted: "publish acks counted by hand, acks only sent",
};

const titles: Readonly<Record<NatsMode, string>> = {
  api: "js.publish",
  awaited: "js.publish, acks awaited",
  counted: "acks counted by hand",
};

/** What is promised beside the faster way of those that its own interface has, by nodes. */
const bars: ReadonlyMap<number, number> = new Map([
  [1, 2.2],
  [3, 1.5],
]);
const barMode: NatsMode = "api";

const names = { stream: "bench", subject: "bench.tasks", consumer: "workers" } as const;
const nsPerSecond = 1_000_000_000;

export const nats: Peer = {
  name: "NATS",
  debian: "nats-server",
  version: natsVersion,
  rivals: (run) => [rival(run, "api"), rival(run, "awaited"), rival(run, "counted")],
};

function rival(run: PeerRun, mode: NatsMode): Rival {
  const bar = mode === barMode ? bars.get(run.nodes) : undefined;
  return {
    name: `nats ${mode}`,
    title: `NATS JetStream, ${titles[mode]}`,
    durability: durabilityOf(run),
    measure: () => measureNats(run, mode),
    ...(bar !== undefined && { bar }),
  };
}

async function measureNats(run: PeerRun, mode: NatsMode): Promise<Measurement> {
  const server = await NatsServer.start(run.folder, run.nodes);
  try {
    const leader = await makeQueue(server);
    const plan: NatsPlan = {
      kind: "nats",
      server: leader.address,
      ...names,
      batch: 128,
      window: 8,
      pullMessages: 1024,
      mode,
      ...peerShape,
      ...run.period,
    };
    const outcome = await runLoad(plan, { serverPid: leader.daemon.pid, execArgv: [] });
    const words = {
      scenario: "nats",
      label: `14 B × 128, ${labels[mode]}`,
      durability: durabilityOf(run),
      configuration: { ...plan, replicas: run.nodes },
    };
    return measurementOf(outcome, words, ({ cyclesPerSecond }) => {
      const figure = run.nodes === 1 ? expected[mode] : null;
      if (figure === null || cyclesPerSecond >= figure * validShare) return [];
      return [`under ${validShare * 100} % of ${figure} cycles/s: not a fair moment`];
    });
  } finally {
    await server.stop();
  }
}

/**
 * A work queue in files, with the retention that removes what is acknowledged.
 * @returns the node that leads it: clients that ask another one cost a hop
 */
async function makeQueue(server: NatsServer): Promise<NatsServer["nodes"][number]> {
  const [first] = server.nodes;
  if (first === undefined) throw new Error("no node");
  const connection = await connect({ servers: first.address });
  try {
    const manager = await jetstreamManager(connection);
    const { cluster } = await manager.streams.add({
      name: names.stream,
      subjects: [names.subject],
      storage: StorageType.File,
      retention: RetentionPolicy.Workqueue,
      num_replicas: server.nodes.length,
    });
    await manager.consumers.add(names.stream, {
      durable_name: names.consumer,
      ack_policy: AckPolicy.Explicit,
      ack_wait: 300 * nsPerSecond,
      max_ack_pending: 65_536,
    });
    return server.nodes.find(({ name }) => name === cluster?.leader) ?? first;
  } finally {
    await connection.close();
  }
}

function durabilityOf({ nodes }: PeerRun): string {
  return nodes > 1 ? `no fsync (every 2 min), ${nodes} replicas` : "no fsync (every 2 min)";
}
