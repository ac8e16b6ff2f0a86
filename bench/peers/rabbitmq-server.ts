/**
 * Debian's rabbitmq-server on loopback, one node or several as a cluster, with directories, names and
 * a port mapper (epmd) of their own, so that nothing of a service of this machine is touched.
 */
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { Daemon } from "./daemon.ts";
import { PeerMissingError } from "./peer.ts";

/** Debian's own scripts in /usr/sbin would switch to another user, and to the service's directories. */
const home = "/usr/lib/rabbitmq";
const program = `${home}/bin/rabbitmq-server`;
const release = /^rabbitmq_server-(\d.*)$/u;

/** By its folder: its own tools leave a port mapper behind when they are asked. @throws PeerMissingError */
export function rabbitmqVersion(): string {
  if (!existsSync(program)) throw new PeerMissingError(`${program} is not there`);
  const [version = "unknown"] = readdirSync(`${home}/lib`).flatMap(
    (name) => release.exec(name)?.[1] ?? [],
  );
  return `rabbitmq-server ${version}`;
}

export class RabbitmqServer {
  /** Of AMQP, by node. */
  readonly ports: readonly number[];
  private readonly directory: string;
  private readonly mapper: Daemon;
  private readonly mapperPort: number;
  private readonly nodes: Daemon[] = [];
  private readonly killOrphans = () => {
    for (const [i] of this.nodes.entries()) this.signalNode(i, "SIGKILL");
  };

  private constructor(folder: string, ports: readonly number[], mapperPort: number) {
    this.ports = ports;
    this.mapperPort = mapperPort;
    this.directory = mkdtempSync(join(folder, "rabbitmq-bench-"));
    const args = ["-port", String(mapperPort), "-address", "127.0.0.1"];
    this.mapper = new Daemon({ program: "epmd", args });
    process.once("exit", this.killOrphans);
  }

  /** Nodes join one after the other; all are there when this resolves. */
  static async start(folder: string, count: number): Promise<RabbitmqServer> {
    const ports: number[] = [];
    for (let i = 0; i < count; i++) ports.push(await freePort());
    const server = new RabbitmqServer(folder, ports, await freePort());
    try {
      await server.launch();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** The emulator of a node, which its script has started. */
  pidOf(node: number): number {
    return Number(readFileSync(join(this.folderOf(node), "pid"), "latin1"));
  }

  async stop(): Promise<void> {
    for (const [i, node] of this.nodes.entries()) {
      await node.stop(() => this.signalNode(i, "SIGTERM"));
    }
    process.removeListener("exit", this.killOrphans);
    await this.mapper.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async launch(): Promise<void> {
    // nodes of one cluster share it; it must be readable by its owner only
    const cookie = randomBytes(20).toString("hex").toUpperCase();
    writeFileSync(join(this.directory, ".erlang.cookie"), cookie, { mode: 0o400 });
    await this.mapper.listening(this.mapperPort);
    for (const [i, port] of this.ports.entries()) {
      const env = await this.prepare(i, port);
      const node = new Daemon({ program, args: [], env });
      this.nodes.push(node);
      await node.listening(port);
    }
  }

  /** @returns the environment of a node whose files are written */
  private async prepare(node: number, port: number): Promise<Record<string, string>> {
    const folder = this.folderOf(node);
    mkdirSync(folder);
    const peers = this.ports.map(
      (_, i) => `cluster_formation.classic_config.nodes.${i + 1} = ${nameOf(i)}`,
    );
    const discovery = "cluster_formation.peer_discovery_backend = classic_config";
    const configuration = this.ports.length > 1 ? [discovery, ...peers] : [];
    writeFileSync(join(folder, "rabbitmq.conf"), `${configuration.join("\n")}\n`);
    writeFileSync(join(folder, "enabled_plugins"), "[].\n");
    return {
      PATH: process.env["PATH"] ?? "",
      LANG: "C.UTF-8",
      HOME: this.directory,
      ERL_EPMD_PORT: String(this.mapperPort),
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_NODENAME: nameOf(node),
      RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
      RABBITMQ_MNESIA_BASE: join(folder, "db"),
      RABBITMQ_LOG_BASE: join(folder, "log"),
      RABBITMQ_PID_FILE: join(folder, "pid"),
      RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
      // not the service's
      RABBITMQ_CONF_ENV_FILE: join(folder, "rabbitmq-env.conf"),
    };
  }

  private folderOf(node: number): string {
    return join(this.directory, `node${node + 1}`);
  }

  private signalNode(node: number, signal: NodeJS.Signals): void {
    try {
      process.kill(this.pidOf(node), signal);
    } catch {
      // it has ended already, or has not come as far as to write its id
    }
  }
}

function nameOf(node: number): string {
  return `bench${node + 1}@localhost`;
}
