/** RabbitMQ with one quorum queue: publisher confirms, and consumers' acks for many messages at once. */
import { connect } from "amqplib";
import type { RabbitmqPlan } from "../load/protocol.ts";
import { runLoad } from "../load-process.ts";
import type { Measurement } from "../measurement.ts";
import { measurementOf, type Peer, type PeerRun, peerShape } from "./peer.ts";
import { RabbitmqServer, rabbitmqVersion } from "./rabbitmq-server.ts";

const queue = "bench";
/** A cluster of 3: what is promised of ours beside it. */
const clusterBar = 1.2;

export const rabbitmq: Peer = {
  name: "RabbitMQ",
  debian: "rabbitmq-server",
  version: rabbitmqVersion,
  rivals: (run) => [
    {
      name: "rabbitmq quorum",
      title: "RabbitMQ, quorum queue",
      durability: durabilityOf(run),
      measure: () => measureRabbitmq(run),
      ...(run.nodes > 1 && { bar: clusterBar }),
    },
  ],
};

async function measureRabbitmq(run: PeerRun): Promise<Measurement> {
  const server = await RabbitmqServer.start(run.folder, run.nodes);
  try {
    const [url, ...others] = server.ports.map((port) => `amqp://guest:guest@127.0.0.1:${port}`);
    if (url === undefined) throw new Error("no node");
    await declareQueue(url, run.nodes);
    for (const other of others) await findQueue(other);
    const plan: RabbitmqPlan = {
      kind: "rabbitmq",
      url,
      queue,
      window: 4_000,
      prefetch: 1_000,
      ...peerShape,
      ...run.period,
    };
    const outcome = await runLoad(plan, { serverPid: server.pidOf(0), execArgv: [] });
    return measurementOf(outcome, {
      scenario: "rabbitmq",
      label: `14 B, quorum queue of ${run.nodes}, confirms awaited, multiple acks only sent`,
      durability: durabilityOf(run),
      configuration: { ...plan },
    });
  } finally {
    await server.stop();
  }
}

/** Its leader is on the node that was asked, which is the one that clients use. */
async function declareQueue(url: string, nodes: number): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-quorum-initial-group-size": nodes,
      "x-queue-leader-locator": "client-local",
    },
  });
  await connection.close();
}

/** @throws Error when the node is in another cluster than the queue, which has too few members then */
async function findQueue(url: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.checkQueue(queue);
  await connection.close();
}

function durabilityOf({ nodes }: PeerRun): string {
  return nodes > 1 ? "fsync on a majority before every confirm" : "fsync before every confirm";
}
