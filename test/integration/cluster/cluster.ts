/** Several real nodes on loopback as one cluster: started, killed, paused, cut off from each other. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FaultProxy } from "../fault-proxy.ts";
import { NodeFront } from "../node-front.ts";
import {
  type Env,
  freePort,
  freePorts,
  launchServer,
  type Ports,
  type Server,
  untilReady,
} from "../process.ts";

export interface ClusterSetup {
  readonly nodes?: number;
  readonly shards?: number;
  readonly env?: Env;
  /** What only one of the nodes gets. */
  readonly envOf?: (id: string) => Env;
  /** What to run, of another build. */
  readonly script?: string;
  /** Every connection between nodes goes through a proxy of its own. */
  readonly proxies?: boolean;
  /** One shard per node and no copies, instead of Raft. */
  readonly hashed?: boolean;
}

export interface GroupStatus {
  readonly shardIdx: number;
  readonly isLeader: boolean;
  readonly leaderId: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
}

const patienceMs = 20_000;

function raftEnv(i: number, port: number, peers: readonly string[]): Env {
  return {
    RAFT_ENABLED: "true",
    RAFT_SELF_ID: `n${i + 1}`,
    RAFT_BOOTSTRAP: String(i === 0),
    RAFT_BIND_ADDR: `127.0.0.1:${port}`,
    RAFT_PEERS: peers.join(),
  };
}

function hashedEnv(i: number, nodes: readonly string[]): Env {
  return {
    CLUSTER_ENABLED: "true",
    CLUSTER_SELF_ID: `n${i + 1}`,
    CLUSTER_NODES: nodes.join(),
  };
}

export class ClusterNode {
  readonly id: string;
  readonly ports: Ports;
  readonly raftPort: number;
  readonly path: string;
  server: Server | null = null;
  private readonly env: Env;
  private readonly script: string | undefined;

  constructor(
    id: string,
    places: { readonly ports: Ports; readonly raftPort: number; readonly path: string },
    env: Env,
    script?: string,
  ) {
    this.id = id;
    this.ports = places.ports;
    this.raftPort = places.raftPort;
    this.path = places.path;
    this.env = env;
    this.script = script;
  }

  get url(): string {
    return `http://127.0.0.1:${this.ports.http}`;
  }

  get isUp(): boolean {
    return this.server !== null;
  }

  async launch(more: Env = {}): Promise<void> {
    this.server = await launchServer(this.path, { ...this.env, ...more }, this.ports, this.script);
  }

  async start(more: Env = {}): Promise<void> {
    await this.launch(more);
    await this.ready();
  }

  async ready(): Promise<void> {
    if (this.server) await untilReady(this.server);
  }

  async end(signal: NodeJS.Signals): Promise<number | string> {
    const { server } = this;
    this.server = null;
    if (!server) return 0;
    server.signal(signal);
    return (await server.ended).code;
  }

  kill(): Promise<number | string> {
    return this.end("SIGKILL");
  }

  /** What it knows of its groups. */
  async groups(): Promise<readonly GroupStatus[]> {
    const answer = await fetch(`${this.url}/v1/raft/status`);
    return ((await answer.json()) as { readonly groups: readonly GroupStatus[] }).groups;
  }

  /** Throws away its data; to be called while it is down. */
  wipe(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** What it wrote since it was started last. */
  get log(): string {
    return this.server?.output.stdout ?? "";
  }

  /** Breaks a file of its store that every start reads; to be called while it is down. */
  damage(): void {
    const store = join(this.path, "shard-0", "db-1");
    const manifest = readdirSync(store).find((name) => name.startsWith("MANIFEST")) ?? "";
    const bytes = readFileSync(join(store, manifest));
    bytes[20] = (bytes[20] as number) ^ 0x10;
    writeFileSync(join(store, manifest), bytes);
  }
}

export class Cluster {
  readonly nodes: ClusterNode[] = [];
  readonly root = mkdtempSync("/var/tmp/quorumq-cluster-");
  /** From one node's name to another's: what the first one dials goes through it. */
  readonly proxies = new Map<string, FaultProxy>();
  private readonly fronts: NodeFront[] = [];
  private readonly stopListeners: (() => void)[] = [];

