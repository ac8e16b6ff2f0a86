/**
 * Debian's nats-server with JetStream on loopback, one node or several as a cluster, each with a
 * directory of its own.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { Daemon } from "./daemon.ts";
import { outputOf } from "./peer.ts";

const program = "nats-server";
const clusterName = "bench";

/** @throws PeerMissingError */
export function natsVersion(): string {
  return outputOf(program, ["--version"]).replace(": v", " ");
}

interface Ports {
  readonly client: number;
  readonly routes: number;
  readonly monitor: number;
}

interface NatsNode {
  readonly name: string;
  /** host:port */
  readonly address: string;
  readonly daemon: Daemon;
}

export class NatsServer {
  readonly nodes: readonly NatsNode[];
  private readonly directory: string;
  private readonly ports: readonly Ports[];

  private constructor(folder: string, ports: readonly Ports[]) {
    this.directory = mkdtempSync(join(folder, "nats-bench-"));
    this.ports = ports;
    this.nodes = ports.map((own, i) => {
      const name = `n${i + 1}`;
      const { client } = own;
      // file storage is the default of a stream; sync_interval stays at its default of two minutes
      const store = ["-js", "-sd", join(this.directory, name), "-n", name];
      const address = ["-a", "127.0.0.1", "-p", String(client), "-m", String(own.monitor)];
      const args = [...store, ...address, ...this.routesOf(own)];
      const daemon = new Daemon({ program, args });
      return { name, address: `127.0.0.1:${client}`, daemon };
    });
  }

  /** @returns once every node takes clients, and those of a cluster have a leader for its metadata */
  static async start(folder: string, count: number): Promise<NatsServer> {
    const ports: Ports[] = [];
    for (let i = 0; i < count; i++) {
      ports.push({
        client: await freePort(),
        routes: await freePort(),
        monitor: await freePort(),
      });
    }
    const server = new NatsServer(folder, ports);
    try {
      for (const [i, { daemon }] of server.nodes.entries()) {
        const { client, monitor } = ports[i] as Ports;
        await daemon.listening(client);
        if (count > 1) await daemon.until(() => isInCluster(monitor, count));
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ daemon }) => daemon.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  private routesOf(own: Ports): string[] {
    if (this.ports.length === 1) return [];
    const url = ({ routes }: Ports) => `nats://127.0.0.1:${routes}`;
    const others = this.ports.filter((ports) => ports !== own).map(url);
    return ["--cluster_name", clusterName, "--cluster", url(own), "--routes", others.join()];
  }
}

/** Whether a node knows the leader of JetStream's metadata, and that all nodes belong to it. */
async function isInCluster(monitor: number, count: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${monitor}/jsz`);
    const { meta_cluster: meta } = (await answer.json()) as {
      readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
    };
    return (meta?.leader ?? "") !== "" && meta?.cluster_size === count;
  } catch {
    return false; // it does not listen yet
  }
}
