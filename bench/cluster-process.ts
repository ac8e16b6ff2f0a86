/** Three nodes of the build in dist, each in its own process, as one cluster on this machine. */
import { randomBytes } from "node:crypto";
import { freePort } from "./free-port.ts";
import { sleep } from "./measure/sleep.ts";
import { type NodeOptions, NodeProcess } from "./node-process.ts";

const settleWithinMs = 30_000;

interface Places {
  readonly http: number;
  readonly grpc: number;
  readonly raft: number;
}

export class ClusterProcess {
  readonly nodes: readonly NodeProcess[];

  private constructor(nodes: readonly NodeProcess[]) {
    this.nodes = nodes;
  }

  /** Starts the nodes on empty directories and waits until all of them are ready. */
  static async start(options: NodeOptions, count: number): Promise<ClusterProcess> {
    const places: Places[] = [];
    for (let i = 0; i < count; i++) {
      places.push({ http: await freePort(), grpc: await freePort(), raft: await freePort() });
    }
    const list = (value: (place: Places) => string) =>
      places.map((place, i) => `n${i + 1}=${value(place)}`).join();
    const token = options.token ?? randomBytes(24).toString("hex");
    const nodes: NodeProcess[] = [];
    for (const [i, place] of places.entries()) {
      const env = {
        RAFT_ENABLED: "true",
        RAFT_SELF_ID: `n${i + 1}`,
        RAFT_BOOTSTRAP: String(i === 0),
        RAFT_BIND_ADDR: `127.0.0.1:${place.raft}`,
        RAFT_PEERS: list(({ raft }) => `127.0.0.1:${raft}`),
        RAFT_PEER_HTTP_ADDRS: list(({ http }) => `http://127.0.0.1:${http}`),
        RAFT_PEER_GRPC_ADDRS: list(({ grpc }) => `127.0.0.1:${grpc}`),
        ...options.env,
      };
      nodes.push(await NodeProcess.prepare({ ...options, token, env, ports: place }));
    }
    const cluster = new ClusterProcess(nodes);
    try {
      await Promise.all(nodes.map((node) => node.launch()));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** The node that leads shard 0, once there is one. */
  async leader(): Promise<NodeProcess> {
    const until = performance.now() + settleWithinMs;
    for (;;) {
      for (const node of this.nodes) {
        if (!node.isRunning) continue;
        const { is_leader: leads } = JSON.parse(await node.get("/health")) as {
          readonly is_leader: boolean;
        };
        if (leads) return node;
      }
      if (performance.now() > until) throw new Error("the cluster has no leader");
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}