  static async start(setup: ClusterSetup = {}): Promise<Cluster> {
    const cluster = new Cluster();
    const count = setup.nodes ?? 3;
    const places = [];
    for (let i = 0; i < count; i++) {
      const path = join(cluster.root, `n${i + 1}`);
      places.push({ ports: await freePorts(), raftPort: await freePort(), path });
    }
    try {
      const raft = await cluster.addresses(places, setup.proxies === true);
      for (const [i, place] of places.entries()) {
        const env = {
          ...(setup.hashed ? hashedEnv(i, raft) : raftEnv(i, place.raftPort, raft)),
          RAFT_PEER_HTTP_ADDRS: places
            .map(({ ports }, n) => `n${n + 1}=http://127.0.0.1:${ports.http}`)
            .join(),
          RAFT_PEER_GRPC_ADDRS: places
            .map(({ ports }, n) => `n${n + 1}=127.0.0.1:${ports.grpc}`)
            .join(),
          ...(setup.shards && { QUORUMQ_STORAGE_NUM_SHARDS: String(setup.shards) }),
          ...setup.env,
          ...setup.envOf?.(`n${i + 1}`),
        };
        cluster.nodes.push(new ClusterNode(`n${i + 1}`, place, env, setup.script));
      }
      await Promise.all(cluster.nodes.map((node) => node.launch()));
      await Promise.all(cluster.nodes.map((node) => node.ready()));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** How nodes reach each other, by name. */
  private async addresses(
    places: readonly { readonly raftPort: number }[],
    proxies: boolean,
  ): Promise<string[]> {
    const list: string[] = [];
    for (const [i, { raftPort }] of places.entries()) {
      const id = `n${i + 1}`;
      list.push(`${id}=${proxies ? await this.front(id, raftPort) : `127.0.0.1:${raftPort}`}`);
    }
    return list;
  }

  private async front(id: string, raftPort: number): Promise<string> {
    const front = await NodeFront.open(raftPort, (dialler) => this.way(dialler, id));
    this.fronts.push(front);
    return front.address;
  }

  private way(from: string, to: string): FaultProxy {
    const name = `${from}>${to}`;
    let proxy = this.proxies.get(name);
    if (proxy === undefined) {
      proxy = new FaultProxy({ host: "127.0.0.1", port: 1 }, Math.random);
      this.proxies.set(name, proxy);
    }
    return proxy;
  }

  /** A node that lists the members and itself, with an empty store; it is not started. */
  async prepare(id: string, env: Env = {}): Promise<ClusterNode> {
    const own = { ports: await freePorts(), raftPort: await freePort(), path: join(this.root, id) };
    const known = this.nodes.filter((node) => node.id !== id);
    const list = (value: (node: { readonly ports: Ports; readonly raftPort: number }) => string) =>
      [...known, { id, ...own }].map((node) => `${node.id}=${value(node)}`).join();
    const node = new ClusterNode(id, own, {
      RAFT_ENABLED: "true",
      RAFT_SELF_ID: id,
      RAFT_BIND_ADDR: `127.0.0.1:${own.raftPort}`,
      RAFT_PEERS: list(({ raftPort }) => `127.0.0.1:${raftPort}`),
      RAFT_PEER_HTTP_ADDRS: list(({ ports }) => `http://127.0.0.1:${ports.http}`),
      RAFT_PEER_GRPC_ADDRS: list(({ ports }) => `127.0.0.1:${ports.grpc}`),
      ...env,
    });
    this.nodes.push(node);
    return node;
  }

  node(id: string): ClusterNode {
    const node = this.nodes.find((one) => one.id === id);
    if (!node) throw new Error(`no node ${id}`);
    return node;
  }

  get up(): readonly ClusterNode[] {
    return this.nodes.filter((node) => node.isUp);
  }

  /** The node that leads a shard; of several that say so the one of the highest term. */
  async leader(shard = 0): Promise<ClusterNode> {
    const found = await this.until("a leader", async () => {
      let best: { readonly node: ClusterNode; readonly term: number } | null = null;
      for (const node of this.up) {
        const group = (await node.groups().catch(() => []))[shard];
        if (group?.isLeader && (!best || group.term > best.term)) best = { node, term: group.term };
      }
      return best;
    });
    return found.node;
  }

  async followers(shard = 0): Promise<readonly ClusterNode[]> {
    const leader = await this.leader(shard);
    return this.up.filter((node) => node !== leader);
  }

  /** Looks again and again until there is something. @throws after a while */
  async until<T>(what: string, look: () => Promise<T | null>, withinMs = patienceMs): Promise<T> {
    const end = performance.now() + withinMs;
    for (;;) {
      const found = await look();
      if (found !== null) return found;
      if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Sum of the terms of a shard's elections so far: unchanged means that nobody was elected. */
  async term(shard = 0): Promise<number> {
    const terms = await Promise.all(
      this.up.map(async (node) => (await node.groups())[shard]?.term ?? 0),
    );
    return Math.max(...terms);
  }

  /** Calls back when the cluster is stopped: who uses it must end then. */
  onStop(listener: () => void): void {
    this.stopListeners.push(listener);
  }

  async stop(): Promise<void> {
    for (const listener of this.stopListeners) listener();
    await Promise.all(this.nodes.map((node) => node.kill()));
    for (const front of this.fronts) await front.close();
    for (const proxy of this.proxies.values()) await proxy.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
