/** Three nodes of the build in dist, each in its own process, as one cluster on this machine. */
import { randomBytes } from "node:crypto";
import { FaultProxy } from "../test/integration/fault-proxy.ts";
import { NodeFront } from "../test/integration/node-front.ts";
import { freePort } from "./free-port.ts";
import type { Target } from "./load/protocol.ts";
import { sleep } from "./measure/sleep.ts";
import { type NodeOptions, NodeProcess } from "./node-process.ts";

const settleWithinMs = 60_000;

interface Places {
  readonly http: number;
  readonly grpc: number;
  readonly raft: number;
}

/** A shard as a node knows it. */
export interface Group {
  readonly shardIdx: number;
  readonly isLeader: boolean;
  readonly leaderId: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
}

export interface ClusterOptions extends NodeOptions {
  /** What nodes say to each other goes through proxies that can be made silent (`cutOff`). */
  readonly hasProxies?: boolean;
}

/** Proxies between the nodes, by the name of the one that dials and the one that is dialled. */
class Ways {
  private readonly proxies = new Map<string, FaultProxy>();
  private readonly fronts: NodeFront[] = [];

  /** @returns the list of peers, each behind a front of its own */
  async open(places: readonly Places[]): Promise<string> {
    const list: string[] = [];
    for (const [i, { raft }] of places.entries()) {
      const id = `n${i + 1}`;
      const front = await NodeFront.open(raft, (dialler) => this.way(`${dialler}>${id}`));
      this.fronts.push(front);
      list.push(`${id}=${front.address}`);
    }
    return list.join();
  }

  cutOff(id: string): void {
    for (const [pair, proxy] of this.proxies) {
      if (pair.split(">").includes(id)) proxy.silence("target", "dialler");
    }
  }

  heal(): void {
    for (const proxy of this.proxies.values()) proxy.heal();
  }

  async close(): Promise<void> {
    for (const front of this.fronts) await front.close();
    for (const proxy of this.proxies.values()) await proxy.close();
  }

  private way(pair: string): FaultProxy {
    let proxy = this.proxies.get(pair);
    if (proxy === undefined) {
      proxy = new FaultProxy({ host: "127.0.0.1", port: 1 });
      this.proxies.set(pair, proxy);
    }
    return proxy;
  }
}

export class ClusterProcess {
  readonly nodes: readonly NodeProcess[];
  private readonly ways: Ways | null;

  private constructor(nodes: readonly NodeProcess[], ways: Ways | null) {
    this.nodes = nodes;
    this.ways = ways;
  }

  /** Starts the nodes on empty directories and waits until all of them are ready. */
  static async start(options: ClusterOptions, count: number): Promise<ClusterProcess> {
    const places: Places[] = [];
    for (let i = 0; i < count; i++) {
      places.push({ http: await freePort(), grpc: await freePort(), raft: await freePort() });
    }
    const list = (value: (place: Places) => string) =>
      places.map((place, i) => `n${i + 1}=${value(place)}`).join();
    const token = options.token ?? randomBytes(24).toString("hex");
    const nodes: NodeProcess[] = [];
    const ways = options.hasProxies ? new Ways() : null;
    const peers = ways === null ? list(({ raft }) => `127.0.0.1:${raft}`) : await ways.open(places);
    for (const [i, place] of places.entries()) {
      const env = {
        RAFT_ENABLED: "true",
        RAFT_SELF_ID: `n${i + 1}`,
        RAFT_BOOTSTRAP: String(i === 0),
        RAFT_BIND_ADDR: `127.0.0.1:${place.raft}`,
        RAFT_PEERS: peers,
        RAFT_PEER_HTTP_ADDRS: list(({ http }) => `http://127.0.0.1:${http}`),
        RAFT_PEER_GRPC_ADDRS: list(({ grpc }) => `127.0.0.1:${grpc}`),
        ...options.env,
      };
      nodes.push(await NodeProcess.prepare({ ...options, token, env, ports: place }));
    }
    const cluster = new ClusterProcess(nodes, ways);
    try {
      await Promise.all(nodes.map((node) => node.launch()));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** All nodes as one: the load finds out who leads. */
  get target(): Target {
    const [first] = this.nodes as [NodeProcess];
    return { ...first.target, grpc: this.nodes.map(({ target }) => target.grpc).join() };
  }

  get running(): readonly NodeProcess[] {
    return this.nodes.filter(({ isRunning }) => isRunning);
  }

  /** What a node knows of its shards. */
  async groups(node: NodeProcess): Promise<readonly Group[]> {
    const { groups } = JSON.parse(await node.get("/v1/raft/status")) as { groups: Group[] };
    return groups;
  }

  /** The node that leads a shard; of several that say so the one of the highest term. */
  async leader(shard = 0): Promise<NodeProcess> {
    return this.until("a leader", async () => {
      let best: { readonly node: NodeProcess; readonly term: number } | null = null;
      for (const node of this.running) {
        const group = (await this.groups(node))[shard];
        if (group?.isLeader && group.term > (best?.term ?? 0)) best = { node, term: group.term };
      }
      return best?.node ?? null;
    });
  }

  /**
   * Waits until every shard is led by the node that should lead it, by the order of their names: a
   * spread that is even may still change, and each hand-over is a stall.
   */
  async balanced(): Promise<void> {
    await this.until("leaders to be spread", async () => {
      const [first] = this.running as [NodeProcess];
      const shards = (await this.groups(first)).map(({ shardIdx }) => shardIdx);
      if (shards.length === 1) return this.leader();
      const leaders = await Promise.all(shards.map((shard) => this.leader(shard)));
      const wanted = shards.map((shard) => this.nodes[shard % this.nodes.length]);
      return leaders.every((leader, i) => leader === wanted[i]) || null;
    });
  }

  /** Terms of all shards, the highest that any node knows: the same later means no election. */
  async terms(): Promise<readonly number[]> {
    const views = await Promise.all(this.running.map((node) => this.groups(node)));
    const [first = []] = views;
    return first.map(({ shardIdx }) =>
      Math.max(...views.map((groups) => groups[shardIdx]?.term ?? 0)),
    );
  }

  /** Waits until every node has applied what the shards' leaders have committed by now. */
  async settled(): Promise<void> {
    const [first] = this.nodes as [NodeProcess];
    for (const { shardIdx } of await this.groups(first)) {
      const leader = await this.leader(shardIdx);
      const target = (await this.groups(leader))[shardIdx]?.commitIndex ?? 0;
      await this.until("all nodes to follow", async () => {
        const views = await Promise.all(this.running.map((node) => this.groups(node)));
        const applied = views.map((groups) => groups[shardIdx]?.appliedIndex ?? 0);
        return applied.every((index) => index >= target) || null;
      });
    }
  }

  /** From now on nothing goes from the node to the others, or from them to it; not its clients'. */
  cutOff(node: NodeProcess): void {
    this.ways?.cutOff(`n${this.nodes.indexOf(node) + 1}`);
  }

  heal(): void {
    this.ways?.heal();
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.ways?.close();
  }

  private async until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
    const until = performance.now() + settleWithinMs;
    for (;;) {
      // a node that has just died answers nothing
      const found = await look().catch(() => null);
      if (found !== null) return found;
      if (performance.now() > until) throw new Error(`${what}: not within ${settleWithinMs} ms`);
      await sleep(20);
    }
  }
}
